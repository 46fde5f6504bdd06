"""A classifier's configuration: what is wrong with it is said at its place."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flows.annotate_settings import load_annotation, load_settings, parse_settings
from flows.classify_settings import ClassifyConfig, load_classification
from flows.config import load_config
from generators.errors import ConfigError
from tests.flows.small_run import write_config
from tests.trainers.label_data import list_rows, write_rows

Settings = dict[str, Any]
TERMS = {"licence": "apache-2.0", "outputs_may_train": "yes"}


def describe_classifier(folder: Path, student: Path) -> Settings:
    """The settings of a small training, whose rows are written into `folder`."""
    data = write_rows(folder / "labels" / "soft-labels.parquet", list_rows())
    return {
        "name": "scenes",
        "runs_dir": str(folder / "runs"),
        "data": {"train": [str(data)], "held_out_share": 0.25},
        "models": {"tiny": {"kind": "embedded", "model": str(student), **TERMS}},
        "classifier": {
            "student": "tiny",
            "learning_rate": 3e-3,
            "batch_size": 6,
            "max_steps": 12,
            "max_length": 64,
            "save_steps": 5,
            "precision": "float32",
        },
    }


def find_faults(tmp_path: Path, change: Callable[[Settings], Any]) -> list[str]:
    """What is said of the small training's settings after a change, without the places."""
    settings = describe_classifier(tmp_path, tmp_path)
    change(settings)
    file = write_config(tmp_path / "scenes.yaml", settings)
    with pytest.raises(ConfigError) as error:
        load_classification(file)
    return [line.partition(": ")[2] for line in str(error.value).splitlines()]


HOSTED = {"kind": "openai", "base_url": "http://127.0.0.1:9/v1", "model": "big", **TERMS}
CASES: dict[str, tuple[Callable[[Settings], Any], list[str]]] = {
    "an unknown student": (
        lambda s: s["classifier"].update(student="tinny"),
        ["classifier.student: no model is called 'tinny' (did you mean tiny?) (models: tiny)"],
    ),
    "a student behind a URL": (
        lambda s: s["models"].update(tiny=HOSTED),
        ["classifier.student: a classifier runs in this process: name a model of kind embedded"],
    ),
    "an unknown teacher": (
        lambda s: s["classifier"].update(objective="hinton", teacher="big"),
        ["classifier.teacher: no model is called 'big' (models: tiny)"],
    ),
    "no teacher": (
        lambda s: s["classifier"].update(objective="hinton"),
        ["classifier: teacher: objective hinton needs one; name a trained classifier"],
    ),
    "a temperature for nothing": (
        lambda s: s["classifier"].update(temperature=4.0),
        [
            "classifier: temperature: objective soft has no teacher; take it out, or choose hinton",
        ],
    ),
    "a setting of other runs": (
        lambda s: s.update(shard_rows=10),
        ["shard_rows: would do nothing, no model is asked; take it out"],
    ),
    "no such file": (
        lambda s: s["data"].update(train=["nowhere.parquet"]),
        [f"data.train.0: nowhere.parquet: no such file (looked for it from {Path.cwd()})"],
    ),
    "held out and trained on": (
        lambda s: s["data"].update(held_out=s["data"]["train"], held_out_share=0.2),
        ["data.held_out.0: {train} is also in data.train; keep other texts"],
    ),
    "two ways to hold out": (
        lambda s: s["data"].update(held_out=["runs/x"]) or s.update(runs_dir="runs"),
        ["data.held_out_share: would do nothing beside data.held_out; take one of them out"],
    ),
    "a misspelt setting": (
        lambda s: s["classifier"].update(leyers=[0]),
        ["classifier.leyers: not a setting (did you mean layers?)"],
    ),
}


@pytest.mark.parametrize(("change", "faults"), CASES.values(), ids=CASES)
def test_faults_are_told(
    change: Callable[[Settings], Any], faults: list[str], tmp_path: Path
) -> None:
    train = tmp_path / "labels" / "soft-labels.parquet"
    assert find_faults(tmp_path, change) == [fault.format(train=train) for fault in faults]


def test_files_of_other_runs_may_come_later(tmp_path: Path) -> None:
    settings = describe_classifier(tmp_path, tmp_path)
    settings["data"]["train"] = [str(tmp_path / "runs" / "annotate" / "dataset")]
    config = load_classification(write_config(tmp_path / "scenes.yaml", settings))
    assert config.root == tmp_path / "runs" / "scenes"


def test_kinds_are_told_apart(tmp_path: Path) -> None:
    file = write_config(tmp_path / "scenes.yaml", describe_classifier(tmp_path, tmp_path))
    config = load_settings(file)
    assert type(config) is ClassifyConfig
    assert parse_settings(config.model_dump(mode="json", by_alias=True)) == config
    for load in (load_config, load_annotation):
        with pytest.raises(ConfigError) as error:
            load(file)
        assert str(error.value) == (
            f"{file}: a classifier's settings. Type: tutelage classify {file}"
        )
    annotation = Path("flows/configs/annotate.yaml")
    with pytest.raises(ConfigError) as caught:
        load_classification(annotation)
    assert str(caught.value) == (
        "flows/configs/annotate.yaml: an annotation's settings. Type: tutelage annotate "
        "flows/configs/annotate.yaml"
    )
