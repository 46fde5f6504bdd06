import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from generators.clients import Response
from generators.errors import RunError
from generators.journal_place import make_journal
from generators.journal_tools import (
    Exported,
    Holding,
    Holdings,
    Pruned,
    count_holdings,
    export_rows,
    prune_rows,
)
from generators.records import Usage
from tests.generators.journals import FILTERED, alter, list_keys, store


def respond(text: str) -> Response:
    usage = Usage(prompt_tokens=5, completion_tokens=2)
    return Response(text=text, finish_reason="stop", usage=usage)


@pytest.fixture
def filled(place: str) -> str:
    """Two runs, two models, a failure, and a damaged row, `d`."""
    store(place, {"a": respond("é"), "b": FILTERED}, "large", run="one")
    store(place, {"c": respond("3"), "d": respond("4")}, "large", run="two")
    store(place, {"e": respond("5")}, "small", run="two")
    alter(place, "UPDATE outcomes SET outcome = '{\"kind' WHERE key = 'd'")
    return place


def test_stats_tell_who_paid_for_what(filled: str) -> None:
    with make_journal(filled) as journal:
        found = count_holdings(journal)

    tokens = {"prompt_tokens": 5, "completion_tokens": 2}
    assert found == Holdings(
        path=filled,
        rows=5,
        damaged=1,
        holdings=(
            Holding(model="large", run="one", outcomes=2, failures=1, **tokens),
            Holding(model="large", run="two", outcomes=1, **tokens),
            Holding(model="small", run="two", outcomes=1, **tokens),
        ),
    )


def test_export_writes_every_sound_row(filled: str, tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    with make_journal(filled) as journal:
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
    filled: str, chosen: dict[str, Any], left: str
) -> None:
    with make_journal(filled) as journal:
        counted = prune_rows(journal, delete=False, **chosen)
        assert counted == Pruned(rows=5 - len(left), deleted=False)
        assert list_keys(filled) == list("abcde")
        assert prune_rows(journal, delete=True, **chosen) == Pruned(
            rows=5 - len(left), deleted=True
        )
    assert list_keys(filled) == list(left)


def test_run_may_write_while_its_journal_is_pruned(filled: str) -> None:
    with make_journal(filled, run="one") as writer, make_journal(filled) as pruner:
        prune_rows(pruner, run="one", delete=True)
        asyncio.run(writer.record({"a": respond("again")}, model="large"))
        assert asyncio.run(writer.find(["a", "b"])) == {"a": respond("again")}


def test_journal_is_found_in_a_folder_of_runs(tmp_path: Path) -> None:
    file = tmp_path / "journal.sqlite"
    store(str(file), {"a": respond("1")})
    for place in (tmp_path, file):
        assert make_journal(str(place), must_exist=True).place == str(file)


def test_missing_journal_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(RunError) as raised:
        make_journal(str(tmp_path), must_exist=True)
    assert str(raised.value) == (
        f"{tmp_path}/journal.sqlite: no such journal; name a folder of runs, a journal's file or "
        "its URL"
    )
    assert list(tmp_path.iterdir()) == []
