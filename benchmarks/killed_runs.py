"""Runs that are killed again and again, left to finish, and held against one that nobody killed.

A run that was killed must have the undisturbed run's tables, row by row; the server must have been
asked the same, and what was in flight at a kill once more at most; and the journal must be whole.
"""

import asyncio
import json
import random
import shutil
import sqlite3
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from itertools import count
from pathlib import Path
from threading import Lock
from typing import Any, NamedTuple

from flows.config import load_config
from flows.stages.publish import hash_dataset
from flows.store import RunDirectory
from generators.journal import SqliteJournal
from tests.flows.faults import TABLES, FaultyTeacher, read_tables
from tests.flows.kills import Moment, Strike, draw_moment, run_to_its_end, strike
from tests.flows.small_run import write_config
from tests.generators.loopback import Call

AT_ONCE = 2
"""Runs at a time."""
LATENCY_S = 0.02


class Trial(NamedTuple):
    """A run that is to be disturbed, and how."""

    name: str
    describe: Callable[[Path, str], dict[str, Any]]
    """Its settings, from a folder and the server's URL."""
    concurrency: int
    most: Mapping[str, float]
    """The largest amount of each kind that a kill's moment is drawn from."""
    refused: float = 0
    """The share of the requests that the server refuses for good."""
    failed: float = 0
    """The share of the tries that it fails."""

    def serve(self, seed: int) -> FaultyTeacher:
        return FaultyTeacher(refused=self.refused, failed=self.failed, seed=seed, delay_s=LATENCY_S)


class Whole(NamedTuple):
    """What a run came to that nobody killed."""

    run: RunDirectory
    settled: list[Call]
    """The requests that were answered or refused."""
    failures: int
    refusals: dict[str, str]
    ids: dict[str, Counter[str]]
    """How often each row's id is in each table."""
    hashes: dict[str, str]


class Survived(NamedTuple):
    """A run that was killed again and again, and came to its end."""

    number: int
    kills: list[tuple[Moment, Strike]]
    lost: int
    doubled: int
    extra: int
    """Requests that were settled beyond those of the undisturbed run."""
    problems: list[str]


def prepare(trial: Trial, folder: Path, url: str, **changes: Any) -> tuple[Path, Path]:
    """Write a run's configuration; return its path, and where the run directory will be."""
    folder.mkdir(parents=True, exist_ok=True)
    config = write_config(folder / "config.yaml", trial.describe(folder, url) | changes)
    return config, load_config(config).root


def run_whole(trial: Trial, folder: Path) -> Whole:
    """Run once, without a kill."""
    with trial.serve(0) as teacher:
        config, root = prepare(trial, folder, teacher.url)
        ended = run_to_its_end(config)
    if ended.code:
        sys.exit(f"{trial.name}: the undisturbed run ended with {ended.code}\n{ended.said}")
    run, settled = RunDirectory(root), teacher.settled()
    failures = len(teacher.asked_since(0)) - len(settled)
    return Whole(run, settled, failures, teacher.refusals(), count_ids(run), hash_tables(run))


def disturb(
    trial: Trial, whole: Whole, folder: Path, moments: Iterable[Moment], number: int
) -> Survived:
    """Kill a run at each of the moments, unless it ends before; let it end, and judge it."""
    kills: list[tuple[Moment, Strike]] = []
    with trial.serve(number) as teacher:
        config, root = prepare(trial, folder, teacher.url)
        for moment in moments:
            hit = strike(config, moment, root, teacher)
            if not hit.ended.was_killed:
                ended = hit.ended
                break
            kills.append((moment, hit))
        else:
            ended = run_to_its_end(config)
        settled = teacher.settled()
    if ended.code:
        return Survived(number, kills, 0, 0, 0, [f"ended with {ended.code}: {ended.said[-2000:]}"])
    survived = judge(trial, whole, RunDirectory(root), settled, kills, number)
    if not survived.problems:
        shutil.rmtree(folder)
    return survived


def judge(
    trial: Trial,
    whole: Whole,
    run: RunDirectory,
    settled: Sequence[Call],
    kills: list[tuple[Moment, Strike]],
    number: int,
) -> Survived:
    """Hold a run that was killed against the undisturbed one."""
    ids, hashes = count_ids(run), hash_tables(run)
    lost = sum((whole.ids[name] - ids[name]).total() for name in TABLES)
    doubled = sum((ids[name] - whole.ids[name]).total() for name in TABLES)
    extra = len(settled) - len(whole.settled)
    bound = len(kills) * trial.concurrency
    unequal = [name for name in TABLES if hashes[name] != whole.hashes[name]]
    problems = [f"{name}: not the same rows" for name in unequal]
    if lost or doubled:
        problems.append(f"{lost} rows lost, {doubled} doubled")
    if not 0 <= extra <= bound:
        problems.append(f"{extra} requests more than without kills, not 0 to {bound}")
    if {name_request(call) for call in settled} != {name_request(call) for call in whole.settled}:
        problems.append("the requests are others than without kills")
    problems += find_damage(run.root.parent / "journal.sqlite", rows=len(whole.settled))
    return Survived(number, kills, lost, doubled, extra, problems)


def count_ids(run: RunDirectory) -> dict[str, Counter[str]]:
    return {name: Counter(row["id"] for row in rows) for name, rows in read_tables(run).items()}


def hash_tables(run: RunDirectory) -> dict[str, str]:
    return {name: hash_dataset(run.place(f"dataset/{name}.parquet")) for name in TABLES}


def name_request(call: Call) -> str:
    return json.dumps(call.body, sort_keys=True)


def find_damage(place: Path, rows: int) -> list[str]:
    """What is wrong with a journal that should hold so many rows."""
    with closing(sqlite3.connect(place)) as connection:
        said = [line for (line,) in connection.execute("PRAGMA integrity_check")]
        keys = [key for (key,) in connection.execute("SELECT key FROM outcomes")]
    problems = [] if said == ["ok"] else [f"journal: {line}" for line in said]
    with SqliteJournal(place) as journal:
        sound = len(asyncio.run(journal.find(keys)))
    if not sound == len(keys) == rows:
        problems.append(f"journal: {sound} of {len(keys)} rows are sound; {rows} should be there")
    return problems


class Campaign:
    """So many kills, dealt out to as many runs of a trial as it takes, two at a time."""

    def __init__(self, trial: Trial, whole: Whole, folder: Path, kills: int, seed: int) -> None:
        self.trial, self.whole, self.folder, self.seed = trial, whole, folder, seed
        self._left = self._wanted = kills
        self._numbers = count(1)
        self._over = False
        self._lock = Lock()
        self._survived: list[Survived] = []

    def carry_out(self) -> list[Survived]:
        """The runs, by their numbers."""
        with ThreadPoolExecutor(AT_ONCE) as pool:
            workers = [pool.submit(self._work) for _ in range(AT_ONCE)]
            try:
                for worker in workers:
                    worker.result()
            finally:
                self._over = True  # also where somebody breaks off: no further run is begun
        return sorted(self._survived)

    def _work(self) -> None:
        while (taken := self._take()) is not None:
            number, moments = taken
            folder = self.folder / str(number)
            survived = disturb(self.trial, self.whole, folder, moments, number)
            with self._lock:
                self._left += len(moments) - len(survived.kills)
                self._survived.append(survived)
                self._tell(survived)

    def _take(self) -> tuple[int, list[Moment]] | None:
        """The next run's number, and the moments of its kills; None when no kill is left."""
        with self._lock:
            number = next(self._numbers)
            chance = random.Random(f"{self.seed} {self.trial.name} {number}")
            moments = [draw_moment(chance, self.trial.most) for _ in range(chance.randint(3, 8))]
            moments = moments[: self._left]
            self._left -= len(moments)
            return (number, moments) if moments and not self._over else None

    def _tell(self, survived: Survived) -> None:
        kills = sum(len(other.kills) for other in self._survived)
        print(
            f"{self.trial.name}, run {survived.number}: {len(survived.kills)} kills, "
            f"{survived.extra} extra requests, "
            f"{'; '.join(survived.problems) or 'equal'} ({kills} of {self._wanted} kills)",
            flush=True,
        )
