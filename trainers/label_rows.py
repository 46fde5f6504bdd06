"""Rows of a soft-label dataset: texts, and what annotators made of them.

A row has a `text` and one of `label_probs` (the distribution p̂), `counts` (votes by label, from
which p̂ = counts / n follows) or a `label` alone. The hard label y* is the one label with more than
every other: a row that ties has none, and says so with a null.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from generators.errors import InputError
from generators.records import Record, digest

EQUAL = 1e-9
"""Probabilities that differ by less are equal: they were divided and averaged."""
TOLERANCE = 1e-3
"""By so much a distribution's sum may miss 1."""
TIE = "tie"


class LabelRow(Record):
    """One text in one context, and what its annotators made of it."""

    id: str
    text: str
    context: str | None
    label: str | None
    """The hard label; null where the first labels tie."""
    label_probs: dict[str, float]
    weight: float
    """Multiplies the row's loss."""
    pooled: bool | None
    """Whether every annotator counts here; null where the data does not tell."""
    root_id: str
    """The text: its rows share it."""
    teacher: str
    """Who annotated."""
    licence: str
    text_licence: str


class LabelRows(NamedTuple):
    rows: list[LabelRow]
    labels: tuple[str, ...]
    """In the order in which the data names them."""
    skipped: dict[str, int]
    """How many rows were left out, by reason."""


def read_label_rows(paths: Iterable[Path]) -> LabelRows:
    """Read Parquet files, or folders of them.

    Rows that nothing can be learned from are left out and counted by reason: `empty_text`,
    `no_labels`, `bad_distribution`, `unknown_label`, and what a row's own `reason` says it was set
    aside for (ties apart, whose distributions are whole). Raises InputError where a file cannot be
    read, has no column `text`, or names other labels than the files before it, and where no row is
    left.
    """
    from trainers.rows import find_parquet_files

    paths = list(paths)
    lines = [
        (file, line)
        for path in paths
        for file in find_parquet_files(path)
        for line in _read_lines(file)
    ]
    labels: list[str] = []
    for file, line in lines:
        _add_labels(labels, line, file)
    rows: list[LabelRow] = []
    skipped: Counter[str] = Counter()
    for _, line in lines:
        row = _read_row(line, labels)
        if isinstance(row, str):
            skipped[row] += 1
        else:
            rows.append(row)
    if not rows or len(labels) < 2:
        reasons = ", ".join(f"{n} {reason}" for reason, n in skipped.items()) or "none is there"
        told = f"no row to learn from ({reasons})" if not rows else f"one label alone ({labels[0]})"
        raise InputError(
            f"{', '.join(map(str, paths))}: {told}.\nGive texts with two labels or more."
        )
    return LabelRows(rows, tuple(labels), dict(sorted(skipped.items())))


def find_hard_label(probs: Mapping[str, float]) -> str | None:
    """The one label that is more probable than every other; None for a tie."""
    most = max(probs.values())
    first = [label for label, p in probs.items() if p > most - EQUAL]
    return first[0] if len(first) == 1 else None


def check_labels(found: Sequence[str], wanted: Sequence[str]) -> None:
    """Raise InputError unless these are the same labels; their order does not matter."""
    if set(found) != set(wanted):
        raise InputError(
            f"the labels differ: {', '.join(sorted(found))} and {', '.join(sorted(wanted))}.\n"
            "Teacher, student and every file must have the same labels."
        )


def _read_lines(file: Path) -> list[dict[str, Any]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(file)
    except (OSError, pa.ArrowException) as error:
        raise InputError(f"{file}: cannot be read as Parquet: {error}") from error
    columns = set(table.column_names)
    if "text" not in columns or not columns & {"label_probs", "counts", "label"}:
        raise InputError(
            f"{file}: has the columns {', '.join(table.column_names)}.\n"
            "A classifier learns from `text` and one of `label_probs`, `counts`, `label`."
        )
    return table.to_pylist()


def _add_labels(labels: list[str], line: Mapping[str, Any], file: Path) -> None:
    table = line.get("label_probs") or line.get("counts")
    if table is None:  # labels alone: each file may have some that the others lack
        label = _find_label(line)
        labels += [] if label in (None, *labels) else [str(label)]
    elif not labels:
        labels += table
    elif set(table) != set(labels):
        raise InputError(
            f"{file}: its labels are {', '.join(table)}, and those before {', '.join(labels)}.\n"
            "Every file must have the same labels."
        )


def _find_label(line: Mapping[str, Any]) -> str | None:
    return None if line.get("label") is None else str(line["label"])


def _read_row(line: Mapping[str, Any], labels: Sequence[str]) -> LabelRow | str:
    """The row, or why it is left out."""
    if (reason := line.get("reason")) not in (None, TIE):
        return str(reason)
    if not (line["text"] or "").strip():
        return "empty_text"
    probs = _find_distribution(line, labels)
    if isinstance(probs, str):
        return probs
    label = _find_label(line)
    if label not in (None, *labels):
        return "unknown_label"
    weight = line.get("weight")
    text, context = line["text"], line.get("context")
    return LabelRow(
        id=line.get("id") or digest("label row", text, context),
        text=text,
        context=context,
        label=label or find_hard_label(probs),
        label_probs=probs,
        weight=1.0 if weight is None else weight,
        pooled=line.get("pooled"),
        root_id=line.get("root_id") or digest("text", text),
        **{name: line.get(name) or "not stated" for name in ("teacher", "licence", "text_licence")},
    )


def _find_distribution(line: Mapping[str, Any], labels: Sequence[str]) -> dict[str, float] | str:
    probs, counts, label = line.get("label_probs"), line.get("counts"), _find_label(line)
    found = counts if probs is None else probs
    if found is None:
        return {name: float(name == label) for name in labels} if label else "no_labels"
    table = {name: float(found[name] or 0) for name in labels}
    total = sum(table.values())
    if total == 0:
        return "no_labels"
    if min(table.values()) < 0 or (probs is not None and abs(total - 1) > TOLERANCE):
        return "bad_distribution"
    return {name: value / total for name, value in table.items()}
