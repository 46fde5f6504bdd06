"""The chain that every client of `client_overhead.py` goes through, and how its cost is taken.

Needs the standard library alone: each client imports it in an environment of its own. A client is
called as `PYTHON run_NAME.py URL MODEL PROMPTS`, asks for one answer to each prompt with
`IN_FLIGHT` requests under way, and prints its figures as JSON on its last line.
"""

import json
import resource
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from typing import NamedTuple

IN_FLIGHT = 64
TEMPERATURE, MAX_TOKENS = 0.7, 256
WORDS = "harbour winter carpet violin orchard lantern copper market river saddle window thread"


class Chain(NamedTuple):
    """What a client is to do."""

    url: str
    model: str
    prompts: list[str]


def read_chain() -> Chain:
    """The chain that the command line names."""
    url, model, count = sys.argv[1:]
    return Chain(url, model, make_prompts(int(count)))


def make_prompts(count: int) -> list[str]:
    """Distinct tasks of some 50 words."""
    words = WORDS.split()
    return [
        f"Task {i}: explain in plain words how a {words[i % 12]} and a {words[i // 12 % 12]} could "
        "be described to somebody who has never seen either of them. Give two examples from daily "
        "life, name one thing that is often misunderstood, and end with a question that the reader "
        "can think about on the way home."
        for i in range(count)
    ]


def answer_to(prompt: str) -> str:
    """What the server says: some 100 words, of which no two prompts get the same."""
    return f"{prompt} To begin with the first: {prompt[::-1]}"


@contextmanager
def take_cost(distribution: str, answers: list[str], prompts: Sequence[str]) -> Iterator[None]:
    """Print what the block cost. It fills `answers`, which are compared with those expected.

    The block begins before the first request is made and ends when the last answer is at hand;
    imports stand before it. CPU seconds are those of this process, all its threads, and of child
    processes that have ended; the peak is the largest resident set of one process.
    """
    started, cpu_before = time.perf_counter(), _cpu_seconds()
    yield
    cost = {
        "wall_s": time.perf_counter() - started,
        "cpu_s": _cpu_seconds() - cpu_before,
        "peak_mib": max(usage.ru_maxrss for usage in _usages()) / 1024,
        "answered": len({answer_to(prompt) for prompt in prompts} & set(answers)),
        "version": f"{distribution} {version(distribution)}",
    }
    print(json.dumps(cost))


def _cpu_seconds() -> float:
    return sum(usage.ru_utime + usage.ru_stime for usage in _usages())


def _usages() -> list[resource.struct_rusage]:
    return [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
