"""What the annotations came to in figures: agreement, ties, entropies, accuracy, contexts.

Agreement is Krippendorff's alpha for nominal data, 1 - D_observed / D_expected, which takes any
number of annotators and missing labels (Krippendorff, "Computing Krippendorff's
Alpha-Reliability", 2011). It is 1 where all agree and 0 where they agree as chance would have it.
"""

import itertools
import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from flows.annotate_rows import SoftLabel, find_majority
from flows.annotate_settings import AnnotateConfig
from flows.intervals import Interval
from generators.annotation import Annotation, LabelledText
from generators.records import Record
from trainers.evaluate import wilson_interval

BINS = 10


class Accuracy(Record):
    """How often the majority is the label that came with the text; a tie is wrong."""

    texts: int
    share: Interval


class AnnotatorFigures(Record):
    """One annotator's answers."""

    name: str
    model: str
    method: str
    context: str | None
    asked: int
    """Requests: a vote each, or one for the probabilities of a text."""
    read: int
    unread: dict[str, int]
    failed: dict[str, int]
    alpha: float | None
    """Agreement among its own votes on a text; null for probabilities."""
    label_mass: float | None
    """The mean probability that the labels have altogether; null for votes."""
    accuracy: Accuracy | None


class EntropyBin(Record):
    """How many texts have a soft label of such entropy, in bits."""

    low: float
    high: float
    texts: int


class ContextPair(Record):
    """How far two contexts read the same texts differently."""

    one: str | None
    other: str | None
    texts: int
    distance: float
    """The mean total variation distance, ½ Σ |p - q|, between 0 and 1."""
    other_label: int
    """Texts that have one majority here and another there."""


class AnnotationFigures(Record):
    """The result of an annotation."""

    name: str
    labels: tuple[str, ...]
    texts: int
    contexts: tuple[str | None, ...]
    rows: int
    published: int
    quarantined: dict[str, int]
    """By reason."""
    alpha: float | None
    """Agreement between the annotators' own majorities, over all contexts."""
    annotators: tuple[AnnotatorFigures, ...]
    entropy: tuple[EntropyBin, ...]
    accuracy: Accuracy | None
    """Of all annotators together."""
    context_pairs: tuple[ContextPair, ...]
    dataset_hash: str


def gather_figures(
    config: AnnotateConfig,
    texts: Sequence[LabelledText],
    annotations: Mapping[str, Sequence[Annotation]],
    rows: Sequence[SoftLabel],
    dataset_hash: str,
) -> AnnotationFigures:
    """All figures; `annotations` are by annotator."""
    given = {text.id: text.label for text in texts if text.label is not None}
    pooled = [row for row in rows if row.pooled]
    said = [annotations[annotator.name] for annotator in config.annotators]
    owns = [{a.text_id: find_majority(a.probs).label for a in own} for own in said]
    figures = [
        _describe_annotator(own, majorities, given)
        for own, majorities in zip(said, owns, strict=True)
    ]
    by_text = {row.root_id: find_majority(row.label_probs).label for row in pooled}
    return AnnotationFigures(
        name=config.name,
        labels=tuple(config.labels),
        texts=len(texts),
        contexts=tuple(config.contexts),
        rows=len(rows),
        published=sum(row.reason is None for row in rows),
        quarantined=dict(sorted(Counter(row.reason for row in rows if row.reason).items())),
        alpha=find_alpha(
            Counter(own[text.id] for own in owns if own[text.id] is not None) for text in texts
        ),
        annotators=tuple(figures),
        entropy=bin_entropies([row.entropy for row in pooled], len(config.labels)),
        accuracy=_measure_accuracy(by_text, given),
        context_pairs=compare_contexts(rows, config.contexts),
        dataset_hash=dataset_hash,
    )


def find_alpha(units: Iterable[Mapping[Any, int]]) -> float | None:
    """Krippendorff's alpha of units, each given as how often it got which label.

    Units with a single label tell nothing. None where no two labels differ at all, or nothing can
    be compared: then chance agreement is certain and alpha is not defined.
    """
    paired = [unit for unit in units if sum(unit.values()) > 1]
    totals: Counter[Any] = Counter()
    observed = 0.0
    for unit in paired:
        n = sum(unit.values())
        totals.update(unit)
        observed += (n * n - sum(count * count for count in unit.values())) / (n - 1)
    n = totals.total()
    expected = n * n - sum(count * count for count in totals.values())
    return 1 - (n - 1) * observed / expected if expected else None


def bin_entropies(entropies: Iterable[float | None], labels: int) -> tuple[EntropyBin, ...]:
    """A histogram between 0 and log₂ of the number of labels."""
    most = math.log2(labels)
    places = Counter(
        min(BINS - 1, int(BINS * entropy / most)) for entropy in entropies if entropy is not None
    )
    return tuple(
        EntropyBin(low=i * most / BINS, high=(i + 1) * most / BINS, texts=places[i])
        for i in range(BINS)
    )


def compare_contexts(
    rows: Iterable[SoftLabel], contexts: Sequence[str | None]
) -> tuple[ContextPair, ...]:
    """Each two contexts, over the texts for which both have a distribution."""
    if len(contexts) < 2:
        return ()
    probs: dict[str | None, dict[str, dict[str, float]]] = defaultdict(dict)
    for row in rows:
        if not row.pooled and row.label_probs is not None:
            probs[row.context][row.root_id] = row.label_probs
    pairs = []
    for one, other in itertools.combinations(contexts, 2):
        both = [(p, probs[other][id]) for id, p in probs[one].items() if id in probs[other]]
        distances = [sum(abs(p[label] - q[label]) for label in p) / 2 for p, q in both]
        labels = [(find_majority(p).label, find_majority(q).label) for p, q in both]
        pairs.append(
            ContextPair(
                one=one,
                other=other,
                texts=len(both),
                distance=math.fsum(distances) / len(both) if both else 0.0,
                other_label=sum(None not in pair and pair[0] != pair[1] for pair in labels),
            )
        )
    return tuple(pairs)


def _describe_annotator(
    annotations: Sequence[Annotation],
    majorities: Mapping[str, str | None],
    given: Mapping[str, str],
) -> AnnotatorFigures:
    first = annotations[0]
    unread = sum((Counter(a.unread) for a in annotations), Counter())
    failed = sum((Counter(a.failed) for a in annotations), Counter())
    read = sum(annotation.n for annotation in annotations)
    masses = [a.label_mass for a in annotations if a.label_mass is not None]
    return AnnotatorFigures(
        name=first.annotator,
        model=first.model,
        method=first.method,
        context=first.context,
        asked=read + unread.total() + failed.total(),
        read=read,
        unread=dict(sorted(unread.items())),
        failed=dict(sorted(failed.items())),
        alpha=find_alpha(a.counts for a in annotations) if first.method == "votes" else None,
        label_mass=math.fsum(masses) / len(masses) if masses else None,
        accuracy=_measure_accuracy(majorities, given),
    )


def _measure_accuracy(
    majorities: Mapping[str, str | None], given: Mapping[str, str]
) -> Accuracy | None:
    if not given:
        return None
    right = sum(majorities[id] == label for id, label in given.items())
    share = Interval.of(wilson_interval(right, len(given)))
    return Accuracy(texts=len(given), share=share)
