"""What a run has to say of the model that judged answers: how it did on trial."""

from pydantic import NonNegativeInt, PositiveInt

from filters.judge_battery import KeyTally
from generators.records import Record


class BatteryFacts(Record):
    """What the judge said of texts that answer nothing, and of references."""

    model: str
    prompts: PositiveInt
    budget: float
    """The share of master keys that may pass."""
    tallies: tuple[KeyTally, ...]
    """Without those that were not tried."""
    objection: str | None
    """Why it was not asked; None where it was."""
    accepts_alone: bool
    judged: NonNegativeInt
    """Answers that were put to it."""
