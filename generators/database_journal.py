"""Every outcome ever paid for, in a database that all runs share: what each database does alike.

A row is durable before `record` returns, and many rows share one flush to the disk: what arrives
while a transaction is being committed goes into the next one. So do look-ups share a query. It may
be used from any event loop and any thread, and has a thread of its own for whatever may take time;
where a database takes rows in next to no time they are written in the event loop, at the end of the
turn they came in, because crossing into a thread costs more than such a write. Several
processes may share it; of two outcomes under one key the first one stays. A row that does not match
its checksum is dropped and counts as not there.

`generators.journal` keeps the rows in a SQLite file, `generators.journal_postgres` in PostgreSQL;
`generators.journal_place` chooses.
"""

import asyncio
import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import chain
from threading import Lock
from typing import Generic, Literal, NamedTuple, Protocol, Self, TypeVar

from generators.clients import Outcome
from generators.journal_rows import NewRow, Read, StoredRow, decode, make_row, read_outcomes

Aim = Literal["read", "scan", "add", "change"]
"""What a piece of work is about: `read` asks one thing, `scan` goes through the rows as they stood
at one moment, `add` brings rows beside what other processes bring, `change` keeps other writers
out meanwhile."""

log = logging.getLogger(__name__)
T = TypeVar("T")
W = TypeVar("W")


class Table(Protocol):
    """The rows, as one database keeps them."""

    def add(self, rows: Sequence[NewRow]) -> int:
        """Write rows and count those written; where a key is there already, its row stays."""
        ...

    def find(self, keys: Sequence[str]) -> Iterator[StoredRow]:
        """The rows of some keys."""
        ...

    def scan(self) -> Iterator[StoredRow]:
        """All rows, the oldest first, and never all in memory; for a `scan` or a `change`."""
        ...

    def delete(self, ids: Sequence[int]) -> None:
        """Take rows away."""
        ...

    def count(self) -> Iterator[tuple[bytes, int]]:
        """How many rows each model has, by its name."""
        ...

    def sum_usage(self, run: str) -> Iterator[tuple[bytes, int | None, int | None]]:
        """Prompt and completion tokens by model, of a run's rows."""
        ...


class JournalStats(NamedTuple):
    """How much a journal holds."""

    rows: int
    per_model: dict[str, int]
    damaged: int
    """Rows dropped since this journal was opened, because their checksum did not match."""


class _Call(NamedTuple, Generic[W, T]):
    """What one caller wants of the database, and where it waits to be told."""

    wanted: W
    told: asyncio.Future[T]


class DatabaseJournal(ABC):
    """A journal in some database. Use it as a context manager.

    What is recorded is put down to `run`; what is found may come from any. Every method raises
    RunError, with the journal's place and a remedy, when the database cannot be used.
    """

    def __init__(self, place: str, run: str) -> None:
        self.place = place
        self.run = run
        self._damaged = 0
        self._writes: list[_Call[list[NewRow], dict[str, Outcome]]] = []
        self._finds: list[_Call[Sequence[str], dict[str, Outcome]]] = []
        self._lock = Lock()
        self._closed = True

    def __enter__(self) -> Self:
        return self.open()

    def __exit__(self, *_: object) -> None:
        self.close()

    def open(self) -> Self:
        """Connect; an empty place is made a journal."""
        self._closed = False
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="journal")
        try:
            self._thread.submit(self._connect).result()
        except BaseException:
            self._thread.shutdown()
            raise
        return self

    def close(self) -> None:
        """Write what is still waiting and disconnect."""
        with self._lock:
            self._closed = True
        self._thread.submit(self._serve, self._writes, self._write).result()
        self._thread.submit(self._disconnect).result()
        self._thread.shutdown()

    async def find(self, keys: Sequence[str]) -> dict[str, Outcome]:
        """Return the outcomes that are stored, by key; damaged ones are dropped and left out."""
        if not keys:
            return {}
        return await self._call(self._finds, keys, self._find)

    async def record(self, outcomes: dict[str, Outcome], *, model: str) -> dict[str, Outcome]:
        """Store outcomes; they are durable when this returns, and even if it is cancelled they
        are written. Keys that are stored already keep what they have, which is returned."""
        if not outcomes:
            return {}
        rows = [make_row(key, o, model=model, run=self.run) for key, o in outcomes.items()]
        stored = await self._call(self._writes, rows, self._write, self._start_writing)
        return {key: outcome for key, outcome in stored.items() if outcome != outcomes[key]}

    def stats(self) -> JournalStats:
        """Count what the journal holds."""
        counted = self.use(lambda table: list(table.count()))
        counts = {decode(model): rows for model, rows in counted}
        return JournalStats(sum(counts.values()), counts, self._damaged)

    def use(self, work: Callable[[Table], T], aim: Aim = "read") -> T:
        """Have `work` do something with the rows, in the journal's own thread. It may be done
        again, from its beginning, where a connection was lost."""
        return self._thread.submit(self._transact, work, aim).result()

    @abstractmethod
    def _connect(self) -> None:
        """Connect, and make or check the journal. Raises RunError."""

    @abstractmethod
    def _disconnect(self) -> None:
        """Give back the connection."""

    @abstractmethod
    def _transact(self, work: Callable[[Table], T], aim: Aim) -> T:
        """Do work whole or not at all, durably; raises what goes wrong as RunError."""

    def _add_here(self, rows: Sequence[NewRow]) -> int | None:
        """Write rows in the calling thread and count those written, if that takes next to no time;
        None if the journal's own thread is to do it."""
        return None

    async def _call(
        self,
        calls: list[_Call[W, T]],
        wanted: W,
        work: Callable[[list[W]], list[T]],
        start: Callable[[], object] | None = None,
    ) -> T:
        """Have work done for all calls at once that come till it begins: in the journal's thread,
        or as `start` says."""
        call: _Call[W, T] = _Call(wanted, asyncio.get_running_loop().create_future())
        with self._lock:
            if self._closed:  # Raised before anybody could wait for nothing.
                raise RuntimeError(f"{self.place}: the journal is closed")
            if not calls and start is None:
                self._thread.submit(self._serve, calls, work)
            elif not calls and start is not None:
                start()
            calls.append(call)
        return await call.told

    def _start_writing(self) -> None:
        """What else arrives in this turn of the event loop shares the write."""
        asyncio.get_running_loop().call_soon(self._serve_here)

    def _serve_here(self) -> None:
        """Write all that waits and tell those who wait; what takes time is left to the thread."""
        served = self._take(self._writes)
        if not served:
            return  # The journal was closed meanwhile, and wrote all.
        rows = [*chain(*(call.wanted for call in served))]
        if self._add_here(rows) == len(rows):
            _tell_all(served, [{}] * len(served))
        else:
            self._thread.submit(self._serve, served, self._write)

    def _take(self, calls: list[_Call[W, T]]) -> list[_Call[W, T]]:
        """The calls that wait; whoever calls next begins anew."""
        with self._lock:
            taken = calls[:]
            calls.clear()
        return taken

    def _serve(self, calls: list[_Call[W, T]], work: Callable[[list[W]], list[T]]) -> None:
        """Do what all calls want, and tell those who still wait for it."""
        served = self._take(calls)
        try:
            results = work([call.wanted for call in served])
        except Exception as error:
            results = [error] * len(served)
        _tell_all(served, results)

    def _write(self, wanted: list[list[NewRow]]) -> list[dict[str, Outcome]]:
        """Write, and where not every key was new, look up what is stored."""
        rows = [*chain(*wanted)]
        if self._transact(lambda table: table.add(rows), "add") == len(rows):
            return [{}] * len(wanted)
        return self._find([[row.key for row in own] for own in wanted])

    def _find(self, wanted: list[Sequence[str]]) -> list[dict[str, Outcome]]:
        keys = [*dict.fromkeys(chain(*wanted))]
        read = self._transact(lambda table: read_outcomes(table.find(keys)), "read")
        if read.damaged:
            # Read again with other writers kept out: one of them may have mended the rows.
            read = self._transact(lambda table: _read_and_drop(table, keys), "change")
            for row in read.damaged:
                told = "%s: row %s is damaged; dropped, it will be asked again"
                log.warning(told, self.place, decode(row.key))
            self._damaged += len(read.damaged)
        sound = read.sound
        return [{key: sound[key] for key in own if key in sound} for own in wanted]


def _tell_all(served: Sequence[_Call[W, T]], results: Sequence[T | Exception]) -> None:
    """Give each call its result, in its own event loop."""
    told: dict[asyncio.AbstractEventLoop, list[tuple[asyncio.Future[T], T | Exception]]] = {}
    for call, result in zip(served, results, strict=True):
        told.setdefault(call.told.get_loop(), []).append((call.told, result))
    for loop, pairs in told.items():
        # Once for each loop: every wake-up is a struggle for the interpreter's lock.
        with suppress(RuntimeError):  # closed meanwhile: nobody waits there
            loop.call_soon_threadsafe(_tell, pairs)


def _tell(results: Iterable[tuple[asyncio.Future[T], T | Exception]]) -> None:
    """Tell those who still wait."""
    for told, result in results:
        if told.done():
            continue
        if isinstance(result, Exception):
            told.set_exception(result)
        else:
            told.set_result(result)


def _read_and_drop(table: Table, keys: Sequence[str]) -> Read:
    read = read_outcomes(table.find(keys))
    table.delete([row.id for row in read.damaged])
    return read
