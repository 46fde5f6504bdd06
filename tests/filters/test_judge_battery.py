"""Which texts a judge is tried on, and when it is found unfit."""

import pytest

from filters.judge_battery import (
    CONTROL,
    KEYS,
    SHUFFLED,
    Attempt,
    plan_attempts,
    shuffle_words,
    sum_up_battery,
)
from filters.judging import Case, Opinion, Ruling
from generators.clients import Failure
from generators.records import JudgeCheck

LONG = "The sun rose over the old harbour."
CHECK = JudgeCheck(rubric="Speaks of the harbour.", reference=LONG)
FAILURE = Failure(reason="http_500", message="no", permanent=False)


def test_each_prompt_is_tried_with_all_keys_and_its_reference() -> None:
    attempts = {a.key: a.case.answer for a in plan_attempts("Describe it.", CHECK)}
    shuffled = attempts.pop(SHUFFLED)
    assert attempts == {"colon": ":", "solution": "Solution", "empty": "", CONTROL: LONG}
    assert shuffled != LONG
    assert sorted(shuffled.split()) == sorted(LONG.split())


def test_without_a_reference_nothing_is_shuffled_and_nothing_must_pass() -> None:
    attempts = plan_attempts("Describe it.", JudgeCheck(rubric="Speaks of the harbour."))
    assert [attempt.key for attempt in attempts] == ["colon", "solution", "empty"]


@pytest.mark.parametrize("text", ["Paris", "red, green and blue", "no no no no no no", ""])
def test_what_may_be_right_in_any_order_is_not_shuffled(text: str) -> None:
    assert shuffle_words(text) is None


def test_a_shuffle_is_always_the_same() -> None:
    assert shuffle_words(LONG) == shuffle_words(LONG)


def try_judge(prompts: int, budget: float = 0.0, **said: list[Opinion | None]):
    """A battery in which each key fared as it is said; else wrong, and the reference right."""
    outcomes: list[tuple[Attempt, Ruling | Failure]] = []
    for key in KEYS:
        usual: list[Opinion | None] = ["right" if key == CONTROL else "wrong"] * prompts
        for opinion in said.get(key, usual):
            ruling = FAILURE if opinion is None else Ruling(opinion, "")
            outcomes.append((Attempt(key, Case("Describe it.", CHECK, "")), ruling))
    return sum_up_battery(outcomes, prompts=prompts, budget=budget)


def test_a_judge_that_no_key_opens_is_fit() -> None:
    battery = try_judge(3, colon=["wrong", "abstains", None])
    colon = battery.tallies[0]
    assert battery.objection is None
    assert (colon.attempts, colon.right, colon.wrong, colon.abstained, colon.failed) == (
        (3, 0, 1, 1, 1)
    )


@pytest.mark.parametrize(
    ("budget", "objection"),
    [
        (0.0, "1 of 8 master keys passed for right: colon 1 of 2"),
        (0.124, "1 of 8 master keys passed for right: colon 1 of 2"),
        (0.125, None),
    ],
    ids=["none may pass", "just beyond", "at the limit"],
)
def test_over_budget_the_judge_is_disabled(budget: float, objection: str | None) -> None:
    assert try_judge(2, budget, colon=["right", "wrong"]).objection == objection


@pytest.mark.parametrize(
    ("control", "objection"),
    [
        (["right", "wrong"], None),
        (["abstains", "wrong"], "it calls only 0 of 2 references right"),
    ],
    ids=["half of them", "none"],
)
def test_a_judge_that_hardly_ever_says_right_is_disabled(
    control: list[Opinion | None], objection: str | None
) -> None:
    assert try_judge(2, reference=control).objection == objection


def test_a_judge_that_did_not_reply_was_not_tried() -> None:
    failed: list[Opinion | None] = [None, None]
    battery = try_judge(2, colon=failed, solution=failed, empty=[None, "wrong"])
    assert battery.objection == "only 3 of 8 master keys were answered, so it is not tried"
