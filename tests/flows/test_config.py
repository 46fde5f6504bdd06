"""What only the whole configuration can tell to be wrong, by its literal message."""

from pathlib import Path
from typing import Any

import pytest

from generators.errors import ConfigError
from generators.operator_sets import OPERATORS
from tests.flows.small_run import add_training, describe_run, read_settings
from tests.flows.test_refusals import change

URL = "http://127.0.0.1:9/v1"
TERMS = {"licence": "apache-2.0", "outputs_may_train": "yes"}
EMBEDDED = {"kind": "embedded", **TERMS}
HOSTED = {"kind": "openai", "base_url": URL, "model": "weak", **TERMS}
FOLLOWING = {"objective": "forward"}
PRICES = [{"input_usd_per_million": usd, "output_usd_per_million": 1.0} for usd in (1.0, 2.0)]


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        pytest.param(
            "answer.samplers.0.model",
            "weka",
            "answer.samplers.0.model: no model is called 'weka' (did you mean weak?) "
            "(models: weak, strong)",
            id="unknown model",
        ),
        pytest.param(
            "train",
            FOLLOWING | {"teacher": "nobody"},
            "train.teacher: no model is called 'nobody' (models: weak, strong)",
            id="unknown teacher",
        ),
        pytest.param(
            "seeds.paths.0",
            "nowhere.jsonl",
            f"seeds.paths.0: nowhere.jsonl: no such file (looked for it from {Path.cwd()})",
            id="no file",
        ),
        pytest.param(
            "runs_dir",
            "s3://bucket/runs",
            "runs_dir: s3://bucket/runs: run directories lie on a local disk",
            id="remote runs",
        ),
        pytest.param(
            "answer.samplers.1.name",
            "cheap",
            "answer.samplers: two samplers are called 'cheap'",
            id="twins",
        ),
        pytest.param(
            "evolve.operators",
            ["deepn"],
            f"evolve.operators.0: 'deepn' is no operator (did you mean deepen?) "
            f"(known: {', '.join(OPERATORS)})",
            id="unknown operator",
        ),
        pytest.param(
            "train.objective",
            "forward",
            "train.objective: forward follows a teacher: name train.teacher",
            id="no teacher",
        ),
        pytest.param(
            "train",
            FOLLOWING | {"teacher": "strong"},
            "train.teacher: its logits are needed, so it must run in this process: name an "
            "embedded model, or choose objective sft",
            id="distant teacher",
        ),
        pytest.param(
            "train",
            None,
            "evaluate: there is no student to evaluate: add a train section",
            id="no student",
        ),
    ],
)
def test_faults_of_the_whole_are_told(tmp_path: Path, place: str, value: Any, message: str) -> None:
    settings = add_training(describe_run(tmp_path, URL), tmp_path, tmp_path / "student")
    with pytest.raises(ConfigError) as caught:
        read_settings(tmp_path / "small.yaml", change(settings, place, value))
    assert message in str(caught.value)


def test_model_in_this_process_takes_no_schema(tmp_path: Path) -> None:
    settings = change(describe_run(tmp_path, URL), "models.weak", EMBEDDED)
    with pytest.raises(ConfigError) as caught:
        read_settings(
            tmp_path / "small.yaml", change(settings, "answer.samplers.0.structured", True)
        )
    assert str(caught.value).endswith(
        "answer.samplers.0.structured: models.weak runs in this process, where no schema can be "
        "asked for; take it out"
    )


def test_one_model_has_one_price(tmp_path: Path) -> None:
    settings = describe_run(tmp_path, URL) | {"budget": {"max_cost_usd": 1.0}}
    for name, model in (("weak", "weak"), ("strong", "weak")):
        price = PRICES[name == "strong"]
        settings = change(settings, f"models.{name}", HOSTED | {"model": model, "price": price})
    with pytest.raises(ConfigError) as caught:
        read_settings(tmp_path / "small.yaml", settings)
    assert str(caught.value).endswith(
        "models.strong.price: models.weak is the same model at another price; state one price"
    )
