"""Does a text say in other words what an item of a benchmark says?

Both are embedded, and a cosine of at least the threshold gives the item away. Of an item with
numbers each must stand in the text as well, as often as in the item: without that every exercise
of one kind would be near every other. It is one-sided, so that a text may demand more (`in 3
sentences`) than the item did.
"""

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from filters.paraphrases import PLACES, Embed
from generators.wording import count_numbers

BLOCK, CHUNK = 256, 4096
"""Texts and items that are held against one another at a time."""


class Neighbour(NamedTuple):
    """An item that lies near a text."""

    item: int
    similarity: float


class Neighbourhood:
    """The items of all benchmarks, as a model embeds them."""

    def __init__(self, items: Sequence[str], embed: Embed, threshold: float) -> None:
        self._embed, self._threshold = embed, threshold
        self._numbers = [count_digits(item) for item in items]
        self._unit_ID = embed(items)

    def find(self, texts: Sequence[str]) -> list[list[Neighbour]]:
        """What each text gives away, the nearest item first."""
        found: list[list[Neighbour]] = []
        unit_ND = self._embed(texts)
        for start in range(0, len(texts), BLOCK):
            block = texts[start : start + BLOCK]
            near: list[list[Neighbour]] = [[] for _ in block]
            numbers = [count_digits(text) for text in block]
            for begin in range(0, len(self._unit_ID), CHUNK):
                items_CD = self._unit_ID[begin : begin + CHUNK]
                cosines_BC = np.round(unit_ND[start : start + BLOCK] @ items_CD.T, PLACES)
                for row, item in np.argwhere(cosines_BC >= self._threshold).tolist():
                    if self._numbers[begin + item] <= numbers[row]:
                        cosine = round(float(cosines_BC[row, item]), PLACES)
                        near[row].append(Neighbour(begin + item, cosine))
            found += [sorted(own, key=lambda one: (-one.similarity, one.item)) for own in near]
        return found


def count_digits(text: str) -> Counter[str]:
    """The numbers of a text, without arithmetic signs, which may be said in words."""
    return Counter({n: count for n, count in count_numbers(text).items() if n[0].isdigit()})
