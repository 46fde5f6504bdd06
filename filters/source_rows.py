"""Documents of several sources as rows of numbers, and which of them are compared with which.

Equal documents of a source count once; where prompts are known, once a prompt. Sources that
answered the same prompts are compared on those alone, prompt by prompt; others all with all. A row
costs under 100 bytes, whatever its text.
"""

import math
from array import array
from collections.abc import Iterable
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from filters.text_ngrams import hash_text
from generators.wording import normalise

Integers = NDArray[np.int64]
Design = Literal["paired", "pooled", "none"]
"""Whether documents are compared on the same prompts, all with all, or (one source) not."""

FLOOR = 5
"""An n-gram of fewer documents is not tested."""
ATTAINABLE = 1e-4
"""Nor one whose p-value could not fall to this if all its documents were the source's (Tarone)."""
PER_ROWS = 10_000
"""Nor one in fewer than one of so many documents, which bounds memory on large files."""
PAIRED_PROMPTS = 100
"""So many shared prompts are enough to compare on them alone."""


class Document(NamedTuple):
    """A text, who wrote it, and what it answers."""

    id: str
    source: str
    """The teacher or the file that it came from."""
    text: str
    prompt: str | None = None
    """The same key for the same prompt, in every source."""


class SourceRows:
    """What is kept of every document: a few numbers each."""

    def __init__(self, documents: Iterable[Document]) -> None:
        codes: dict[str, int] = {}
        sources, texts, prompts = array("i"), array("Q"), array("Q")
        for row, document in enumerate(documents):
            key = document.prompt
            sources.append(codes.setdefault(document.source, len(codes)))
            texts.append(hash_text(document.source, key or "", normalise(document.text)))
            prompts.append(hash_text("row", str(row)) if key is None else hash_text("key", key))
        self.sources = list(codes)
        self.source: Integers = np.array(sources, np.int64)
        self.prompt: Integers = np.unique(np.array(prompts, np.uint64), return_inverse=True)[1]
        """Numbers of the prompts; a document without a key is the only one on its own."""
        distinct, shared = _find_first(texts), self._find_shared()
        is_paired = len(np.unique(self.prompt[shared])) >= PAIRED_PROMPTS or 2 * shared.sum() > len(
            shared
        )
        self.design: Design = "none"
        if len(codes) > 1:
            self.design = "paired" if is_paired else "pooled"
        self.compared = distinct & shared if is_paired else distinct
        self.stratum = self.prompt if is_paired else np.zeros_like(self.prompt)
        """Documents of the same number are compared with each other."""
        self.by_stratum = np.zeros((int(self.stratum.max(initial=0)) + 1, len(codes)), np.int64)
        np.add.at(self.by_stratum, (self.stratum[self.compared], self.source[self.compared]), 1)

    def _find_shared(self) -> NDArray[np.bool_]:
        """Which documents answer a prompt that another source answers too."""
        pairs = np.unique(np.stack([self.prompt, self.source]), axis=1)
        return (np.bincount(pairs[0]) > 1)[self.prompt]

    @property
    def totals(self) -> Integers:
        """Compared documents by source."""
        return self.by_stratum.sum(0)

    def find_least(self, code: int) -> int:
        """The fewest documents with an n-gram for it to be tested on a source."""
        own, every = int(self.totals[code]), int(self.totals.sum())
        if not 0 < own < every:
            return every + 1  # nothing to compare it with
        attainable = math.ceil(math.log(ATTAINABLE) / math.log(own / every))
        return max(FLOOR, attainable, len(self.source) // PER_ROWS)


def _find_first(texts: Iterable[int]) -> NDArray[np.bool_]:
    """Which of some hashes are the first of their kind."""
    hashes = np.array(texts, np.uint64)
    is_first = np.zeros(len(hashes), bool)
    is_first[np.unique(hashes, return_index=True)[1]] = True
    return is_first
