import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import load_file
from transformers import AutoConfig

from generators.embedded import load_model
from generators.errors import ConfigError, RunError
from trainers.metrics import read_metrics
from trainers.settings import Student, TrainResult, TrainSettings
from trainers.train import train_student

SETTINGS = TrainSettings(
    learning_rate=1e-3,
    batch_size=2,
    accumulation=2,
    max_steps=7,
    max_length=128,
    warmup=0.2,
    save_steps=2,
    precision="float32",
    seed=3,
)
KILLED = """
import os, sys
from pathlib import Path
from trainers.settings import TrainSettings
from trainers.train import train_student

def die_at_step_5(line):
    if line["step"] == 5:
        print("at 5", flush=True)
        os.read(0, 1)  # hold still until the kill

settings = TrainSettings.model_validate_json(sys.argv[1])
dataset, student, output, metrics = (Path(argument) for argument in sys.argv[2:])
train_student(settings, dataset, str(student), output, on_log=die_at_step_5, metrics=metrics)
"""


@pytest.fixture(scope="module")
def uninterrupted(
    dataset: Path, tiny_model_dir: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[TrainResult, list[dict[str, Any]]]:
    folder = tmp_path_factory.mktemp("uninterrupted")
    lines: list[dict[str, Any]] = []
    metrics = folder / "metrics.jsonl"
    result = train_student(
        SETTINGS,
        dataset,
        str(tiny_model_dir),
        folder / "student",
        on_log=lines.append,
        metrics=metrics,
    )
    assert read_metrics(metrics) == lines
    return result, lines


def test_every_step_is_reported(
    uninterrupted: tuple[TrainResult, list[dict[str, Any]]],
) -> None:
    result, lines = uninterrupted
    assert [line["step"] for line in lines] == list(range(1, 8))
    assert result.steps == 7
    assert result.rows == 8
    assert result.train_loss == pytest.approx(sum(line["loss"] for line in lines) / 7)
    assert lines[-1]["loss"] < lines[0]["loss"]
    assert result.tokens == sum(line["tokens"] for line in lines)
    assert lines[1]["learning_rate"] == pytest.approx(5e-4)  # half-way up a warm-up of two steps


def test_the_finished_student_loads_and_leaves_no_checkpoints(
    uninterrupted: tuple[TrainResult, list[dict[str, Any]]],
) -> None:
    folder = uninterrupted[0].output
    model, tokenizer = load_model(str(folder), "float32")
    assert model.config.num_hidden_layers == 2
    assert tokenizer.chat_template
    assert AutoConfig.from_pretrained(folder).use_cache is True
    assert sorted(path.name for path in folder.parent.iterdir()) == ["model", "training.json"]


@pytest.fixture
def killed(dataset: Path, tiny_model_dir: Path, tmp_path: Path) -> Path:
    """A folder in which a process was killed by signal 9 between two checkpoints."""
    arguments = [SETTINGS.model_dump_json(), dataset, tiny_model_dir, tmp_path / "student"]
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, *map(str, arguments), str(tmp_path / "metrics.jsonl")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parents[2],
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"at 5\n"
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    return tmp_path


def test_a_killed_training_goes_on_as_if_it_had_not_been(
    killed: Path,
    dataset: Path,
    tiny_model_dir: Path,
    uninterrupted: tuple[TrainResult, list[dict[str, Any]]],
) -> None:
    expected, lines = uninterrupted
    checkpoints = killed / "student" / "checkpoints"
    assert [path.name for path in checkpoints.iterdir()] == ["checkpoint-4"]
    half_written = checkpoints / "checkpoint-6"
    half_written.mkdir()
    (half_written / "trainer_state.json").write_text('{"global_step": 6')
    assert [m["step"] for m in read_metrics(killed / "metrics.jsonl")] == [1, 2, 3, 4, 5]
    resumed: list[dict[str, Any]] = []
    result = train_student(
        SETTINGS,
        dataset,
        str(tiny_model_dir),
        killed / "student",
        on_log=resumed.append,
        metrics=killed / "metrics.jsonl",
    )
    assert resumed == lines[4:]
    assert read_metrics(killed / "metrics.jsonl") == lines
    assert result.train_loss == pytest.approx(expected.train_loss, abs=1e-12)
    weights, expected_weights = (
        load_file(folder / "model.safetensors") for folder in (result.output, expected.output)
    )
    assert all((weights[name] == tensor).all() for name, tensor in expected_weights.items())


def test_a_finished_training_is_not_repeated(
    uninterrupted: tuple[TrainResult, list[dict[str, Any]]], dataset: Path, tiny_model_dir: Path
) -> None:
    expected, _ = uninterrupted
    lines: list[dict[str, Any]] = []
    again = train_student(
        SETTINGS, dataset, str(tiny_model_dir), expected.output.parent, on_log=lines.append
    )
    assert again == expected
    assert lines == []


def test_other_settings_do_not_overwrite_a_finished_training(
    uninterrupted: tuple[TrainResult, list[dict[str, Any]]], dataset: Path, tiny_model_dir: Path
) -> None:
    output = uninterrupted[0].output.parent
    changed = SETTINGS.model_copy(update={"learning_rate": 5e-3})
    with pytest.raises(RunError) as caught:
        train_student(changed, dataset, str(tiny_model_dir), output)
    assert str(caught.value) == (
        f"{output}: holds a training of other settings (learning_rate 0.001 → 0.005).\n"
        "Go back to those settings, give another output folder, or delete this one."
    )
    with pytest.raises(RunError) as caught:
        train_student(SETTINGS, dataset, Student(model=str(tiny_model_dir), layers=(0,)), output)
    assert str(caught.value) == (
        f"{output}: holds a training of other settings (student {{'model': '{tiny_model_dir}', "
        "'layers': None, 'fresh': None, 'reuse_embeddings': True, 'seed': 0} → {'model': '"
        f"{tiny_model_dir}', 'layers': [0], 'fresh': None, 'reuse_embeddings': True, 'seed': "
        "0}).\n"
        "Go back to those settings, give another output folder, or delete this one."
    )


def test_on_log_can_end_a_training_which_then_starts_over_when_nothing_was_saved(
    dataset: Path, tiny_model_dir: Path, tmp_path: Path
) -> None:
    def cancel(line: dict[str, Any]) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_student(SETTINGS, dataset, str(tiny_model_dir), tmp_path, on_log=cancel)
    assert not (tmp_path / "model").exists()
    other = SETTINGS.model_copy(update={"max_steps": 1})
    assert train_student(other, dataset, str(tiny_model_dir), tmp_path).steps == 1


def test_epochs_count_rows_and_skipped_rows_are_named(
    rows: list[dict[str, Any]], tiny_model_dir: Path, tmp_path: Path
) -> None:
    empty = rows[0] | {"completion": [{"role": "assistant", "content": ""}]}
    pq.write_table(pa.Table.from_pylist([*rows[:5], empty]), tmp_path / "train.parquet")
    settings = SETTINGS.model_copy(update={"max_steps": None, "epochs": 2.0})
    result = train_student(settings, tmp_path, str(tiny_model_dir), tmp_path / "student")
    assert result.steps == 4  # 5 rows: windows of 4 and 1, twice
    assert result.skipped == {"empty_completion": 1}
    described = json.loads((result.output / "result.json").read_text())
    assert described["rows"] == 5


def test_bfloat16_computes_nearly_the_same_over_float32_weights(
    dataset: Path,
    tiny_model_dir: Path,
    tmp_path: Path,
    uninterrupted: tuple[TrainResult, list[dict[str, Any]]],
) -> None:
    settings = SETTINGS.model_copy(update={"max_steps": 1, "precision": "bfloat16"})
    lines: list[dict[str, Any]] = []
    result = train_student(settings, dataset, str(tiny_model_dir), tmp_path, on_log=lines.append)
    exact = uninterrupted[1][0]["loss"]
    assert lines[0]["loss"] != exact
    assert lines[0]["loss"] == pytest.approx(exact, rel=1e-2)
    weights = load_file(result.output / "model.safetensors")
    assert {tensor.dtype for tensor in weights.values()} == {torch.float32}


def test_a_run_towards_a_teacher_lowers_its_loss(
    dataset: Path, tiny_model_dir: Path, other_tiny_model_dir: Path, tmp_path: Path
) -> None:
    settings = SETTINGS.model_copy(
        update={"objective": "forward", "batch_size": 8, "accumulation": 1}
    )
    lines: list[dict[str, Any]] = []
    train_student(
        settings,
        dataset,
        str(tiny_model_dir),
        tmp_path,
        teacher=str(other_tiny_model_dir),
        on_log=lines.append,
    )
    assert 0 < lines[-1]["loss"] < 0.7 * lines[0]["loss"]


def test_a_teacher_of_another_vocabulary_is_refused(
    dataset: Path, tiny_model_dir: Path, permuted_tokenizer: Any, tiny_model: Any, tmp_path: Path
) -> None:
    teacher = tmp_path / "teacher"
    tiny_model.save_pretrained(teacher)
    permuted_tokenizer.save_pretrained(teacher)
    settings = SETTINGS.model_copy(update={"objective": "forward"})
    with pytest.raises(ConfigError) as caught:
        train_student(
            settings, dataset, str(tiny_model_dir), tmp_path / "student", teacher=str(teacher)
        )
    assert str(caught.value) == (
        "teacher and student do not share a vocabulary: id 1000 is 'Ġloc' to the teacher and '()' "
        "to the student.\n"
        "Token-level distillation compares them id by id: choose a teacher of the student's "
        "family, compare texts (objective: aligned), or train on the teacher's answers (objective: "
        "sft)."
    )
    assert not (tmp_path / "student").exists()


def test_objective_and_teacher_must_agree(
    dataset: Path, tiny_model_dir: Path, tmp_path: Path
) -> None:
    with pytest.raises(ValidationError) as caught:
        TrainSettings(objective="sft", teacher="some/model")
    assert caught.value.errors()[0]["msg"] == (
        "Value error, teacher: objective sft asks no teacher; choose a divergence"
    )
    forward = SETTINGS.model_copy(update={"objective": "forward"})
    for settings, teacher, message in (
        (
            SETTINGS,
            "some/model",
            "objective sft asks none, nor does a student that is its own; leave it out",
        ),
        (forward, None, "objective forward needs one; name a model, or choose sft"),
    ):
        with pytest.raises(ConfigError) as refusal:
            train_student(settings, dataset, str(tiny_model_dir), tmp_path, teacher=teacher)
        assert str(refusal.value) == f"teacher: {message}"
