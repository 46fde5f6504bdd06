"""Does a text give away an item of a benchmark that a student will be measured on?

Three ways by its words, from the surest to the broadest: the two are equal after normalising; the
text contains a short item (4 to 7 words) word by word; it covers an item of 8 words or more: at
least so large a share of the item's distinct word 8-grams stands in the text. An item of fewer than
4 words would stand in everything, so only an equal text gives it away. The coverage is one-sided,
unlike a Jaccard similarity: a long text may hide a whole item. In other words an item is given away
by a text that lies near it as a model embeds both (`filters.neighbours`).

n-gram overlap with test sets follows Brown et al., "Language Models are Few-Shot Learners" (2020),
appendix C, with 8 words in the place of 13, since prompts are short.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Literal, NamedTuple

from filters.text_ngrams import hash_ngrams, hash_text, split_terms
from generators.records import Record
from generators.wording import normalise

VERSION = "1"
NGRAM, SHORTEST = 8, 4
"""Words of an n-gram that is counted, and of an item that is sought in other texts."""
Part = Literal["prompt", "completion"]
Way = Literal["exact", "contained", "covered", "neighbour"]
WAYS: tuple[Way, ...] = ("exact", "contained", "covered", "neighbour")


class BenchmarkItem(NamedTuple):
    """One text of a benchmark."""

    benchmark: str
    place: str
    """Where it stands, as `file:line`."""
    text: str


class Contamination(Record):
    """An item of a benchmark that a part of a row gives away."""

    subject_id: str
    part: Part
    benchmark: str
    item: str
    """Its place, as `file:line`."""
    way: Way
    score: float
    """The share of the item's 8-grams that stand in the part, or the cosine of the two; 1 for
    the other ways."""


class _Found(NamedTuple):
    item: int
    way: Way
    score: float


class Benchmarks:
    """The items of all benchmarks, found by what stands in a text."""

    def __init__(self, items: Iterable[BenchmarkItem], *, coverage: float) -> None:
        """From `coverage` on, above 0 and up to 1, an item of 8 words or more is given away."""
        self.items = tuple(items)
        self._coverage = coverage
        self._equal: dict[int, list[int]] = defaultdict(list)
        self._contained: dict[int, list[int]] = defaultdict(list)
        self._grams: dict[int, list[int]] = defaultdict(list)
        self._sizes: dict[int, int] = {}
        for number, item in enumerate(self.items):
            self._add(number, item)

    def _add(self, number: int, item: BenchmarkItem) -> None:
        self._equal[hash_text(normalise(item.text))].append(number)
        words = split_terms(item.text)
        if len(words) >= NGRAM:
            grams = set(hash_ngrams(words, NGRAM)[-1].tolist())
            self._sizes[number] = len(grams)
            for gram in grams:
                self._grams[gram].append(number)
        elif len(words) >= SHORTEST:
            self._contained[int(hash_ngrams(words, len(words))[-1][0])].append(number)

    def find(self, subject_id: str, part: Part, text: str) -> list[Contamination]:
        """The items that a part of a row gives away, each once, the surest first."""
        found: dict[int, _Found] = {}
        for hit in self._find(text):
            found.setdefault(hit.item, hit)
        ordered = sorted(found.values(), key=lambda hit: (WAYS.index(hit.way), -hit.score))
        return [
            Contamination(
                subject_id=subject_id,
                part=part,
                benchmark=self.items[hit.item].benchmark,
                item=self.items[hit.item].place,
                way=hit.way,
                score=hit.score,
            )
            for hit in ordered
        ]

    def _find(self, text: str) -> Iterator[_Found]:
        """All hits; of one item the surest comes first."""
        for item in self._equal.get(hash_text(normalise(text)), ()):
            yield _Found(item, "exact", 1.0)
        grams = hash_ngrams(split_terms(text), NGRAM)
        for length in range(SHORTEST, min(NGRAM, len(grams) + 1)):
            for gram in set(grams[length - 1].tolist()):
                for item in self._contained.get(gram, ()):
                    yield _Found(item, "contained", 1.0)
        shared: dict[int, int] = defaultdict(int)
        for gram in set(grams[-1].tolist()) if len(grams) == NGRAM else ():
            for item in self._grams.get(gram, ()):
                shared[item] += 1
        for item, count in shared.items():
            if (coverage := count / self._sizes[item]) >= self._coverage:
                yield _Found(item, "covered", coverage)


def describe_contamination(found: Contamination) -> str:
    """A hit in a few words, for a verdict's evidence."""
    ways = {
        "exact": "equals",
        "contained": "contains",
        "covered": f"covers {found.score:.0%} of",
        "neighbour": f"says nearly ({found.score:.3f}) the same as",
    }
    return f"the {found.part} {ways[found.way]} {found.item}"
