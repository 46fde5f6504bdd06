"""Annotations merged into rows of soft labels: the whole count table, p̂(c|x) and the majority.

The soft label p̂ = counts / n minimises the expected cross-entropy -Σ_c p̂_c ln q_c over q; the hard
label's minimiser is its one-hot. Where no label has more than every other, there is no majority:
the row is a tie, and is set aside with its counts.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import pyarrow as pa

from generators.annotation import Annotation, LabelledText
from generators.records import Record, digest

EQUAL = 1e-9
"""Probabilities that differ by less are equal: they were divided and averaged."""


class Share(Record):
    """What one annotator gave to a row."""

    id: str
    model: str
    method: Literal["votes", "probabilities"]
    context: str | None
    n: int
    unread: int
    failed: int
    label_mass: float | None
    probs: dict[str, float] | None


class SoftLabel(Record):
    """One text in one context, or over all contexts, with what its annotators made of it."""

    id: str
    text: str
    context: str | None
    """Who read it; null for anybody, and for a row over several contexts."""
    pooled: bool
    """Whether every annotator counts here; each text has one such row."""
    label: str | None
    """The majority; null in rows that are set aside."""
    label_probs: dict[str, float] | None
    counts: dict[str, int]
    n: int
    unread: int
    failed: int
    entropy: float | None
    """Of `label_probs`, in bits."""
    annotators: tuple[Share, ...]
    given_label: str | None
    teacher: str
    licence: str
    text_licence: str
    domain: str
    author: str
    source: str
    root_id: str
    reason: str | None
    """Why the row is set aside; null in published rows."""


class Majority(NamedTuple):
    """The label with most of the probability, or why there is none."""

    label: str | None
    reason: str | None = None


def merge_annotations(
    texts: Sequence[LabelledText],
    annotations: Iterable[Annotation],
    *,
    contexts: Sequence[str | None],
    licence: str,
    min_votes: int,
) -> list[SoftLabel]:
    """A row for each text and context and, where contexts differ, one over all of them."""
    by_text: dict[str, list[Annotation]] = defaultdict(list)
    for annotation in annotations:
        by_text[annotation.text_id].append(annotation)
    rows = []
    for text in texts:
        said = by_text[text.id]
        for context in contexts if len(contexts) > 1 else ():
            own = [annotation for annotation in said if annotation.context == context]
            rows.append(_merge(text, own, context, False, licence, min_votes))
        whole = contexts[0] if len(contexts) == 1 else None
        rows.append(_merge(text, said, whole, True, licence, min_votes))
    return sorted(rows, key=lambda row: row.id)


def _merge(
    text: LabelledText,
    annotations: Sequence[Annotation],
    context: str | None,
    pooled: bool,
    licence: str,
    min_votes: int,
) -> SoftLabel:
    n = sum(annotation.n for annotation in annotations)
    probs = merge_probs(annotations)
    majority = find_majority(probs)
    if n < min_votes:
        majority = Majority(None, "few_votes" if n else "no_votes")
    return SoftLabel(
        id=digest("soft-label", text.id, context, pooled),
        text=text.text,
        context=context,
        pooled=pooled,
        label=majority.label,
        label_probs=probs,
        counts=add_counts(annotations),
        n=n,
        unread=sum(sum(annotation.unread.values()) for annotation in annotations),
        failed=sum(sum(annotation.failed.values()) for annotation in annotations),
        entropy=None if probs is None else find_entropy(probs),
        annotators=tuple(map(_share, annotations)),
        given_label=text.label,
        teacher=", ".join(sorted({annotation.model for annotation in annotations})),
        licence=licence,
        text_licence=text.licence,
        domain=text.domain,
        author=text.author,
        source=text.source,
        root_id=text.id,
        reason=majority.reason,
    )


def _share(annotation: Annotation) -> Share:
    return Share(
        id=annotation.annotator,
        model=annotation.model,
        method=annotation.method,
        context=annotation.context,
        n=annotation.n,
        unread=sum(annotation.unread.values()),
        failed=sum(annotation.failed.values()),
        label_mass=annotation.label_mass,
        probs=annotation.probs,
    )


def add_counts(annotations: Sequence[Annotation]) -> dict[str, int]:
    """The votes of all annotators together, zeros included."""
    labels = annotations[0].counts
    return {label: sum(a.counts[label] for a in annotations) for label in labels}


def merge_probs(annotations: Sequence[Annotation]) -> dict[str, float] | None:
    """counts / n where all annotators vote. Where one gives probabilities, the mean of the
    annotators' own distributions, each of which weighs the same."""
    read = [annotation for annotation in annotations if annotation.probs is not None]
    if not read:
        return None
    if all(annotation.method == "votes" for annotation in read):
        counts, n = add_counts(read), sum(annotation.n for annotation in read)
        return {label: count / n for label, count in counts.items()}
    return {
        label: math.fsum(a.probs[label] for a in read if a.probs) / len(read)
        for label in read[0].counts
    }


def find_majority(probs: Mapping[str, float] | None) -> Majority:
    """The one label that is more probable than every other, or a tie."""
    if probs is None:
        return Majority(None, "no_votes")
    most = max(probs.values())
    first = [label for label, p in probs.items() if p > most - EQUAL]
    return Majority(first[0]) if len(first) == 1 else Majority(None, "tie")


def find_entropy(probs: Mapping[str, float]) -> float:
    """-Σ p log₂ p, in bits."""
    return -math.fsum(p * math.log2(p) for p in probs.values() if p > 0) + 0.0


def make_schema(labels: Iterable[str]) -> pa.Schema:
    """The published columns; distributions and counts are structs with a field for each label."""
    labels = list(labels)
    probs = pa.struct([(label, pa.float64()) for label in labels])
    counts = pa.struct([(label, pa.int32()) for label in labels])
    share = {"n": pa.int32(), "unread": pa.int32(), "failed": pa.int32()}
    share |= {"label_mass": pa.float64(), "probs": probs}
    types: dict[str, Any] = {
        "pooled": pa.bool_(),
        "label_probs": probs,
        "counts": counts,
        **dict.fromkeys(("n", "unread", "failed"), pa.int32()),
        "entropy": pa.float64(),
        "annotators": pa.list_(
            pa.struct([(name, share.get(name, pa.string())) for name in Share.model_fields])
        ),
    }
    names = [name for name in SoftLabel.model_fields if name != "reason"]
    return pa.schema([(name, types.get(name, pa.string())) for name in names])


def make_aside_schema(labels: Iterable[str]) -> pa.Schema:
    """The columns of rows that are set aside: the same, and why."""
    return make_schema(labels).append(pa.field("reason", pa.string()))
