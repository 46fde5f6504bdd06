"""Text that a model wrote is shown whole, folded where it is long, and nothing in it acts."""

import random

import pytest

from flows.untrusted_text import PIECE, show_text
from flows.viewer.browsing import write_pattern
from flows.viewer.shown import show_excerpt, show_match, show_whole
from tests.flows.viewer.asker import read_words

HIDDEN = ("\u200b", "\u202e", "\u115f", "\u2800", "\U000e0101", "\x00", "\ue000", "\u2028")


def test_short_text_stands_open() -> None:
    assert show_whole("a <b> & c") == "a &lt;b&gt; &amp; c"


def test_long_text_is_folded_and_nothing_is_lost() -> None:
    shown = show_whole("x" * 500 + "y" * 2_000, 500)
    assert shown == (
        f'{"x" * 500}<details class="rest"><summary>2,000 more characters</summary>'
        f'<span class="said" dir="auto">{"y" * 2_000}</span></details>'
    )


def test_excerpt_is_one_line_and_says_that_there_is_more() -> None:
    assert show_excerpt("two\n  lines", 11) == "two lines"
    assert show_excerpt("two\nlines", 80) == 'two lines<span class="cut">…</span>'


def test_words_that_match_are_marked_and_nothing_else_acts() -> None:
    pattern = write_pattern('word "in the" har*')
    text = "A <b>Word</b>, in\nthe harbour: swords"
    assert show_match(text, pattern, len(text)) == (
        "A &lt;b&gt;<mark>Word</mark>&lt;/b&gt;, <mark>in the</mark> <mark>har</mark>bour: swords"
    )


def test_part_around_the_first_match_is_shown() -> None:
    text = f"{'before ' * 100}here {'behind ' * 100}"
    shown = show_match(text, write_pattern("here"), len(text))
    cut = '<span class="cut">…'
    assert shown.startswith(f"{cut} </span>before ")
    assert "before <mark>here</mark> behind" in shown
    assert shown.endswith(f"{cut}</span>")
    assert len(read_words(shown)) < 400


def test_nothing_is_marked_where_nothing_matches() -> None:
    assert show_match("12 < 13", write_pattern("???"), 7) == "12 &lt; 13"


@pytest.mark.parametrize("hidden", HIDDEN, ids=ascii)
def test_hidden_character_is_seen_wherever_it_stands(hidden: str) -> None:
    chance = random.Random(0)
    letters = ["a", "é", "中", "\n", "\t", " "]
    for place in (0, 1, PIECE - 1, PIECE, PIECE + 1, 3 * PIECE):
        text = "".join(chance.choice(letters) for _ in range(place)) + hidden + "b" * 700
        shown = show_text(text, len(text))
        assert hidden not in shown
        assert shown.count('class="hidden-char"') == 1
        assert f"U+{ord(hidden):04X}" in shown


def test_joiner_between_emoji_stays_across_pieces() -> None:
    text = "a" * (PIECE - 1) + "\U0001f469\u200d\U0001f4bb" + "b" * 40
    assert show_text(text) == text
