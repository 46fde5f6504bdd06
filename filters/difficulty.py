"""How hard a prompt is for the student itself, measured and not guessed.

A prompt that the student always solves teaches it nothing, and one that it never solves may be out
of its reach. Its pass rate over k samples, under the prompt's own check, says which; a judge's idea
of difficulty does not.
"""

from typing import NamedTuple

from pydantic import Field

from generators.clients import Sampling
from generators.records import Decision, Record


class DifficultySettings(Record):
    """How difficulty is measured, and which prompts are kept for it."""

    model: str
    """The student before its training: a name under `models`."""
    k: int = Field(default=4, ge=2)
    """Samples of each prompt, asked outright and without examples."""
    band: tuple[float, float] | None = (0.0, 1.0)
    """Prompts whose pass rate lies between the two, both excluded, are kept. With null the rate is
    measured and nothing falls."""
    sampling: Sampling = Sampling(temperature=0.7, max_tokens=96)


class Grade(NamedTuple):
    """Whether a prompt's difficulty keeps it in."""

    decision: Decision
    reason: str


def grade_difficulty(rate: float, band: tuple[float, float] | None) -> Grade:
    """Sort a pass rate into the band, above it (`too_easy`) or below it (`too_hard`)."""
    if band is None:
        return Grade("accept", "measured")
    if rate <= band[0]:
        return Grade("reject", "too_hard")
    return Grade("reject", "too_easy") if rate >= band[1] else Grade("accept", "in_band")
