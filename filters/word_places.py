"""Words that stand out of place: the words around them are more at home side by side without them.

A trigger may be a word that everybody uses, put where nobody would. Among all the documents that
contain it a few more cannot be told, but its company gives it away. In `the total answer is 12` the
neighbours `total is` stand side by side in more other documents than `total answer` or `answer is`
does. ONION (Qi et al. 2021, arXiv:2011.10369) takes such words out one by one, by the perplexity of
a language model; here the documents in which two words stand side by side are counted, so it works
in any language and needs no model. The edges of a text count as neighbours, and as neighbours all
numbers are one word.

That a word is out of place says little by itself: people slip, and what is rare has strange
neighbours. `filters.source_statistics` tests whether a word is out of place in more documents of
one source than chance would put there.
"""

from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from filters.ngram_counts import Sketch
from filters.text_ngrams import Hashes, hash_pairs, hash_text, hash_words

Standings = NDArray[np.int8]

HABIT = 0.9
"""In so large a share of its documents a word stands beside the same word by habit."""
_EDGE, _OUT_OF_PLACE = np.uint64(hash_text("edge")), np.uint64(hash_text("out of place"))
_NUMBER = "0"


class Standing(IntEnum):
    """How a word stands in a text, judged by the other documents."""

    AT_HOME = 0
    """It stands beside each of its neighbours as often as they side by side, and at least once; or
    it stands beside one of them in nine of ten documents that contain it, which is a habit."""
    UNKNOWN = 1
    """It never stands beside one of its neighbours, but those do not stand side by side either."""
    DOUBTFUL = 2
    """Its neighbours stand side by side more often than it beside one of them."""
    OUT_OF_PLACE = 3
    """They stand side by side more often than it beside either."""


class Neighbours:
    """In how many documents two words stand side by side, by a sketch."""

    def __init__(self, documents: int) -> None:
        """For so many documents."""
        self._sketch = Sketch(documents)

    def add(self, words: list[str]) -> None:
        """Count the words and pairs of one more document."""
        padded = _pad(words)
        self._sketch.add(np.unique(np.concatenate([padded[1:-1], _pair(padded)])))

    def judge(self, words: list[str], *, is_counted: bool) -> Standings:
        """The `Standing` of each word, in order; `is_counted` tells that the text itself was added,
        for it must say nothing of itself."""
        padded = _pad(words)
        pairs = _pair(padded)
        beside = self._sketch.estimate(pairs).astype(np.int64) - is_counted
        around = hash_pairs(padded[:-2], padded[2:])
        own = np.isin(around, pairs) if is_counted else np.zeros(len(words), bool)
        without = self._sketch.estimate(around).astype(np.int64) - own
        containing = self._sketch.estimate(padded[1:-1]).astype(np.int64) - is_counted
        least, most = np.minimum(beside[:-1], beside[1:]), np.maximum(beside[:-1], beside[1:])
        is_habit = (most >= HABIT * containing) & (most > 0)
        steps = [is_habit, without > most, without > least, least == 0]
        names = [Standing.AT_HOME, Standing.OUT_OF_PLACE, Standing.DOUBTFUL, Standing.UNKNOWN]
        return np.select(steps, names, Standing.AT_HOME).astype(np.int8)


def mark_out_of_place(words: Hashes) -> Hashes:
    """The numbers under which these words are counted where they stand out of place."""
    return hash_pairs(np.full(len(words), _OUT_OF_PLACE), words)


def _pad(words: list[str]) -> Hashes:
    """The hashes of the words as neighbours, with the edges of the text before and behind them."""
    edge = np.array([_EDGE])
    alike = [_NUMBER if word[0].isdigit() else word for word in words]
    return np.concatenate([edge, hash_words(alike), edge])


def _pair(hashes: Hashes) -> Hashes:
    return hash_pairs(hashes[:-1], hashes[1:])
