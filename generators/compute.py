"""What samples cost, so that a weak sampler can be given as many as a strong one's would pay for.

Bansal et al. 2024 (arXiv:2408.16737, section 3): generating one token takes about 2·P operations
for P parameters, hence at equal length S_weak = S_strong · P_strong / P_weak samples cost the same.
Tokens may be exchanged by price instead, or at a stated rate.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Literal, NamedTuple

from generators.answers import SamplerSettings
from generators.errors import ModelError, nearest

Basis = Literal["parameters", "price", "stated"]


class TokenCost(NamedTuple):
    """What one completion token of a model costs, as far as it is known."""

    parameters: float | None
    """Non-embedding parameters."""
    usd_per_million: float | None


class Exchange(NamedTuple):
    """What one completion token costs on either side of a match, in one unit: operations (2·P),
    US dollars, or tokens of the matched sampler."""

    basis: Basis
    matched: float
    reference: float

    @property
    def rate(self) -> float:
        """Tokens of the matched sampler for the cost of one of the reference's."""
        return self.reference / self.matched


class Problem(NamedTuple):
    """What is wrong with one setting of one sampler."""

    sampler: int
    setting: str
    text: str


class Unpriced(ValueError):
    """A model lacks the figure that an exchange goes by."""

    def __init__(self, model: str, figure: Literal["parameters", "price"]) -> None:
        super().__init__(f"{model} states no {figure}")
        self.model, self.figure = model, figure


FindCost = Callable[[str, Basis], TokenCost]
"""The cost of the model of a name, as far as the basis needs it. May raise ModelError."""


def match_count(n: int, rate: float) -> int:
    """How many samples of the matched sampler cost what n of the reference do; at least one.

    The two costs differ by one sample of the matched sampler at most.
    """
    return max(1, math.floor(n * rate + 0.5))


def find_exchange(
    sampler: SamplerSettings, reference: SamplerSettings, find_cost: FindCost
) -> Exchange:
    """The exchange between a matched sampler and the one it is matched to.

    Raises Unpriced where a model lacks the figure, and ModelError where it cannot be read.
    """
    if not isinstance(sampler.exchange, str):
        return Exchange("stated", 1.0, sampler.exchange)
    costs = []
    for model in (sampler.model, reference.model):
        cost = find_cost(model, sampler.exchange)
        by_price = sampler.exchange == "price"
        figure = cost.usd_per_million if by_price else cost.parameters
        if not figure:
            raise Unpriced(model, sampler.exchange)
        costs.append(figure / 1e6 if by_price else 2 * figure)
    return Exchange(sampler.exchange, *costs)


def match_samplers(
    samplers: Sequence[SamplerSettings], find_cost: FindCost
) -> tuple[SamplerSettings, ...]:
    """The samplers with n filled in where it follows from another's.

    Raises what `find_exchange` does, and KeyError for a sampler that is matched to none there is.
    """
    by_name = {sampler.name: sampler for sampler in samplers}
    matched = []
    for sampler in samplers:
        if sampler.matched_to is not None:
            reference = by_name[sampler.matched_to]
            n = match_count(reference.n, find_exchange(sampler, reference, find_cost).rate)
            sampler = sampler.model_copy(update={"n": n})
        matched.append(sampler)
    return tuple(matched)


def find_match_problems(
    samplers: Sequence[SamplerSettings], find_cost: FindCost
) -> Iterator[Problem | Unpriced]:
    """What keeps samplers from being matched."""
    by_name = {sampler.name: sampler for sampler in samplers}
    for i, sampler in enumerate(samplers):
        given = sampler.model_fields_set
        if sampler.matched_to is None:
            if "exchange" in given and sampler.exchange != "parameters":
                yield Problem(i, "exchange", "decides nothing without matched_to; take it out")
            continue
        if "n" in given:
            yield Problem(i, "n", "follows from matched_to; take one of the two out")
        reference = by_name.get(sampler.matched_to)
        if problem := _judge_reference(sampler, reference, by_name):
            yield Problem(i, "matched_to", problem)
        elif reference is not None:
            try:
                find_exchange(sampler, reference, find_cost)
            except ModelError as error:
                yield Problem(i, "exchange", str(error))
            except Unpriced as missing:
                yield missing


def _judge_reference(
    sampler: SamplerSettings,
    reference: SamplerSettings | None,
    by_name: dict[str, SamplerSettings],
) -> str | None:
    if reference is None:
        name, known = str(sampler.matched_to), ", ".join(by_name)
        return f"no sampler is called {name!r}{nearest(name, by_name)} (samplers: {known})"
    if reference is sampler:
        return "a sampler cannot be matched to itself; name the one whose cost it is to have"
    if reference.matched_to is not None:
        return f"{reference.name!r} is matched to another itself; name one that states its n"
    return None
