"""What keeping an answer costs: the journal in a SQLite file, and on PostgreSQL.

As a run does it: 64 requests in flight, and each, when it is answered, records its outcome and
looks up what is stored under its key. The file lies in the folder for temporary files, as does the
PostgreSQL server's data; the server is one of the script's own, on this machine, so nothing is
told of networks. Both flush every commit to the disk.

    python benchmarks/journal.py [--records 5000] [--rounds 5]
"""

import argparse
import asyncio
import os
import statistics
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import NamedTuple

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


class Processors(NamedTuple):
    """Processor seconds of one round."""

    run_s: float
    server_s: float


class Bench:
    """Fills journals, a new one each time, and keeps what it cost the processors."""

    def __init__(self, records: int, folder: Path, server: PostgresServer) -> None:
        self.records = records
        self.spent: dict[str, list[Processors]] = {"SQLite": [], "PostgreSQL": []}
        self._folder = folder
        self._server = server

    def fill(self, kind: str) -> None:
        place = self._server.make_database()
        if kind == "SQLite":
            place = str(self._folder / f"{len(self.spent[kind])}.sqlite")
        with make_journal(place, run="benchmark") as journal:
            own, server = time.process_time(), self._server.count_cpu_seconds()
            asyncio.run(keep_answers(journal, self.records))
            server = self._server.count_cpu_seconds() - server
            self.spent[kind].append(Processors(time.process_time() - own, server))
            assert journal.stats().rows == self.records


async def keep_answers(journal: DatabaseJournal, records: int) -> None:
    """Record and look up so many answers, 64 at a time."""
    coming = iter(range(records))

    async def settle() -> None:
        for number in coming:
            key = digest("benchmark", number, length=64)
            await journal.record({key: ANSWER}, model="model@1")
            assert await journal.find([key]) == {key: ANSWER}

    await asyncio.gather(*(settle() for _ in range(IN_FLIGHT)))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--records", type=int, default=5000)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    os.environ["PGPASSWORD"] = PASSWORD
    with tempfile.TemporaryDirectory() as folder, PostgresServer() as server:
        bench = Bench(arguments.records, Path(folder), server)
        rivals = {kind: partial(bench.fill, kind) for kind in bench.spent}
        timings = take_turns(rivals, arguments.rounds)
        version = server.execute(server.url("postgres"), "SHOW server_version")[0][0]
    lines = [
        "# What keeping an answer costs",
        "",
        f"{arguments.records} answers of {len(ANSWER.text)} characters, {IN_FLIGHT} in flight, "
        f"each recorded and looked up; median of {arguments.rounds} rounds in which the two take "
        "turns.",
        f"Measured on {describe_machine('psycopg')}, PostgreSQL {version} on the same machine.",
        "",
        "| journal | seconds | answers/s | of SQLite's | CPU ms an answer | server's CPU ms |",
        "|---|--:|--:|--:|--:|--:|",
    ]
    for kind, timing in timings.items():
        spent = bench.spent[kind][1:]  # the first round does not count
        run, server_s = (
            statistics.median(getattr(cost, name) for cost in spent) / arguments.records * 1000
            for name in Processors._fields
        )
        rate = arguments.records / timing.median_s
        lines.append(
            f"| {kind} | {timing.median_s:.2f} | {rate:.0f} | {timing.ratio:.2f} "
            f"| {run:.3f} | {'-' if kind == 'SQLite' else f'{server_s:.3f}'} |"
        )
    write_result("journal", lines)


if __name__ == "__main__":
    main()
