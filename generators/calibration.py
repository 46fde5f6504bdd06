"""Pairs of tasks that people called equal or different, by which an equality judge is measured.

Evol-Instruct lets a model decide whether an evolved prompt equals its parent (Xu et al. 2023,
arXiv:2304.12244, section 3.2). Whether that model can tell is itself a question, and
`seeds/calibration/equality.jsonl` puts it: own-written pairs of all domains, half of them the same
task in other words.
"""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from pydantic import TypeAdapter

from generators.lines import Fault, find_faults, raise_faults, read_lines
from generators.seed_lines import Licensed, Text

LEAST_PAIRS = 100
LEAST_OF_A_LABEL = 25
"""With fewer, the judge's recall on that label is anybody's guess."""


class LabelledPair(Licensed):
    """Two tasks, and what a person says of them."""

    first: Text
    """The parent."""
    second: Text
    """What may have come of it."""
    label: Literal["equal", "different"]
    """`equal`: the same requirements, and the second goes no deeper and no wider."""

    @property
    def equal(self) -> bool:
        return self.label == "equal"


def load_pairs(path: str | Path) -> list[LabelledPair]:
    """Load labelled pairs; raises InputError that lists every bad line as `file:line: field: …`.

    No two lines may hold the same two tasks, in whichever order.
    """
    lines, faults = read_lines(path, holds="labelled pairs")
    schema = TypeAdapter(LabelledPair).json_schema()
    pairs: list[LabelledPair] = []
    seen: dict[frozenset[str], Fault] = {}
    for line in lines:
        if found := find_faults(line.value, schema):
            faults.extend(line.fault(*fault) for fault in found)
            continue
        pair = LabelledPair.model_validate(line.value)
        tasks = frozenset((pair.first, pair.second))
        if before := seen.get(tasks):
            message = f"pairs the same tasks as {before.file}:{before.line}; keep one of them"
            faults.append(line.fault("second", message))
        seen.setdefault(tasks, line.fault("second", ""))
        pairs.append(pair)
    if faults:
        raise_faults(faults)
    return pairs


def find_shortage(pairs: Sequence[LabelledPair]) -> str | None:
    """What these pairs lack to measure a judge by, or None if they are enough."""
    labels = Counter(pair.label for pair in pairs)
    if len(pairs) >= LEAST_PAIRS and min(labels["equal"], labels["different"]) >= LEAST_OF_A_LABEL:
        return None
    return (
        f"{len(pairs)} labelled pairs ({labels['equal']} equal, {labels['different']} different) "
        f"are too few to measure the equality judge by; give at least {LEAST_PAIRS}, of which "
        f"{LEAST_OF_A_LABEL} equal and {LEAST_OF_A_LABEL} different"
    )
