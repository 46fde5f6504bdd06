"""A figure with the ends of its 95 % interval, as the report shows and compares it."""

from typing import Self

from pydantic import model_validator

from generators.records import Record
from trainers.evaluate import Estimate


class Interval(Record):
    """A value with its 95 % interval; shares are between 0 and 1."""

    value: float
    low: float
    high: float

    @model_validator(mode="after")
    def _check_order(self) -> Self:
        if not self.low - 1e-9 <= self.value <= self.high + 1e-9:
            raise ValueError(f"{self.value} lies outside its interval [{self.low}, {self.high}]")
        return self

    @classmethod
    def of(cls, estimate: Estimate) -> Self:
        """The interval of an estimate."""
        return cls(value=estimate.value, low=estimate.low, high=estimate.high)

    def overlaps(self, other: "Interval") -> bool:
        """Whether the two intervals share a point."""
        return self.low <= other.high and other.low <= self.high

    def minus(self, other: "Interval") -> "Interval":
        """The difference of two shares, with Newcombe's interval (1998, method 10).

        It takes the two as independent samples; for the same prompts twice it errs on the wide
        side.
        """
        gain = self.value - other.value
        below = ((self.value - self.low) ** 2 + (other.high - other.value) ** 2) ** 0.5
        above = ((self.high - self.value) ** 2 + (other.value - other.low) ** 2) ** 0.5
        return Interval(value=gain, low=gain - below, high=gain + above)
