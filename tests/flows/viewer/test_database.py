"""`viewer.db` holds what the committed files hold, and is built when they have changed."""

import json
import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from flows.store import QUARANTINE, REJECTED, TRAIN, VIEWER, RunDirectory
from flows.viewer import database
from flows.viewer.database import connect, read_digest, refresh_database
from generators.errors import RunError
from generators.records import Answer, Prompt, Verdict
from tests.flows.small_run import read_cycle, rows_of
from tests.flows.viewer.viewed_run import HUGE


@pytest.fixture
def db(viewed: RunDirectory) -> Iterator[sqlite3.Connection]:
    with closing(connect(viewed.place(VIEWER))) as connection:
        yield connection


def ask(connection: sqlite3.Connection, question: str, *values: object) -> list[tuple]:
    return [tuple(row) for row in connection.execute(question, values)]


def test_rows_are_those_of_the_dataset_and_beside_it(
    viewed: RunDirectory, db: sqlite3.Connection
) -> None:
    files = {"accept": TRAIN, "quarantine": QUARANTINE, "reject": REJECTED}
    lying = {
        decision: sorted(row["id"] for row in rows_of(viewed.place(path)))
        for decision, path in files.items()
    }
    for decision, ids in lying.items():
        found = ask(db, "select id from rows where decision = ? order by id", decision)
        assert [id for (id,) in found] == ids
    assert all(lying.values())


def test_published_row_has_its_facets_and_texts(
    viewed: RunDirectory, db: sqlite3.Connection
) -> None:
    row = rows_of(viewed.place(TRAIN))[0]
    names = ("operator", "round", "domain", "verified_by", "teacher", "confidence", "prompt_id")
    (found,) = ask(
        db,
        f"select {', '.join(names)}, prompt, completion, cycle from rows where id = ?",
        row["id"],
    )
    assert found == (
        *(row[name] for name in names),
        row["prompt"][-1]["content"],
        row["completion"][-1]["content"],
        1,
    )


def test_heaps_count_every_row_once(db: sqlite3.Connection) -> None:
    counted = ask(
        db,
        "select h.rows, (select count(*) from rows r where r.heap = h.heap and r.decision = "
        "h.decision and r.reason = h.reason and r.domain = h.domain) from heaps h",
    )
    assert all(told == there for told, there in counted)
    assert ask(db, "select sum(rows) from heaps") == ask(db, "select count(*) from rows")


def test_every_prompt_is_there_with_its_parent_and_its_fate(
    viewed: RunDirectory, db: sqlite3.Connection
) -> None:
    prompts = {prompt.id: prompt for prompt in read_cycle(viewed, "prompts-", Prompt)}
    found = ask(db, "select id, parent_id, round, operator from prompts where kind = 'prompt'")
    assert {id: (parent, round, operator) for id, parent, round, operator in found} == {
        id: (p.parent_id, p.round, p.operator) for id, p in prompts.items()
    }
    fell = {
        v.subject_id: v.reason
        for v in read_cycle(viewed, "verdicts-evolve", Verdict)
        if v.decision != "accept"
    }
    told = dict(ask(db, "select id, reason from prompts where decision != 'accept'"))
    assert fell.items() <= told.items()
    assert fell


def test_attempt_that_brought_nothing_hangs_on_its_parent(db: sqlite3.Connection) -> None:
    attempts = ask(db, "select id, parent_id, operator, round from prompts where kind = 'attempt'")
    assert attempts
    for id, parent, operator, round in attempts:
        assert id == f"{parent}:{operator}:{round}"


def test_every_answer_is_there_with_the_last_word_on_it(
    viewed: RunDirectory, db: sqlite3.Connection
) -> None:
    answers = read_cycle(viewed, "answers-", Answer)
    found = {
        row[0]: row[1:] for row in ask(db, "select id, completion, completion_tokens from answers")
    }
    assert found == {a.id: (a.completion, a.usage.completion_tokens) for a in answers}
    decided = Counter(d for (d,) in ask(db, "select decision from answers"))
    assert decided["accept"] == len(rows_of(viewed.place(TRAIN)))
    assert sum(decided.values()) == len(answers)


def test_all_verdicts_are_there_in_the_order_of_the_run(
    viewed: RunDirectory, db: sqlite3.Connection
) -> None:
    verdicts = read_cycle(viewed, "verdicts-", Verdict)
    assert ask(db, "select count(*) from verdicts") == [(len(verdicts),)]
    row = rows_of(viewed.place(TRAIN))[0]["id"]
    phases = ask(db, "select phase from verdicts where subject_id = ? order by place", row)
    assert phases == [("answer",), ("dedup",), ("publish",)]


def test_duplicates_name_what_they_repeat(db: sqlite3.Connection) -> None:
    found = ask(db, "select subject_id, original, kind from duplicates")
    texts = dict(ask(db, "select id, text from prompts"))
    asked = dict(ask(db, "select id, prompt_id from answers"))
    exact = [(asked[s], o) for s, o, kind in found if kind == "exact_duplicate_prompt"]
    assert exact
    for repeating, original in exact:
        assert texts[repeating].split() == texts[original].split()


def test_words_are_found_in_prompts_and_in_answers(db: sqlite3.Connection) -> None:
    def count(words: str) -> int:
        return ask(db, "select count(*) from rows_fts where rows_fts match ?", words)[0][0]

    assert count('prompt: "apples"') > 0
    assert count('completion: "harbour"') == len(
        ask(db, "select 1 from rows where completion like '%harbour%'")
    )


def test_huge_text_is_there_to_its_end(db: sqlite3.Connection) -> None:
    longest = ask(db, "select completion from rows order by length(completion) desc limit 1")
    assert longest == [(HUGE,)]


def test_database_is_built_anew_only_when_the_manifest_changed(own: RunDirectory) -> None:
    place = own.place(VIEWER)
    before = refresh_database(own.root), place.stat().st_ino
    assert (refresh_database(own.root), place.stat().st_ino) == before
    own.add_seconds("publish", 1)
    after = refresh_database(own.root)
    assert after.digest != before[0].digest
    assert place.stat().st_ino != before[1]
    assert read_digest(place) == after.digest
    assert [path.name for path in own.root.glob("*viewer.db*")] == [VIEWER]


def test_file_that_is_no_database_is_replaced(own: RunDirectory) -> None:
    own.place(VIEWER).write_bytes(b"SQLite it is not")
    refresh_database(own.root)
    with closing(connect(own.place(VIEWER))) as connection:
        assert ask(connection, "select count(*) > 0 from rows") == [(1,)]


def test_run_under_way_is_shown_as_far_as_it_is_committed(own: RunDirectory) -> None:
    stages = {entry.stage for entry in own.manifest.files.values()}
    own.keep_stages([stage for stage in stages if stage == "seeds" or stage.startswith("evolve")])
    refresh_database(own.root)
    with closing(connect(own.place(VIEWER))) as connection:
        assert ask(connection, "select count(*) from rows") == [(0,)]
        assert ask(connection, "select count(*) from answers") == [(0,)]
        assert ask(connection, "select count(*) > 0 from prompts where round = 1") == [(1,)]
        board = json.loads(ask(connection, "select value from about where key = 'board'")[0][0])
    assert board["is_published"] is False
    assert [count["stage"] for count in board["facts"]["counts"]] == ["evolve"]


def test_run_that_goes_on_while_it_is_read_is_read_again(
    own: RunDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    build, calls = database.build_database, []

    def build_late(root: Path, manifest: database.Manifest, place: Path) -> None:
        calls.append(place)
        if len(calls) == 1:
            own.drop([REJECTED])
        build(root, manifest, place)

    monkeypatch.setattr(database, "build_database", build_late)
    own.place(VIEWER).unlink()
    refresh_database(own.root)
    assert len(calls) == 2
    with closing(connect(own.place(VIEWER))) as connection:
        assert ask(connection, "select count(*) from rows where decision = 'reject'") == [(0,)]


def test_manifest_that_names_missing_files_is_told(own: RunDirectory) -> None:
    own.place(VIEWER).unlink()
    own.place(TRAIN).unlink()
    with pytest.raises(RunError) as refusal:
        refresh_database(own.root)
    assert str(refusal.value) == (
        f"{own.place('manifest.json')}: names files that are not there. If a run is at work here, "
        "wait for it; else type its command again, and they are made anew."
    )
    assert not own.place(VIEWER).exists()
