"""Trainings one after another, by as many processes as torchrun starts of this script."""

import json
import sys
from pathlib import Path

from trainers.settings import TrainSettings
from trainers.train import train_student


def train_all(ways: Path, dataset: Path, student: Path, teacher: Path, output: Path) -> None:
    """Train by each of the settings in the file `ways`, in a folder of their name."""
    for name, way in json.loads(ways.read_text()).items():
        train_student(
            TrainSettings.model_validate_json(json.dumps(way)),
            dataset,
            str(student),
            output / name,
            teacher=str(teacher),
            metrics=output / name / "metrics.jsonl",
        )


if __name__ == "__main__":
    train_all(*map(Path, sys.argv[1:]))
