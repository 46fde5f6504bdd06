"""What each operator has earned, domain by domain: the figures that a bandit may choose by."""

from flows.intervals import Interval
from generators.credit import Credit


class CreditFacts(Credit):
    """An operator's credit with the intervals of its shares."""

    survival: Interval
    """`survived` of `tried`."""
    verification: Interval | None
    """`verified` of `survived`; None where nothing survived."""
