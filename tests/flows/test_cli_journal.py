import asyncio
import json
from pathlib import Path

import pytest

from flows import cli
from generators.clients import Response
from generators.journal import SqliteJournal
from generators.journal_place import make_journal
from generators.records import Usage
from tests.postgres_server import PASSWORD, USER, PostgresServer

OUTCOME = Response(
    text="x", finish_reason="stop", usage=Usage(prompt_tokens=5, completion_tokens=2)
)


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """A folder of runs whose journal has three rows of the run `demo`."""
    with SqliteJournal(tmp_path / "journal.sqlite", run="demo") as journal:
        asyncio.run(journal.record(dict.fromkeys("abc", OUTCOME), model="m"))
    return tmp_path


def test_stats(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["journal", "stats", str(runs)]) == 0
    _, _, row, total = capsys.readouterr().out.splitlines()
    assert row.split() == ["m", "demo", "3", "0", "15", "6"]
    assert total == f"{runs}/journal.sqlite: 3 rows, 0 damaged"

    assert cli.main(["journal", "stats", str(runs / "journal.sqlite"), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["rows"], found["damaged"]) == (3, 0)
    assert found["holdings"][0]["completion_tokens"] == 6


def test_export(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = runs / "out.jsonl"
    assert cli.main(["journal", "export", str(runs), str(out)]) == 0
    assert capsys.readouterr().out == f"{out}: 3 rows; 0 damaged left out\n"
    assert [json.loads(line)["key"] for line in out.read_text().splitlines()] == ["a", "b", "c"]


def test_prune_asks_first(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    prune = ["journal", "prune", str(runs), "--run", "demo"]
    journal = runs / "journal.sqlite"
    assert cli.main(prune) == 0
    told = f"{journal}: 3 rows would be deleted; say --yes to do it\n"
    assert capsys.readouterr().out == told
    assert cli.main([*prune, "--yes", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"rows": 3, "deleted": True}
    assert cli.main([*prune, "--yes"]) == 0
    assert capsys.readouterr().out == f"{journal}: 0 rows deleted\n"


def test_prune_wants_a_choice(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["journal", "prune", str(runs), "--yes"]) == 2
    told = "tutelage: nothing is chosen: name --run, --model or --damaged\n"
    assert capsys.readouterr() == ("", told)


def test_tools_take_a_url_and_show_no_password(
    postgres: PostgresServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    url = postgres.make_database().replace(USER, f"{USER}:{PASSWORD}")
    shown = url.replace(PASSWORD, "***")
    with make_journal(url, run="demo") as journal:
        asyncio.run(journal.record(dict.fromkeys("abc", OUTCOME), model="m"))

    assert cli.main(["journal", "stats", url]) == 0
    *_, row, total = capsys.readouterr().out.splitlines()
    assert row.split() == ["m", "demo", "3", "0", "15", "6"]
    assert total == f"{shown}: 3 rows, 0 damaged"
    out = tmp_path / "out.jsonl"
    assert cli.main(["journal", "export", url, str(out)]) == 0
    assert [json.loads(line)["key"] for line in out.read_text().splitlines()] == ["a", "b", "c"]
    capsys.readouterr()
    assert cli.main(["journal", "prune", url, "--run", "demo", "--yes"]) == 0
    assert capsys.readouterr().out == f"{shown}: 3 rows deleted\n"
    assert cli.main(["journal", "stats", postgres.url("postgres")]) == 1
    told = f"tutelage: {postgres.url('postgres')}: no such journal; check the database's name\n"
    assert capsys.readouterr() == ("", told)
