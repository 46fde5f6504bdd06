"""A judge is tried before each use: texts that answer nothing must not pass, the reference must.

The master keys are those of "One Token to Fool LLM-as-a-Judge" (Zhao et al. 2025,
arXiv:2507.08794): a colon, the word "Solution", nothing at all; and the reference with its words in
disorder. They are put to the judge in the place of an answer, exactly as answers are.
"""

import random
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from typing import NamedTuple

from pydantic import NonNegativeInt

from filters.judging import Case, Ruling
from generators.clients import Failure
from generators.records import JudgeCheck, Record, digest

VERSION = "1"
CONTROL = "reference"
MASTER_KEYS = {"colon": ":", "solution": "Solution", "empty": ""}
SHUFFLED = "shuffled_reference"
KEYS = (*MASTER_KEYS, SHUFFLED, CONTROL)
"""What is tried, in this order; all but the last must not pass."""
LEAST_WORDS = 5
"""A shorter reference, as a name or a short list, may be right in any order."""
LEAST_RIGHT = Fraction(1, 2)
"""The share of references that a useful judge calls right, at least."""
LEAST_ANSWERED = Fraction(1, 2)
"""The share of attempts with master keys that must have been answered, at least."""


class Attempt(NamedTuple):
    """One text in the place of an answer."""

    key: str
    case: Case


class KeyTally(Record):
    """How one of the texts fared over all prompts it was tried on."""

    key: str
    attempts: NonNegativeInt
    right: NonNegativeInt
    wrong: NonNegativeInt
    abstained: NonNegativeInt
    failed: NonNegativeInt
    """The model's server did not answer."""


class Battery(Record):
    """What came of the trial."""

    prompts: NonNegativeInt
    budget: float
    """The share of master keys that may pass."""
    tallies: tuple[KeyTally, ...]
    objection: str | None
    """Why this judge is not asked; None where it is fit."""


def plan_attempts(task: str, check: JudgeCheck) -> Iterator[Attempt]:
    """The texts that are tried on one prompt."""
    for key, text in MASTER_KEYS.items():
        yield Attempt(key, Case(task, check, text))
    if check.reference is None:
        return
    if (shuffled := shuffle_words(check.reference)) is not None:
        yield Attempt(SHUFFLED, Case(task, check, shuffled))
    yield Attempt(CONTROL, Case(task, check, check.reference))


def shuffle_words(text: str) -> str | None:
    """The words of a text in another order, always the same one; None for a text that is too short
    or has no other order."""
    words = text.split()
    if len(words) < LEAST_WORDS or len(set(words)) < 2:
        return None
    chance = random.Random(digest("shuffle", text))
    mixed = words
    while mixed == words:
        mixed = chance.sample(words, len(words))
    return " ".join(mixed)


def sum_up_battery(
    outcomes: Iterable[tuple[Attempt, Ruling | Failure]], *, prompts: int, budget: float
) -> Battery:
    """Count what passed, and say whether the judge may be asked."""
    counts: Counter[tuple[str, str]] = Counter()
    for attempt, outcome in outcomes:
        counts[attempt.key, "failed" if isinstance(outcome, Failure) else outcome.opinion] += 1
    tallies = tuple(_tally(key, counts) for key in KEYS)
    return Battery(
        prompts=prompts, budget=budget, tallies=tallies, objection=find_objection(tallies, budget)
    )


def _tally(key: str, counts: Counter[tuple[str, str]]) -> KeyTally:
    right, wrong, abstained, failed = (
        counts[key, outcome] for outcome in ("right", "wrong", "abstains", "failed")
    )
    return KeyTally(
        key=key,
        attempts=right + wrong + abstained + failed,
        right=right,
        wrong=wrong,
        abstained=abstained,
        failed=failed,
    )


def find_objection(tallies: Sequence[KeyTally], budget: float) -> str | None:
    """Why a judge with these results is not to be asked; None if it may be."""
    keys = [tally for tally in tallies if tally.key != CONTROL]
    (control,) = (tally for tally in tallies if tally.key == CONTROL)
    attempts = sum(tally.attempts for tally in keys)
    answered = attempts - sum(tally.failed for tally in keys)
    if answered < LEAST_ANSWERED * attempts or not answered:
        return f"only {answered} of {attempts} master keys were answered, so it is not tried"
    passed = sum(tally.right for tally in keys)
    if Fraction(passed, answered) > Fraction(str(budget)):
        names = ", ".join(f"{t.key} {t.right} of {t.attempts}" for t in keys if t.right)
        return f"{passed} of {answered} master keys passed for right: {names}"
    if control.right < LEAST_RIGHT * control.attempts:
        return f"it calls only {control.right} of {control.attempts} references right"
    return None
