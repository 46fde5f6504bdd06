import asyncio
import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from generators.clients import Failure, Outcome, Response
from generators.errors import RunError
from generators.journal import SqliteJournal
from generators.journal_tools import (
    Exported,
    Holding,
    Holdings,
    Pruned,
    count_holdings,
    export_rows,
    find_journal,
    prune_rows,
)
from generators.records import Usage


def respond(text: str) -> Response:
    usage = Usage(prompt_tokens=5, completion_tokens=2)
    return Response(text=text, finish_reason="stop", usage=usage)


def record(path: Path, run: str, model: str, outcomes: dict[str, Outcome]) -> None:
    with SqliteJournal(path, run=run) as journal:
        asyncio.run(journal.record(outcomes, model=model))


def list_keys(path: Path) -> list[str]:
    connection = sqlite3.connect(path)
    keys = [key for (key,) in connection.execute("SELECT key FROM outcomes ORDER BY key")]
    connection.close()
    return keys


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Two runs, two models, a failure, and a damaged row, `d`."""
    path = tmp_path / "runs" / "journal.sqlite"
    filtered = Failure(reason="content_filter", message="no", permanent=True)
    record(path, "one", "large", {"a": respond("é"), "b": filtered})
    record(path, "two", "large", {"c": respond("3"), "d": respond("4")})
    record(path, "two", "small", {"e": respond("5")})
    connection = sqlite3.connect(path)
    connection.execute("UPDATE outcomes SET outcome = '{\"kind' WHERE key = 'd'")
    connection.commit()
    connection.close()
    return path


def test_stats_tell_who_paid_for_what(path: Path) -> None:
    with SqliteJournal(path) as journal:
        found = count_holdings(journal)

    tokens = {"prompt_tokens": 5, "completion_tokens": 2}
    assert found == Holdings(
        path=str(path),
        rows=5,
        damaged=1,
        holdings=(
            Holding(model="large", run="one", outcomes=2, failures=1, **tokens),
            Holding(model="large", run="two", outcomes=1, **tokens),
            Holding(model="small", run="two", outcomes=1, **tokens),
        ),
    )


def test_export_writes_every_sound_row(path: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    with SqliteJournal(path) as journal:
        assert export_rows(journal, out) == Exported(path=str(out), rows=4, damaged=1)

    lines = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
    assert [(line["key"], line["model"], line["run"]) for line in lines] == [
        ("a", "large", "one"),
        ("b", "large", "one"),
        ("c", "large", "two"),
        ("e", "small", "two"),
    ]
    assert Response.model_validate(lines[0]["outcome"]) == respond("é")
    assert all(line["at"] > 0 for line in lines)
    assert [file.name for file in tmp_path.glob("out*")] == ["out.jsonl"]


@pytest.mark.parametrize(
    ("chosen", "left"),
    [
        pytest.param({"run": "one"}, "cde", id="run"),
        pytest.param({"model": "large"}, "e", id="model"),
        pytest.param({"run": "two", "model": "large"}, "abe", id="both"),
        pytest.param({"damaged": True}, "abce", id="damaged"),
        pytest.param({"run": "one", "damaged": True}, "abcde", id="damaged of another run"),
    ],
)
def test_prune_deletes_what_is_chosen_and_only_when_told(
    path: Path, chosen: dict[str, Any], left: str
) -> None:
    with SqliteJournal(path) as journal:
        counted = prune_rows(journal, delete=False, **chosen)
        assert counted == Pruned(rows=5 - len(left), deleted=False)
        assert list_keys(path) == list("abcde")
        assert prune_rows(journal, delete=True, **chosen) == Pruned(
            rows=5 - len(left), deleted=True
        )
    assert list_keys(path) == list(left)


def test_run_may_write_while_its_journal_is_pruned(path: Path) -> None:
    with SqliteJournal(path, run="one") as writer, SqliteJournal(path) as pruner:
        prune_rows(pruner, run="one", delete=True)
        asyncio.run(writer.record({"a": respond("again")}, model="large"))
        assert asyncio.run(writer.find(["a", "b"])) == {"a": respond("again")}


def test_journal_is_found_in_a_folder_of_runs(path: Path) -> None:
    assert find_journal(path.parent) == find_journal(path) == path


def test_missing_journal_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(RunError) as raised:
        find_journal(tmp_path)
    assert str(raised.value) == (
        f"{tmp_path}/journal.sqlite: no such journal; name a folder of runs or a journal's file"
    )
    assert list(tmp_path.iterdir()) == []
