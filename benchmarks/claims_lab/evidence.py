"""What three seeds can say: Student's intervals, and the verdict that they decide.

Arms of one seed share the rows, the student's first weights and the order of the batches, so what
is judged is their difference within a seed. Its 95 % interval is Student's t over the seeds; with
three of them it is 2.5 times as wide as their standard deviation on either side. It speaks of
other seeds only: teacher, language and held-out texts are the same for all. Each interval is of
95 % by itself, so among very many contrasts one or two may be decided by chance.
"""

import math
from collections.abc import Mapping, Sequence
from statistics import fmean, stdev
from typing import Literal, NamedTuple

from trainers.evaluate import Estimate

T_QUANTILES = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262)
"""97.5 % of Student's t with 1, 2, … degrees of freedom."""
MOST_SEEDS = len(T_QUANTILES) + 1
Figures = Mapping[str, Mapping[str, Sequence[float]]]
"""By what is measured, and by arm: a value for each seed."""
Outcome = Literal["holds", "does not hold", "undecided here"]


class Contrast(NamedTuple):
    """Something that must be so if the claim holds."""

    says: str
    difference: Estimate
    low: float = -math.inf
    high: float = math.inf
    """The difference must lie between these."""

    @property
    def outcome(self) -> Outcome:
        """Holds where the whole interval lies within the bounds, fails where all of it lies out."""
        _, low, high = self.difference
        if self.low < low and high < self.high:
            return "holds"
        return "does not hold" if high <= self.low or low >= self.high else "undecided here"


class ClaimResult(NamedTuple):
    """A claim, tried."""

    claim: str
    setting: str
    tables: list[list[str]]
    """Lines of Markdown."""
    contrasts: list[Contrast]
    picture: str | None = None
    """A file in docs/pictures/."""
    remarks: str = ""
    """What the figures say beyond the verdict."""

    @property
    def outcome(self) -> Outcome:
        """Of the contrasts together: the worst of them."""
        outcomes = {contrast.outcome for contrast in self.contrasts}
        order: tuple[Outcome, ...] = ("does not hold", "undecided here", "holds")
        return next(outcome for outcome in order if outcome in outcomes)

    @property
    def verdict(self) -> str:
        """One sentence."""
        held = sum(contrast.outcome == "holds" for contrast in self.contrasts)
        return f"{self.claim}: {self.outcome} ({held} of {len(self.contrasts)} contrasts hold)."


def estimate(values: Sequence[float]) -> Estimate:
    """The mean over the seeds, with its interval; without one seed's neighbour there is none."""
    if len(values) == 1:
        return Estimate(values[0], -math.inf, math.inf)
    spread = T_QUANTILES[len(values) - 2] * stdev(values) / math.sqrt(len(values))
    mean = fmean(values)
    return Estimate(mean, mean - spread, mean + spread)


def subtract(ones: Sequence[float], others: Sequence[float]) -> Estimate:
    """How much more the first have than the second, seed by seed."""
    return estimate([one - other for one, other in zip(ones, others, strict=True)])


def is_less(says: str, ones: Sequence[float], others: Sequence[float]) -> Contrast:
    return Contrast(says, subtract(ones, others), high=0.0)


def is_more(says: str, ones: Sequence[float], others: Sequence[float]) -> Contrast:
    return Contrast(says, subtract(ones, others), low=0.0)


def is_near(says: str, ones: Sequence[float], others: Sequence[float], margin: float) -> Contrast:
    """The two differ by less than the margin, which must be chosen before one looks."""
    return Contrast(says, subtract(ones, others), low=-margin, high=margin)


def tell(figure: Estimate, digits: int = 3) -> str:
    """A figure and its interval, for a table."""
    if math.isinf(figure.low):
        return f"{figure.value:.{digits}f}"
    return f"{figure.value:.{digits}f} [{figure.low:.{digits}f}, {figure.high:.{digits}f}]"


def draw_table(corner: str, columns: Sequence[str], rows: Mapping[str, Sequence[str]]) -> list[str]:
    """Lines of Markdown."""
    return [
        f"| {' | '.join([corner, *columns])} |",
        f"|---|{'--:|' * len(columns)}",
        *(f"| {' | '.join([name, *cells])} |" for name, cells in rows.items()),
    ]


def tabulate(figures: Figures) -> list[str]:
    """A line for each arm, a column for each thing that is measured."""
    arms = next(iter(figures.values()))
    rows = {arm: [tell(estimate(values[arm])) for values in figures.values()] for arm in arms}
    return draw_table("arm", list(figures), rows)


def list_contrasts(contrasts: Sequence[Contrast], digits: int = 4) -> list[str]:
    """What decides the verdict, as a table."""
    rows = {}
    for contrast in contrasts:
        ends = [f"{end:.{digits}g}" for end in (contrast.low, contrast.high)]
        bounds = f"above {ends[0]}" if math.isinf(contrast.high) else f"below {ends[1]}"
        if not (math.isinf(contrast.low) or math.isinf(contrast.high)):
            bounds = f"within {ends[0]} and {ends[1]}"
        rows[contrast.says] = (tell(contrast.difference, digits), bounds, contrast.outcome)
    return draw_table("contrast", ["difference", "must be", ""], rows)
