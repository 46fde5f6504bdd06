"""What a run has to say of its cycles: the versions of its dataset, and which student stayed."""

from datetime import datetime

from pydantic import NonNegativeInt, PositiveInt

from flows.intervals import Interval
from generators.records import Record


class VersionFacts(Record):
    """A version of the dataset."""

    number: PositiveInt
    created: datetime
    rows: NonNegativeInt
    why: str
    current: bool
    taught: bool
    """Whether a student that was taught on it was kept."""


class PromotionFacts(Record):
    """How this cycle's student did against the last one."""

    promoted: bool
    why: str
    taught_on: PositiveInt
    prompts: PositiveInt
    right: NonNegativeInt
    last_right: NonNegativeInt | None
    gain: Interval | None


class CycleFacts(Record):
    """A later cycle, or a run whose dataset has several versions."""

    cycle: PositiveInt
    versions: tuple[VersionFacts, ...]
    promotion: PromotionFacts | None
    steered: tuple[tuple[str, float], ...]
    """The kinds of prompt that this cycle was steered to, with what the last student failed at,
    the worst first; empty where it was not."""
