"""What is said of a training before it begins."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from flows.stage_settings import TrainStage
from flows.stages.train import foresee_steps

PHASES = [{"max_steps": 4}, {"epochs": 2.0, "batch_size": 3}]


@pytest.mark.parametrize(
    ("settings", "steps"),
    [
        ({"max_steps": 7}, 7),
        ({}, 3),
        ({"epochs": 2.0, "accumulation": 2}, 3),
        ({"accept": ["judge"]}, 1),
        ({"phases": PHASES}, 4 + 6),
    ],
    ids=["named", "one epoch", "a window of two batches", "few rows let in", "phases"],
)
def test_steps_are_foreseen(settings: dict[str, Any], steps: int, tmp_path: Path) -> None:
    kinds = ["program"] * 9 + ["judge"]
    pq.write_table(pa.table({"verified_by": kinds}), tmp_path / "train.parquet")
    stage = TrainStage.model_validate({"student": "small", "batch_size": 4} | settings)
    assert foresee_steps(stage, tmp_path / "train.parquet") == steps


def test_rows_that_do_not_say_how_they_were_verified_all_count(tmp_path: Path) -> None:
    pq.write_table(pa.table({"text": ["a"] * 9}), tmp_path / "train.parquet")
    stage = TrainStage.model_validate({"student": "small", "batch_size": 4})
    assert foresee_steps(stage, tmp_path / "train.parquet") == 3
