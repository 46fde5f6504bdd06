"""How much of the loss is the teacher's, step by step: loss = (1 - alpha)·LM + alpha·KD.

Pre-training distillation (Peng et al. 2024) lets alpha change while the student learns:

    constant    alpha
    linear      from `start` to alpha over `steps`, which it then keeps
    wsd         warm-up from `start` to alpha, stable there, decay to `end`, which it then keeps

All are straight lines between knots, and exact at the knots. Steps are optimizer steps, counted
from 0.
"""

from bisect import bisect_right
from typing import Literal, NamedTuple, Self

from pydantic import Field, model_validator

from generators.records import Record

Kind = Literal["constant", "linear", "wsd"]
LENGTHS: dict[str, tuple[str, ...]] = {
    "constant": (),
    "linear": ("steps",),
    "wsd": ("warmup", "stable", "decay"),
}
"""Which lengths a kind needs, in steps."""
ENDS: dict[str, tuple[str, ...]] = {
    "constant": (),
    "linear": ("start",),
    "wsd": ("start", "end"),
}
"""Which values a kind takes besides alpha."""


class Knot(NamedTuple):
    step: int
    alpha: float


class AlphaSchedule(Record):
    """The teacher's share of the loss."""

    kind: Kind = "constant"
    alpha: float = Field(default=1.0, ge=0, le=1)
    """The constant's value, where `linear` arrives, and where `wsd` stays."""
    start: float | None = Field(default=None, ge=0, le=1)
    """alpha at step 0, for `linear` and `wsd`; 0 where left out."""
    end: float | None = Field(default=None, ge=0, le=1)
    """alpha after the decay, for `wsd`; 0 where left out."""
    steps: int | None = Field(default=None, ge=1)
    """How long `linear` is under way."""
    warmup: int | None = Field(default=None, ge=0)
    stable: int | None = Field(default=None, ge=0)
    decay: int | None = Field(default=None, ge=0)
    """How long the three parts of `wsd` are."""

    @model_validator(mode="after")
    def _takes_its_own(self) -> Self:
        for kind in LENGTHS:
            for name in LENGTHS[kind] + ENDS[kind]:
                own = name in LENGTHS[self.kind] + ENDS[self.kind]
                if not own and getattr(self, name) is not None:
                    raise ValueError(f"{name}: {self.kind} takes none; it belongs to kind {kind}")
        for name in LENGTHS[self.kind]:
            if getattr(self, name) is None:
                raise ValueError(f"{name}: {self.kind} needs it, a number of steps")
        return self

    def list_knots(self) -> list[Knot]:
        """Where the lines begin and end, from step 0; of two at one step the last counts."""
        knots = [Knot(0, self.alpha if self.kind == "constant" else self.start or 0.0)]
        if self.kind == "linear":
            knots.append(Knot(self.steps or 0, self.alpha))
        elif self.kind == "wsd":
            risen = self.warmup or 0
            falls = risen + (self.stable or 0)
            knots += [Knot(risen, self.alpha), Knot(falls, self.alpha)]
            knots.append(Knot(falls + (self.decay or 0), self.end or 0.0))
        return knots

    def alpha_at(self, step: int) -> float:
        """alpha in the step of this number; exactly the knot's at a knot."""
        knots = self.list_knots()
        after = bisect_right(knots, step, key=lambda knot: knot.step)
        before = knots[after - 1]
        if after == len(knots):
            return before.alpha
        gone = (step - before.step) / (knots[after].step - before.step)
        return before.alpha + gone * (knots[after].alpha - before.alpha)
