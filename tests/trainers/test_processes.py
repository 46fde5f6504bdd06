"""One student trained by two processes on gloo, beside one process with twice the batch."""

import functools
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any, NamedTuple

import psutil
import pytest
import torch
from safetensors.torch import load_file

from generators.errors import ConfigError, InputError, RunError
from trainers.launch import find_function, train_in_processes
from trainers.metrics import read_metrics
from trainers.prefixes import number_rows
from trainers.settings import Student, TrainResult, TrainSettings
from trainers.train import train_student

PLAIN: dict[str, Any] = {
    "learning_rate": 1e-3,
    "accumulation": 2,
    "max_steps": 3,
    "max_length": 128,
    "save_steps": 1,
    "precision": "float32",
    "seed": 3,
}
ONE, TWO = {"batch_size": 4}, {"batch_size": 2, "processes": 2}
WAYS: dict[str, dict[str, Any]] = {
    "forward": {"objective": "forward"},
    "reverse-data": {"objective": "reverse", "rollouts": {"max_new_tokens": 6, "share": 0.0}},
    "reverse-own": {"objective": "reverse", "rollouts": {"max_new_tokens": 6, "share": 1.0}},
    "cached-lora": {
        "objective": "forward",
        "signal": {"kind": "cached", "top_k": 20},
        "lora": {"rank": 4},
        "learning_rate": 1e-2,
    },
}


class Trained(NamedTuple):
    result: TrainResult
    lines: list[dict[str, Any]]


class Places(NamedTuple):
    dataset: Path
    student: Path
    teacher: Path


@pytest.fixture
def places(dataset: Path, tiny_model_dir: Path, other_tiny_model_dir: Path) -> Places:
    return Places(dataset, tiny_model_dir, other_tiny_model_dir)


def train(
    way: dict[str, Any], places: Places, output: Path, on_log: Any = lambda line: None
) -> Trained:
    settings = TrainSettings.model_validate_json(json.dumps(PLAIN | way))
    lines: list[dict[str, Any]] = []

    def keep(line: dict[str, Any]) -> None:
        lines.append(line)
        on_log(line)

    teacher = str(places.teacher) if settings.follows_teacher else None
    result = train_student(
        settings,
        places.dataset,
        str(places.student),
        output,
        teacher=teacher,
        on_log=keep,
        metrics=output / "metrics.jsonl",
    )
    return Trained(result, lines)


def measure_distance(start: Path, one: Path, other: Path) -> float:
    """How far two trained students are apart, as a share of the way that the first has come."""
    weights = [load_file(folder / "model.safetensors") for folder in (start, one, other)]
    flat = [torch.cat([each[name].flatten() for name in sorted(each)]) for each in weights]
    return float((flat[2] - flat[1]).norm() / (flat[1] - flat[0]).norm())


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_two_processes_learn_what_one_does_with_twice_the_batch(
    way: dict[str, Any], places: Places, tmp_path: Path
) -> None:
    one = train(way | ONE, places, tmp_path / "one")
    two = train(way | TWO, places, tmp_path / "two")
    assert [line["step"] for line in two.lines] == [1, 2, 3]
    for name in ("loss", "grad_norm"):
        expected = [line[name] for line in one.lines]
        assert [line[name] for line in two.lines] == pytest.approx(expected, rel=1e-5, abs=1e-5)
    for name in ("tokens", "learning_rate"):
        assert [line[name] for line in two.lines] == [line[name] for line in one.lines]
    assert read_metrics(tmp_path / "two" / "metrics.jsonl") == two.lines
    assert two.result.tokens == one.result.tokens
    assert measure_distance(places.student, one.result.output, two.result.output) < 1e-3
    assert not (tmp_path / "two" / "checkpoints").exists()


def test_a_process_that_dies_ends_all_and_the_training_goes_on_from_its_checkpoint(
    places: Places, tmp_path: Path
) -> None:
    way = {**WAYS["reverse-own"], "max_steps": 4}
    way["rollouts"] = way["rollouts"] | {"buffer": 8, "reuse": 0.5}
    seen: list[psutil.Process] = []

    def kill_the_second(line: dict[str, Any]) -> None:
        if line["step"] == 3:
            workers = psutil.Process().children()
            seen.extend(workers)
            second = next(w for w in workers if w.environ().get("RANK") == "1")
            second.send_signal(signal.SIGKILL)

    with pytest.raises(RunError, match="process 1 of the training was ended by signal 9"):
        train(way | TWO, places, tmp_path / "broken", kill_the_second)
    assert len(seen) == 2
    assert not any(worker.is_running() for worker in seen)
    checkpoint = tmp_path / "broken" / "checkpoints" / "checkpoint-2"
    names = {"0-rollouts.json", "1-rollouts.json", "rng_state_0.pth", "rng_state_1.pth"}
    assert names < {file.name for file in checkpoint.iterdir()}
    mended = train(way | TWO, places, tmp_path / "broken")
    whole = train(way | TWO, places, tmp_path / "whole")
    assert mended.lines == whole.lines[2:]
    assert measure_distance(places.student, whole.result.output, mended.result.output) == 0


def test_what_a_process_cannot_use_is_told_as_it_is_in_one(places: Places, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no row to train on \(8 longer_than_window\)"):
        train({**TWO, "max_length": 4}, places, tmp_path)


def test_a_process_ends_with_the_one_that_started_it() -> None:
    """The second of two never comes, so only the end of its input can end the first."""
    environment = os.environ | {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "2"}
    work = {"settings": {}, "dataset": "none", "student": {"model": "none"}, "output": "none"}
    work |= {"teacher": None, "signal": None, "verify": None, "metrics": None}
    with subprocess.Popen(
        [sys.executable, "-m", "trainers.worker"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environment,
        text=True,
    ) as worker:
        assert worker.stdin is not None
        worker.stdin.write(json.dumps(work | {"meeting_place": "/dev/null/none"}) + "\n")
        worker.stdin.close()
        assert worker.wait(timeout=60) == 1


def test_rows_are_numbered_as_one_process_would_number_them() -> None:
    assert number_rows([3, 2], (0, 1)) == [0, 1, 2, 3, 4]
    first, second = (number_rows([2, 2], (i, 2)) for i in (0, 1))
    assert (first, second) == ([0, 1, 4, 5], [2, 3, 6, 7])


def test_a_judge_that_no_other_process_can_import_is_refused(
    places: Places, tmp_path: Path
) -> None:
    settings = TrainSettings(processes=2)
    student = Student(model=str(places.student))
    with pytest.raises(ConfigError, match="cannot be imported"):
        train_in_processes(
            settings, places.dataset, student, tmp_path, verify=lambda check, text: True
        )
    assert find_function("trainers.prefixes:number_rows") is number_rows
