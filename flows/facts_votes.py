"""What a run has to say of the votes it held, and of how far such votes can be trusted."""

from typing import Self

from pydantic import NonNegativeInt, PositiveInt, model_validator

from flows.intervals import Interval
from generators.records import Record


class VoteTrial(Record):
    """The same election, held where the right answer is known."""

    sampler: str
    """Only its answers vote: it is the one that was asked for every prompt."""
    prompts: PositiveInt
    elected: NonNegativeInt
    right: Interval | None
    """The share of elected answers that were right; None where nothing was elected."""


class VoteFacts(Record):
    """What came of the tasks that were put to the vote."""

    prompts: NonNegativeInt
    elected: NonNegativeInt
    undecided: NonNegativeInt
    """Below the threshold, or tied."""
    too_few: NonNegativeInt
    """With fewer votes than are needed."""
    threshold: float
    min_votes: int
    mean_share: float | None
    """Of all votes on a task, for the elected answers; None where nothing was elected."""
    trial: VoteTrial | None
    """None where no prompt with a known answer had enough samples."""

    @model_validator(mode="after")
    def _check_sum(self) -> Self:
        if self.elected + self.undecided + self.too_few != self.prompts:
            raise ValueError(f"the outcomes of the votes do not add up to {self.prompts} prompts")
        return self
