"""What a run has to say of samplers that were matched in cost: the same money, two ways spent."""

from typing import Literal, Self

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveInt, model_validator

from flows.intervals import Interval
from generators.records import Record


class ArmFacts(Record):
    """One of two matched samplers, over the prompts that both were asked."""

    sampler: str
    model: str
    samples: PositiveInt
    """Per prompt."""
    sample_cost: float = Field(gt=0)
    """Of one sample of the nominal length, in the unit of the exchange."""
    tokens: NonNegativeFloat
    """Completion tokens that a prompt really took, on average."""
    actual: NonNegativeFloat
    """What those cost, in the unit of the exchange."""
    distinct_answers: Interval
    """Distinct verified answers per prompt."""
    distinct_chains: Interval
    """Distinct chains of calculations per prompt, among the verified answers that calculate."""
    calculated: NonNegativeInt
    """Right answers whose calculations were read, with broken ones among them."""
    broken: NonNegativeInt
    """Right answers behind a broken chain."""
    false_positives: Interval | None
    """Broken of calculated; None where nothing was calculated."""

    @property
    def nominal(self) -> float:
        """What a prompt's samples cost at the nominal length."""
        return self.samples * self.sample_cost

    @model_validator(mode="after")
    def _check_broken(self) -> Self:
        if self.broken > self.calculated:
            raise ValueError(f"{self.sampler}: {self.broken} broken of {self.calculated} chains")
        return self


class BudgetFacts(Record):
    """Coverage of both for the same cost."""

    reference_samples: PositiveInt
    matched_samples: PositiveInt
    reference: Interval
    matched: Interval
    gain: Interval
    """Matched less reference, prompt by prompt."""


class ComparisonFacts(Record):
    """Two samplers over the prompts that both were asked."""

    prompts: PositiveInt
    nominal_tokens: float = Field(gt=0)
    """Of the reference's mean answer; both are reckoned at this length."""
    matched: ArmFacts
    reference: ArmFacts
    budgets: tuple[BudgetFacts, ...] = Field(min_length=1)
    """One sample of the reference, and all of them."""
    planted: NonNegativeInt
    """Sound chains of this run into which a fault was planted."""
    detected: Interval | None
    """The share of planted faults that the audit found; None where none could be planted."""

    @model_validator(mode="after")
    def _check_ledgers(self) -> Self:
        apart = abs(self.matched.nominal - self.reference.nominal)
        if apart > self.matched.sample_cost * (1 + 1e-9):
            raise ValueError(
                f"{self.matched.sampler} and {self.reference.sampler}: their costs are {apart} "
                f"apart, more than one sample ({self.matched.sample_cost})"
            )
        return self


class MatchFacts(Record):
    """A sampler that was given as many samples as another one's cost."""

    matched: str
    reference: str
    basis: Literal["parameters", "price", "stated"]
    rate: float = Field(gt=0)
    """Completion tokens of the matched sampler for one of the reference's."""
    comparison: ComparisonFacts | None
    absence: str | None = None
    """Why there is no comparison."""

    @model_validator(mode="after")
    def _check_absence(self) -> Self:
        if (self.comparison is None) != (self.absence is not None):
            raise ValueError(f"{self.matched}: either a comparison, or why there is none")
        return self
