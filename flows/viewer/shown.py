"""How the pages show text that a model wrote: escaped, with what hides in it made visible, and all
of it there, however long. Long text is folded."""

import re

from markupsafe import Markup

from flows.untrusted_text import show_text
from flows.viewer.browsing import EXCERPT
from flows.wording import format_count

FOLD = 1_800
"""Characters that stand open."""
BEFORE = 40
"""Characters that are shown before a match."""


def show_whole(text: str, open_characters: int = FOLD) -> Markup:
    """Show a text with its end folded, where it is long."""
    if len(text) <= open_characters * 5 // 4:
        return show_text(text, len(text))
    head, rest = text[:open_characters], text[open_characters:]
    return Markup(
        '{}<details class="rest"><summary>{} more characters</summary>'
        '<span class="said" dir="auto">{}</span></details>'
    ).format(show_text(head, len(head)), format_count(len(rest)), show_text(rest, len(rest)))


def show_excerpt(text: str, length: int) -> Markup:
    """Show the begin of a text on one line; `length` is that of the whole."""
    told = " ".join(text.split())
    shown = show_text(told, len(told))
    return shown + Markup('<span class="cut">…</span>') if length > len(text) else shown


def show_match(text: str, pattern: re.Pattern[str], length: int) -> Markup:
    """Show the part of a text around the first match, with all matches in it marked; its begin
    where nothing matches. `length` is that of the whole."""
    told = " ".join(text.split())
    first = pattern.search(told)
    start = told.rfind(" ", 0, max(0, first.start() - BEFORE)) + 1 if first else 0
    part = told[start : start + EXCERPT]
    shown, end = Markup('<span class="cut">… </span>') if start else Markup(""), 0
    for found in pattern.finditer(part):
        between, word = part[end : found.start()], found[0]
        shown += show_text(between, len(between))
        shown += Markup("<mark>{}</mark>").format(show_text(word, len(word)))
        end = found.end()
    shown += show_text(part[end:], len(part))
    goes_on = start + EXCERPT < len(told) or length > len(text)
    return shown + Markup('<span class="cut">…</span>') if goes_on else shown
