"""What the dashboard shows of a run beyond its funnel: every figure is counted over all cycles."""

from pydantic import NonNegativeInt, PositiveInt

from flows.facts import Facts
from generators.records import Decision, Record


class Spending(Record):
    """What one sampler's answers took."""

    sampler: str
    model: str
    answers: NonNegativeInt
    published: NonNegativeInt
    prompt_tokens: NonNegativeInt
    completion_tokens: NonNegativeInt
    usd: float | None
    """None where the configuration states no price."""


class Cluster(Record):
    """A text and what repeats it."""

    original: str
    """A prompt's id or an answer's."""
    text: str
    repeats: PositiveInt
    kinds: tuple[str, ...]
    highest: float | None
    """The greatest similarity."""


class Found(Record):
    """What one detector found for one reason."""

    detector: str
    reason: str
    decision: Decision
    number: PositiveInt
    example: str
    """The id of one subject."""


class CycleTally(Record):
    """What one cycle brought."""

    number: PositiveInt
    status: str
    prompts: NonNegativeInt
    answers: NonNegativeInt
    published: NonNegativeInt
    quarantined: NonNegativeInt
    rejected: NonNegativeInt
    student: str | None
    """What became of the student that it taught, beside the last one."""


class Taught(Record):
    """How the student was taught."""

    objective: str
    steps: NonNegativeInt
    rows: NonNegativeInt
    seconds: float


class Board(Record):
    """All of the dashboard."""

    facts: Facts
    spending: tuple[Spending, ...] = ()
    clusters: tuple[Cluster, ...] = ()
    """The largest ones."""
    clustered: NonNegativeInt = 0
    """Clusters there are in all."""
    found: tuple[Found, ...] = ()
    cycles: tuple[CycleTally, ...] = ()
    answers: NonNegativeInt = 0
    prompts: NonNegativeInt = 0
    taught: Taught | None = None
    is_published: bool
