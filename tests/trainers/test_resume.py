"""Trainings that are broken off, and begun again, on a model of a few hundred tokens."""

import json
import re
import shutil
from pathlib import Path
from typing import Any
from unittest import mock

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file

from generators.errors import RunError
from tests.trainers.conftest import save_byte_level_model
from trainers.distiller import Distiller
from trainers.metrics import read_metrics
from trainers.settings import TrainResult, TrainSettings
from trainers.train import train_student

PLAIN: dict[str, Any] = {
    "learning_rate": 2e-3,
    "batch_size": 4,
    "max_steps": 5,
    "save_steps": 2,
    "max_length": 256,
    "precision": "float32",
    "seed": 3,
}
CONTEXT = {
    "objective": "reverse",
    "signal": {"kind": "context", "examples": "examples.jsonl"},
    "learning_rate": 2e-2,
}


@pytest.fixture(autouse=True)
def examples(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Worked examples where the settings look for them."""
    monkeypatch.chdir(tmp_path)
    return write_examples("Two.")


def write_examples(completion: str) -> Path:
    line = {"task": "talk", "prompt": "What is 1 + 1?", "completion": completion}
    Path("examples.jsonl").write_text(json.dumps(line) + "\n")
    return Path("examples.jsonl")


@pytest.fixture(scope="module")
def tasks(rows: list[dict[str, Any]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Rows whose checks name a task."""
    path = tmp_path_factory.mktemp("tasks") / "train.parquet"
    told = [row | {"check": json.dumps({"task": "talk"})} for row in rows]
    pq.write_table(pa.Table.from_pylist(told), path)
    return path


def teach(
    way: dict[str, Any], dataset: Path, student: Path, folder: str, **options: Any
) -> tuple[TrainResult, list[dict[str, Any]]]:
    settings = TrainSettings.model_validate_json(json.dumps(PLAIN | way))
    metrics = Path(f"{folder}.jsonl")
    result = train_student(
        settings, dataset, str(student), Path(folder), metrics=metrics, **options
    )
    return result, read_metrics(metrics)


def break_off(
    step: int, way: dict[str, Any], dataset: Path, student: Path, folder: str, **options: Any
) -> None:
    def stop(line: dict[str, Any]) -> None:
        if line["step"] == step and "loss" in line:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        teach(way, dataset, student, folder, on_log=stop, **options)


def check_same_student(one: TrainResult, other: TrainResult) -> None:
    weights, others = (load_file(r.output / "model.safetensors") for r in (one, other))
    assert all((weights[name] == others[name]).all() for name in others)


def test_a_kill_between_two_batches_of_a_window_changes_nothing(
    dataset: Path, byte_level_dir: Path
) -> None:
    way = {"accumulation": 2, "batch_size": 2}
    whole, lines = teach(way, dataset, byte_level_dir, "whole")
    calls, compute_loss = [], Distiller.compute_loss

    def die_at_the_tenth(trainer: Distiller, *args: Any, **given: Any) -> Any:
        calls.append(trainer.state.global_step)
        if len(calls) == 10:
            raise KeyboardInterrupt
        return compute_loss(trainer, *args, **given)

    with (
        mock.patch.object(Distiller, "compute_loss", die_at_the_tenth),
        pytest.raises(KeyboardInterrupt),
    ):
        teach(way, dataset, byte_level_dir, "broken")
    assert calls == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]  # the last is the fifth step's second batch
    mended, told = teach(way, dataset, byte_level_dir, "broken")
    assert told == lines
    assert [line["step"] for line in told] == [1, 2, 3, 4, 5]
    check_same_student(mended, whole)


def test_patience_and_the_best_go_on_from_the_checkpoint(
    dataset: Path, byte_level_dir: Path
) -> None:
    """A student that only gets worse: the looks after the checkpoint are not counted twice."""
    measure = {"rows": 2, "every": 1, "max_new_tokens": 2, "keep_best": True, "patience": 5}
    way = {"learning_rate": 5.0, "max_steps": 9, "measure": measure}
    break_off(4, way, dataset, byte_level_dir, "student")
    (checkpoint,) = Path("student/checkpoints").iterdir()
    assert json.loads((checkpoint / "best.json").read_text())["since"] == 2
    assert json.loads(Path("student/best.json").read_text())["since"] == 4
    result, lines = teach(way, dataset, byte_level_dir, "student")
    looks = [line for line in lines if "evaluation" in line]
    nlls = [look["evaluation"]["nll"] for look in looks]
    assert [look["step"] for look in looks] == [0, 1, 2, 3, 4, 5]
    assert min(nlls) == nlls[0]
    assert (result.steps, result.best_step) == (5, 0)
    weights, first = (
        load_file(folder / "model.safetensors") for folder in (result.output, byte_level_dir)
    )
    assert all((weights[name] == first[name]).all() for name in first)
    assert sorted(p.name for p in Path("student").iterdir()) == ["model", "training.json"]


def test_a_training_that_ends_early_leaves_no_checkpoint_of_its_last_step(
    dataset: Path, byte_level_dir: Path
) -> None:
    """Or it would go on from there, past its end."""
    measure = {"rows": 2, "every": 1, "max_new_tokens": 2, "patience": 2}
    way = {"learning_rate": 5.0, "max_steps": 9, "save_steps": 1, "measure": measure}
    with (
        mock.patch("trainers.train._publish", side_effect=KeyboardInterrupt),
        pytest.raises(KeyboardInterrupt),
    ):
        teach(way, dataset, byte_level_dir, "student")
    assert [p.name for p in Path("student/checkpoints").iterdir()] == ["checkpoint-1"]
    assert teach(way, dataset, byte_level_dir, "student")[0].steps == 2


def test_what_was_best_in_another_training_is_forgotten(
    dataset: Path, byte_level_dir: Path
) -> None:
    measure = {"rows": 2, "every": 1, "max_new_tokens": 2, "keep_best": True}
    break_off(4, {"save_steps": 9, "measure": measure}, dataset, byte_level_dir, "student")
    assert json.loads(Path("student/best.json").read_text())["step"] == 4
    way = {"max_steps": 1, "learning_rate": 5.0, "measure": measure}
    result, _ = teach(way, dataset, byte_level_dir, "student")
    assert (result.steps, result.best_step) == (1, 0)


def test_a_refreshed_teacher_goes_on_from_the_checkpoint(tasks: Path, byte_level_dir: Path) -> None:
    def refresh(**how: Any) -> dict[str, Any]:
        signal = CONTEXT["signal"] | {"refresh": how}
        return CONTEXT | {"signal": signal, "save_steps": 3}

    copied = refresh(mode="copy", every=2)
    _, fixed = teach(refresh(mode="fixed"), tasks, byte_level_dir, "fixed")
    whole, lines = teach(copied, tasks, byte_level_dir, "whole")
    assert lines[:2] == fixed[:2]
    assert all(a["loss"] != b["loss"] for a, b in zip(lines[2:], fixed[2:], strict=True))
    break_off(4, copied, tasks, byte_level_dir, "broken")
    mended, told = teach(copied, tasks, byte_level_dir, "broken")
    assert told == lines
    check_same_student(mended, whole)


def test_adapters_come_from_the_seed(dataset: Path, byte_level_dir: Path) -> None:
    """All rows are one batch, so the seed decides nothing else but their order."""
    way = {"lora": {"rank": 2}, "batch_size": 8, "max_steps": 2, "learning_rate": 0.05}
    found = []
    for before, seed in ((1, 3), (2, 3), (1, 4)):
        torch.manual_seed(before)
        _, lines = teach(way | {"seed": seed}, dataset, byte_level_dir, f"student-{before}-{seed}")
        found.append([line["loss"] for line in lines])
    same, again, other = found
    assert same == again
    assert other[0] == pytest.approx(same[0], abs=1e-5)  # they begin as nothing
    assert other[1] != pytest.approx(same[1], abs=1e-3)


def test_other_weights_under_the_same_names_are_another_training(
    dataset: Path, byte_level_dir: Path, byte_level_teacher_dir: Path, tmp_path: Path
) -> None:
    student, teacher = tmp_path / "student", tmp_path / "teacher"
    shutil.copytree(byte_level_dir, student)
    shutil.copytree(byte_level_teacher_dir, teacher)
    way = {"objective": "forward", "max_steps": 1}
    teach(way, dataset, student, "output", teacher=str(teacher))
    for folder, name in ((teacher, "teacher_weights"), (student, "student_weights")):
        kept = (folder / "model.safetensors").read_bytes()
        save_byte_level_model(folder, seed=5)
        with pytest.raises(RunError) as caught:
            teach(way, dataset, student, "output", teacher=str(teacher))
        said = re.sub("@[0-9a-f]{12}", "@…", str(caught.value))
        assert said == (
            f"output: holds a training of other settings ({name} {folder.name}@… →"
            f" {folder.name}@…).\n"
            "Go back to those settings, give another output folder, or delete this one."
        )
        (folder / "model.safetensors").write_bytes(kept)
    assert teach(way, dataset, student, "output", teacher=str(teacher))[0].steps == 1


def test_edited_examples_are_another_training(tasks: Path, byte_level_dir: Path) -> None:
    way = CONTEXT | {"max_steps": 1}
    teach(way, tasks, byte_level_dir, "output")
    write_examples("It is two.")
    with pytest.raises(RunError) as caught:
        teach(way, tasks, byte_level_dir, "output")
    assert str(caught.value) == (
        "output: holds a training of other settings (examples "
        "c8951b114757542963c2b3fac98cf3db7cde752173ade1e27c0f0b71ccd2e00c → "
        "14f46b34bf64f3953fae91c83abd12a87ce5071d7a3d4ebd0155a4e9a6811ae0).\n"
        "Go back to those settings, give another output folder, or delete this one."
    )


def test_a_training_that_diverges_publishes_nothing(dataset: Path, byte_level_dir: Path) -> None:
    way = {"learning_rate": 1e20, "save_steps": 1}
    for _ in range(2):  # and neither does it when it is called again
        with pytest.raises(RunError) as caught:
            teach(way, dataset, byte_level_dir, "output")
        assert str(caught.value) == (
            "output: grad_norm is not finite at step 2 (nan); the training has ended.\n"
            "Lower learning_rate, or look at the rows' weights, and give another output folder or "
            "delete this one."
        )
        assert not Path("output/model").exists()
        assert [line["step"] for line in read_metrics(Path("output.jsonl"))] == [1]
    with pytest.raises(RunError) as caught:
        teach({}, dataset, byte_level_dir, "output")
    assert str(caught.value) == (
        "output: holds a training of other settings (learning_rate 1e+20 → 0.002).\n"
        "Go back to those settings, give another output folder, or delete this one."
    )
