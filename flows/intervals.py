"""A figure with the ends of its 95 % interval, as the report shows and compares it."""

import math
from collections import Counter
from collections.abc import Sequence
from typing import Self

from pydantic import model_validator

from generators.records import Record
from trainers.evaluate import Estimate, wilson_interval


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


def compare_paired(pairs: Sequence[tuple[bool, bool]]) -> Interval:
    """How much larger the share of the first is than that of the second, where both are of the
    same subjects, with Newcombe's interval for paired shares (1998, "Improved confidence intervals
    for the difference between binomial proportions based on paired data", method 10).
    """
    n, counts = len(pairs), Counter(pairs)
    both, neither = counts[True, True], counts[False, False]
    first, second = both + counts[True, False], both + counts[False, True]
    one, other = (Interval.of(wilson_interval(passed, n)) for passed in (first, second))
    product = math.sqrt(first * (n - first) * second * (n - second))
    surplus = both * neither - counts[True, False] * counts[False, True]
    if surplus > 0:  # a correction for continuity
        surplus = max(surplus - n / 2, 0)
    phi = surplus / product if product else 0.0
    gain = one.value - other.value
    below = _join(one.value - one.low, other.high - other.value, phi)
    above = _join(one.high - one.value, other.value - other.low, phi)
    return Interval(value=gain, low=gain - below, high=gain + above)


def _join(one: float, other: float, correlation: float) -> float:
    """The length of the difference of two errors that go together so far."""
    return math.sqrt(max(one**2 - 2 * correlation * one * other + other**2, 0.0))
