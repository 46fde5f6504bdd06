"""Files of rows to verify: each format gives the same lines, and bad rows are reported together."""

import csv
import json
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from flows.verify_file import TOGETHER, verify_file
from generators.errors import InputError

ROWS: list[dict[str, Any]] = [
    {"id": "a", "check": {"kind": "math", "answer": "18"}, "completion": "The answer is 18."},
    {"id": "b", "check": {"kind": "math", "answer": "18"}, "completion": "19"},
    {"id": "c", "check": {"kind": "exact", "answer": "Paris"}, "completion": "paris"},
    {"id": "d", "check": {"kind": "judge", "rubric": "kind"}, "completion": "x, \u2028 y"},
]
LINES = [
    ("a", "accept", "right", 1.0),
    ("b", "reject", "wrong", 0.0),
    ("c", "accept", "right", 1.0),
    ("d", "quarantine", "no_verifier", None),
]


def _write_jsonl(path: Path, rows: list[Any]) -> Path:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), "utf-8")
    return path


def _as_text(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{**row, "check": json.dumps(row["check"])} for row in rows]


def _write(folder: Path, form: str) -> Path:
    path = folder / f"rows.{form}"
    if form == "jsonl":
        return _write_jsonl(path, ROWS)
    if form == "csv":
        with path.open("w", encoding="utf-8-sig", newline="") as lines:
            writer = csv.DictWriter(lines, ["id", "completion", "check"])
            writer.writeheader()
            writer.writerows(_as_text(ROWS))
    if form == "parquet":
        pq.write_table(pa.Table.from_pylist(_as_text(ROWS)), path)
    if form == "nested.parquet":
        pq.write_table(pa.Table.from_pylist(ROWS), path)
    if form in ("saved", "folder"):
        path.mkdir()
        if form == "folder":
            _write_jsonl(path / "train.jsonl", _as_text(ROWS))
        else:
            import datasets

            datasets.Dataset.from_list(_as_text(ROWS)).save_to_disk(path)
    return path


@pytest.mark.parametrize("form", ["jsonl", "csv", "parquet", "nested.parquet", "saved", "folder"])
def test_every_format_gives_the_same_lines(
    form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    lines = list(verify_file(_write(tmp_path, form)))
    assert [(x.id, x.decision, x.reason, x.score) for x in lines] == LINES


def test_ids_keep_their_type_and_other_columns_are_let_be(tmp_path: Path) -> None:
    path = _write_jsonl(tmp_path / "rows.jsonl", [{**ROWS[0], "id": 7, "prompt": "9 + 9"}])
    assert [line.model_dump() for line in verify_file(path)] == [
        {"id": 7, "decision": "accept", "reason": "right", "score": 1.0}
    ]


def test_all_bad_rows_are_reported_together(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    good = json.dumps(ROWS[0])
    bad = [
        "{",
        "[1]",
        '{"id": "x", "completion": "y"}',
        '{"id": true, "check": {"kind": "maths", "answer": "1"}, "completion": "y"}',
        '{"check": {"kind": "math", "answer": 1}, "completion": null}',
        '{"id": "z", "check": "{", "completion": "y"}',
    ]
    path.write_text("\n".join([good, *bad, good]), "utf-8")
    with pytest.raises(InputError) as caught:
        verify_file(path)
    kinds = "choice, code, consensus, constraint, exact, json_schema, judge, math, procedural"
    expected = "Expecting property name enclosed in double quotes"
    assert str(caught.value).split("\n") == [
        f"{path}:2: is not JSON: {expected}: line 2 column 1 (char 2)",
        f"{path}:3: must be a JSON object",
        f"{path}:4: check: is missing",
        f"{path}:5: id: must be a text or a whole number",
        f"{path}:5: check.kind: 'maths' is not known; choose from {kinds} (did you mean math?)",
        f"{path}:6: id: is missing",
        f"{path}:6: check.answer: must be a text, not a number",
        f"{path}:6: completion: must be a text, not null",
        f"{path}:7: check: is not JSON: {expected}: line 1 column 2 (char 1)",
    ]


def test_a_line_that_is_not_utf8_is_named(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(json.dumps(ROWS[0]).encode() + b'\n{"id": "\xff"}\n')
    with pytest.raises(InputError) as caught:
        verify_file(path)
    assert str(caught.value) == f"{path}:2: is not UTF-8; save the file as UTF-8"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("rows.jsonl", b"\n \n", ": is empty; give rows with id, check and completion"),
        (
            "rows.csv",
            b"id,check,completion\n",
            ": is empty; give rows with id, check and completion",
        ),
        (
            "rows.csv",
            b"id,check,completion\na,b\xff,c\n",
            ": cannot be read as CSV: 'utf-8' codec can't decode byte 0xff in position 23: invalid"
            " start byte; save it as UTF-8",
        ),
        (
            "rows.csv",
            b"id,check,completion\na,{},c,d\n",
            ":2: has more cells than the header; quote those with commas",
        ),
        (
            "rows.parquet",
            b"no parquet",
            ": cannot be read as Parquet: Parquet magic bytes not found in footer. Either the file"
            " is corrupted or this is not a parquet file.",
        ),
    ],
)
def test_files_that_cannot_be_used(name: str, content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError) as caught:
        verify_file(tmp_path / name)
    assert str(caught.value) == f"{tmp_path / name}{message}"


def test_a_missing_file_says_what_to_give(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        verify_file(tmp_path / "none.jsonl")
    assert str(caught.value) == (
        f"{tmp_path}/none.jsonl: no such file or folder; give a JSONL, CSV or Parquet file, or a "
        "folder that datasets loads"
    )


def test_a_folder_without_data_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        verify_file(tmp_path)
    assert str(caught.value) == (
        f"{tmp_path}: datasets cannot load this folder: The directory at {tmp_path} doesn't "
        "contain any data files"
    )


def test_lines_come_one_by_one(tmp_path: Path) -> None:
    path = _write_jsonl(tmp_path / "rows.jsonl", ROWS * 500)
    lines = verify_file(path)
    assert [line.id for line in islice(lines, 5)] == ["a", "b", "c", "d", "a"]


def test_rows_beyond_one_batch_come_out_in_order(tmp_path: Path) -> None:
    rows = [{**ROWS[n % 4], "id": n} for n in range(2 * TOGETHER + 3)]
    lines = list(verify_file(_write_jsonl(tmp_path / "rows.jsonl", rows)))
    assert [line.id for line in lines] == list(range(2 * TOGETHER + 3))
    assert [line.reason for line in lines] == [LINES[n % 4][2] for n in range(len(lines))]
