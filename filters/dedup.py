"""Find texts that say the same in the same words: exact and near duplicates.

Exact means equal after normalising. Near means a Jaccard similarity of word 3-grams of at least
the threshold; candidates come from MinHash (`filters.sketches`) and are compared exactly.

Texts are taken in a fixed order, the known ones first and then by id, and each is kept unless it
duplicates one that is kept. So the result does not depend on the order of the input, no two kept
texts are duplicates, and each dropped text really is similar to the one it names: in a chain
A ~ B ~ C with A and C unlike each other, B falls and C stays.
"""

from array import array
from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

import numpy as np

from filters.crowded_texts import CrowdedTexts
from filters.sketches import BANDS, Sketches, join_sketches, sketch_texts
from generators.errors import ConfigError

Kind = Literal["exact", "near", "semantic"]
CROWD = 64
"""Texts in a bucket from which on they are found by their rarest shingles instead."""


class Duplicate(NamedTuple):
    """What a text repeats."""

    of: str
    """The id of the kept text."""
    kind: Kind
    similarity: float
    """Jaccard similarity to the kept text, 1 for an exact duplicate; the cosine for a semantic one
    (`filters.paraphrases`)."""


class Repeat(NamedTuple):
    """What a text in a row of texts repeats."""

    of: int
    """The kept text's place."""
    kind: Kind
    similarity: float


def find_duplicates(
    texts: Mapping[str, str],
    *,
    threshold: float = 0.7,
    numbers_must_agree: bool = False,
    known: Mapping[str, str] | None = None,
) -> dict[str, Duplicate]:
    """The texts that duplicate another one, by id; those that are not named are kept.

    `known` texts were kept before: they are never duplicates themselves. With
    `numbers_must_agree`, texts whose multisets of numbers (and arithmetic signs) differ are never
    near duplicates: "Add 17 and 25" and "Add 17 and 26" are two tasks. Raises ConfigError for a
    threshold outside (0, 1].
    """
    check_threshold(threshold)
    entries = [*sorted((known or {}).items()), *sorted(texts.items())]
    contents = (text for _, text in entries)
    sketches = join_sketches([*sketch_texts(contents, numbers_must_agree=numbers_must_agree)])
    repeats = find_repeats(sketches, threshold, known=len(entries) - len(texts))
    found = {
        entries[place][0]: Duplicate(entries[repeat.of][0], repeat.kind, repeat.similarity)
        for place, repeat in repeats.items()
    }
    return {id: found[id] for id in texts if id in found}


def check_threshold(threshold: float) -> None:
    """Raise ConfigError for a threshold outside (0, 1]."""
    if not 0 < threshold <= 1:
        raise ConfigError(
            f"dedup.threshold: {threshold} is no similarity; give a number above 0 and up to 1"
        )


def find_repeats(sketches: Sketches, threshold: float, *, known: int = 0) -> dict[int, Repeat]:
    """The texts that repeat an earlier one, by place; those not named are kept, as are the first
    `known` in any case."""
    leaders = find_leaders(sketches.digests)
    leads = np.flatnonzero(leaders == np.arange(len(leaders)))
    found = {
        int(leads[place]): Repeat(int(leads[repeat.of]), repeat.kind, repeat.similarity)
        for place, repeat in _find_near(sketches.take(leads), threshold, leads < known).items()
    }
    near = dict(found)
    followers = np.flatnonzero(leaders != np.arange(len(leaders)))
    for place in followers[followers >= known].tolist():
        leader = int(leaders[place])
        found[place] = near.get(leader, Repeat(leader, "exact", 1.0))
    return found


def find_leaders(digests: np.ndarray) -> np.ndarray:
    """[N] int64: the place of the first text that has the same digest; itself for most."""
    order = np.lexsort((digests[:, 1], digests[:, 0]))
    ordered = digests[order]
    is_first = np.ones(len(order), bool)
    is_first[1:] = (ordered[1:] != ordered[:-1]).any(axis=1)
    leaders = np.empty(len(order), np.int64)
    leaders[order] = order[is_first][np.cumsum(is_first) - 1]
    return leaders


def _find_near(sketches: Sketches, threshold: float, is_known: np.ndarray) -> dict[int, Repeat]:
    """Take texts in order and keep each that is similar to none kept before."""
    buckets, is_crowded = _number_buckets(sketches.bands, sketches.sizes > 0)
    meeting = np.flatnonzero((buckets >= 0).any(axis=1) | is_crowded)
    kept = _KeptTexts(buckets[meeting])
    crowd = CrowdedTexts(sketches, np.flatnonzero(is_crowded), threshold)
    found: dict[int, Repeat] = {}
    for row, place in enumerate(meeting.tolist()):
        marks = crowd.list_marks(place) if is_crowded[place] else []
        if not is_known[place]:
            candidates = {*meeting[kept.find_candidates(row)].tolist()}
            candidates.update(crowd.find_candidates(place, marks))
            of, similarity = _find_most_similar(sketches, place, sorted(candidates), threshold)
            if similarity >= threshold:
                found[place] = Repeat(of, "near", similarity)
                continue
        kept.add(row)
        crowd.add(place, marks)
    return found


def _number_buckets(bands: np.ndarray, has_words: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The bucket of each text in each band, [N, BANDS] int32, -1 where it is there alone or among
    too many; and [N] bool, whether it is anywhere among too many.

    Texts without a word are like nothing, so they are in no bucket.
    """
    buckets = np.full(bands.shape, -1, np.int32)
    is_crowded = np.zeros(len(bands), bool)
    begin = 0
    for band in range(bands.shape[1]):
        column = bands[has_words, band]
        _, inverse, counts = np.unique(column, return_inverse=True, return_counts=True)
        is_shared = (counts > 1) & (counts <= CROWD)
        numbers = np.where(is_shared, begin + np.cumsum(is_shared) - 1, -1)
        buckets[has_words, band] = numbers[inverse]
        is_crowded[has_words] |= (counts > CROWD)[inverse]
        begin += int(is_shared.sum())
    return buckets, is_crowded


class _KeptTexts:
    """The kept ones among texts, found by their buckets: each bucket is a linked list, in two
    arrays, since a list object for each would take gigabytes."""

    def __init__(self, buckets: np.ndarray) -> None:
        self._buckets = buckets
        self._heads = array("q", [-1]) * (int(buckets.max(initial=-1)) + 1)
        self._links = array("q", [-1]) * buckets.size

    def find_candidates(self, row: int) -> list[int]:
        """The kept texts that share a bucket with one."""
        candidates: set[int] = set()
        for bucket in self._buckets[row].tolist():
            link = self._heads[bucket] if bucket >= 0 else -1
            while link >= 0:
                candidates.add(link // BANDS)
                link = self._links[link]
        return [*candidates]

    def add(self, row: int) -> None:
        """Keep a text."""
        for link, bucket in enumerate(self._buckets[row].tolist(), start=row * BANDS):
            if bucket >= 0:
                self._links[link] = self._heads[bucket]
                self._heads[bucket] = link


def _find_most_similar(
    sketches: Sketches, place: int, candidates: Sequence[int], threshold: float
) -> tuple[int, float]:
    """The first of the texts most similar to one, and the Jaccard similarity; (-1, 0.0) where
    none can reach the threshold."""
    own = set(sketches.read_shingles(place).tolist())
    best, similarity = -1, 0.0
    for other in candidates:
        sizes = sorted((len(own), int(sketches.sizes[other])))
        if sizes[0] / sizes[1] < threshold or sketches.numbers[other] != sketches.numbers[place]:
            continue
        shared = len(own.intersection(sketches.read_shingles(other).tolist()))
        found = shared / (sum(sizes) - shared)
        if found > similarity:
            best, similarity = other, found
    return best, similarity
