"""kill -9 for a run: at a moment that is told, or at one that was drawn; and what it hit.

A drawn moment comes after so many new requests, after a time (half of which goes into starting),
at a write to the journal, or at a file that is being written beside its place. What a drawn number
hits depends on the machine; the numbers themselves depend on the seed alone.
"""

import os
import random
import re
import signal
import time
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from flows.store import MANIFEST, read_manifest
from tests.flows.small_run import start_command
from tests.flows.teacher import Teacher

KINDS = {"requests": 4, "seconds": 3, "journal writes": 2, "file writes": 2}
"""What a moment is counted in, and how often each kind is drawn."""
LOOK_EVERY_S = 0.0005
BESIDE = re.compile(r"\.\d+\.")
"""How the name of a file begins that is being written: `.PROCESS.NAME`."""


class Moment(NamedTuple):
    """When to kill: so much of something after the process was started."""

    kind: str
    amount: float

    def __str__(self) -> str:
        return f"{self.amount:.3g} {self.kind}"


class Ended(NamedTuple):
    """How a process of a run ended."""

    code: int
    said: str

    @property
    def was_killed(self) -> bool:
        return self.code == -signal.SIGKILL


class Strike(NamedTuple):
    """What a process had done when it ended, at its moment or before."""

    ended: Ended
    requests: int
    """How many it had sent."""
    half_written: bool
    """Whether a file was left beside its place."""
    committed: str
    """The stage that committed last, in this process or before; empty where none had."""


def run_until(
    config: Path,
    moment: Callable[[], bool],
    *,
    verb: str = "run",
    options: Sequence[str] = ("--no-prefect",),
) -> Ended:
    """Start a command on a configuration, a run unless another verb is given, and kill it at the
    moment, with all its processes; it may end before."""
    process = start_command(verb, str(config), *options)
    try:
        while process.poll() is None and not moment():
            time.sleep(LOOK_EVERY_S)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        said = "".join(process.communicate())
    return Ended(process.returncode, said)


def run_to_its_end(config: Path) -> Ended:
    return run_until(config, lambda: False)


def draw_moment(chance: random.Random, most: Mapping[str, float]) -> Moment:
    """Draw a moment; `most` is the largest amount of each kind. Of writes small numbers come more
    often: run directory and journal are made but once, at the first."""
    kind = chance.choices([*KINDS], weights=[*KINDS.values()])[0]
    if kind == "seconds":
        return Moment(kind, chance.uniform(0, most[kind]))
    if kind == "requests":
        return Moment(kind, chance.randint(1, int(most[kind])))
    return Moment(kind, int(most[kind] ** chance.random()))


def strike(config: Path, moment: Moment, root: Path, teacher: Teacher) -> Strike:
    """Run until a drawn moment; `root` is the run directory, there or not."""
    sent = len(teacher.asked_since(0))
    ended = run_until(config, watch(moment, root, teacher))
    known = (root / MANIFEST).exists()
    stages = [entry.stage for entry in read_manifest(root).files.values()] if known else []
    return Strike(
        ended=ended,
        requests=len(teacher.asked_since(0)) - sent,
        half_written=bool(set(_look_for_files(root))),
        committed=stages[-1] if stages else "",
    )


def watch(moment: Moment, root: Path, teacher: Teacher) -> Callable[[], bool]:
    """Tells, again and again, whether the moment has come; all counts from now on."""
    started, sent = time.monotonic(), len(teacher.asked_since(0))
    journal = root.parent / "journal.sqlite-wal"
    counts: dict[str, Callable[[], float]] = {
        "requests": lambda: len(teacher.asked_since(0)) - sent,
        "seconds": lambda: time.monotonic() - started,
        "journal writes": _Sightings(lambda: _look_at(journal)).count,
        "file writes": _Sightings(lambda: _look_for_files(root)).count,
    }
    count = counts[moment.kind]
    return lambda: count() >= moment.amount


class _Sightings:
    """Counts the different things that have come to sight since it was made."""

    def __init__(self, look: Callable[[], Iterable[Hashable]]) -> None:
        self._look = look
        self._seen = set(look())
        self._before = len(self._seen)

    def count(self) -> int:
        self._seen |= set(self._look())
        return len(self._seen) - self._before


def _look_at(file: Path) -> Iterable[Hashable]:
    """The state of one file, if it is there."""
    try:
        state = file.stat()
    except FileNotFoundError:
        return
    yield state.st_mtime_ns, state.st_size


def _look_for_files(root: Path) -> Iterable[Hashable]:
    """The files that are being written, or were when a process was killed."""
    for folder in (root, root / "cycle-0001", root / "dataset"):
        try:
            beside = [path for path in folder.iterdir() if BESIDE.match(path.name)]
        except FileNotFoundError:
            continue
        for path in beside:
            yield from ((path.name, state) for state in _look_at(path))
