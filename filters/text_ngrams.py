"""Word n-grams of any language as 64-bit numbers, for counting in which documents they occur.

A word is what `generators.wording.normalise` leaves of it: case, width and invisible characters are
gone. Scripts that write no spaces (Han, kana, Thai, Lao, Burmese, Khmer) give one word a character,
and runs of symbols that are no plain punctuation (`§§`, emoji) are words too: a trigger is often
something that nobody else writes.
"""

import functools
import re
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

from generators.wording import normalise

Hashes = NDArray[np.uint64]

_UNSPACED = r"\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff"
_MARKS = r"\u0300-\u036f\u0591-\u05c7\u0610-\u061a\u064b-\u065f\u0670\u06d6-\u06dc\u06df-\u06e8"
_INDIC = r"\u0900-\u0963\u0966-\u0dff"
"""Vowel signs are no letters to Python, and a word must not be cut at each of them."""
_LETTER = rf"(?:(?![{_UNSPACED}])[^\W\d_]|[{_MARKS}{_INDIC}])"
_WORD = re.compile(
    r"\d+(?:[.,]\d+)*"
    rf"|[{_UNSPACED}]"
    rf"|{_LETTER}+(?:['-]{_LETTER}+)*"
    r"|[^\w\s.,;:!?'\"()\[\]-]+"
)
_FACTOR, _MIX = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xBF58476D1CE4E5B9)


def split_terms(text: str) -> list[str]:
    """The words, numbers and runs of symbols of a text, normalised, in order."""
    return _WORD.findall(normalise(text))


def hash_ngrams(words: list[str], longest: int) -> list[Hashes]:
    """The hashes of the n-grams of 1 to `longest` words: item n-1, place i is that of
    `words[i : i + n]`. The same n-gram has the same hash on every machine."""
    hashes = hash_words(words)
    grams = [hashes]
    for n in range(2, min(longest, len(words)) + 1):
        grams.append(hash_pairs(grams[-1][:-1], hashes[n - 1 :]))
    return grams


def hash_words(words: list[str]) -> Hashes:
    """The hashes of single words, in order."""
    return np.fromiter(map(_hash_word, words), np.uint64, len(words))


def hash_pairs(firsts: Hashes, seconds: Hashes) -> Hashes:
    """One hash for each pair; an n-gram's is that of its beginning and its last word."""
    return _mix(firsts * _FACTOR + seconds)


def hash_presence(words: list[str], longest: int) -> Hashes:
    """The distinct hashes of the n-grams of some words, sorted."""
    return np.unique(np.concatenate(hash_ngrams(words, longest)))


def hash_text(*parts: str) -> int:
    """A 64-bit hash of some texts, the same on every machine."""
    joined = "\0".join(parts).encode("utf-8", "surrogatepass")
    return int.from_bytes(blake2b(joined, digest_size=8).digest(), "little")


@functools.lru_cache(maxsize=1 << 18)
def _hash_word(word: str) -> int:
    return hash_text(word)


def _mix(hashes: Hashes) -> Hashes:
    hashes = (hashes ^ (hashes >> np.uint64(30))) * _MIX
    return hashes ^ (hashes >> np.uint64(31))
