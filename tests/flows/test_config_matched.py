"""What is told of samplers that cannot be matched, and what a match makes of the configuration."""

from pathlib import Path
from typing import Any

import pytest

from flows.config import RunConfig, load_config
from flows.pipeline import open_run, write_config
from generators.errors import ConfigError
from tests.flows.small_run import describe_run, read_settings

URL = "http://127.0.0.1:9/v1"
PRICE = {"input_usd_per_million": 1.0, "output_usd_per_million": 2.0}
EMBEDDED = {"kind": "embedded", "licence": "apache-2.0", "outputs_may_train": "yes"}


def describe(
    folder: Path, cheap: dict[str, Any], dear: dict[str, Any] | None = None, **models: Any
) -> dict[str, Any]:
    """A run whose first sampler states no n; a model is given settings, or replaced by a kind."""
    settings = describe_run(folder, URL)
    samplers = settings["answer"]["samplers"]
    del samplers[0]["n"]
    samplers[0] |= cheap
    samplers[1] |= dear or {}
    for name, changes in models.items():
        settings["models"][name] = (
            changes if "kind" in changes else settings["models"][name] | changes
        )
    return settings


def read(folder: Path, settings: dict[str, Any]) -> RunConfig:
    return read_settings(folder / "small.yaml", settings)


TO_DEAR = {"matched_to": "dear"}
BILLIONS = {"weak": {"parameters": 0.5}, "strong": {"parameters": 1.5}}
NEEDS_PARAMETERS = (
    "a sampler's matched_to needs it: write `parameters: …`, non-embedding and in billions; or "
    "state its exchange as a number"
)


@pytest.mark.parametrize(
    ("cheap", "dear", "models", "message"),
    [
        pytest.param(
            {"matched_to": "daer"},
            {},
            BILLIONS,
            "answer.samplers.0.matched_to: no sampler is called 'daer' (did you mean dear?) "
            "(samplers: cheap, dear)",
            id="unknown",
        ),
        pytest.param(
            {"matched_to": "cheap"},
            {},
            BILLIONS,
            "answer.samplers.0.matched_to: a sampler cannot be matched to itself; name the one "
            "whose cost it is to have",
            id="itself",
        ),
        pytest.param(
            TO_DEAR,
            {"matched_to": "cheap"},
            BILLIONS,
            [
                "answer.samplers.0.matched_to: 'dear' is matched to another itself; name one that"
                " states its n",
                "answer.samplers.1.n: follows from matched_to; take one of the two out",
                "answer.samplers.1.matched_to: 'cheap' is matched to another itself; name one that"
                " states its n",
            ],
            id="chain",
        ),
        pytest.param(
            TO_DEAR | {"n": 3},
            {},
            BILLIONS,
            "answer.samplers.0.n: follows from matched_to; take one of the two out",
            id="n too",
        ),
        pytest.param(
            TO_DEAR,
            {},
            {"weak": {"parameters": 0.5}},
            f"models.strong.parameters: {NEEDS_PARAMETERS}",
            id="no parameters",
        ),
        pytest.param(
            TO_DEAR | {"exchange": "price"},
            {},
            {"strong": {"price": PRICE}},
            "models.weak.price: a sampler's matched_to needs it: write "
            "`price: {input_usd_per_million: …, output_usd_per_million: …}`, above 0; or state its "
            "exchange as a number",
            id="no price",
        ),
        pytest.param(
            TO_DEAR | {"exchange": "price"},
            {},
            {"strong": {"price": PRICE}, "weak": EMBEDDED},
            "models.weak.price: a model in this process has no price; let the sampler exchange "
            "parameters",
            id="price of an embedded model",
        ),
        pytest.param(
            TO_DEAR,
            {},
            {"strong": {"parameters": 1.5}, "weak": EMBEDDED | {"model": "./no-such-folder"}},
            "answer.samplers.0.exchange: ./no-such-folder: no such model folder, nor a Hugging "
            "Face id (owner/name), nor 'smollm2-135m-instruct'.",
            id="unreadable model",
        ),
        pytest.param(
            {"exchange": 3.0},
            {},
            BILLIONS,
            "answer.samplers.0.exchange: decides nothing without matched_to; take it out",
            id="exchange alone",
        ),
        pytest.param(
            TO_DEAR | {"exchange": 0},
            {},
            BILLIONS,
            "answer.samplers.0.exchange: must be greater than 0.0, got 0",
            id="rate of nothing",
        ),
    ],
)
def test_match_that_cannot_be_is_told_at_its_place(
    tmp_path: Path, cheap: dict, dear: dict, models: dict, message: str | list[str]
) -> None:
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, describe(tmp_path, cheap, dear, **models))
    told = [line.partition(": ")[2] for line in str(caught.value).splitlines()]
    assert told == ([message] if isinstance(message, str) else message)


def test_matched_sampler_draws_what_the_other_costs(tmp_path: Path) -> None:
    config = read(tmp_path, describe(tmp_path, TO_DEAR, **BILLIONS))
    assert [sampler.n for sampler in config.samplers] == [9, 3]
    assert config.find_exchange(config.samplers[0])[1:] == (1e9, 3e9)


def test_embedded_models_are_counted(tmp_path: Path, tiny_model_dir: Path) -> None:
    """74,048 parameters against 0.000740480 billion."""
    models = {
        "weak": EMBEDDED | {"model": str(tiny_model_dir)},
        "strong": {"parameters": 74_048e-8},
    }
    config = read(tmp_path, describe(tmp_path, TO_DEAR, **models))
    assert [sampler.n for sampler in config.samplers] == [30, 3]


def test_digest_follows_the_number_of_samples(tmp_path: Path) -> None:
    """A price is no part of what a run makes, until it decides how many samples are drawn."""
    by_price = TO_DEAR | {"exchange": "price"}

    def price(usd: float) -> RunConfig:
        models = {
            name: {"price": PRICE | {"output_usd_per_million": cost}}
            for name, cost in (("weak", 1.0), ("strong", usd))
        }
        return read(tmp_path, describe(tmp_path, by_price, **models))

    assert [price(usd).samplers[0].n for usd in (2.0, 2.1, 3.0)] == [6, 6, 9]
    assert price(2.0).digest == price(2.1).digest != price(3.0).digest


def test_written_configuration_can_be_run_again(tmp_path: Path) -> None:
    config = read(tmp_path, describe(tmp_path, TO_DEAR, **BILLIONS))
    run = open_run(config, settled=False)
    write_config(run)
    again = load_config(run.place("config.yaml"))
    assert again.digest == config.digest
    assert RunConfig.model_validate(run.manifest.config).samplers == config.samplers
