"""Exchange rates and matched numbers of samples, over many sizes."""

import random

import pytest

from generators.answers import SamplerSettings
from generators.compute import (
    Exchange,
    TokenCost,
    Unpriced,
    find_exchange,
    match_count,
    match_samplers,
)

COSTS = {
    "small": TokenCost(parameters=1e9, usd_per_million=0.2),
    "large": TokenCost(parameters=9e9, usd_per_million=0.5),
    "free": TokenCost(parameters=None, usd_per_million=0.0),
}
DEAR = SamplerSettings(name="dear", model="large", n=2)


def cheap(**settings: object) -> SamplerSettings:
    return SamplerSettings.model_validate(
        {"name": "cheap", "model": "small", "matched_to": "dear", **settings}
    )


@pytest.mark.parametrize(
    ("settings", "exchange", "n"),
    [
        ({}, Exchange("parameters", 2e9, 18e9), 18),
        ({"exchange": "price"}, Exchange("price", 0.2e-6, 0.5e-6), 5),
        ({"exchange": 3.2}, Exchange("stated", 1.0, 3.2), 6),
        ({"exchange": 0.01}, Exchange("stated", 1.0, 0.01), 1),
    ],
    ids=["parameters", "price", "stated", "at least one"],
)
def test_samples_follow_from_the_exchange(
    settings: dict[str, object], exchange: Exchange, n: int
) -> None:
    sampler = cheap(**settings)
    found = find_exchange(sampler, DEAR, lambda name, _: COSTS[name])
    assert found.basis == exchange.basis
    assert found[1:] == pytest.approx(exchange[1:])
    resolved = match_samplers([sampler, DEAR], lambda name, _: COSTS[name])
    assert [one.n for one in resolved] == [n, 2]
    assert resolved[1] is DEAR


@pytest.mark.parametrize("figure", ["parameters", "price"])
def test_figure_that_is_missing_or_nothing_is_named(figure: str) -> None:
    sampler = cheap(model="free", exchange=figure)
    with pytest.raises(Unpriced) as caught:
        find_exchange(sampler, DEAR, lambda name, _: COSTS[name])
    assert str(caught.value) == f"free states no {figure}"
    assert (caught.value.model, caught.value.figure) == ("free", figure)


def test_ledgers_agree_within_one_sample_at_any_sizes() -> None:
    rng = random.Random(0)
    for _ in range(5_000):
        small, large = (10 ** rng.uniform(6, 12) for _ in range(2))
        n, length = rng.randint(1, 64), rng.uniform(1, 4_000)
        matched = match_count(n, large / small)
        one = 2 * small * length
        assert matched >= 1
        assert abs(matched * one - n * 2 * large * length) <= one * (1 + 1e-9)


def test_open_n_is_not_written_down_and_a_settled_one_is() -> None:
    sampler = cheap()
    assert "n" not in sampler.model_dump()
    assert SamplerSettings.model_validate(sampler.model_dump()) == sampler
    (resolved, _) = match_samplers([sampler, DEAR], lambda name, _: COSTS[name])
    assert resolved.model_dump()["n"] == 18
    assert DEAR.model_dump()["n"] == 2
