"""Settings of methods and of the search for one that cannot be, by their literal messages."""

from pathlib import Path
from typing import Any

import pytest

from generators.errors import ConfigError
from generators.method import INITIAL
from tests.flows.method_writer import describe_search
from tests.flows.small_run import describe_run, read_settings
from tests.flows.test_refusals import change

URL = "http://127.0.0.1:9/v1"
OTHER = INITIAL.with_name("equality.jinja")


def tell_problems(settings: dict[str, Any], folder: Path) -> list[str]:
    """What is wrong with settings; `models.small` in them only continues texts."""
    small = settings["models"]["weak"] | {"form": "complete"}
    models = settings["models"] | {"small": small}
    with pytest.raises(ConfigError) as caught:
        read_settings(folder / "small.yaml", settings | {"models": models})
    return [line.split(": ", 1)[1] for line in str(caught.value).splitlines()]


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        pytest.param(
            "evolve.operators",
            ["deepen", "method"],
            "evolve.operators.1: needs its file: name one in evolve.method",
            id="no file named",
        ),
        pytest.param(
            "evolve.method",
            "nowhere.jinja",
            f"evolve.method: nowhere.jinja: no such file (looked for it from {Path.cwd()})",
            id="no such file",
        ),
        pytest.param(
            "evolve",
            {"model": "strong", "method": str(INITIAL), "operators": ["deepen"]},
            "evolve.method: is not used: add method to evolve.operators, or take it out",
            id="file for nothing",
        ),
        pytest.param(
            "evolve",
            {"model": "small", "method": str(INITIAL)},
            "evolve.method: models.small only continues texts (form: complete), and a method is "
            "for models of form: chat",
            id="method for a model that continues texts",
        ),
        pytest.param(
            "evolve.method",
            str(OTHER),
            f"evolve.method: {OTHER}: does not extend the frame: "
            'begin it with {% extends "chat/rewrite.frame" %}',
            id="another template",
        ),
    ],
)
def test_method_that_cannot_be_used_is_told(
    place: str, value: Any, message: str, tmp_path: Path
) -> None:
    settings = change(describe_run(tmp_path, URL), place, value)
    assert tell_problems(settings, tmp_path) == [message]


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        pytest.param(
            "evolve.model",
            "small",
            "auto_evol: models.small only continues texts (form: complete), and a method is for "
            "models of form: chat",
            id="evolving model that continues texts",
        ),
        pytest.param(
            "auto_evol.optimiser",
            "small",
            "auto_evol.optimiser: models.small only continues texts (form: complete), and a "
            "method is for models of form: chat",
            id="optimiser that continues texts",
        ),
        pytest.param(
            "auto_evol.optimiser",
            "strnog",
            "auto_evol.optimiser: no model is called 'strnog' (did you mean strong?) "
            "(models: weak, strong, small)",
            id="unknown optimiser",
        ),
        pytest.param(
            "evolve",
            None,
            "auto_evol: there is nothing to optimise: add an evolve section",
            id="no evolution",
        ),
        pytest.param(
            "auto_evol.sampling",
            {"temperature": 0},
            "auto_evol.sampling.temperature: 0 writes the same method each time; raise it or set "
            "candidates to 1",
            id="the same method three times",
        ),
        pytest.param(
            "auto_evol.candidates",
            0,
            "auto_evol.candidates: must be at least 1, got 0",
            id="no candidates",
        ),
    ],
)
def test_search_that_cannot_be_is_told(
    place: str, value: Any, message: str, tmp_path: Path
) -> None:
    settings = change(describe_search(tmp_path, URL), place, value)
    assert tell_problems(settings, tmp_path) == [message]


def test_only_the_method_has_a_template_elsewhere(tmp_path: Path) -> None:
    settings = change(describe_run(tmp_path, URL), "evolve.method", str(INITIAL))
    config = read_settings(tmp_path / "small.yaml", settings)
    assert config.evolve is not None
    assert config.evolve.find_template("method") == INITIAL
    assert config.evolve.find_template("deepen") == "deepen"
