"""A judge's answer counts by its first word, and silence is no judgement."""

import pytest

from filters.equality import read_judgement


@pytest.mark.parametrize(
    ("text", "equal"),
    [
        ("equal", True),
        (" Equal.\n", True),
        ("**Different**, because", False),
        ("different", False),
        ("Equally good", None),
        ("not equal", None),
        ("The tasks are equal", None),
        ("", None),
        ("...", None),
    ],
)
def test_the_first_word_is_the_verdict(text: str, equal: bool | None) -> None:
    assert read_judgement(text) is equal
