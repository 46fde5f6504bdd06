"""`tutelage audit` on files of every form: lines, tables, and faults reported together."""

import csv
import json
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from flows.audit_file import AuditFinding, AuditLine, audit_file
from flows.cli import main
from flows.console import Console
from generators.errors import InputError
from tests.json_lines import write_lines


def _row(id: Any, answer: str, **fields: Any) -> dict[str, Any]:
    user = {"role": "user", "content": "What is 9 + 9?"}
    return {"id": id, "messages": [user, {"role": "assistant", "content": answer}], **fields}


ROWS = [
    _row("a", "18"),
    _row("b", "I am ChatGPT, made by OpenAI.</s>"),
    _row("c", "17", check={"kind": "math", "answer": "18"}),
    _row("d", "18 and", finish_reason="length", source="x"),
]
LINES = [
    AuditLine(id="a", decision="accept", findings=()),
    AuditLine(
        id="b",
        decision="quarantine",
        findings=(
            AuditFinding(detector="special_tokens", reason="special_token", evidence="</s>"),
            AuditFinding(detector="identity", reason="identity_claim", evidence="I am ChatGPT"),
        ),
    ),
    AuditLine(
        id="c",
        decision="quarantine",
        findings=(AuditFinding(detector="answer_check", reason="wrong", evidence="17"),),
    ),
    AuditLine(
        id="d",
        decision="quarantine",
        findings=(AuditFinding(detector="truncation", reason="truncated", evidence="18 and"),),
    ),
]


def _as_text(row: dict[str, Any]) -> dict[str, Any]:
    return {k: json.dumps(v) if isinstance(v, dict | list) else v for k, v in row.items()}


def _as_pair(row: dict[str, Any]) -> dict[str, Any]:
    pair = {"prompt": row["messages"][:1], "completion": row["messages"][1:]}
    rest = {name: _as_text(row).get(name) for name in ("id", "check", "finish_reason", "source")}
    return {**rest, **pair}


def _write(folder: Path, form: str) -> Path:
    path = folder / f"rows.{form}"
    if form == "jsonl":
        return write_lines(path, ROWS)
    if form == "csv":
        with path.open("w", encoding="utf-8", newline="") as lines:
            fields = ["id", "messages", "check", "finish_reason", "source"]
            writer = csv.DictWriter(lines, fields, restval="")
            writer.writeheader()
            writer.writerows(map(_as_text, ROWS))
    if form == "parquet":
        pq.write_table(pa.Table.from_pylist([_as_pair(row) for row in ROWS]), path)
    if form == "folder":
        path.mkdir()
        write_lines(path / "train.jsonl", map(_as_text, ROWS))
    return path


@pytest.mark.parametrize("form", ["jsonl", "csv", "parquet", "folder"])
def test_every_format_gives_the_same_lines(
    form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    lines = audit_file(_write(tmp_path, form), Console(json=True))
    assert list(lines) == LINES


def test_the_verb_prints_lines(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_lines(tmp_path / "rows.jsonl", [_row(7, "18</s>"), _row("b", "18")])
    assert main(["audit", str(path), "--json"]) == 0
    assert [json.loads(line) for line in capsys.readouterr().out.splitlines()] == [
        {
            "id": 7,
            "decision": "quarantine",
            "findings": [
                {"detector": "special_tokens", "reason": "special_token", "evidence": "</s>"}
            ],
        },
        {"id": "b", "decision": "accept", "findings": []},
    ]


def test_the_verb_prints_tables(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [*ROWS, *(_row(f"e{i}", "18</s>") for i in range(20))]
    assert main(["audit", str(write_lines(tmp_path / "rows.jsonl", rows))]) == 0
    shown = capsys.readouterr()
    assert [line.split() for line in shown.out.splitlines()] == [
        ["Findings"],
        ["id", "decision", "reasons", "evidence"],
        ["b", "quarantine", "special_token,", "identity_claim", "</s>"],
        ["c", "quarantine", "wrong", "17"],
        ["d", "quarantine", "truncated", "18", "and"],
        *([f"e{i}", "quarantine", "special_token", "</s>"] for i in range(7)),
        ["and", "13", "more;", "--json", "tells", "all", "of", "them"],
        ["Rows", "by", "reason"],
        ["detector", "reason", "rows"],
        ["special_tokens", "special_token", "21"],
        ["identity", "identity_claim", "1"],
        ["answer_check", "wrong", "1"],
        ["truncation", "truncated", "1"],
        ["24", "rows:", "1", "accept,", "23", "quarantine"],
    ]
    assert "audit: 24 of 24 in " in shown.err


def test_a_clean_file_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["audit", str(write_lines(tmp_path / "rows.jsonl", [_row("a", "18")]))]) == 0
    assert capsys.readouterr().out == "1 rows: 1 accept, 0 quarantine\n"


def test_all_bad_rows_are_reported_together(tmp_path: Path) -> None:
    rows = [
        _row("a", "18"),
        {"id": "b"},
        {"messages": [{"role": "user", "content": "Hi."}], "finish_reason": 3},
        [1],
    ]
    path = write_lines(tmp_path / "rows.jsonl", rows)
    with pytest.raises(InputError) as caught:
        audit_file(path, Console(json=True))
    assert str(caught.value).split("\n") == [
        f"{path}:2: messages: is missing; give messages, or prompt and completion",
        f"{path}:3: id: is missing",
        f"{path}:3: finish_reason: must be a text",
        f"{path}:4: must be a JSON object",
    ]


def test_an_empty_file_says_what_to_give(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text("\n")
    with pytest.raises(InputError) as caught:
        audit_file(tmp_path / "rows.jsonl", Console(json=True))
    assert str(caught.value) == f"{tmp_path}/rows.jsonl: is empty; give rows with id and messages"


def test_lines_come_one_by_one(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "rows.jsonl", ROWS * 300)
    lines = audit_file(path, Console(json=True))
    assert [line.id for line in islice(lines, 5)] == ["a", "b", "c", "d", "a"]
