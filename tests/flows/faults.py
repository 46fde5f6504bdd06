"""A teacher that refuses some requests for good and fails some tries, and a long run to meet it.

What it refuses is chosen by a hash of the request, so that every retry and every restart is refused
again; what it fails is chosen anew at each try, and passes when it is tried once more.
"""

import hashlib
import json
import random
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from flows.store import RunDirectory
from tests.flows.small_run import LICENSED, TOPICS, model, rows_of, write_lines
from tests.flows.teacher import Teacher
from tests.generators.asking import error_body
from tests.generators.loopback import Call, Fault

TABLES = ("train", "quarantine", "rejected")


class FaultyTeacher(Teacher):
    """`refused` is the share of the requests that get a 400, `failed` that of the tries that get
    a 500."""

    def __init__(
        self, *, refused: float = 0, failed: float = 0, seed: int = 0, delay_s: float = 0
    ) -> None:
        super().__init__(self._spoil, delay_s=delay_s)
        self._shares = refused, failed
        self._chance = random.Random(f"faults {seed}")
        self._failures: set[int] = set()

    def _spoil(self, call: Call) -> Fault | None:
        refused, failed = self._shares
        if not call.body:
            return None
        if self._chance.random() < failed:
            self._failures.add(call.number)
            return Fault(500, error_body("try again"))
        fingerprint = take_fingerprint(call)
        if _as_share(fingerprint) < refused:
            return Fault(400, error_body(f"cannot take {fingerprint}"))
        return None

    def settled(self) -> list[Call]:
        """The requests that were answered or refused, in the order in which they came."""
        return [call for call in self.asked_since(0) if call.number not in self._failures]

    def refusals(self) -> dict[str, str]:
        """What each refused request asked, and what a verdict has to say about it."""
        return {
            call.asked: f"HTTP 400: cannot take {take_fingerprint(call)}"
            for call in self.settled()
            if _as_share(take_fingerprint(call)) < self._shares[0]
        }


def take_fingerprint(call: Call) -> str:
    """Eight hexadecimal digits of what was sent."""
    return hashlib.sha256(json.dumps(call.body, sort_keys=True).encode()).hexdigest()[:8]


def describe_long_run(
    folder: Path, url: str, *, sums: int, concurrency: int = 16
) -> dict[str, Any]:
    """The settings of a run that asks for one answer to each of many sums: a sample that is
    missing costs its own row and no other."""
    lines: list[dict[str, Any]] = [
        {
            "prompt": f"What is {a} + {2 * a + 7}? Answer with the number only.",
            "check": {"kind": "exact", "answer": str(3 * a + 7)},
            "domain": "maths",
        }
        for a in range(100, 100 + sums)
    ]
    lines += [{"prompt": topic, "domain": "writing"} for topic in TOPICS]
    seeds = folder / "seeds.jsonl"
    write_lines(seeds, [line | LICENSED for line in lines])
    return {
        "name": "long",
        "runs_dir": str(folder / "runs"),
        "shard_rows": 200,
        "seeds": {"paths": [str(seeds)]},
        "models": {"strong": model(url, "strong", concurrency=concurrency)},
        "answer": {"samplers": [{"name": "only", "model": "strong", "n": 1}]},
        "publish": {"licence": "cc0-1.0"},
    }


def find_differences(
    whole: RunDirectory, run: RunDirectory, refusals: Mapping[str, str]
) -> list[str]:
    """Where a run with refusals is not the whole run without exactly what was refused.

    Each refused sample must lie in quarantine with what the teacher said, and nowhere else; every
    other row must be as it is in the whole run.
    """
    tables, problems = read_tables(run), []
    for name, rows in read_tables(whole).items():
        left = [row for row in rows if prompt_of(row) not in refusals]
        if left != [row for row in tables[name] if prompt_of(row) not in refusals]:
            problems.append(f"{name}: the rows that nobody refused differ")
    found = [(name, prompt_of(row)) for name in TABLES for row in tables[name]]
    expected = Counter(("quarantine", prompt) for prompt in refusals)
    if Counter(place for place in found if place[1] in refusals) != expected:
        problems.append("what was refused lies elsewhere than once in quarantine")
    told = {prompt_of(row): (row["reason"], row["evidence"]) for row in tables["quarantine"]}
    for prompt, said in refusals.items():
        if told.get(prompt) != ("http_400", said):
            problems.append(f"{prompt}: {told.get(prompt)} instead of http_400, {said}")
    return problems


def read_tables(run: RunDirectory) -> dict[str, list[dict[str, Any]]]:
    """The rows of the published set and of what was set aside, by id."""
    return {
        name: sorted(rows_of(run.place(f"dataset/{name}.parquet")), key=lambda row: row["id"])
        for name in TABLES
    }


def prompt_of(row: dict[str, Any]) -> str:
    """The text that a row's answer was asked with."""
    prompt = row["prompt"]
    return prompt if isinstance(prompt, str) else prompt[-1]["content"]


def _as_share(fingerprint: str) -> float:
    return int(fingerprint, 16) / 16 ** len(fingerprint)
