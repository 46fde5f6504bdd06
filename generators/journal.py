"""The journal in one SQLite file.

The file has a write-ahead log with synchronous=FULL: what is committed survives an outage. Whose
file it is, and of which version, its header says; a file of something else is left alone. What
all journals do is in `generators.database_journal`.
"""

import json
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import Any, Self

from generators.database_journal import Aim, DatabaseJournal, T, Table
from generators.errors import RunError
from generators.journal_rows import NewRow, StoredRow

APPLICATION_ID = 0x7475746C  # "tutl", in the file's header
STEPS = (
    (
        "CREATE TABLE outcomes (key TEXT PRIMARY KEY, model TEXT NOT NULL, "
        "outcome TEXT NOT NULL, checksum TEXT NOT NULL)",
        "CREATE INDEX outcomes_by_model ON outcomes (model)",
        f"PRAGMA application_id = {APPLICATION_ID}",
    ),
    (
        "ALTER TABLE outcomes ADD COLUMN run TEXT NOT NULL DEFAULT ''",
        "ALTER TABLE outcomes ADD COLUMN at INTEGER NOT NULL DEFAULT 0",
        "CREATE INDEX outcomes_by_run ON outcomes (run, model)",
    ),
)
"""What makes each version of the file out of the one before; a new file goes through all."""
SCHEMA_VERSION = len(STEPS)
BUSY_TIMEOUT_S = 60
SLOW_WRITE_S = 0.005
"""A write that takes longer holds an event loop up: the disk is slow, or busy."""
SLOW_PAUSE_S = 1.0
"""So long the journal's thread writes after a slow write in an event loop."""
FEW_ROWS = 256
"""So many are written by one statement, out of one text; SQLite holds no text of a gigabyte."""

REMEDIES = {
    sqlite3.SQLITE_FULL: "make room on that disk and run again; what was journalled is kept",
    sqlite3.SQLITE_IOERR: "check that disk (network folders cannot hold a journal) and run again",
    sqlite3.SQLITE_BUSY: "another process holds it; wait for it to end and run again",
    sqlite3.SQLITE_CANTOPEN: "check that the folder exists and may be written to",
    sqlite3.SQLITE_READONLY: "make the file and its folder writable",
    sqlite3.SQLITE_NOTADB: "it is not a journal; move it away or name another path",
    sqlite3.SQLITE_CORRUPT: "save what can be read with `sqlite3 OLD .recover | sqlite3 NEW`, "
    "or move it away",
}
COLUMNS = "rowid, key, model, outcome, checksum, run, at"


class SqliteJournal(DatabaseJournal):
    """The journal in a SQLite file, made if it is not there."""

    def __init__(self, path: str | Path, *, run: str = "") -> None:
        super().__init__(str(path), run)
        self.path = Path(path)
        self._here_lock = Lock()
        self._slow_until = 0.0

    def open(self) -> Self:
        """Open the file, or make it with its folder."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RunError(f"{self.path}: no folder for the journal: {error}") from error
        return super().open()

    def _connect(self) -> None:
        """Connect, again and again while another process is turning the file into a journal:
        sqlite waits for locks, but not for the change to write-ahead logging."""
        give_up = time.monotonic() + BUSY_TIMEOUT_S
        while True:
            with self._explaining():
                try:
                    self._connection = self._connect_once(BUSY_TIMEOUT_S)
                    self._here = self._connect_once(0, check_same_thread=False)
                    return
                except sqlite3.OperationalError as error:
                    busy = error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY
                    if not busy or time.monotonic() > give_up:
                        raise
            time.sleep(0.01)

    def _disconnect(self) -> None:
        with self._here_lock:
            self._here.close()
        self._connection.close()

    def _add_here(self, rows: Sequence[NewRow]) -> int | None:
        """Over a connection of its own, which waits for no lock."""
        began = time.monotonic()
        if len(rows) > FEW_ROWS or began < self._slow_until:
            return None
        if not self._here_lock.acquire(blocking=False):
            return None
        try:
            return _SqliteTable(self._here).add(rows)
        except sqlite3.Error:
            return None  # The thread tries again, and says what is wrong.
        finally:
            self._here_lock.release()
            ended = time.monotonic()
            if ended - began > SLOW_WRITE_S:
                self._slow_until = ended + SLOW_PAUSE_S

    def _transact(self, work: Callable[[Table], T], aim: Aim) -> T:
        table = _SqliteTable(self._connection)
        with self._explaining():
            if aim in ("read", "add"):
                return work(table)  # a transaction by itself
            with _transaction(self._connection, "DEFERRED" if aim == "scan" else "IMMEDIATE"):
                return work(table)

    def _connect_once(self, timeout_s: float, **options: Any) -> sqlite3.Connection:
        connection = sqlite3.connect(self.path, timeout=timeout_s, isolation_level=None, **options)
        try:
            self._prepare(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def _prepare(self, connection: sqlite3.Connection) -> None:
        """Check whose file it is before anything in it is changed, then make it ours."""
        connection.text_factory = bytes  # damaged text may not be UTF-8
        with _transaction(connection, "DEFERRED"):
            version = self._read_version(connection)
        if version < SCHEMA_VERSION:
            # Two processes may both arrive here; the second finds what the first one made.
            with _transaction(connection):
                for statements in STEPS[self._read_version(connection) :]:
                    for statement in statements:
                        connection.execute(statement)
                connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")

    def _read_version(self, connection: sqlite3.Connection) -> int:
        """The journal's version; 0 for an empty file. Raises RunError for anything else."""
        (owner,) = connection.execute("PRAGMA application_id").fetchone()
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        if owner == APPLICATION_ID and version > SCHEMA_VERSION:
            raise RunError(
                f"{self.path}: a journal of version {version}, this program writes version "
                f"{SCHEMA_VERSION}; use the program that wrote it, or name another path"
            )
        if owner != APPLICATION_ID and (owner or version or tables):
            raise RunError(
                f"{self.path}: {REMEDIES[sqlite3.SQLITE_NOTADB]} (a database of something else)"
            )
        return version

    @contextmanager
    def _explaining(self) -> Iterator[None]:
        """Turn what sqlite3 raises into a RunError with path and remedy."""
        try:
            yield
        except sqlite3.Error as error:
            code = getattr(error, "sqlite_errorcode", 0) & 0xFF  # the low byte is the kind
            remedy = REMEDIES.get(code, "move the file away, or name another path")
            raise RunError(f"{self.path}: {error}; {remedy}") from error


class _SqliteTable:
    """The rows of a SQLite file."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def add(self, rows: Sequence[NewRow]) -> int:
        if len(rows) > FEW_ROWS:
            insert = f"INSERT OR IGNORE INTO outcomes VALUES ({', '.join('?' * len(rows[0]))})"
            with _transaction(self._connection):
                return self._connection.executemany(insert, rows).rowcount
        # One statement: each gives the interpreter's lock away and has to wait for it again.
        fields = ", ".join(f"json_extract(value, '$[{i}]')" for i in range(len(NewRow._fields)))
        insert = f"INSERT OR IGNORE INTO outcomes SELECT {fields} FROM json_each(?)"
        return self._connection.execute(insert, (json.dumps(rows, ensure_ascii=False),)).rowcount

    def find(self, keys: Sequence[str]) -> Iterator[StoredRow]:
        among = "WHERE key IN (SELECT value FROM json_each(?))"
        query = f"SELECT {COLUMNS} FROM outcomes {among}"
        return map(StoredRow._make, self._connection.execute(query, (json.dumps(list(keys)),)))

    def scan(self) -> Iterator[StoredRow]:
        query = f"SELECT {COLUMNS} FROM outcomes ORDER BY rowid"
        return map(StoredRow._make, self._connection.execute(query))

    def delete(self, ids: Sequence[int]) -> None:
        delete = "DELETE FROM outcomes WHERE rowid = ?"
        self._connection.executemany(delete, [(id,) for id in ids])

    def count(self) -> Iterator[tuple[bytes, int]]:
        query = "SELECT model, count(*) FROM outcomes GROUP BY model ORDER BY model"
        return self._connection.execute(query)

    def sum_usage(self, run: str) -> Iterator[tuple[bytes, int | None, int | None]]:
        return self._connection.execute(
            "SELECT model, sum(json_extract(outcome, '$.usage.prompt_tokens')), "
            "sum(json_extract(outcome, '$.usage.completion_tokens')) "
            "FROM outcomes WHERE run = ? AND json_valid(outcome) GROUP BY model ORDER BY model",
            (run,),
        )


@contextmanager
def _transaction(connection: sqlite3.Connection, kind: str = "IMMEDIATE") -> Iterator[None]:
    connection.execute(f"BEGIN {kind}")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
