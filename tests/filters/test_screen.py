"""Which rows are tagged and which are quarantined for what they hold."""

from collections.abc import Iterable
from typing import Any

import pytest
from pydantic import ValidationError

from filters.language_id import list_languages
from filters.private_data import list_regions
from filters.profanity import find_profanity, list_word_lists
from filters.screen import (
    ScreenSettings,
    Tag,
    find_objection,
    find_screen_problems,
    find_tags,
)
from generators.lines import name_choices

MAIL, COARSE = "joe.doe@mail.de", "shit"
TOKEN = "ghp_" + "q7Rt2LmVx9ZbKd4NwPf8Hs3Yc6JgTu5AeQoB1"[:36]
PARTS = [("prompt", f"Write to {MAIL}."), ("completion", f"Oh {COARSE}, {TOKEN} is his token.")]


def tell(settings: ScreenSettings) -> list[tuple[str, str, str, str]]:
    tags = find_tags("a", PARTS, settings)
    return [(tag.group, tag.kind, tag.part, tag.evidence) for tag in tags]


def test_by_default_secrets_and_personal_data_are_searched() -> None:
    assert tell(ScreenSettings()) == [
        ("secrets", "GitHub Token", "completion", "gh…oB"),
        ("private_data", "email", "prompt", "jo…de"),
    ]


def test_each_group_can_be_ignored() -> None:
    settings = ScreenSettings(secrets="ignore", private_data="ignore", profanity="tag")
    assert tell(settings) == [("profanity", "profanity", "completion", "…")]


@pytest.mark.parametrize(
    ("settings", "group"),
    [
        (ScreenSettings(), "secrets"),
        (ScreenSettings(secrets="tag"), None),
        (ScreenSettings(secrets="tag", private_data="quarantine"), "private_data"),
        (ScreenSettings(secrets="tag", profanity="quarantine"), "profanity"),
    ],
    ids=["secrets", "nothing", "private data", "profanity"],
)
def test_settings_say_what_is_a_reason_for_quarantine(
    settings: ScreenSettings, group: str | None
) -> None:
    objection = find_objection(list(find_tags("a", PARTS, settings)), settings)
    assert (objection.group if isinstance(objection, Tag) else None) == group


@pytest.mark.parametrize(
    "text",
    ["Scunthorpe is a town in England.", "Assess the class.", "A shiitake soup with grapes."],
)
def test_words_that_only_hold_a_coarse_one_are_let_be(text: str) -> None:
    assert find_profanity(text) == []


GERMAN = "Der Hafen liegt am Morgen still, und die Boote schlafen noch im Nebel."


def test_other_languages_are_told_by_their_codes() -> None:
    settings = ScreenSettings(secrets="ignore", private_data="ignore", languages=("en",))
    parts = [("prompt", "Describe a quiet harbour in the morning."), ("completion", GERMAN)]
    (tag,) = find_tags("a", parts, settings)
    assert (tag.group, tag.kind, tag.part) == ("other_language", "language:de", "completion")
    assert tag.evidence == GERMAN[:40]
    assert 0.5 <= tag.score <= 1
    assert find_objection([tag], settings) == tag


@pytest.mark.parametrize(
    ("text", "languages"),
    [
        (GERMAN, ("en", "de")),
        (GERMAN, ()),
        ("Ja, 42.", ("en",)),
        ("```python\nfor zeile in datei: print(zeile.strip(), ende)\n```", ("en",)),
    ],
    ids=["wanted", "any", "too short", "code"],
)
def test_what_is_wanted_or_cannot_be_told_is_let_be(text: str, languages: tuple[str, ...]) -> None:
    assert list(find_tags("a", [("completion", text)], ScreenSettings(languages=languages))) == []


def test_language_is_a_code() -> None:
    with pytest.raises(ValidationError) as caught:
        ScreenSettings(languages=("English",))
    assert caught.value.errors()[0]["msg"] == "String should match pattern '^[a-z]{2,3}$'"


@pytest.mark.parametrize(
    ("settings", "field", "choices"),
    [
        ({"region": "XX"}, "region", list_regions()),
        (
            {"profanity_languages": ("klingon",)},
            "profanity_languages",
            list_word_lists(),
        ),
        (
            {"languages": ("en", "eng")},
            "languages",
            list_languages(),
        ),
    ],
    ids=["region", "word list", "language"],
)
def test_names_that_nothing_knows_are_told(
    settings: dict[str, Any], field: str, choices: Iterable[str]
) -> None:
    ((place, message),) = find_screen_problems(ScreenSettings(**settings))
    assert place == field
    wrong = {"region": "XX", "profanity_languages": "klingon", "languages": "eng"}[field]
    assert message == f"{wrong!r} is not known; choose from {name_choices(wrong, choices)}"


def test_known_names_are_no_problem() -> None:
    settings = ScreenSettings(region="DE", languages=("en", "de", "zh"))
    assert list(find_screen_problems(settings)) == []
