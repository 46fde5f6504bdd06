"""Duplicates in anybody's file: a line a row, in the file's order, whatever that order is."""

import csv
import json
import random
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from filters.dedup import find_duplicates
from flows import cli
from flows.console import Console
from flows.dedup_file import DedupFileSettings, DedupLine, dedup_file
from generators.errors import ConfigError, InputError
from tests.filters.test_dedup import chain, mixture
from tests.json_lines import write_lines

ROOT = Path(__file__).parents[2]
A = "one two three four five six seven eight nine ten eleven twelve"
B = A.replace("twelve", "thirteen")
ROWS: list[dict[str, Any]] = [
    {"id": "c", "text": B.upper()},
    {"id": "b", "text": B},
    {"id": "a", "text": A},
    {"id": "d", "text": "something else altogether"},
]
LINES = [
    DedupLine(id="c", duplicate_of="a", kind="near", similarity=9 / 11),
    DedupLine(id="b", duplicate_of="a", kind="near", similarity=9 / 11),
    DedupLine(id="a"),
    DedupLine(id="d"),
]


def dedup(path: Path, **settings: Any) -> list[DedupLine]:
    return [*dedup_file(path, DedupFileSettings(**settings), Console(json=True))]


def test_each_row_names_what_is_kept_in_its_place(tmp_path: Path) -> None:
    assert dedup(write_lines(tmp_path / "rows.jsonl", ROWS)) == LINES


def write_csv(path: Path) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, ["id", "text"])
        writer.writeheader()
        writer.writerows(ROWS)


@pytest.mark.parametrize("name", ["rows.csv", "rows.parquet", "folder"])
def test_every_format_gives_the_same_lines(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    if name == "rows.csv":
        write_csv(path)
    elif name == "rows.parquet":
        pq.write_table(pa.Table.from_pylist(ROWS), path)
    else:
        path.mkdir()
        write_lines(path / "train.jsonl", ROWS)
    assert dedup(path) == LINES


@pytest.mark.parametrize("indexed", [False, True])
def test_neither_the_order_of_rows_nor_the_batches_matter(
    indexed: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = mixture() | chain()
    expected = {id: duplicate.of for id, duplicate in find_duplicates(texts).items()}
    assert len(expected) > 10
    rng = random.Random(1)
    for characters in (1, 1_000, 1_000_000):
        monkeypatch.setattr("filters.sketches._BATCH_CHARACTERS", characters)
        rows = [{"id": id, "text": texts[id]} for id in rng.sample([*texts], len(texts))]
        path = write_lines(tmp_path / "rows.jsonl", rows)
        index = tmp_path / f"{characters}.sqlite" if indexed else None
        lines = dedup(path, index=index)
        assert [line.id for line in lines] == [row["id"] for row in rows]
        assert {line.id: line.duplicate_of for line in lines if line.kind} == expected


def test_ids_keep_their_type_and_are_ordered_as_texts(tmp_path: Path) -> None:
    rows = [{"id": id, "text": A} for id in ("2", 2, 10, 10**30)]
    path = write_lines(tmp_path / "rows.jsonl", rows)
    expected = [("2", 10), (2, 10), (10, None), (10**30, 10)]
    for index in (None, tmp_path / "index", tmp_path / "index"):
        assert [(line.id, line.duplicate_of) for line in dedup(path, index=index)] == expected


def test_the_threshold_and_the_numbers_are_as_asked(tmp_path: Path) -> None:
    task = "Sam has 17 red apples and then buys 25 more of them at the market; how many are there"
    rows = [{"id": "a", "text": task}, {"id": "b", "text": task.replace("25", "26")}]
    path = write_lines(tmp_path / "rows.jsonl", rows)
    assert [line.duplicate_of for line in dedup(path)] == [None, "a"]
    assert [line.similarity for line in dedup(path, threshold=14 / 20)] == [None, 14 / 20]
    assert [line.duplicate_of for line in dedup(path, threshold=0.71)] == [None, None]
    assert [line.duplicate_of for line in dedup(path, numbers_must_agree=True)] == [None, None]
    with pytest.raises(ConfigError) as caught:
        dedup(path, threshold=70)
    assert str(caught.value) == (
        "dedup.threshold: 70.0 is no similarity; give a number above 0 and up to 1"
    )


def test_an_index_compares_a_file_with_all_earlier_ones(tmp_path: Path) -> None:
    index = tmp_path / "index"
    first = write_lines(tmp_path / "first.jsonl", ROWS)
    rows = [{"id": "0", "text": A + " and so on"}, {"id": 1, "text": "new"}, ROWS[0]]
    second = write_lines(tmp_path / "second.jsonl", rows)
    for _ in range(2):
        assert dedup(first, index=index) == LINES
        assert dedup(second, index=index) == [
            DedupLine(id="0", duplicate_of="a", kind="near", similarity=10 / 13),
            DedupLine(id=1),
            LINES[0],
        ]


def test_an_id_that_had_another_text_is_a_fault_and_nothing_is_added(tmp_path: Path) -> None:
    index = tmp_path / "index"
    dedup(write_lines(tmp_path / "first.jsonl", ROWS), index=index)
    rows = [{"id": "new", "text": "x"}, {"id": "a", "text": B}, {"id": "d", "text": "y"}]
    path = write_lines(tmp_path / "second.jsonl", rows)
    remedy = "give each text an id of its own in all files, or name another index"
    told = [
        f'{path}:{line}: id: "{id}" stands in {index} with another text; {remedy}'
        for line, id in ((2, "a"), (3, "d"))
    ]
    with pytest.raises(InputError) as caught:
        dedup(path, index=index)
    assert str(caught.value).split("\n") == told
    with closing(sqlite3.connect(index)) as connection:
        assert connection.execute("SELECT count(*) FROM texts").fetchone() == (4,)


def test_rows_that_are_none_are_reported_before_an_index_is_touched(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    lines = [
        '{"id": "a", "text": "x"}',
        '{"id": "a"}',
        '{"text": 3}',
        '{"id": "\\ud800", "text": "x"}',
        '{"id": "a", "text": "y"}',
        '{"id": ["a"], "text": "y"}',
        '{"id": true, "text": "y"}',
        '{"id": 1, "text": "y"}',
    ]
    path.write_text("\n".join(lines), "utf-8")
    with pytest.raises(InputError) as caught:
        dedup(path, index=tmp_path / "index")
    twice = f'id: "a" stands already in {path}:1; give each row its own'
    assert str(caught.value).split("\n") == [
        f"{path}:2: text: is missing",
        f"{path}:2: {twice}",
        f"{path}:3: id: is missing",
        f"{path}:3: text: must be a text",
        f"{path}:4: id: escapes half of a surrogate pair, which is no character",
        f"{path}:5: {twice}",
        f"{path}:6: id: must be a text or a whole number",
        f"{path}:7: id: must be a text or a whole number",
    ]
    assert not (tmp_path / "index").exists()


def test_half_a_surrogate_pair_in_a_text_is_compared_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    rows = (f'{{"id": {i}, "text": "{text}"}}\n' for i, text in enumerate(("\\ud800 x", "x")))
    path.write_text("".join(rows) + '{"id": 2, "text": "\\ud800  X"}', "utf-8")
    assert [line.kind for line in dedup(path)] == [None, "near", "exact"]


def test_what_can_be_read_only_once_is_refused() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "flows.cli", "dedup", "/dev/stdin", "--json"],
        input=json.dumps(ROWS[0]),
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )
    told = (
        "/dev/stdin: had 1 rows when they were checked and 0 afterwards; give a file that can be "
        "read twice and stays as it is"
    )
    assert (done.returncode, done.stderr) == (1, f"tutelage: {told}\n")
    assert json.loads(done.stdout) == {"error": {"kind": "InputError", "message": told}}


def test_no_file_of_ours_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    path = write_lines(tmp_path / "rows.jsonl", ROWS)
    assert dedup(path) == LINES
    assert [*(tmp_path / "temporary").iterdir()] == []


def test_json_is_a_line_a_row(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_lines(tmp_path / "rows.jsonl", ROWS)
    assert cli.main(["dedup", str(path), "--json", "--index", str(tmp_path / "index")]) == 0
    printed = capsys.readouterr()
    assert [json.loads(line) for line in printed.out.splitlines()] == [
        {"id": "c", "duplicate_of": "a", "kind": "near", "similarity": 9 / 11},
        {"id": "b", "duplicate_of": "a", "kind": "near", "similarity": 9 / 11},
        {"id": "a", "duplicate_of": None, "kind": None, "similarity": None},
        {"id": "d", "duplicate_of": None, "kind": None, "similarity": None},
    ]
    assert printed.err == ""


def test_people_see_counts_and_the_first_duplicates(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [*ROWS, *({"id": f"e{i:02}", "text": A} for i in range(10))]
    path = write_lines(tmp_path / "rows.jsonl", rows)
    assert cli.main(["dedup", str(path)]) == 0
    printed = capsys.readouterr()
    title, head, *rows, more, totals = printed.out.splitlines()
    assert (title, head.split()) == ("Duplicates", ["id", "repeats", "kind", "similarity"])
    assert len(rows) == 10
    assert [row.split() for row in rows[:3]] == [
        ["c", "a", "near", "0.8182"],
        ["b", "a", "near", "0.8182"],
        ["e00", "a", "exact", "1"],
    ]
    assert more == "and 2 more; --json tells all of them"
    assert totals == "14 rows: 2 kept, 10 exact duplicates, 2 near duplicates"
    stages = [line.split(" in ")[0] for line in printed.err.splitlines()]
    assert stages == [
        *("read: begins", "read: 14"),
        *("sketch: 0 of 14", "sketch: 14 of 14"),
        *("compare: 0 of 14", "compare: 14 of 14"),
    ]


@pytest.mark.parametrize(
    ("threshold", "told"),
    [
        ("0", "Must be > 0."),
        ("-1", "Must be > 0."),
        ("1.1", "Must be <= 1."),
        ("nan", "Must be <= 1."),
    ],
)
def test_an_impossible_threshold_is_wrong_use(
    threshold: str, told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_lines(tmp_path / "rows.jsonl", ROWS)
    assert cli.main(["dedup", str(path), "--threshold", threshold]) == 2
    assert capsys.readouterr().err == (
        f'tutelage: Invalid value "{float(threshold)}" for --threshold. {told} See `tutelage dedup'
        " --help`.\n"
    )
