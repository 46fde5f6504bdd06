import asyncio
import logging
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from threading import Thread

import pytest

from generators.clients import Outcome
from generators.database_journal import DatabaseJournal, JournalStats
from generators.journal_place import is_postgres, make_journal
from tests.generators.journals import FILTERED, RICH, alter, forget, load, respond, store


def test_outcomes_come_back_as_they_were(place: str) -> None:
    store(place, {"a": RICH, "b": FILTERED})

    assert load(place, "a", "b", "c") == {"a": RICH, "b": FILTERED}


def test_first_outcome_under_a_key_stays(place: str) -> None:
    store(place, {"a": respond("first")})
    store(place, {"a": respond("second"), "b": respond("new")})

    assert load(place, "a", "b") == {"a": respond("first"), "b": respond("new")}


def test_more_keys_than_a_query_has_variables(place: str) -> None:
    outcomes: dict[str, Outcome] = {f"{i:05}": respond(str(i)) for i in range(40_000)}
    store(place, outcomes)

    assert load(place, *outcomes) == outcomes


def test_stats_count_rows_per_model(place: str) -> None:
    store(place, {"a": respond("1"), "b": respond("2")}, "large@1")
    store(place, {"c": respond("3")}, "small@1")

    with make_journal(place) as journal:
        assert journal.stats() == JournalStats(3, {"large@1": 2, "small@1": 1}, 0)


def test_threads_with_loops_of_their_own_share_one_journal(place: str) -> None:
    found: dict[str, Outcome] = {}

    async def work(journal: DatabaseJournal, name: str) -> None:
        for i in range(20):
            await journal.record({f"{name}{i}": respond(f"{name}{i}")}, model=name)
            found.update(await journal.find([f"{name}{i}"]))

    with make_journal(place) as journal:
        threads = [
            Thread(target=lambda name=name: asyncio.run(work(journal, name))) for name in "abcd"
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert journal.stats().per_model == dict.fromkeys("abcd", 20)
    assert found == {f"{name}{i}": respond(f"{name}{i}") for name in "abcd" for i in range(20)}


def test_cancelled_call_is_written_all_the_same(place: str) -> None:
    async def cancel(journal: DatabaseJournal) -> None:
        task = asyncio.create_task(journal.record({"a": respond("paid for")}, model="m"))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    with make_journal(place) as journal:
        asyncio.run(cancel(journal))

    assert load(place, "a") == {"a": respond("paid for")}


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
    place: str, caplog: pytest.LogCaptureFixture, statement: str, value: object
) -> None:
    store(place, {"a": respond("good"), "b": respond("sound")})
    if is_postgres(place):
        # Bytes that are no UTF-8 become a text unchecked only where the types are the same.
        alter(place, "CREATE CAST (bytea AS text) WITHOUT FUNCTION")
    alter(place, statement, value)

    with make_journal(place) as journal, caplog.at_level(logging.WARNING):
        assert asyncio.run(journal.find(["a", "b"])) == {"b": respond("sound")}
        assert journal.stats() == JournalStats(1, {"m": 1}, damaged=1)
        asyncio.run(journal.record({"a": respond("again")}, model="m"))
        assert asyncio.run(journal.find(["a"])) == {"a": respond("again")}
    assert [record.getMessage() for record in caplog.records] == [
        f"{place}: row a is damaged; dropped, it will be asked again"
    ]


def test_processes_write_the_same_journal(place: str) -> None:
    program = """
import asyncio, sys
from generators.clients import Response
from generators.journal_place import make_journal
from generators.records import Usage

async def work(journal, name):
    for i in range(60):
        outcome = Response(text=name, finish_reason="stop", usage=Usage())
        keys = f"shared{i}", f"{name}{i}"
        first = await journal.record(dict.fromkeys(keys, outcome), model=name)
        assert first.keys() <= {keys[0]}
        print(first.get(keys[0], outcome).text)

with make_journal(sys.argv[1]) as journal:
    asyncio.run(work(journal, sys.argv[2]))
"""
    runs = [
        subprocess.Popen(
            [sys.executable, "-c", program, place, name], stdout=subprocess.PIPE, text=True
        )
        for name in ("left", "right")
    ]
    seen = [run.communicate(timeout=60)[0].split() for run in runs]

    stored = load(place, *(f"shared{i}" for i in range(60)))
    winners = [o.text for o in (stored[f"shared{i}"] for i in range(60)) if o.kind == "response"]
    assert seen == [winners, winners]
    with make_journal(place) as journal:
        assert journal.stats().rows == 180


def test_closed_journal_lets_nobody_wait(place: str) -> None:
    """Two threads of a run that was interrupted: each learns it, also the one that comes second."""
    journal = make_journal(place).open()
    journal.close()

    async def record(key: str) -> None:
        await asyncio.wait_for(journal.record({key: respond("late")}, model="m"), 5)

    for key in "ab":
        with pytest.raises(RuntimeError) as caught:
            asyncio.run(record(key))
        assert str(caught.value) == f"{place}: the journal is closed"


def test_row_names_the_run_that_paid_and_when(place: str) -> None:
    before = int(time.time())
    with make_journal(place, run="first") as journal:
        asyncio.run(journal.record({"a": respond("1")}, model="m"))
    with make_journal(place, run="second") as journal:
        asyncio.run(journal.record({"a": respond("2"), "b": respond("3")}, model="m"))

    rows = alter(place, "SELECT key, run, at FROM outcomes ORDER BY key")
    assert [row[:2] for row in rows] == [("a", "first"), ("b", "second")]
    moments = [row[2] for row in rows]
    assert all(isinstance(m, int) and before <= m <= time.time() for m in moments)


def test_many_may_make_the_journal_at_once(place: str) -> None:
    def open_and_count(_: int) -> int:
        with make_journal(place) as journal:
            return journal.stats().rows

    with ThreadPoolExecutor(8) as openers:
        for _ in range(20):
            assert list(openers.map(open_and_count, range(8))) == [0] * 8
            forget(place)
