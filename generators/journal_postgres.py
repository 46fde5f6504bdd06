"""The journal in a PostgreSQL database, for runs on many machines at once.

One database holds one journal, in a schema of its own, `tutelage`. Rows are written by single
statements with synchronous_commit on, so what `record` has returned from survives the server's
crash. A dropped connection is made again, and the work that it broke off is done again: that is
safe even if the first try was committed unheard, since of two outcomes under one key the first
one stays. A password comes from where PostgreSQL looks for it: PGPASSWORD, PGPASSFILE, ~/.pgpass.

Source: https://www.postgresql.org/docs/current/errcodes-appendix.html for what errors mean.
"""

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from threading import Event
from typing import Any, LiteralString

import psycopg
from psycopg import Connection
from psycopg.adapt import Loader
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from generators.database_journal import Aim, DatabaseJournal, T, Table
from generators.errors import RunError
from generators.journal_place import mask_passwords
from generators.journal_rows import NewRow, StoredRow

MAKING = 0x7475746C  # "tutl": the lock held by whoever makes the journal or brings it up to date
STEPS: tuple[tuple[LiteralString, ...], ...] = (
    (
        "CREATE SCHEMA tutelage",
        "CREATE TABLE tutelage.journal (version integer NOT NULL)",
        "INSERT INTO tutelage.journal VALUES (0)",
        "CREATE TABLE tutelage.outcomes (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, "
        'key text COLLATE "C" UNIQUE NOT NULL, model text NOT NULL, outcome text NOT NULL, '
        "checksum text NOT NULL, run text NOT NULL, at bigint NOT NULL)",
        "CREATE INDEX outcomes_by_run ON tutelage.outcomes (run, model)",
    ),
)
"""What makes each version of the journal out of the one before; a new one goes through all."""
SCHEMA_VERSION = len(STEPS)

CONNECTION = {
    "connect_timeout": "10",
    "keepalives_idle": "30",
    "keepalives_interval": "10",
    "keepalives_count": "3",
    "tcp_user_timeout": "60000",
    "application_name": "tutelage journal",
}
"""How connections are made, in libpq's words; the URL may say otherwise. With these a server that
has vanished is noticed within a minute."""
PATIENCE_S = 60
"""How long a lost server is waited for."""
SCAN_ROWS = 500
"""Rows fetched at a time where all are read."""

REMEDIES = {
    "25006": "name the primary server: this one only reads",
    "42501": "have the database's owner let this user in (GRANT CREATE ON DATABASE, or for a "
    "journal that is there, GRANT ALL on schema tutelage and its tables)",
    "53100": "make room on the server's disk and run again; what was journalled is kept",
    "57014": "raise statement_timeout for this user",
    "XX001": "restore the database from a backup, or name another one",
    "XX002": "rebuild the index: REINDEX TABLE tutelage.outcomes",
}
TRANSIENT = {"40001", "40P01"}
"""Two transactions in each other's way: one of them is to begin again."""
UNREACHABLE = (
    "check the URL, and that the server runs and lets this user in; a password comes from "
    "PGPASSWORD or ~/.pgpass"
)
COLUMNS: LiteralString = "key, model, outcome, checksum, run, at"

log = logging.getLogger(__name__)


class PostgresJournal(DatabaseJournal):
    """The journal in a PostgreSQL database, made if it is not there, unless it `must_exist`."""

    def __init__(self, url: str, *, run: str = "", must_exist: bool = False) -> None:
        super().__init__(mask_passwords(url), run)
        self._url = url
        self._must_exist = must_exist
        self._patience_s = float(PATIENCE_S)
        self._closing = Event()

    def close(self) -> None:
        """Write what is still waiting and disconnect; a lost server is not waited for."""
        self._closing.set()
        super().close()
        self._closing.clear()

    def _connect(self) -> None:
        with self._explaining(UNREACHABLE):
            connection = self._open_connection()
        try:
            with self._explaining():
                self._prepare(connection)
        except BaseException:
            connection.close()
            raise
        self._connection = connection

    def _open_connection(self) -> Connection:
        settings = CONNECTION | self._read_url() | {"client_encoding": "UTF8"}
        connection = psycopg.connect(make_conninfo(**settings), autocommit=True)
        connection.adapters.register_loader("text", _BytesLoader)
        return connection

    def _read_url(self) -> dict[str, Any]:
        cause, masked = "characters in its password want escaping", self.place != self._url
        try:
            settings = conninfo_to_dict(self._url)
            if not masked or {"password", "sslpassword"} & {*settings}:
                return settings
        except psycopg.ProgrammingError as error:
            # libpq repeats what it cannot read, which may be a password.
            cause = cause if masked else self._tell(error)
        raise RunError(
            f"{self.place}: no URL that PostgreSQL understands ({cause}); "
            "write postgresql://user@host:port/database"
        )

    def _disconnect(self) -> None:
        self._connection.close()

    def _prepare(self, connection: Connection) -> None:
        """Check whose database it is before anything in it is changed, then make it ours."""
        connection.execute("SET synchronous_commit = on")
        if self._read_version(connection) == SCHEMA_VERSION:
            return
        with connection.transaction():
            # Two processes may both arrive here; the second finds what the first one made.
            connection.execute("SELECT pg_advisory_xact_lock(%s)", (MAKING,))
            for statements in STEPS[self._read_version(connection) :]:
                for statement in statements:
                    connection.execute(statement)
            connection.execute("UPDATE tutelage.journal SET version = %s", (SCHEMA_VERSION,))

    def _read_version(self, connection: Connection) -> int:
        """The journal's version; 0 where there is none. Raises RunError for anything else."""
        # From the catalogues: what functions know of names may date from before a lock was waited
        # for.
        query = (
            "SELECT current_setting('server_encoding'), "
            "EXISTS (SELECT FROM pg_namespace WHERE nspname = 'tutelage'), EXISTS "
            "(SELECT FROM pg_tables WHERE schemaname = 'tutelage' AND tablename = 'journal')"
        )
        encoding, schema, journal = _fetch_one(connection, query)
        if encoding != b"UTF8":
            raise RunError(
                f"{self.place}: the database's encoding is {encoding.decode()}, and answers may "
                "hold any character; name a database that was made with ENCODING 'UTF8'"
            )
        if schema and not journal:
            raise RunError(
                f"{self.place}: the schema tutelage in it is of something else; name another "
                "database"
            )
        version = _fetch_one(connection, "SELECT version FROM tutelage.journal")[0] if schema else 0
        if version > SCHEMA_VERSION:
            raise RunError(
                f"{self.place}: a journal of version {version}, this program writes version "
                f"{SCHEMA_VERSION}; use the program that wrote it, or name another database"
            )
        if version == 0 and self._must_exist:
            raise RunError(f"{self.place}: no such journal; check the database's name")
        return version

    def _transact(self, work: Callable[[Table], T], aim: Aim) -> T:
        with self._explaining():
            return self._insist(lambda: self._try(work, aim))

    def _try(self, work: Callable[[Table], T], aim: Aim) -> T:
        connection = self._connection
        if aim in ("read", "add"):
            return work(_PostgresTable(connection))  # one statement: a transaction by itself
        with connection.transaction():
            if aim == "change":
                connection.execute("LOCK TABLE tutelage.outcomes IN SHARE ROW EXCLUSIVE MODE")
            return work(_PostgresTable(connection))

    def _insist(self, work: Callable[[], T]) -> T:
        """Do work again after a dropped connection, or one that was in another's way."""
        give_up = time.monotonic() + self._patience_s
        while True:
            try:
                done = work()
            except psycopg.Error as error:
                if self._connection.closed:
                    self._reconnect(error, give_up)
                elif error.sqlstate not in TRANSIENT or time.monotonic() > give_up:
                    raise
            else:
                self._patience_s = float(PATIENCE_S)
                return done

    def _reconnect(self, lost: psycopg.Error, give_up: float) -> None:
        """Connect again, over and over; raises the last RunError when it has been too long."""
        log.warning("%s: connection lost (%s); connecting again", self.place, self._tell(lost))
        wait = 0.05
        while True:
            try:
                return self._connect()
            except RunError as error:
                unreachable = isinstance(error.__cause__, psycopg.OperationalError)
                over = self._closing.is_set() or time.monotonic() + wait > give_up
                if over or not unreachable:
                    # Whoever comes after this one need not wait as long once more.
                    self._patience_s = 0
                    raise
            self._closing.wait(wait)
            wait = min(2 * wait, 1)

    @contextmanager
    def _explaining(self, remedy: str = "") -> Iterator[None]:
        """Turn what psycopg raises into a RunError with place and remedy."""
        try:
            yield
        except psycopg.Error as error:
            fallback = "look into the server's log, or name another database"
            remedy = remedy or REMEDIES.get(error.sqlstate or "", fallback)
            raise RunError(f"{self.place}: {self._tell(error)}; {remedy}") from error

    def _tell(self, error: psycopg.Error) -> str:
        """What psycopg says, in one line."""
        return " ".join(str(error).split())


class _BytesLoader(Loader):
    """Gives texts as bytes: damaged ones may not be UTF-8."""

    def load(self, data: bytes | bytearray | memoryview) -> bytes:
        return bytes(data)


class _PostgresTable:
    """The rows of a PostgreSQL database."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def add(self, rows: Sequence[NewRow]) -> int:
        # In the order of their keys, so that two writers of the same keys never wait crosswise.
        columns = list(zip(*sorted(rows, key=lambda row: row.key), strict=True))
        written = self._connection.execute(
            f"INSERT INTO tutelage.outcomes ({COLUMNS}) SELECT * FROM unnest("
            "%s::text[], %s::text[], %s::text[], %s::text[], %s::text[], %s::bigint[]) "
            "ON CONFLICT (key) DO NOTHING",
            [list(column) for column in columns],
        )
        return written.rowcount

    def find(self, keys: Sequence[str]) -> Iterator[StoredRow]:
        query = f"SELECT id, {COLUMNS} FROM tutelage.outcomes WHERE key = ANY(%s)"
        return map(StoredRow._make, self._connection.execute(query, (list(keys),)))

    def scan(self) -> Iterator[StoredRow]:
        query = f"SELECT id, {COLUMNS} FROM tutelage.outcomes ORDER BY id"
        with self._connection.cursor("scan") as cursor:
            cursor.itersize = SCAN_ROWS
            yield from map(StoredRow._make, cursor.execute(query))

    def delete(self, ids: Sequence[int]) -> None:
        delete = "DELETE FROM tutelage.outcomes WHERE id = ANY(%s)"
        self._connection.execute(delete, (list(ids),))

    def count(self) -> Iterator[tuple[bytes, int]]:
        query = "SELECT model, count(*) FROM tutelage.outcomes GROUP BY model ORDER BY model"
        return iter(self._connection.execute(query))

    def sum_usage(self, run: str) -> Iterator[tuple[bytes, int | None, int | None]]:
        # Not by PostgreSQL's own reading of JSON, which refuses the whole outcome where an answer
        # holds \u0000 and wherever a row is damaged. Within JSON's strings quotes are escaped, so
        # the pattern finds the field itself only.
        tokens = r"""substring(outcome FROM '"usage":\{[^{}]*"%s":([0-9]{1,15})')::bigint"""
        prompt, completion = tokens % "prompt_tokens", tokens % "completion_tokens"
        query = (
            f"SELECT model, sum({prompt})::bigint, sum({completion})::bigint "
            "FROM tutelage.outcomes WHERE run = %s GROUP BY model ORDER BY model"
        )
        return iter(self._connection.execute(query, (run,)))


def _fetch_one(connection: Connection, query: LiteralString) -> tuple[Any, ...]:
    row = connection.execute(query).fetchone()
    assert row is not None
    return row
