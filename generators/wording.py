"""Texts as the rooms compare them: normalised, as words, as numbers, without function words.

Deduplication, elimination and the held-out check must agree on when two texts say the same, so
that question is answered here, once.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable

NORMALISER = 1
"""Raised with any change to what `normalise` or `split_words` give: an index of texts that is
kept on disk is of no use with others."""

_FUNCTION_WORDS = """
a about above after again against all also am an and any are as at be because been before being
below between both but by can could did do does doing down during each few for from further had has
have having he her here hers herself him himself his how i if in into is it its itself just me more
most my myself nor not now of off on once only or other our ours ourselves out over own same shall
she should so some such than that the their theirs them themselves then there these they this those
through to too under until up upon us very was we were what when where which while who whom whose
why will with would you your yours yourself yourselves
"""
STOP_WORDS = frozenset(_FUNCTION_WORDS.split())
"""English function words. `no` and `none` are absent: they can be a whole answer."""

_PLAIN = str.maketrans(
    "\u2018\u2019\u201a\u201c\u201d\u201e\u00ab\u00bb"  # typographic quotes
    "\u2010\u2011\u2013\u2014\u2212"  # hyphens, dashes, minus
    "\u00d7\u22c5\u00b7\u00f7",  # times, divided by
    "'''" + '"' * 5 + "-----" + "***/",
)
_SIGN = r"(?<![-+*/^=<>%])[-+*/^=<>%]++"
_TOKEN = re.compile(
    r"[^\W\d_]++(?:['-][^\W\d_]++)*"  # river, don't, well-known
    r"|\d++(?:[.,]\d++)*"  # 17, 3.5, 1,000
    rf"|(?=[-+*/^=<>%])(?:(?<!\S){_SIGN}(?!\S)|(?<=[\w)]){_SIGN}(?=[\w(])"
    rf"|{_SIGN}(?=\d)|(?<=\d){_SIGN})"
)
"""A sign counts where it stands alone, between two terms or at a number, not as Markdown. No group
is possessive: before Python 3.11.5 such a group keeps what it has tried in vain (`25,`)."""


def normalise(text: str) -> str:
    """The text without what changes no meaning.

    NFKC (yet `5²` is `5^2` and not `52`), case-folded, white space squeezed, invisible format
    characters dropped, typographic quotes, dashes and signs made plain, outer quotes and closing
    punctuation dropped (but not the factorial of `5!`).
    """
    if not text.isascii():
        text = unicodedata.normalize("NFKC", "".join(map(_fold, text))).translate(_PLAIN)
    text = " ".join(text.casefold().split()).lstrip(" \"'")
    bare = text.rstrip(" .,;:?!\"'")
    is_factorial = bare[-1:].isdigit() or bare.endswith(")")
    return f"{bare}!" if is_factorial and text[len(bare) :].startswith("!") else bare


def _fold(character: str) -> str:
    """The character set off by what NFKC would lose, or nothing if it is invisible."""
    if unicodedata.category(character) == "Cf":
        return ""
    kind = unicodedata.decomposition(character).partition(">")[0]
    return {"<super": "^", "<sub": "_", "<fraction": " "}.get(kind, "") + character


def split_words(text: str) -> list[str]:
    """The words, numbers and arithmetic signs of a text, normalised, in order."""
    return split_normal(normalise(text))


def split_normal(text: str) -> list[str]:
    """The words, numbers and arithmetic signs of a text that is normalised already."""
    return _TOKEN.findall(text)


def count_numbers(text: str) -> Counter[str]:
    """The numbers and arithmetic signs of a text, as a multiset; `1,000` is `1000`."""
    return Counter(pick_numbers(split_words(text)))


def pick_numbers(words: Iterable[str]) -> list[str]:
    """The numbers and arithmetic signs among words, in order; `1,000` is `1000`."""
    return [word.replace(",", "") for word in words if not word[0].isalpha()]
