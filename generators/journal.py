"""Every outcome ever paid for, in one SQLite file that all runs share.

A row is durable before `record` returns (write-ahead log, synchronous=FULL), and many rows share
one flush to the disk: what arrives while a transaction is being committed goes into the next one.
sqlite3 runs in one thread of its own, so that the file may be used from any event loop and any
thread. Several processes may share it; of two outcomes under one key the first one stays. Each
row names the run that paid for it, and carries a checksum of key, model and outcome: a row that
does not match its own is dropped and counts as not there.
"""

import asyncio
import hashlib
import json
import logging
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import NamedTuple, Self, TypeVar

from pydantic import TypeAdapter

from generators.clients import Outcome
from generators.errors import RunError
from generators.records import canonical_json

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
OUTCOME: TypeAdapter[Outcome] = TypeAdapter(Outcome)

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

log = logging.getLogger(__name__)
T = TypeVar("T")


class JournalStats(NamedTuple):
    """How much a journal holds."""

    rows: int
    per_model: dict[str, int]
    damaged: int
    """Rows dropped since this journal was opened, because their checksum did not match."""


class _Write(NamedTuple):
    """One call of `record`: its rows, and what to tell the caller when they are durable."""

    rows: list[tuple[str, str, str, str, str, int]]
    done: Future[None]


class _Read(NamedTuple):
    sound: dict[str, Outcome]
    damaged: list[str]


class SqliteJournal:
    """The journal in a SQLite file, made if it is not there. Use it as a context manager.

    What is recorded is put down to `run`; what is found may come from any. Every method raises
    RunError, with path and remedy, when the file cannot be used.
    """

    def __init__(self, path: str | Path, *, run: str = "") -> None:
        self.path = Path(path)
        self.run = run
        self._damaged = 0
        self._pending: list[_Write] = []
        self._lock = Lock()

    def __enter__(self) -> Self:
        return self.open()

    def __exit__(self, *_: object) -> None:
        self.close()

    def open(self) -> Self:
        """Open the file, or make it with its folder."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RunError(f"{self.path}: no folder for the journal: {error}") from error
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="journal")
        try:
            self._connection = self._thread.submit(self._connect).result()
        except BaseException:
            self._thread.shutdown()
            raise
        return self

    def close(self) -> None:
        """Write what is still waiting and close the file."""
        self._thread.submit(self._connection.close).result()
        self._thread.shutdown()

    async def find(self, keys: Sequence[str]) -> dict[str, Outcome]:
        """Return the outcomes that are stored, by key; damaged ones are dropped and left out."""
        if not keys:
            return {}
        return await asyncio.wrap_future(self._thread.submit(self._find, keys))

    async def record(self, outcomes: dict[str, Outcome], *, model: str) -> None:
        """Store outcomes; they are durable when this returns, and even if it is cancelled they
        are written. Keys that are stored already keep what they have."""
        if not outcomes:
            return
        write = _Write([self._make_row(key, model, o) for key, o in outcomes.items()], Future())
        with self._lock:
            if not self._pending:
                # Raises when the journal is closed, before anybody could wait for nothing.
                self._thread.submit(self._write_pending)
            self._pending.append(write)
        await asyncio.wrap_future(write.done)

    def stats(self) -> JournalStats:
        """Count what the journal holds."""
        counts = self._thread.submit(self._count).result()
        return JournalStats(sum(counts.values()), counts, self._damaged)

    def use(self, work: Callable[[sqlite3.Connection], T], *, writes: bool = False) -> T:
        """Have `work` do something with the file, in one transaction of the journal's own thread;
        texts come out as bytes. `writes` takes the write lock first."""
        return self._thread.submit(self._use, work, writes).result()

    def _use(self, work: Callable[[sqlite3.Connection], T], writes: bool) -> T:
        kind = "IMMEDIATE" if writes else "DEFERRED"
        with self._explaining(), _transaction(self._connection, kind):
            return work(self._connection)

    def _make_row(
        self, key: str, model: str, outcome: Outcome
    ) -> tuple[str, str, str, str, str, int]:
        text = canonical_json(outcome)
        checksum = sum_up(key.encode(), model.encode(), text.encode())
        return key, model, text, checksum.decode(), self.run, int(time.time())

    def _connect(self) -> sqlite3.Connection:
        """Connect, again and again while another process is turning the file into a journal:
        sqlite waits for locks, but not for the change to write-ahead logging."""
        give_up = time.monotonic() + BUSY_TIMEOUT_S
        while True:
            with self._explaining():
                try:
                    return self._connect_once()
                except sqlite3.OperationalError as error:
                    busy = error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY
                    if not busy or time.monotonic() > give_up:
                        raise
            time.sleep(0.01)

    def _connect_once(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self.path, timeout=BUSY_TIMEOUT_S, isolation_level=None)
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

    def _write_pending(self) -> None:
        """Write everything that waits in one transaction, and tell those who wait for it."""
        with self._lock:
            writes, self._pending = self._pending, []
        waiting = [write for write in writes if write.done.set_running_or_notify_cancel()]
        try:
            with self._explaining(), _transaction(self._connection):
                self._connection.executemany(
                    "INSERT OR IGNORE INTO outcomes VALUES (?, ?, ?, ?, ?, ?)",
                    (row for write in writes for row in write.rows),
                )
        except Exception as error:
            for write in waiting:
                write.done.set_exception(error)
        else:
            for write in waiting:
                write.done.set_result(None)

    def _find(self, keys: Sequence[str]) -> dict[str, Outcome]:
        with self._explaining():
            read = self._read(keys)
            if read.damaged:
                # Read again under the write lock: another process may have mended them meanwhile.
                with _transaction(self._connection):
                    again = self._read(read.damaged)
                    self._drop(again.damaged)
                read.sound.update(again.sound)
            return read.sound

    def _read(self, keys: Sequence[str]) -> _Read:
        read = _Read({}, [])
        rows = self._connection.execute(
            "SELECT key, model, outcome, checksum FROM outcomes "
            "WHERE key IN (SELECT value FROM json_each(?))",
            (json.dumps(list(keys)),),
        )
        for key, model, text, checksum in rows:
            name = key.decode(errors="replace")
            try:
                if checksum != sum_up(key, model, text):
                    raise ValueError("checksum")
                read.sound[name] = OUTCOME.validate_json(text)
            except ValueError:
                read.damaged.append(name)
        return read

    def _drop(self, keys: Sequence[str]) -> None:
        for key in keys:
            log.warning("%s: row %s is damaged; dropped, it will be asked again", self.path, key)
            self._connection.execute("DELETE FROM outcomes WHERE key = ?", (key,))
        self._damaged += len(keys)

    def _count(self) -> dict[str, int]:
        with self._explaining():
            rows = self._connection.execute(
                "SELECT model, count(*) FROM outcomes GROUP BY model ORDER BY model"
            )
            return {model.decode(errors="replace"): count for model, count in rows}

    @contextmanager
    def _explaining(self) -> Iterator[None]:
        """Turn what sqlite3 raises into a RunError with path and remedy."""
        try:
            yield
        except sqlite3.Error as error:
            code = getattr(error, "sqlite_errorcode", 0) & 0xFF  # the low byte is the kind
            remedy = REMEDIES.get(code, "move the file away, or name another path")
            raise RunError(f"{self.path}: {error}; {remedy}") from error


def sum_up(key: bytes, model: bytes, text: bytes) -> bytes:
    """The checksum of a row."""
    return hashlib.sha256(b"\n".join((key, model, text))).hexdigest()[:32].encode()


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
