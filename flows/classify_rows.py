"""The rows of a classifier's training: which are taken, and which of them are held out.

All rows of a text go the same way, and texts that are equal but for case and surrounding space are
one text; otherwise the held-out rows would be known from training.
"""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from flows.classify_settings import LabelData
from generators.errors import HeldOutError, InputError
from generators.records import Record, digest
from trainers.label_rows import LabelRow, LabelRows, read_label_rows


class RowFacts(Record):
    """Where the rows come from, and what became of them."""

    labels: tuple[str, ...]
    train: int
    held_out: int
    train_texts: int
    held_out_texts: int
    ties: int
    """Rows of both without a hard label; they have a soft one."""
    skipped: dict[str, int]
    """Rows that nothing can be learned from, by reason."""
    contexts: tuple[str | None, ...]
    annotators: dict[str, int]
    """Rows by who annotated them."""
    licences: dict[str, int]
    """Rows by their licence."""
    text_licences: dict[str, int]
    """Rows by the licence of their text."""


class SplitRows(NamedTuple):
    train: list[LabelRow]
    held_out: list[LabelRow]
    facts: RowFacts


def gather_rows(data: LabelData, seed: int) -> SplitRows:
    """Read the files, choose the rows, and hold some out. Raises InputError for files that cannot
    be used, and HeldOutError where training and held-out files share a text."""
    read = _read_files(data.train)
    taken = choose_rows(read.rows, data.rows)
    skipped = Counter(read.skipped)
    if data.held_out:
        other = _read_files(data.held_out)
        if set(other.labels) != set(read.labels):
            raise InputError(
                f"data.held_out: its labels are {', '.join(other.labels)}, and those of data.train "
                f"{', '.join(read.labels)}.\nGive files with the same labels."
            )
        train, held_out = taken, choose_rows(other.rows, data.rows)
        skipped += Counter(other.skipped)
    else:
        train, held_out = hold_out(taken, data.held_out_share, seed)
    check_apart(train, held_out)
    return SplitRows(train, held_out, _describe(read.labels, train, held_out, skipped))


def choose_rows(rows: Sequence[LabelRow], wanted: str) -> list[LabelRow]:
    """A text's rows by context, or its one row over all; a text with rows of one kind alone is
    taken as it is."""
    pooled = wanted == "pooled"
    both = {r.root_id for r in rows if r.pooled} & {r.root_id for r in rows if not r.pooled}
    return [row for row in rows if row.root_id not in both or bool(row.pooled) == pooled]


def hold_out(
    rows: Sequence[LabelRow], share: float, seed: int
) -> tuple[list[LabelRow], list[LabelRow]]:
    """Split by text, as the seed draws; at least one text is on each side. Rows that share a text
    or a root go together, and with whatever those share one with."""
    groups = _group_rows(rows)
    drawn = sorted(set(groups), key=lambda group: digest("held out", seed, group))
    if len(drawn) < 2:
        raise InputError("one text alone: there is none to hold out.\nGive more texts.")
    count = min(max(1, math.floor(share * len(drawn))), len(drawn) - 1)
    chosen = set(drawn[:count])
    pairs = list(zip(rows, groups, strict=True))
    return (
        [row for row, group in pairs if group not in chosen],
        [row for row, group in pairs if group in chosen],
    )


def _group_rows(rows: Sequence[LabelRow]) -> list[str]:
    """Each row's group, by the first root in it."""
    parents: dict[str, str] = {}

    def find(name: str) -> str:
        while (parent := parents.setdefault(name, name)) != name:
            name = parent
        return name

    names = [(f"root {row.root_id}", f"text {_fold(row)}") for row in rows]
    for root, text in names:
        parents[find(text)] = find(root)
    first: dict[str, str] = {}
    return [
        first.setdefault(find(root), row.root_id)
        for (root, _), row in zip(names, rows, strict=True)
    ]


def check_apart(train: Iterable[LabelRow], held_out: Iterable[LabelRow]) -> None:
    """Raise HeldOutError where a held-out text is also trained on."""
    train = list(train)
    texts, roots = {_fold(row) for row in train}, {row.root_id for row in train}
    shared = [row for row in held_out if _fold(row) in texts or row.root_id in roots]
    if shared:
        raise HeldOutError(
            f"{len(shared)} held-out rows have a text that is also trained on, such as "
            f"{shared[0].text[:80]!r}.\nKeep other texts for evaluation."
        )


def _read_files(files: Iterable[str]) -> LabelRows:
    for file in files:
        if not Path(file).exists():
            raise InputError(
                f"{file}: no such file or folder.\nIf an annotation makes it, run that first: "
                "tutelage annotate CONFIG"
            )
    return read_label_rows([Path(file) for file in files])


def _fold(row: LabelRow) -> str:
    return " ".join(row.text.casefold().split())


def _describe(
    labels: tuple[str, ...],
    train: Sequence[LabelRow],
    held_out: Sequence[LabelRow],
    skipped: Counter[str],
) -> RowFacts:
    rows = [*train, *held_out]

    def count(values: Iterable[str]) -> dict[str, int]:
        return dict(sorted(Counter(values).items()))

    return RowFacts(
        labels=labels,
        train=len(train),
        held_out=len(held_out),
        train_texts=len({row.root_id for row in train}),
        held_out_texts=len({row.root_id for row in held_out}),
        ties=sum(row.label is None for row in rows),
        skipped=dict(sorted(skipped.items())),
        contexts=tuple(
            sorted({row.context for row in rows}, key=lambda c: (c is not None, c or ""))
        ),
        annotators=count(row.teacher for row in rows),
        licences=count(row.licence for row in rows),
        text_licences=count(row.text_licence for row in rows),
    )
