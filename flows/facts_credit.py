"""What each operator has earned, domain by domain: the figures that a bandit may choose by."""

from typing import Self

from pydantic import model_validator

from flows.intervals import Interval
from generators.credit import Credit


class CreditFacts(Credit):
    """An operator's credit with the intervals of its shares."""

    survival: Interval
    """`survived` of `tried`."""
    verification: Interval | None
    """`verified` of `survived`; None where nothing survived."""

    @model_validator(mode="after")
    def _check_order(self) -> Self:
        steps = [self.tried, self.survived, self.verified, self.in_band or 0]
        if steps != sorted(steps, reverse=True):
            raise ValueError(f"{self.operator} in {self.domain}: {steps} do not descend")
        return self
