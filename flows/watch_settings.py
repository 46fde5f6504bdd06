"""The `watch` section: how closely a run watches its teachers, and how often (poison L4)."""

from collections.abc import Iterator, Sequence

from pydantic import Field

from filters.teacher_watch import PARTED, TeacherWatchSettings
from generators.answers import SamplerSettings
from generators.errors import nearest
from generators.operator_sets import OPERATORS

SEEDS = ("seed", "magpie")
"""What stands in the place of an operator where none has been at work."""


class WatchSettings(TeacherWatchSettings):
    """A teacher that turns bad is not asked any more, and its answers since are quarantined."""

    wave_shards: int = Field(default=4, ge=1)
    """So many shards are asked between two looks."""


def name_partial_samplers(samplers: Sequence[SamplerSettings]) -> tuple[str, ...]:
    """Those that are asked only for what others left open, which is harder than the whole."""
    return tuple(sampler.name for sampler in samplers[1:] if sampler.asks == "open")


def find_watch_problems(
    settings: WatchSettings | None, samplers: Sequence[SamplerSettings]
) -> Iterator[tuple[str, str]]:
    """What is wrong with the baselines: the setting, and the trouble."""
    for kind, share in settings.baselines.items() if settings else ():
        if not 0 < share < 1:
            what = f"{share} is no share of failures"
            yield "watch.baselines", f"{kind}: {what}; give a number above 0 and below 1"
        if kind != PARTED and (fault := _find_kind_fault(kind, name_partial_samplers(samplers))):
            yield "watch.baselines", f"{kind!r} {fault}"


def _find_kind_fault(kind: str, partial: Sequence[str]) -> str | None:
    domain, _, rest = kind.partition("/")
    operator, _, sampler = rest.partition("/")
    operators = (*SEEDS, *OPERATORS)
    if not domain or operator not in operators:
        near = nearest(operator, operators) if operator else ""
        return f"is no kind of rows{near}; name DOMAIN/OPERATOR, as maths/seed, or {PARTED}"
    if sampler and sampler not in partial:
        known = ", ".join(partial) or "none"
        return f"names no sampler that is asked for what others left open (such are: {known})"
    return None
