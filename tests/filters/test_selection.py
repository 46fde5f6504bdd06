"""Answers are kept by length, repetition, difficulty to follow, and how usual their loss is."""

import math

import numpy as np
import pytest
from pydantic import ValidationError

from filters.selection import (
    Measured,
    Selection,
    SelectSettings,
    measure_repetition,
    score_losses,
    select_answers,
)

USUAL = [Measured(f"{i:02}", "maths", "it is 3", loss=1 + i / 100) for i in range(21)]


def decide(answer: Measured, **settings: object) -> Selection:
    """What becomes of one answer among 21 usual ones."""
    return select_answers([*USUAL, answer], SelectSettings(**settings))[answer.id]  # type: ignore[arg-type]


def test_modified_z_score_by_hand() -> None:
    """Of 1.00, 1.01 … 1.20 the median is 1.1, and the median distance from it 0.05."""
    scores = score_losses(USUAL)
    assert scores["10"] == pytest.approx(0)
    assert scores["20"] == pytest.approx(0.6745 * 0.1 / 0.05)
    assert scores["00"] == pytest.approx(-0.6745 * 0.1 / 0.05)


@pytest.mark.parametrize(
    ("loss", "decision", "reason"),
    [
        (9.0, "quarantine", "loss_too_high"),
        (0.01, "quarantine", "loss_too_low"),
        (1.3, "accept", "selected"),
        (None, "accept", "selected"),
    ],
)
def test_loss_is_tested_on_both_sides(loss: float | None, decision: str, reason: str) -> None:
    found = decide(Measured("x", "maths", "it is 3", loss=loss), model="m", loss_outliers=6)
    assert (found.decision, found.reason) == (decision, reason)


def test_evidence_tells_the_loss_and_its_score() -> None:
    found = decide(Measured("x", "maths", "it is 3", loss=9.0), model="m", loss_outliers=6)
    assert found.evidence == "9.000 nats a token"
    assert found.score is not None
    assert found.score > 6


def test_other_domains_and_small_ones_are_not_compared() -> None:
    few = [Measured(f"w{i}", "writing", "x", loss=loss) for i, loss in enumerate([1, 2, 3, 90])]
    assert {*score_losses([*USUAL, *few])} == {answer.id for answer in USUAL}


def test_equal_losses_say_nothing() -> None:
    assert score_losses([Measured(str(i), "a", "x", loss=1.0) for i in range(30)]) == {}


@pytest.mark.parametrize(
    ("text", "settings", "reason"),
    [
        ("yes", {"words": (2, 5)}, "too_few_words"),
        ("one two three four five six", {"words": (2, 5)}, "too_many_words"),
        ("one two", {"words": (2, 5)}, None),
        ("go on and " * 9, {"repetition": 0.5}, "repetitive"),
        ("the boat left and the bus came later", {"repetition": 0.5}, None),
    ],
    ids=["short", "long", "in bounds", "repeats", "goes on"],
)
def test_text_alone_can_be_a_reason(
    text: str, settings: dict[str, object], reason: str | None
) -> None:
    found = decide(Measured("x", "maths", text), **settings)
    assert (found.decision, found.reason) == (
        ("accept", "selected") if reason is None else ("reject", reason)
    )


@pytest.mark.parametrize(
    ("ifd", "reason"),
    [(0.1, "ifd_too_low"), (1.2, "ifd_too_high"), (0.5, "selected"), (None, "selected")],
)
def test_prompt_must_help_and_not_give_all_away(ifd: float | None, reason: str) -> None:
    found = decide(Measured("x", "maths", "it is 3", loss=1.1, ifd=ifd), model="m", ifd=(0.2, 1.0))
    assert found.reason == reason


def test_repetition_is_the_share_of_grams_seen_before() -> None:
    assert measure_repetition("a b c a b c") == pytest.approx(1 / 4)
    assert measure_repetition("a b c") == 0
    assert measure_repetition("") == 0


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"loss_outliers": 6}, "model: is missing; loss_outliers needs one that reads the answers"),
        ({"rows": 9}, "model: is missing; rows needs one that reads the answers"),
        ({"words": (9, 2)}, "words: 9 is above 2; give the lower first"),
        ({"model": "m", "ifd": (1.0, 0.5)}, "ifd: 1.0 is above 0.5; give the lower first"),
    ],
)
def test_settings_that_contradict_themselves(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError) as caught:
        SelectSettings(**settings)  # type: ignore[arg-type]
    assert [fault["msg"] for fault in caught.value.errors()] == [f"Value error, {message}"]


def spread(degrees: dict[str, float], **settings: object) -> dict[str, tuple[str, str | None]]:
    """Why answers at these angles fall, and for which answer; `c` is the hardest to follow."""
    answers = [Measured(id, "maths", "it is 3", ifd=0.9 if id == "c" else 0.5) for id in "abcdu"]
    vectors = {
        id: np.array([math.cos(math.radians(d)), math.sin(math.radians(d))], dtype=np.float32)
        for id, d in degrees.items()
    }
    chosen = SelectSettings(model="m", **settings)  # type: ignore[arg-type]
    found = select_answers(answers, chosen, vectors)
    assert list(found) == list("abcdu")
    return {
        id: (selection.reason, selection.evidence)
        for id, selection in found.items()
        if selection.decision != "accept"
    }


SQUARE = {"a": 0.0, "b": 90.0, "c": 185.0, "d": 180.0}
"""`u` was not read."""


def test_of_two_that_lie_near_the_one_harder_to_follow_is_kept() -> None:
    assert spread(SQUARE, min_distance=0.3) == {"d": ("too_near", "c")}
    assert spread(SQUARE, min_distance=0.001) == {}


def test_so_many_are_chosen_that_cover_the_others() -> None:
    fallen = spread(SQUARE, rows=3)
    assert fallen.pop("u") == ("not_chosen", "longer than the window")
    assert fallen in ({"c": ("not_chosen", None)}, {"d": ("not_chosen", None)})
    assert set(spread(SQUARE, rows=3, min_distance=0.3)) == {"d", "u"}
    assert set(spread(SQUARE, rows=9)) == {"u"}


def test_what_fell_for_another_reason_is_near_nothing() -> None:
    answers = [Measured("a", "maths", "one two three", ifd=0.9), Measured("b", "maths", "one")]
    vectors = {id: np.array([1.0, n]) for n, id in enumerate("ab")}
    settings = SelectSettings(model="m", words=(1, 2), min_distance=2.0)
    found = select_answers(answers, settings, vectors)
    assert {id: s.reason for id, s in found.items()} == {"a": "too_many_words", "b": "selected"}
