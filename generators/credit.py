"""Operator credit: how far an operator's children came in an earlier run, and choosing by it.

Where a run is told to, it draws the operator of each prompt by Thompson sampling (Thompson 1933):
each operator that fits has a Beta distribution over how often it succeeds in the prompt's domain,
one draw is taken from each, and the highest one wins. What has hardly been tried has a wide
distribution, so it is still chosen now and then.
"""

import json
import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

from pydantic import NonNegativeInt, PositiveInt, TypeAdapter, ValidationError, model_validator

from generators.errors import InputError
from generators.records import Record


class Credit(Record):
    """How far the children of one operator came in one domain, over all rounds of a run."""

    operator: str
    domain: str
    tried: PositiveInt
    survived: NonNegativeInt
    """Not eliminated."""
    verified: NonNegativeInt
    """Survivors with at least one answer that a verifier accepted or a vote elected."""
    in_band: NonNegativeInt | None
    """Verified ones that the student sometimes solves and sometimes not; None where its
    difficulty was not measured."""

    @model_validator(mode="after")
    def _check_order(self) -> Self:
        steps = [self.tried, self.survived, self.verified, self.in_band or 0]
        if steps != sorted(steps, reverse=True):
            raise ValueError(f"{self.operator} in {self.domain}: {steps} do not descend")
        return self

    @property
    def successes(self) -> int:
        """What a choice is made by: children in the band, or verified ones."""
        return self.verified if self.in_band is None else self.in_band


Credits = Mapping[tuple[str, str], Credit]
"""By operator and domain."""
_CREDITS = TypeAdapter(tuple[Credit, ...])


def load_credit(path: str | Path) -> Credits:
    """Read the `credit.json` of a run. Raises InputError for a file that is none."""
    try:
        credits = _CREDITS.validate_json(Path(path).read_bytes())
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from None
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "top"
        raise InputError(
            f"{path}: not the credit.json of a run: {place}: {first['msg']}. "
            "Give the file that lies in the run directory."
        ) from None
    return {(credit.operator, credit.domain): credit for credit in credits}


def dump_credit(credits: Sequence[Credit]) -> str:
    """The text of a `credit.json`."""
    return json.dumps([c.model_dump(include={*Credit.model_fields}) for c in credits], indent=1)


def draw_operator(names: Sequence[str], domain: str, credits: Credits, rng: random.Random) -> str:
    """Choose by one draw from each operator's Beta(1 + successes, 1 + failures)."""

    def draw(name: str) -> float:
        credit = credits.get((name, domain))
        won, tried = (credit.successes, credit.tried) if credit else (0, 0)
        return rng.betavariate(1 + won, 1 + tried - won)

    return max(names, key=draw)
