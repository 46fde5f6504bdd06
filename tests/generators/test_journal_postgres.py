"""What only the journal on PostgreSQL has: a server, which may be down, gone, or another's."""

import asyncio
import logging
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import pytest

from generators.clients import Outcome
from generators.database_journal import Aim, DatabaseJournal, T, Table
from generators.errors import RunError
from generators.journal_place import make_journal
from generators.journal_postgres import PATIENCE_S, PostgresJournal
from generators.journal_tools import count_holdings
from tests.generators.journals import FILTERED, alter, list_keys, load, respond, store
from tests.postgres_server import PASSWORD, USER, PostgresServer

UNREACHABLE = (
    "; check the URL, and that the server runs and lets this user in; a password comes from "
    "PGPASSWORD or ~/.pgpass"
)
BREAK_OFF = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
    "WHERE application_name = 'tutelage journal' AND datname = current_database()"
)


@pytest.fixture
def url(postgres: PostgresServer) -> str:
    """A database with nothing in it."""
    return postgres.make_database()


def test_calls_during_a_commit_share_the_next_one(url: str) -> None:
    async def record_many(journal: DatabaseJournal) -> None:
        calls = (journal.record({f"{i}": respond(f"{i}")}, model="m") for i in range(200))
        await asyncio.gather(*calls)

    with make_journal(url) as journal:
        asyncio.run(record_many(journal))
        assert journal.stats().rows == 200
    ((transactions,),) = alter(url, "SELECT count(DISTINCT xmin::text) FROM outcomes")
    assert 1 <= transactions <= 20


def test_commits_wait_for_the_disk_whatever_the_database_says(url: str) -> None:
    store(url, {})
    name = url.rpartition("/")[2]
    alter(url, f"ALTER DATABASE {name} SET synchronous_commit = off")
    assert alter(url, "SHOW synchronous_commit") == [("off",)]
    with PostgresJournal(url) as journal:
        ask = journal._connection.execute
        asked = journal._thread.submit(lambda: ask("SHOW synchronous_commit").fetchone())
        assert asked.result() == (b"on",)


def test_writers_of_the_same_keys_never_wait_crosswise(url: str) -> None:
    """Each in the opposite order of the other: without an order of its own this deadlocks."""
    keys = [f"{i:03}" for i in range(300)]

    def write(keys: list[str], name: str) -> None:
        with make_journal(url) as journal:
            for i in range(20):
                outcomes: dict[str, Outcome] = {f"{i}-{key}": respond(name) for key in keys}
                asyncio.run(journal.record(outcomes, model=name))

    with ThreadPoolExecutor() as threads:
        writers = [threads.submit(write, *way) for way in ((keys, "a"), (keys[::-1], "b"))]
        for writer in writers:
            writer.result()
    with make_journal(url) as journal:
        assert journal.stats().rows == 20 * len(keys)
    ((deadlocks,),) = alter(
        url, "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
    )
    assert deadlocks == 0


def test_dropped_connection_is_made_again(url: str, caplog: pytest.LogCaptureFixture) -> None:
    with make_journal(url) as journal, caplog.at_level(logging.WARNING, "generators"):
        asyncio.run(journal.record({"a": respond("1")}, model="m"))
        alter(url, BREAK_OFF)
        asyncio.run(journal.record({"b": respond("2")}, model="m"))
        alter(url, BREAK_OFF)
        found = asyncio.run(journal.find(["a", "b"]))
        alter(url, BREAK_OFF)
        assert count_holdings(journal).rows == 2
    assert found == {"a": respond("1"), "b": respond("2")}
    told = [record.getMessage() for record in caplog.records]
    assert len(told) == 3
    for message in told:
        assert message.startswith(f"{url}: connection lost (")
        assert message.endswith("); connecting again")


def test_work_whose_commit_nobody_heard_of_is_done_again_without_harm(url: str) -> None:
    """The rows are committed, and the connection is cut before anybody is told."""

    class CutJournal(PostgresJournal):
        cuts = 0

        def _try(self, work: Callable[[Table], T], aim: Aim) -> T:
            done = super()._try(work, aim)
            if aim == "add" and self.cuts == 0:
                self.cuts += 1
                alter(url, BREAK_OFF)
                self._connection.execute("SELECT 1")
            return done

    with CutJournal(url) as journal:
        asyncio.run(journal.record({"a": respond("1"), "b": FILTERED}, model="m"))
        assert journal.cuts == 1
        assert journal.stats().rows == 2
    assert load(url, "a", "b") == {"a": respond("1"), "b": FILTERED}


def test_outages_of_the_server_lose_nothing_that_was_acknowledged(
    postgres: PostgresServer, url: str
) -> None:
    count, acknowledged, wanted = 400, [], threading.Semaphore(0)

    async def write(journal: DatabaseJournal) -> None:
        coming = iter(range(count))

        async def write_on() -> None:
            for i in coming:
                await journal.record({f"{i}": respond(f"{i}")}, model="m")
                acknowledged.append(f"{i}")
                wanted.release()

        await asyncio.gather(*(write_on() for _ in range(8)))

    with make_journal(url) as journal:
        writer = threading.Thread(target=lambda: asyncio.run(write(journal)))
        writer.start()
        for _ in range(3):
            for _ in range(80):
                assert wanted.acquire(timeout=60)
            postgres.kill()
            before = set(acknowledged)
            postgres.start()
            assert before <= set(list_keys(url))
        writer.join()
    assert sorted(acknowledged) == list_keys(url) == sorted(f"{i}" for i in range(count))
    assert load(url, *acknowledged) == {f"{i}": respond(f"{i}") for i in range(count)}


def test_server_that_stays_away_ends_the_wait_with_a_remedy(
    postgres: PostgresServer, url: str
) -> None:
    with PostgresJournal(url) as journal:
        asyncio.run(journal.record({"a": respond("1")}, model="m"))
        journal._patience_s = 0.3
        postgres.kill()
        try:
            for key in "bc":
                with pytest.raises(RunError) as raised:
                    asyncio.run(journal.record({key: respond("2")}, model="m"))
                assert str(raised.value) == (
                    f'{url}: connection failed: connection to server at "127.0.0.1", port'
                    f" {urlsplit(url).port} failed: Connection refused Is the server running on"
                    f" that host and accepting TCP/IP connections?{UNREACHABLE}"
                )
        finally:
            postgres.start()
        asyncio.run(journal.record({"d": respond("3")}, model="m"))
    assert list_keys(url) == ["a", "d"]


def test_closing_does_not_wait_for_a_lost_server(postgres: PostgresServer, url: str) -> None:
    """As when a run is interrupted while the server is away."""
    errors: list[RunError] = []

    def record(journal: DatabaseJournal) -> None:
        try:
            asyncio.run(journal.record({"a": respond("1")}, model="m"))
        except RunError as error:
            errors.append(error)

    journal = PostgresJournal(url).open()
    postgres.kill()
    try:
        recorder = threading.Thread(target=record, args=(journal,))
        recorder.start()
        recorder.join(1)
        assert recorder.is_alive()
        asked = time.monotonic()
        journal.close()
        assert time.monotonic() - asked < PATIENCE_S / 2
        recorder.join(10)
        assert len(errors) == 1
    finally:
        postgres.start()


def refuse(url: str, *, must_exist: bool = False) -> str:
    """Open a journal that cannot be opened; what is said."""
    with pytest.raises(RunError) as raised:
        make_journal(url, must_exist=must_exist).open()
    return str(raised.value)


def test_server_that_does_not_run_is_told(postgres: PostgresServer) -> None:
    url = f"postgresql://{USER}@127.0.0.1:1/journal"
    told = refuse(url)
    assert told.startswith(f'{url}: connection failed: connection to server at "127.0.0.1", port 1')
    assert told.endswith(UNREACHABLE)


def test_missing_database_is_told(postgres: PostgresServer) -> None:
    url = postgres.url("nowhere")
    told = refuse(url)
    assert told.startswith(f"{url}: ")
    assert 'FATAL: database "nowhere" does not exist' in told
    assert told.endswith(UNREACHABLE)


def test_wrong_password_is_told_and_never_shown(url: str) -> None:
    told = refuse(url.replace(USER, f"{USER}:wrong-word"))
    assert told.startswith(f"{url.replace(USER, f'{USER}:***')}: ")
    assert f'FATAL: password authentication failed for user "{USER}"' in told
    assert "wrong-word" not in told


@pytest.mark.parametrize(
    ("url", "place", "cause"),
    [
        pytest.param(
            "postgresql://me@host/db?colour=red",
            "postgresql://me@host/db?colour=red",
            'invalid URI query parameter: "colour"',
            id="unknown setting",
        ),
        pytest.param(
            "postgresql://me:sec%ZZret@host/db",
            "postgresql://me:***@host/db",
            "characters in its password want escaping",
            id="password that is no URL's",
        ),
        pytest.param(
            "postgresql://me:sec/ret@host/db",
            "postgresql://me:***@host/db",
            "characters in its password want escaping",
            id="slash in the password",
        ),
    ],
)
def test_url_that_cannot_be_read_is_told(url: str, place: str, cause: str) -> None:
    assert refuse(url) == (
        f"{place}: no URL that PostgreSQL understands ({cause}); "
        "write postgresql://user@host:port/database"
    )


def test_later_version_is_refused(url: str) -> None:
    store(url, {"a": respond("later")})
    alter(url, "UPDATE journal SET version = 2")
    assert refuse(url) == (
        f"{url}: a journal of version 2, this program writes version 1; use the program that "
        "wrote it, or name another database"
    )
    assert list_keys(url) == ["a"]


def test_schema_of_something_else_is_refused_and_left_alone(url: str) -> None:
    alter(url, "CREATE SCHEMA tutelage")
    alter(url, "CREATE TABLE outcomes (name text)")
    assert refuse(url) == (
        f"{url}: the schema tutelage in it is of something else; name another database"
    )
    tables = "SELECT tablename FROM pg_tables WHERE schemaname = 'tutelage'"
    assert alter(url, tables) == [("outcomes",)]


def test_database_that_cannot_hold_every_character_is_refused(postgres: PostgresServer) -> None:
    url = postgres.make_database("ENCODING 'LATIN1' TEMPLATE template0")
    assert refuse(url) == (
        f"{url}: the database's encoding is LATIN1, and answers may hold any character; name a "
        "database that was made with ENCODING 'UTF8'"
    )


def test_missing_journal_is_not_made_by_who_only_looks(url: str) -> None:
    told = f"{url}: no such journal; check the database's name"
    assert refuse(url, must_exist=True) == told
    assert alter(url, "SELECT nspname FROM pg_namespace WHERE nspname = 'tutelage'") == []


def test_user_without_rights_is_told_what_to_ask_for(postgres: PostgresServer, url: str) -> None:
    alter(url, f"CREATE ROLE guest LOGIN PASSWORD '{PASSWORD}'")
    guest = url.replace(USER, "guest")
    told = refuse(guest)
    assert told.startswith(f"{guest}: permission denied for database ")
    assert told.endswith(
        "; have the database's owner let this user in (GRANT CREATE ON DATABASE, or for a journal "
        "that is there, GRANT ALL on schema tutelage and its tables)"
    )
    store(url, {"a": respond("1")})
    alter(url, "GRANT USAGE ON SCHEMA tutelage TO guest")
    alter(url, "GRANT ALL ON ALL TABLES IN SCHEMA tutelage TO guest")
    store(guest, {"b": respond("2")})
    assert load(guest, "a", "b") == {"a": respond("1"), "b": respond("2")}


def test_missing_driver_says_how_to_install_it() -> None:
    code = (
        "import sys; sys.modules['psycopg'] = None\n"
        "from flows import cli\n"
        "sys.exit(cli.main(['journal', 'stats', 'postgresql://me:secret@host/db']))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(
        "tutelage: postgresql://me:***@host/db: a journal on PostgreSQL needs psycopg ("
    )
    assert done.stderr.endswith("). Please install it: pip install 'psycopg[binary]'\n")
