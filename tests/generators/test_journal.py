import asyncio
import logging
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Thread

import pytest

from generators.clients import Failure, Outcome, Response
from generators.errors import RunError
from generators.journal import JournalStats, SqliteJournal
from generators.records import FunctionCall, ToolCall, Usage

RICH = Response(
    text='line\n"quoted" \x00 é 🙂',
    reasoning="because",
    tool_calls=(ToolCall(id="a", function=FunctionCall(name="f", arguments='{"x": 1}')),),
    finish_reason="tool_calls",
    usage=Usage(prompt_tokens=3, completion_tokens=4),
    logprobs=(-0.1, -1e-17, float("-inf")),
)
FILTERED = Failure(reason="content_filter", message="no", permanent=True)


def respond(text: str) -> Response:
    return Response(text=text, finish_reason="stop", usage=Usage())


def store(path: Path, outcomes: dict[str, Outcome], model: str = "m") -> None:
    with SqliteJournal(path) as journal:
        asyncio.run(journal.record(outcomes, model=model))


def load(path: Path, *keys: str) -> dict[str, Outcome]:
    with SqliteJournal(path) as journal:
        return asyncio.run(journal.find(keys))


def alter(path: Path, statement: str, *values: object) -> None:
    connection = sqlite3.connect(path)
    with connection:
        connection.execute(statement, values)
    connection.close()


def test_outcomes_come_back_as_they_were(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "journal.sqlite"
    store(path, {"a": RICH, "b": FILTERED})

    assert load(path, "a", "b", "c") == {"a": RICH, "b": FILTERED}


def test_first_outcome_under_a_key_stays(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    store(path, {"a": respond("first")})
    store(path, {"a": respond("second"), "b": respond("new")})

    assert load(path, "a", "b") == {"a": respond("first"), "b": respond("new")}


def test_more_keys_than_a_query_has_variables(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    outcomes: dict[str, Outcome] = {f"{i:05}": respond(str(i)) for i in range(40_000)}
    store(path, outcomes)

    assert load(path, *outcomes) == outcomes


def test_stats_count_rows_per_model(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    store(path, {"a": respond("1"), "b": respond("2")}, "large@1")
    store(path, {"c": respond("3")}, "small@1")

    with SqliteJournal(path) as journal:
        assert journal.stats() == JournalStats(3, {"large@1": 2, "small@1": 1}, 0)


def test_calls_during_a_commit_share_the_next_one(tmp_path: Path) -> None:
    begun = []

    async def record_many(journal: SqliteJournal) -> None:
        journal._thread.submit(
            journal._connection.set_trace_callback,
            lambda sql: begun.append(sql) if sql.startswith("BEGIN") else None,
        ).result()
        await asyncio.gather(
            *(journal.record({str(i): respond(str(i))}, model="m") for i in range(200))
        )

    with SqliteJournal(tmp_path / "journal.sqlite") as journal:
        asyncio.run(record_many(journal))
        assert journal.stats().rows == 200
    assert 1 <= len(begun) <= 20


def test_synchronous_and_write_ahead_log_are_on(tmp_path: Path) -> None:
    with SqliteJournal(tmp_path / "journal.sqlite") as journal:
        ask = journal._connection.execute
        assert journal._thread.submit(lambda: ask("PRAGMA synchronous").fetchone()).result() == (2,)
        mode = journal._thread.submit(lambda: ask("PRAGMA journal_mode").fetchone()).result()
        assert mode == (b"wal",)


def test_threads_with_loops_of_their_own_share_one_journal(tmp_path: Path) -> None:
    found: dict[str, Outcome] = {}

    async def work(journal: SqliteJournal, name: str) -> None:
        for i in range(20):
            await journal.record({f"{name}{i}": respond(f"{name}{i}")}, model=name)
            found.update(await journal.find([f"{name}{i}"]))

    with SqliteJournal(tmp_path / "journal.sqlite") as journal:
        threads = [
            Thread(target=lambda name=name: asyncio.run(work(journal, name))) for name in "abcd"
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert journal.stats().per_model == dict.fromkeys("abcd", 20)
    assert found == {f"{name}{i}": respond(f"{name}{i}") for name in "abcd" for i in range(20)}


def test_cancelled_call_is_written_all_the_same(tmp_path: Path) -> None:
    async def cancel(journal: SqliteJournal) -> None:
        task = asyncio.create_task(journal.record({"a": respond("paid for")}, model="m"))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    path = tmp_path / "journal.sqlite"
    with SqliteJournal(path) as journal:
        asyncio.run(cancel(journal))

    assert load(path, "a") == {"a": respond("paid for")}


@pytest.mark.parametrize(
    ("statement", "value"),
    [
        pytest.param("UPDATE outcomes SET outcome = ? WHERE key = 'a'", "{}", id="other text"),
        pytest.param(
            "UPDATE outcomes SET outcome = CAST(? AS TEXT) WHERE key = 'a'",
            b"\xff\xfe",
            id="no text",
        ),
        pytest.param("UPDATE outcomes SET checksum = ? WHERE key = 'a'", "0", id="other checksum"),
        pytest.param("UPDATE outcomes SET model = ? WHERE key = 'a'", "n", id="other model"),
    ],
)
def test_damaged_row_is_a_miss_that_can_be_stored_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, statement: str, value: object
) -> None:
    path = tmp_path / "journal.sqlite"
    store(path, {"a": respond("good"), "b": respond("sound")})
    alter(path, statement, value)

    with SqliteJournal(path) as journal, caplog.at_level(logging.WARNING):
        assert asyncio.run(journal.find(["a", "b"])) == {"b": respond("sound")}
        assert journal.stats() == JournalStats(1, {"m": 1}, damaged=1)
        asyncio.run(journal.record({"a": respond("again")}, model="m"))
        assert asyncio.run(journal.find(["a"])) == {"a": respond("again")}
    assert [record.getMessage() for record in caplog.records] == [
        f"{path}: row a is damaged; dropped, it will be asked again"
    ]


def test_processes_write_the_same_file(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    program = """
import asyncio, sys
from generators.clients import Response
from generators.journal import SqliteJournal
from generators.records import Usage

async def work(journal, name):
    for i in range(60):
        outcome = Response(text=name, finish_reason="stop", usage=Usage())
        await journal.record({f"shared{i}": outcome, f"{name}{i}": outcome}, model=name)
        found = await journal.find([f"shared{i}"])
        print(found[f"shared{i}"].text)

with SqliteJournal(sys.argv[1]) as journal:
    asyncio.run(work(journal, sys.argv[2]))
"""
    runs = [
        subprocess.Popen(
            [sys.executable, "-c", program, str(path), name], stdout=subprocess.PIPE, text=True
        )
        for name in ("left", "right")
    ]
    seen = [run.communicate(timeout=60)[0].split() for run in runs]

    stored = load(path, *(f"shared{i}" for i in range(60)))
    winners = [o.text for o in (stored[f"shared{i}"] for i in range(60)) if o.kind == "response"]
    assert seen == [winners, winners]
    with SqliteJournal(path) as journal:
        assert journal.stats().rows == 180


def test_closed_journal_lets_nobody_wait(tmp_path: Path) -> None:
    """Two threads of a run that was interrupted: each learns it, also the one that comes second."""
    journal = SqliteJournal(tmp_path / "journal.sqlite").open()
    journal.close()

    async def record(key: str) -> None:
        await asyncio.wait_for(journal.record({key: respond("late")}, model="m"), 5)

    for key in "ab":
        with pytest.raises(RuntimeError, match="after shutdown"):
            asyncio.run(record(key))


def test_full_disk_says_where_and_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    store(path, {"a": respond("kept")})

    with SqliteJournal(path) as journal:
        # SQLite's own limit raises the very error that a full disk raises.
        journal._thread.submit(journal._connection.execute, "PRAGMA max_page_count = 8").result()
        with pytest.raises(RunError, match=r"journal\.sqlite: .* is full; make room") as raised:
            asyncio.run(journal.record({"b": respond("x" * 100_000)}, model="m"))
        assert str(path) in str(raised.value)
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


def make_version_1(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.executescript(VERSION_1)
    connection.close()


def read_rows(path: Path, columns: str) -> list[tuple[object, ...]]:
    connection = sqlite3.connect(path)
    try:
        return connection.execute(f"SELECT {columns} FROM outcomes ORDER BY key").fetchall()
    finally:
        connection.close()


def test_row_names_the_run_that_paid_and_when(tmp_path: Path) -> None:
    path, before = tmp_path / "journal.sqlite", int(time.time())
    with SqliteJournal(path, run="first") as journal:
        asyncio.run(journal.record({"a": respond("1")}, model="m"))
    with SqliteJournal(path, run="second") as journal:
        asyncio.run(journal.record({"a": respond("2"), "b": respond("3")}, model="m"))

    assert read_rows(path, "key, run") == [("a", "first"), ("b", "second")]
    moments = [moment for (moment,) in read_rows(path, "at")]
    assert all(isinstance(m, int) and before <= m <= time.time() for m in moments)


def test_journal_of_version_1_is_brought_up_to_date_in_place(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    make_version_1(path)

    assert load(path, "a") == {"a": FILTERED}
    store(path, {"b": respond("new")})
    assert load(path, "a", "b") == {"a": FILTERED, "b": respond("new")}
    assert read_rows(path, "key, run, at > 0") == [("a", "", 0), ("b", "", 1)]


def test_many_may_bring_a_journal_up_to_date_at_once(tmp_path: Path) -> None:
    paths = [tmp_path / f"{i}.sqlite" for i in range(10)]
    for path in paths:
        make_version_1(path)
    with ThreadPoolExecutor(8) as openers:
        for path in paths:
            found = list(openers.map(lambda path: load(path, "a"), [path] * 8))
            assert found == [{"a": FILTERED}] * 8


def make_text_file(path: Path) -> None:
    path.write_text("not a database, but long enough to have a header of a hundred bytes " * 3)


def make_other_database(path: Path) -> None:
    alter(path, "CREATE TABLE people (name TEXT)")


def make_later_version(path: Path) -> None:
    store(path, {"a": respond("later")})
    alter(path, "PRAGMA user_version = 3")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        pytest.param(make_text_file, "file is not a database; it is not a journal", id="text"),
        pytest.param(make_other_database, "a database of something else", id="other database"),
        pytest.param(
            make_later_version,
            "a journal of version 3, this program writes version 2; use the program",
            id="other version",
        ),
        pytest.param(Path.mkdir, "unable to open database file; check that", id="folder"),
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

    assert str(path) in str(raised.value)
    assert message in str(raised.value)
    assert (path.read_bytes() if path.is_file() else None) == before


def test_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match=r"file/journal\.sqlite: no folder for the journal"):
        SqliteJournal(tmp_path / "file" / "journal.sqlite").open()


def test_broken_pages_are_reported_with_a_remedy(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    store(path, {f"{i}": respond("x" * 1000) for i in range(100)})
    content = bytearray(path.read_bytes())
    content[4096 * 2 :] = b"\xa5" * (len(content) - 4096 * 2)
    path.write_bytes(content)

    with (
        SqliteJournal(path) as journal,
        pytest.raises(RunError, match=r"malformed; save what can be read"),
    ):
        asyncio.run(journal.find([f"{i}" for i in range(100)]))


def test_many_may_make_the_file_at_once(tmp_path: Path) -> None:
    def open_and_count(path: Path) -> int:
        with SqliteJournal(path) as journal:
            return journal.stats().rows

    with ThreadPoolExecutor(8) as openers:
        for i in range(20):
            assert list(openers.map(open_and_count, [tmp_path / f"{i}.sqlite"] * 8)) == [0] * 8
