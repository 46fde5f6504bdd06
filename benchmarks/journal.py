"""What keeping an answer costs: the journal in a SQLite file, and on PostgreSQL.

As a run does it: 64 requests in flight, and each, when it is answered, records its outcome and is
told what was stored before. Every round has a journal of its own, made and opened before the first
round. The files lie in the folder for temporary files, as does the PostgreSQL server's data; the
server is one of the script's own, on this machine, so nothing is told of networks. Both flush every
commit to the disk.

    python benchmarks/journal.py [--records 5000] [--rounds 5]
"""

import argparse
import asyncio
import os
import statistics
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from itertools import chain
from pathlib import Path

from paired import describe_machine, take_turns, write_result

from generators.clients import Response
from generators.database_journal import DatabaseJournal
from generators.journal_place import make_journal
from generators.records import Usage, digest
from tests.postgres_server import PASSWORD, PostgresServer

IN_FLIGHT = 64
ANSWER = Response(
    text="Ida has 12 apples, gives 5 away, and has 7 left. " * 20,
    finish_reason="stop",
    usage=Usage(prompt_tokens=80, completion_tokens=260),
)


class Bench:
    """Fills journals, a new one each time, and keeps what it cost this process."""

    def __init__(self, records: int, journals: Mapping[str, Sequence[DatabaseJournal]]) -> None:
        """Of each kind as many journals as it is filled; they are open and empty."""
        self.spent_s: dict[str, list[float]] = {kind: [] for kind in journals}
        self._records = records
        self._journals = journals

    def fill(self, kind: str) -> None:
        journal, started = self._journals[kind][len(self.spent_s[kind])], time.process_time()
        asyncio.run(keep_answers(journal, self._records))
        self.spent_s[kind].append(time.process_time() - started)


async def keep_answers(journal: DatabaseJournal, records: int) -> None:
    """Record so many answers, 64 at a time."""
    coming = iter(range(records))

    async def settle() -> None:
        for number in coming:
            key = digest("benchmark", number, length=64)
            assert await journal.record({key: ANSWER}, model="model@1") == {}

    await asyncio.gather(*(settle() for _ in range(IN_FLIGHT)))


def open_journals(
    stack: ExitStack, server: PostgresServer, count: int
) -> dict[str, list[DatabaseJournal]]:
    """So many empty journals of each kind, open as long as the stack is."""
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
    places = {
        "SQLite": [str(folder / f"{number}.sqlite") for number in range(count)],
        "PostgreSQL": [server.make_database() for _ in range(count)],
    }
    return {
        kind: [stack.enter_context(make_journal(place, run="benchmark")) for place in own]
        for kind, own in places.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--records", type=int, default=5000)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    os.environ["PGPASSWORD"] = PASSWORD
    with PostgresServer() as server, ExitStack() as stack:
        journals = open_journals(stack, server, arguments.rounds + 1)  # the first does not count
        bench, server_s = Bench(arguments.records, journals), -server.count_cpu_seconds()
        rivals = {kind: partial(bench.fill, kind) for kind in journals}
        timings = take_turns(rivals, arguments.rounds)
        server_s += server.count_cpu_seconds()
        for journal in chain(*journals.values()):
            assert journal.stats().rows == arguments.records
        version = server.execute(server.url("postgres"), "SHOW server_version")[0][0]
    lines = [
        "# What keeping an answer costs",
        "",
        f"{arguments.records} answers of {len(ANSWER.text)} characters, {IN_FLIGHT} in flight, "
        f"each recorded by itself; median of {arguments.rounds} rounds in which the two take "
        "turns, and the mean of all for the server's CPU.",
        f"Measured on {describe_machine('psycopg')}, PostgreSQL {version} on the same machine.",
        "",
        "| journal | seconds | answers/s | of SQLite's | CPU ms an answer | server's CPU ms |",
        "|---|--:|--:|--:|--:|--:|",
    ]
    for kind, timing in timings.items():
        own_s = statistics.median(bench.spent_s[kind][1:])
        server_ms = server_s / (arguments.rounds + 1) / arguments.records * 1000
        lines.append(
            f"| {kind} | {timing.median_s:.2f} | {arguments.records / timing.median_s:.0f} "
            f"| {timing.ratio:.2f} | {own_s / arguments.records * 1000:.3f} "
            f"| {'-' if kind == 'SQLite' else f'{server_ms:.3f}'} |"
        )
    write_result("journal", lines)


if __name__ == "__main__":
    main()
