"""A training's own configuration: what is wrong with it is said at its place."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flows.annotate_settings import load_settings, parse_settings
from flows.config import load_config
from flows.run_settings import EmbeddedModel, VllmModel
from flows.stage_settings import TrainStage
from flows.stages.evaluate import list_arms
from flows.teach_settings import TeachConfig, load_teaching
from flows.training_settings import find_training_problems
from generators.errors import ConfigError
from generators.spending import Budget
from tests.flows.small_run import write_config
from tests.flows.taught import TERMS, add_evaluation, describe_teaching
from trainers.added_losses import HiddenSettings

Settings = dict[str, Any]
HOSTED = {"kind": "openai", "base_url": "http://127.0.0.1:9/v1", "model": "big", **TERMS}
SERVED = HOSTED | {"kind": "vllm"}
PHASES = [{"objective": "sft", "max_steps": 1}, {"objective": "reverse", "max_steps": 1}]
CACHED = {"kind": "cached"}


def find_faults(folder: Path, change: Callable[[Settings], Any]) -> list[str]:
    """What is said of a small training's settings after a change, without the places."""
    settings = describe_teaching(folder, folder / "student", folder / "teacher")
    change(settings)
    file = write_config(folder / "taught.yaml", settings)
    with pytest.raises(ConfigError) as error:
        load_teaching(file)
    return [line.partition(": ")[2] for line in str(error.value).splitlines()]


CASES: dict[str, tuple[Callable[[Settings], Any], list[str]]] = {
    "no teacher": (
        lambda s: s["train"].pop("teacher"),
        ["train.objective: forward follows a teacher: name train.teacher"],
    ),
    "no teacher of a phase": (
        lambda s: s["train"].pop("teacher") and s["train"].update(phases=PHASES),
        ["train.phases.1.objective: reverse follows a teacher: name train.teacher"],
    ),
    "an unknown teacher": (
        lambda s: s["train"].update(teacher="bigg"),
        ["train.teacher: no model is called 'bigg' (did you mean big?) (models: big)"],
    ),
    "a teacher behind a URL": (
        lambda s: s["models"].update(big=HOSTED),
        [
            "train.teacher: its logits are needed, so it must run in this process: name an "
            "embedded model, or choose objective sft"
        ],
    ),
    "a vLLM teacher whose weights are wanted": (
        lambda s: s["models"].update(big=SERVED),
        [
            "train.teacher: its logits are needed, so it must run in this process: name an "
            "embedded model, or choose objective sft, or ask its server (signal: {kind: remote}, "
            "or {kind: cached})"
        ],
    ),
    "an embedded teacher asked as a server": (
        lambda s: s["train"].update(signal={"kind": "remote"}),
        [
            "train.teacher: signal remote asks a server what it thinks of given tokens, which only "
            "vLLM tells: name a model of kind vllm, or leave signal out for one of kind embedded"
        ],
    ),
    "an unknown teacher of a domain": (
        lambda s: s["train"].update(teacher={"maths": "big", "code": "bog"}),
        ["train.teacher.code: no model is called 'bog' (did you mean big?) (models: big)"],
    ),
    "a teacher for nobody": (
        lambda s: s["train"].update(objective="sft", phases=PHASES[:1]),
        ["train.teacher: no phase follows a teacher; take it out, or choose a divergence"],
    ),
    "two temperatures of one signal": (
        lambda s: s["train"].update(
            signal=CACHED, phases=[{"temperature": 1.0}, {"temperature": 2.0}]
        ),
        [
            "train.signal: is written once for all phases, at one temperature: give them the same, "
            "or read the teacher as it is needed"
        ],
    ),
    "two signals": (
        lambda s: s["train"].update(
            phases=[{"signal": CACHED | {"top_k": 5}}, {}, {"signal": CACHED}]
        ),
        ["train.phases.0.signal: is written once for all phases: let them keep the same"],
    ),
    "a server's signal at another temperature": (
        lambda s: (
            s["models"].update(big=SERVED) or s["train"].update(signal=CACHED, temperature=2.0)
        ),
        ["train.signal: a server tells its likeliest tokens at temperature 1: leave it at 1"],
    ),
    "a server's signal drawn": (
        lambda s: (
            s["models"].update(big=SERVED) or s["train"].update(signal=CACHED | {"kept": "sampled"})
        ),
        ["train.signal: a server tells its likeliest tokens, and none can be drawn: keep top"],
    ),
    "no examples of a phase": (
        lambda s: (
            s["train"].pop("teacher")
            and s["train"].update(
                phases=[{"signal": {"kind": "context", "examples": "nowhere.jsonl"}}]
            )
        ),
        [
            "train.phases.0.signal.examples: nowhere.jsonl: no such file (looked for it from "
            f"{Path.cwd()})"
        ],
    ),
    "no examples": (
        lambda s: (
            s["train"].pop("teacher")
            and s["train"].update(signal={"kind": "context", "examples": "nowhere.jsonl"})
        ),
        [
            f"train.signal.examples: nowhere.jsonl: no such file (looked for it from {Path.cwd()})",
        ],
    ),
    "no dataset": (
        lambda s: s.update(dataset="nowhere.parquet"),
        [f"dataset: nowhere.parquet: no such file (looked for it from {Path.cwd()})"],
    ),
    "a budget": (
        lambda s: s.update(budget={"max_tokens": 10}),
        ["budget: would do nothing, nothing that is asked here is counted in it; take it out"],
    ),
    "shards of nothing": (
        lambda s: s.update(shard_rows=10),
        ["shard_rows: would do nothing, no signal is written; take it out"],
    ),
    "a misspelt setting": (
        lambda s: s["train"].update(rolouts={}),
        ["train.rolouts: not a setting (did you mean rollouts?)"],
    ),
}


@pytest.mark.parametrize(("change", "faults"), CASES.values(), ids=CASES)
def test_faults_are_told(
    change: Callable[[Settings], Any], faults: list[str], tmp_path: Path
) -> None:
    assert find_faults(tmp_path, change) == faults


def test_a_dataset_of_another_run_may_come_later(tmp_path: Path) -> None:
    settings = describe_teaching(tmp_path, tmp_path)
    settings["dataset"] = str(tmp_path / "runs" / "demo" / "dataset")
    config = load_teaching(write_config(tmp_path / "taught.yaml", settings))
    assert config.models == {}


@pytest.mark.parametrize(
    ("train", "setting", "fault"),
    [
        (
            {"hidden": {"pairs": [[99, 0]]}},
            "train.hidden",
            "hidden states: the student has no layer 99; its layers are 0 to 1",
        ),
        (
            {"phases": [{}, {"hidden": {"pairs": [[0, 2]]}}]},
            "train.phases.1.hidden",
            "hidden states: the teacher has no layer 2; its layers are 0 to 1",
        ),
        (
            {"student": {"layers": [1]}, "hidden": {"pairs": [[1, 1]]}},
            "train.hidden",
            "hidden states: the student has no layer 1; its layers are 0 to 0",
        ),
        (
            {"student": {"fresh": {"hidden_size": 32}}, "hidden": {}, "processes": 2},
            "train.hidden",
            "hidden: a projection is learned, and 2 processes would each learn their own.\nTrain "
            "in one process, or pair layers of one size without learned.",
        ),
    ],
)
def test_layers_that_are_not_there_are_told_before_anything_begins(
    train: Settings, setting: str, fault: str, tiny_model_dir: Path, other_tiny_model_dir: Path
) -> None:
    student = {"model": str(tiny_model_dir), **train.get("student", {})}
    whole = {"objective": "forward", "teacher": "big", **train, "student": student}
    model = {"kind": "embedded", "model": str(other_tiny_model_dir), **TERMS}
    models = {"big": EmbeddedModel.model_validate(model)}
    stage = TrainStage.model_validate_json(json.dumps(whole))
    assert list(find_training_problems(stage, models)) == [(setting, fault)]
    fits = stage.model_copy(update={"hidden": HiddenSettings(), "phases": (), "processes": 1})
    assert list(find_training_problems(fits, models)) == []


@pytest.mark.parametrize("signal", [CACHED, {"kind": "remote"}])
def test_what_a_teachers_server_is_asked_is_in_no_budget(signal: Settings) -> None:
    stage = TrainStage.model_validate(
        {"student": "nowhere/model", "objective": "forward", "teacher": "big", "signal": signal}
    )
    models = {"big": VllmModel.model_validate(SERVED)}
    told = "what a teacher's server is asked to teach is not counted in a budget"
    found = list(find_training_problems(stage, models, Budget(max_tokens=9)))
    assert found == [("train.signal", f"{told}: take out one of them")]
    assert list(find_training_problems(stage, models)) == []


def test_kinds_are_told_apart(tmp_path: Path) -> None:
    file = write_config(tmp_path / "taught.yaml", describe_teaching(tmp_path, tmp_path, tmp_path))
    config = load_settings(file)
    assert type(config) is TeachConfig
    assert parse_settings(config.model_dump(mode="json", by_alias=True)) == config
    with pytest.raises(ConfigError) as error:
        load_config(file)
    assert str(error.value) == (
        f"{file}: the settings of a training on its own. Type: tutelage teach {file}"
    )


def test_phases_of_a_stage_are_settings_of_the_trainer() -> None:
    """What a stage has beyond them (its student, what it accepts) is not handed down."""
    stage = TrainStage.model_validate(
        {"student": "s", "accept": ["judge"], "teacher": "t", "phases": PHASES}
    )
    assert [(part.objective, part.teacher) for part in stage.split()] == [
        ("sft", None),
        ("reverse", "t"),
    ]


def test_the_teacher_is_evaluated_where_it_is_another_model(tmp_path: Path) -> None:
    def arms(**train: Any) -> list[str]:
        settings = describe_teaching(tmp_path, tmp_path / "student", tmp_path / "teacher")
        settings = add_evaluation(settings, tmp_path)
        settings["train"] |= train
        return list_arms(load_teaching(write_config(tmp_path / "taught.yaml", settings)))

    assert arms() == ["before", "teacher", "after"]
    assert arms(student=str(tmp_path / "teacher")) == ["before", "after"]
    examples = {"kind": "context", "examples": str(tmp_path / "sums.jsonl")}
    assert arms(signal=examples, teacher=None) == ["before", "after"]
    assert arms(objective="sft", teacher=None) == ["before", "after"]
