import asyncio
import sqlite3
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from threading import Thread, current_thread

import pytest

from generators.clients import Outcome
from generators.errors import RunError
from generators.journal import SqliteJournal
from tests.generators.journals import FILTERED, alter, load, respond, store


def test_folder_is_made_with_the_file(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "journal.sqlite"
    store(str(path), {"a": FILTERED})

    assert load(str(path), "a") == {"a": FILTERED}
    assert path.is_file()


def test_calls_during_a_commit_share_the_next_one(tmp_path: Path) -> None:
    done = []

    async def use_much(journal: SqliteJournal) -> list[dict[str, Outcome]]:
        for connection in (journal._here, journal._connection):
            journal._thread.submit(
                connection.set_trace_callback, lambda sql: done.append(sql.split()[0])
            ).result()
        await asyncio.gather(
            *(journal.record({str(i): respond(str(i))}, model="m") for i in range(200))
        )
        return await asyncio.gather(*(journal.find([str(i)]) for i in range(200)))

    with SqliteJournal(tmp_path / "journal.sqlite") as journal:
        found = asyncio.run(use_much(journal))
        assert {*done} == {"INSERT", "SELECT"}
        assert len(done) <= 40
        assert journal.stats().rows == 200
    assert found == [{str(i): respond(str(i))} for i in range(200)]


def test_what_no_one_text_can_hold_is_written_all_the_same(tmp_path: Path) -> None:
    """A batch's answers come in one call, and SQLite holds no text of any length."""
    outcomes: dict[str, Outcome] = {str(i): respond("x" * 1000) for i in range(300)}
    with SqliteJournal(tmp_path / "journal.sqlite") as journal:
        limit = journal._connection.setlimit
        journal._thread.submit(limit, sqlite3.SQLITE_LIMIT_LENGTH, 200_000).result()
        assert asyncio.run(journal.record(outcomes, model="m")) == {}
        assert asyncio.run(journal.record({"7": respond("late")}, model="m")) == {
            "7": outcomes["7"]
        }
    assert load(str(tmp_path / "journal.sqlite"), *outcomes) == outcomes


def test_synchronous_and_write_ahead_log_are_on(tmp_path: Path) -> None:
    with SqliteJournal(tmp_path / "journal.sqlite") as journal:
        for connection in (journal._here, journal._connection):
            settings = [
                journal._thread.submit(
                    lambda c=connection, name=name: c.execute(f"PRAGMA {name}").fetchone()
                ).result()
                for name in ("synchronous", "journal_mode")
            ]
            assert settings == [(2,), (b"wal",)]


def test_turn_of_the_event_loop_is_written_in_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Unless the file is locked, or the disk was slow: then the journal's thread writes."""
    monkeypatch.setattr("generators.journal.SLOW_WRITE_S", 60)  # however busy this machine is
    threads: list[str] = []

    async def record(journal: SqliteJournal, key: str) -> None:
        await journal.record({key: respond(key)}, model="m")

    def note(_: str) -> None:
        threads.append(current_thread().name)

    path = tmp_path / "journal.sqlite"
    with SqliteJournal(path) as journal, closing(sqlite3.connect(path)) as other:
        for connection in (journal._here, journal._connection):
            journal._thread.submit(connection.set_trace_callback, note).result()
        asyncio.run(record(journal, "a"))
        assert threads == ["MainThread"]

        threads.clear()
        other.execute("BEGIN IMMEDIATE")
        waiting = Thread(target=lambda: asyncio.run(record(journal, "b")), name="loop")
        waiting.start()
        waiting.join(0.2)
        assert waiting.is_alive()
        other.execute("ROLLBACK")
        waiting.join()
        assert threads == ["loop", "journal_0"]

        threads.clear()
        journal._slow_until = time.monotonic() + 60
        asyncio.run(record(journal, "c"))
        assert threads == ["journal_0"]
    assert load(str(path), "a", "b", "c") == {key: respond(key) for key in "abc"}


def test_full_disk_says_where_and_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    store(str(path), {"a": respond("kept")})

    with SqliteJournal(path) as journal:
        # SQLite's own limit raises the very error that a full disk raises.
        for connection in (journal._here, journal._connection):
            journal._thread.submit(connection.execute, "PRAGMA max_page_count = 8").result()
        with pytest.raises(RunError) as raised:
            asyncio.run(journal.record({"b": respond("x" * 100_000)}, model="m"))
        assert str(raised.value) == (
            f"{path}: database or disk is full; make room on that disk and run again; what was "
            "journalled is kept"
        )
        assert asyncio.run(journal.find(["a", "b"])) == {"a": respond("kept")}


VERSION_1 = """
CREATE TABLE outcomes (
    key TEXT PRIMARY KEY, model TEXT NOT NULL, outcome TEXT NOT NULL, checksum TEXT NOT NULL
);
CREATE INDEX outcomes_by_model ON outcomes (model);
PRAGMA application_id = 1953854572;
PRAGMA user_version = 1;
INSERT INTO outcomes VALUES ('a', 'm',
    '{"kind":"failure","message":"no","permanent":true,"reason":"content_filter"}',
    '8605621ac80a1815fdf07717d164fb60');
"""


def make_version_1(place: str) -> None:
    connection = sqlite3.connect(place)
    connection.executescript(VERSION_1)
    connection.close()


def test_journal_of_version_1_is_brought_up_to_date_in_place(tmp_path: Path) -> None:
    place = str(tmp_path / "journal.sqlite")
    make_version_1(place)

    assert load(place, "a") == {"a": FILTERED}
    store(place, {"b": respond("new")})
    assert load(place, "a", "b") == {"a": FILTERED, "b": respond("new")}
    rows = alter(place, "SELECT key, run, at > 0 FROM outcomes ORDER BY key")
    assert rows == [("a", "", 0), ("b", "", 1)]


def test_many_may_bring_a_journal_up_to_date_at_once(tmp_path: Path) -> None:
    places = [str(tmp_path / f"{i}.sqlite") for i in range(10)]
    for place in places:
        make_version_1(place)
    with ThreadPoolExecutor(8) as openers:
        for place in places:
            found = list(openers.map(lambda place: load(place, "a"), [place] * 8))
            assert found == [{"a": FILTERED}] * 8


def make_text_file(path: Path) -> None:
    path.write_text("not a database, but long enough to have a header of a hundred bytes " * 3)


def make_other_database(path: Path) -> None:
    alter(str(path), "CREATE TABLE people (name TEXT)")


def make_later_version(path: Path) -> None:
    store(str(path), {"a": respond("later")})
    alter(str(path), "PRAGMA user_version = 3")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        pytest.param(
            make_text_file,
            "file is not a database; it is not a journal; move it away or name another path",
            id="text",
        ),
        pytest.param(
            make_other_database,
            "it is not a journal; move it away or name another path (a database of something else)",
            id="other database",
        ),
        pytest.param(
            make_later_version,
            "a journal of version 3, this program writes version 2; use the program that wrote "
            "it, or name another path",
            id="other version",
        ),
        pytest.param(
            Path.mkdir,
            "unable to open database file; check that the folder exists and may be written to",
            id="folder",
        ),
    ],
)
def test_file_that_is_no_journal_is_refused_and_left_alone(
    tmp_path: Path, make: Callable[[Path], None], message: str
) -> None:
    path = tmp_path / "journal.sqlite"
    make(path)
    before = path.read_bytes() if path.is_file() else None

    with pytest.raises(RunError) as raised:
        SqliteJournal(path).open()

    assert str(raised.value) == f"{path}: {message}"
    assert (path.read_bytes() if path.is_file() else None) == before


def test_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError) as caught:
        SqliteJournal(tmp_path / "file" / "journal.sqlite").open()
    assert str(caught.value) == (
        f"{tmp_path}/file/journal.sqlite: no folder for the journal: [Errno 17] File exists:"
        f" '{tmp_path}/file'"
    )


def test_broken_pages_are_reported_with_a_remedy(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    store(str(path), {f"{i}": respond("x" * 1000) for i in range(100)})
    content = bytearray(path.read_bytes())
    content[4096 * 2 :] = b"\xa5" * (len(content) - 4096 * 2)
    path.write_bytes(content)

    with (
        SqliteJournal(path) as journal,
        pytest.raises(RunError) as caught,
    ):
        asyncio.run(journal.find([f"{i}" for i in range(100)]))
    assert str(caught.value) == (
        f"{path}: database disk image is malformed; save what can be read with `sqlite3 OLD "
        ".recover | sqlite3 NEW`, or move it away"
    )
