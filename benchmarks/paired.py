"""Paired timings: the rivals take turns in one process, and a ratio is told, not a race.

Each round runs every rival once, in an order that turns; the ratio is the median of the rounds'
own ratios, so that a machine that slows down halfway does not favour anybody.
"""

import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

RESULTS = Path(__file__).parent / "results"


class Timing(NamedTuple):
    median_s: float
    ratio: float
    """The first rival's seconds over this one's: above 1, this one is faster."""


def take_turns(rivals: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, Timing]:
    """Time each rival `rounds` times, after one round that does not count."""
    names = list(rivals)
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for round in range(rounds + 1):
        turn = round % len(names)
        for name in [*names[turn:], *names[:turn]]:
            started = time.perf_counter()
            rivals[name]()
            if round:
                seconds[name].append(time.perf_counter() - started)
    first = seconds[names[0]]
    return {
        name: Timing(
            statistics.median(taken),
            statistics.median(a / b for a, b in zip(first, taken, strict=True)),
        )
        for name, taken in seconds.items()
    }


def describe_machine(*packages: str) -> str:
    """Processor, cores and versions, as one line."""
    model = platform.machine()
    info = Path("/proc/cpuinfo")
    flags = info.read_text().split() if info.exists() else []
    found = [flag for flag in ("avx2", "avx512f", "avx512_bf16", "amx_bf16") if flag in flags]
    versions = [f"{package} {version(package)}" for package in packages]
    cores = f"{len(os.sched_getaffinity(0))} cores"
    return ", ".join([f"{model} ({' '.join(found)})", cores, *versions])


def write_result(name: str, lines: list[str]) -> None:
    """Print a result and keep it in `benchmarks/results/`."""
    text = "\n".join(lines) + "\n"
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.md").write_text(text, encoding="utf-8")
    print(text)
