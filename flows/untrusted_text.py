"""Shows text that a model wrote: nothing in it acts, and nothing in it hides.

Escaping alone leaves two ways to deceive a reader: characters that cannot be seen (zero-width
spaces, tags, fillers) and characters that turn others round (bidirectional controls). Both are
shown by their code point. A joiner between two emoji stays, since there it only draws one.
"""

import re
import unicodedata
from difflib import SequenceMatcher

from markupsafe import Markup, escape

LONGEST = 4_000
"""Characters of one text that a page shows at most."""
PIECE = 512
"""Characters that are looked at together: where none of them can hide, they are escaped at once."""

_UNSEEN_LETTERS = frozenset("\u115f\u1160\u2800\u3164\uffa0")
"""Letters and symbols by category, blank by design."""
_MAY_HIDE = re.compile("[\u115f\u1160\u2800\u3164\uffa0\U000e0100-\U000e01ef]")
"""What is hidden although Python calls it printable."""
_JOINER = "\u200d"
_EMOJI_PRESENTATION = "\ufe0f"


def show_text(text: str, longest: int = LONGEST) -> Markup:
    """Escape a text for HTML, make hidden characters visible and cut it when it is huge."""
    shown, rest = text[:longest], len(text) - longest
    pieces = (_show_piece(shown, start) for start in range(0, len(shown), PIECE))
    return Markup("").join(pieces) + _tell_cut(rest)


def _show_piece(text: str, start: int) -> Markup:
    piece = text[start : start + PIECE]
    seen = piece.replace("\n", "").replace("\t", "").isprintable()
    if seen and not _MAY_HIDE.search(piece):
        return escape(piece)
    return Markup("").join(
        _mark(c) if _is_hidden(text, i) else escape(c) for i, c in enumerate(piece, start)
    )


def show_added(text: str, before: str, longest: int = LONGEST) -> Markup:
    """Show a text with the words it has beyond an earlier one in `<ins>`."""
    words, known = _split_words(text[:longest]), _split_words(before[:longest])
    shown = Markup("")
    for tag, _, _, start, end in SequenceMatcher(None, known, words, False).get_opcodes():
        piece = "".join(words[start:end])
        core = piece.strip()
        if tag == "equal" or not core:
            shown += show_text(piece, longest)
        else:
            lead, _, trail = piece.partition(core)
            shown += Markup("{}<ins>{}</ins>{}").format(lead, show_text(core, longest), trail)
    return shown + _tell_cut(len(text) - longest)


def _split_words(text: str) -> list[str]:
    return re.findall(r"\s+|\w+|[^\w\s]", text)


def show_plainly(text: str, longest: int = LONGEST) -> str:
    """The same for plain text (SVG, Markdown): hidden characters become `[U+200B]`."""
    shown, rest = text[:longest], len(text) - longest
    marked = "".join(f"[{_name(c)}]" if _is_hidden(shown, i) else c for i, c in enumerate(shown))
    return f"{marked}… ({rest:,} more characters)" if rest > 0 else marked


def _tell_cut(rest: int) -> Markup:
    if rest <= 0:
        return Markup("")
    return Markup('<span class="cut">… {} more characters</span>').format(f"{rest:,}")


def _is_hidden(text: str, i: int) -> bool:
    c = text[i]
    if c in "\n\t" or " " <= c <= "~":
        return False
    if c == _JOINER:
        return not (_is_emoji(text[i - 1 : i]) and _is_emoji(text[i + 1 : i + 2]))
    return (
        unicodedata.category(c) in ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")
        or c in _UNSEEN_LETTERS
        or 0xE0100 <= ord(c) <= 0xE01EF  # variation selectors that can carry bytes
    )


def _is_emoji(c: str) -> bool:
    return c == _EMOJI_PRESENTATION or (c != "" and unicodedata.category(c) in ("So", "Sk"))


def _mark(c: str) -> Markup:
    name = unicodedata.name(c, "control character").lower()
    return Markup('<span class="hidden-char" title="{}">{}</span>').format(name, _name(c))


def _name(c: str) -> str:
    return f"U+{ord(c):04X}"
