"""A run of two cycles is shown as one: its rows, its lineages, its versions."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from flows.store import TRAIN, VIEWER, RunDirectory
from flows.viewer.database import connect, refresh_database
from flows.viewer.lineage import read_lineage
from generators.records import Answer, Prompt
from tests.flows.conftest import Finished
from tests.flows.small_run import conduct_plainly, read_cycle, read_settings, rows_of
from tests.flows.viewer.asker import Asker, read_words
from tests.flows.viewer.viewed_run import copy_run


@pytest.fixture(scope="module")
def run(finished: Finished, tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    """The finished run with a second cycle."""
    folder = tmp_path_factory.mktemp("two-cycles")
    copy_run(finished.run, folder)
    config = read_settings(folder / "small.yaml", finished.settings | {"runs_dir": str(folder)})
    run, _ = conduct_plainly(config, new_cycle=True)
    refresh_database(run.root)
    return run


@pytest.fixture
def db(run: RunDirectory) -> Iterator[sqlite3.Connection]:
    with closing(connect(run.place(VIEWER))) as connection:
        yield connection


def test_prompts_and_answers_of_both_cycles_are_there(
    run: RunDirectory, db: sqlite3.Connection
) -> None:
    for table, prefix, kind in (("prompts", "prompts-", Prompt), ("answers", "answers-", Answer)):
        where = "where kind = 'prompt'" if table == "prompts" else ""
        told = db.execute(f"select cycle, count(*) from {table} {where} group by 1").fetchall()
        own = {cycle: len(read_cycle(run, prefix, kind, cycle)) for cycle in (1, 2)}
        assert dict(map(tuple, told)) == own
        assert all(own.values())


def test_rows_are_sorted_by_the_cycle_that_made_them(
    run: RunDirectory, db: sqlite3.Connection
) -> None:
    found = db.execute("select id, cycle from rows where decision = 'accept'").fetchall()
    assert dict(map(tuple, found)) == {r["id"]: r["cycle"] for r in rows_of(run.place(TRAIN))}
    assert {cycle for _, cycle in found} == {1, 2}


def test_lineage_leads_from_the_second_cycle_into_the_first(
    run: RunDirectory, db: sqlite3.Connection
) -> None:
    elders = {prompt.id for prompt in read_cycle(run, "prompts-", Prompt, 1)}
    young = next(p for p in read_cycle(run, "prompts-", Prompt, 2) if p.parent_id in elders)
    line = read_lineage(db, young.id).line
    assert [line[0]["cycle"], line[-1]["cycle"]] == [1, 2]
    assert line[0]["id"] == young.root_id


def test_pages_tell_both_cycles_and_both_versions(run: RunDirectory) -> None:
    asker = Asker(run.root)
    words = read_words(asker.get("/").text)
    assert "2 cycles" in words
    assert "cycle 1 finished" in words
    assert "cycle 2 finished" in words
    assert "2 versions of the dataset" in words
    words = read_words(asker.get("/versions?from=1&to=2").text)
    came = sum(row["cycle"] == 2 for row in rows_of(run.place(TRAIN)))
    assert f"From version 1 to version 2, {came} row" in words
    assert f"Came: {came} row" in words
    assert asker.get("/versions?from=1&to=9").status_code == 200


def test_run_that_is_rolled_back_shows_the_older_version(run: RunDirectory, tmp_path: Path) -> None:
    from flows.console import Console
    from flows.versions import rollback

    own = copy_run(run, tmp_path)
    young = next(row["id"] for row in rows_of(run.place(TRAIN)) if row["cycle"] == 2)
    rollback(own.root, 1, Console(json=True))
    asker = Asker(own.root)
    assert "Accepted, but not in the dataset as it stands" in read_words(
        asker.get(f"/row/{young}").text
    )
    row = rows_of(own.place(TRAIN))[0]["id"]
    answer = asker.post_form(f"/row/{row}", f"/row/{row}/reject", why="no")
    assert answer.status_code == 400
    assert (
        f"{own.root}: the dataset is rolled back to version 1. Go on from it with: tutelage run "
        "CONFIG --new-cycle or take the newest one first: tutelage rollback"
    ) in read_words(answer.text)
