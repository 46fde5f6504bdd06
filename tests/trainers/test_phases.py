import json
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from pydantic import ValidationError
from safetensors.torch import load_file

from trainers.metrics import read_metrics
from trainers.phases import train_in_phases
from trainers.settings import Student, TrainResult, TrainSettings
from trainers.train import train_student

PLAIN: dict[str, Any] = {
    "max_length": 256,
    "precision": "float32",
    "phases": [{"max_steps": 2}, {"max_steps": 3}],
}
RECIPE: dict[str, Any] = {
    "learning_rate": 2e-3,
    "batch_size": 4,
    "max_length": 128,
    "save_steps": 2,
    "precision": "float32",
    "seed": 3,
    "measure": {"rows": 2, "max_new_tokens": 4},
    "phases": [
        {"objective": "forward", "max_steps": 2},
        {"objective": "reverse", "max_steps": 3, "rollouts": {"max_new_tokens": 6}},
    ],
}
SETTINGS = TrainSettings.model_validate_json(json.dumps(RECIPE))


def teach(output: Path, dataset: Path, student: Path, teacher: Path, on_log: Any) -> TrainResult:
    return train_student(
        SETTINGS,
        dataset,
        str(student),
        output,
        teacher=str(teacher),
        on_log=on_log,
        metrics=output.with_suffix(".jsonl"),
    )


def test_phases_inherit_what_they_do_not_name() -> None:
    first, second = SETTINGS.split()
    assert (first.objective, first.max_steps, first.rollouts) == ("forward", 2, None)
    assert (second.objective, second.max_steps, second.learning_rate) == ("reverse", 3, 2e-3)
    assert second.writes_all
    assert not first.phases
    plain = TrainSettings(
        teacher="some/model",
        phases=TrainSettings.model_validate_json(
            '{"phases": [{"objective": "sft"}], "learning_rate": 1.0}'
        ).phases,
    )
    assert not plain.follows_teacher


def test_a_phase_that_does_not_hold_together_is_refused() -> None:
    with pytest.raises(ValidationError) as caught:
        TrainSettings.model_validate_json('{"phases": [{"objective": "reinforce"}]}')
    assert caught.value.errors()[0]["msg"] == (
        "Value error, phases.0: objective reinforce learns from rollouts: add them, share 1"
    )


def test_the_best_step_is_counted_through_all_phases(tmp_path: Path) -> None:
    """As its look is."""

    def train(part: TrainSettings, output: Path, metrics: Path, **_: Any) -> TrainResult:
        (output / "model").mkdir(parents=True)
        steps = part.max_steps or 0
        metrics.write_text(json.dumps({"step": steps, "evaluation": {}}) + "\n")
        result = TrainResult(
            steps=steps,
            train_loss=1.0,
            rows=1,
            skipped={},
            tokens=1,
            best_step=0 if steps == 2 else 1,
            seconds=1.0,
            output=output / "model",
        )
        (output / "model" / "result.json").write_text(result.model_dump_json())
        return result

    asked: dict[str, Any] = {"teacher": None, "on_log": None, "metrics": None}
    student = Student(model="m")
    whole = train_in_phases(train, SETTINGS, student, tmp_path / "out", **asked)
    assert (whole.steps, whole.best_step) == (5, 3)
    first = SETTINGS.model_copy(update={"phases": SETTINGS.phases[:1]})
    alone = train_in_phases(train, first, student, tmp_path / "alone", **asked)
    assert (alone.steps, alone.best_step) == (2, 0)


def test_the_second_phase_goes_on_from_the_student_of_the_first(
    dataset: Path, tiny_model_dir: Path, other_tiny_model_dir: Path, tmp_path: Path
) -> None:
    whole: list[dict[str, Any]] = []
    result = teach(tmp_path / "whole", dataset, tiny_model_dir, other_tiny_model_dir, whole.append)
    assert (result.steps, result.output) == (5, tmp_path / "whole" / "model")
    assert sorted(p.name for p in result.output.parent.iterdir()) == ["model", "training.json"]
    lines = read_metrics(tmp_path / "whole.jsonl")
    assert lines == whole
    steps = [(line["phase"], line["step"]) for line in lines if "loss" in line]
    assert steps == [(1, 1), (1, 2), (2, 3), (2, 4), (2, 5)]
    looks = [line for line in lines if "evaluation" in line]
    assert [(look["phase"], look["step"]) for look in looks] == [(1, 0), (1, 2), (2, 2), (2, 5)]
    assert looks[1]["evaluation"] == looks[2]["evaluation"]  # the same student

    def stop_at_4(line: dict[str, Any]) -> None:
        if line["step"] == 4:
            raise KeyboardInterrupt

    place = tmp_path / "broken"
    with pytest.raises(KeyboardInterrupt):
        teach(place, dataset, tiny_model_dir, other_tiny_model_dir, stop_at_4)
    mended = teach(place, dataset, tiny_model_dir, other_tiny_model_dir, None)
    one, other = (load_file(r.output / "model.safetensors") for r in (result, mended))
    assert all((one[name] == other[name]).all() for name in one)
    assert read_metrics(tmp_path / "broken.jsonl") == lines


def test_a_kill_before_all_phases_have_their_name_changes_nothing(
    dataset: Path, byte_level_dir: Path, tmp_path: Path
) -> None:
    """Not even what the last phase says of itself, which is summed up again."""
    settings = TrainSettings.model_validate_json(json.dumps(PLAIN))
    output = tmp_path / "student"
    rename = Path.rename

    def die(place: Path, target: Path) -> Path:
        if target == output / "model":
            raise KeyboardInterrupt
        return rename(place, target)

    with mock.patch.object(Path, "rename", die), pytest.raises(KeyboardInterrupt):
        train_student(settings, dataset, str(byte_level_dir), output)
    parts = [
        TrainResult.model_validate_json((output / name / "model/result.json").read_text())
        for name in ("phase-1", "phase-2")
    ]
    assert [part.steps for part in parts] == [2, 3]
    lines: list[dict[str, Any]] = []
    whole = train_student(settings, dataset, str(byte_level_dir), output, on_log=lines.append)
    assert lines == []
    assert (whole.steps, whole.output) == (5, output / "model")
    assert whole.tokens == sum(part.tokens for part in parts)
    assert whole.train_loss == pytest.approx(
        (2 * parts[0].train_loss + 3 * parts[1].train_loss) / 5
    )
    (output / "phase-2").mkdir()  # as a kill leaves it behind the last rename
    assert train_student(settings, dataset, str(byte_level_dir), output) == whole
    assert sorted(p.name for p in output.iterdir()) == ["model", "training.json"]
