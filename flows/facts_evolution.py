"""What a run has to say of how its evolved prompts were judged."""

from pydantic import Field, NonNegativeInt, PositiveInt

from flows.intervals import Interval
from generators.records import Record


class JudgeFacts(Record):
    """How the model that is to judge equality did on pairs that people labelled."""

    model: str
    pairs: PositiveInt
    unread: NonNegativeInt
    """Answers that were no judgement; they count as wrong."""
    agreed: Interval
    """The share of pairs that it judged as they are labelled."""
    balanced_accuracy: float = Field(ge=0, le=1)
    chance: float
    kappa: float
    """Cohen's."""
    trusted: bool
    """Whether it was asked in the end; else the textual rules decided alone."""
    unjudged: NonNegativeInt = 0
    """Children that stayed although the judge, or the model asked to answer, said nothing."""
