"""Trainings one after another, by as many processes as torchrun starts of this script.

One whose settings have `break_at` is broken off after the checkpoint of that step, and begun again.
"""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

from accelerate.state import AcceleratorState
from accelerate.utils import DistributedType

from trainers.processes import wait_for_all
from trainers.settings import TrainSettings
from trainers.train import train_student
from trainers.training_folder import TrainingPace


def train_all(ways: Path, dataset: Path, student: Path, teacher: Path, output: Path) -> None:
    """Train by each of the settings in the file `ways`, in a folder of their name."""
    for name, way in json.loads(ways.read_text()).items():
        last = way.pop("break_at", None)
        settings = TrainSettings.model_validate_json(json.dumps(way))

        def train(settings: TrainSettings = settings, folder: Path = output / name) -> None:
            metrics = folder / "metrics.jsonl"
            train_student(
                settings, dataset, str(student), folder, teacher=str(teacher), metrics=metrics
            )

        if last is not None:
            with breaking_after(last):
                train()
        train()


@contextmanager
def breaking_after(step: int) -> Iterator[None]:
    """Every process stops when a step's checkpoint is whole."""
    save = TrainingPace.on_save

    def stop(pace: TrainingPace, args: Any, state: Any, control: Any, **given: Any) -> None:
        save(pace, args, state, control, **given)
        if state.global_step == step:
            wait_for_all()
            raise KeyboardInterrupt

    with mock.patch.object(TrainingPace, "on_save", stop):
        try:
            yield
        except KeyboardInterrupt:
            return
    raise AssertionError(f"nothing was broken off after step {step}")


def shard_without_gpus() -> None:
    """accelerate shards models on GPUs alone, PyTorch anywhere: let it do so here."""
    begin = AcceleratorState.__init__

    def begin_sharded(state: Any, *args: Any, fsdp_plugin: Any = None, **given: Any) -> None:
        begin(state, *args, fsdp_plugin=fsdp_plugin, **given)
        if fsdp_plugin is not None:
            state.fsdp_plugin = fsdp_plugin
        if vars(state).get("fsdp_plugin") is not None:
            state.distributed_type = DistributedType.FSDP

    mock.patch.object(AcceleratorState, "__init__", begin_sharded).start()


if __name__ == "__main__":
    shard_without_gpus()
    train_all(*map(Path, sys.argv[1:]))
