"""What the settings become for the Trainer, and what a folder holds to be the same training."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from transformers import TrainerControl, TrainerState

from generators.errors import RunError
from trainers.classifier_settings import ClassifierSettings
from trainers.settings import Student, TrainResult, TrainSettings
from trainers.training_folder import (
    TrainingPace,
    check_finite,
    check_unchanged,
    make_arguments,
    publish_model,
    write_description,
)

WAY: dict[str, Any] = {
    "objective": "reverse",
    "rollouts": {"max_new_tokens": 6, "buffer": 8, "reuse": 0.5},
    "signal": {"kind": "context", "examples": "e.jsonl", "refresh": {"mode": "copy", "every": 2}},
    "measure": {"rows": 4},
}
PHASES: dict[str, Any] = {
    "phases": [
        {"objective": "forward", "max_steps": 2},
        {"objective": "reverse", "rollouts": {"max_new_tokens": 6}, "max_steps": 3},
    ]
}


@pytest.mark.parametrize("kind", [TrainSettings, ClassifierSettings])
def test_the_trainer_is_told_what_the_settings_say(kind: Any, tmp_path: Path) -> None:
    told = {
        "learning_rate": 3e-4,
        "weight_decay": 0.2,
        "max_grad_norm": 0.7,
        "seed": 5,
        "max_steps": 9,
    }
    own = {"schedule": "cosine", "warmup": 0.25, "batch_size": 3, "accumulation": 2, "epochs": 1.5}
    arguments = make_arguments(kind(**told, **own, precision="bfloat16"), tmp_path)
    assert {name: getattr(arguments, name) for name in told} == told
    assert (arguments.lr_scheduler_type, arguments.warmup_steps) == ("cosine", 0.25)
    assert arguments.per_device_train_batch_size == 3
    assert arguments.gradient_accumulation_steps == 2
    assert (arguments.num_train_epochs, arguments.bf16) == (1.5, True)
    plain = make_arguments(
        kind(schedule="constant", max_grad_norm=None, precision="float32"), tmp_path
    )
    assert plain.lr_scheduler_type == "constant_with_warmup"
    assert (plain.max_grad_norm, plain.max_steps, plain.bf16) == (0.0, -1, False)
    assert make_arguments(kind(), tmp_path).max_grad_norm == 1.0


def describe(settings: TrainSettings, **more: Any) -> dict[str, Any]:
    return {
        **settings.model_dump(mode="json", exclude={"teacher", "save_steps"}),
        "teacher": "some/model",
        "student": Student(model="m").model_dump(mode="json"),
        "dataset": "abc",
        **more,
    }


def check(folder: Path, earlier: dict[str, Any], settings: TrainSettings, **more: Any) -> None:
    write_description(folder, earlier)
    check_unchanged(folder, describe(settings, **more), settings, Student(model="m"))


def drop(described: dict[str, Any], *places: str) -> dict[str, Any]:
    """As an earlier version wrote it, which had not these settings."""
    copied = json.loads(json.dumps(described))
    for place in places:
        *above, name = place.split(".")
        part = copied
        for step in above:
            part = part[int(step) if step.isdigit() else step]
        del part[name]
    return copied


NEW = ("max_grad_norm", "policy", "lora", "mixing", "student.reuse_embeddings")


@pytest.mark.parametrize(
    ("way", "new"),
    [
        pytest.param(
            WAY,
            (*NEW, "rollouts.serve", "rollouts.top_p", "signal.put", "measure.patience"),
            id="parts",
        ),
        pytest.param(PHASES, (*NEW, "phases.0.corpus", "phases.1.rollouts.serve"), id="phases"),
    ],
)
def test_a_setting_that_did_not_exist_yet_counts_as_its_default(
    way: dict[str, Any], new: tuple[str, ...], tmp_path: Path
) -> None:
    settings = TrainSettings.model_validate_json(json.dumps(way))
    earlier = drop(describe(settings), *new)
    check(tmp_path, earlier, settings, teacher_weights="a", student_weights="b", examples="c")
    changed = settings.model_copy(update={"max_grad_norm": 0.5})
    with pytest.raises(RunError) as caught:
        check(tmp_path, earlier, changed)
    assert str(caught.value) == (
        f"{tmp_path}: holds a training of other settings (max_grad_norm 1.0 → 0.5).\n"
        "Go back to those settings, give another output folder, or delete this one."
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"rollouts": WAY["rollouts"] | {"top_p": 0.5}},
            "rollouts {'top_p': 1.0, 'share': 1.0, 'max_new_tokens': 6, 'temperature': 1.0, "
            "'teacher_mix': 0.0, 'buffer': 8, 'max_age': None, 'reuse': 0.5, 'serve': None} → "
            "{'share': 1.0, 'max_new_tokens': 6, 'temperature': 1.0, 'top_p': 0.5, 'teacher_mix': "
            "0.0, 'buffer': 8, 'max_age': None, 'reuse': 0.5, 'serve': None}",
        ),
        (
            {"signal": WAY["signal"] | {"put": "raw"}},
            "signal {'put': 'turns', 'kind': 'context', 'examples': 'e.jsonl', 'refresh': "
            "{'mode': 'copy', 'every': 2, 'decay': None}} → {'kind': 'context', 'examples': "
            "'e.jsonl', 'put': 'raw', 'refresh': {'mode': 'copy', 'every': 2, 'decay': None}}",
        ),
        (
            {"measure": {"rows": 4, "every": 1, "patience": 3}},
            "measure {'patience': None, 'rows': 4, 'every': None, 'max_new_tokens': 64, 'k': 1, "
            "'metric': 'nll', 'keep_best': False} → {'rows': 4, 'every': 1, 'max_new_tokens': 64, "
            "'k': 1, 'metric': 'nll', 'keep_best': False, 'patience': 3}",
        ),
        (
            {"measure": None},
            "measure {'rows': 4, 'every': None, 'max_new_tokens': 64, 'k': 1, 'metric': 'nll', "
            "'keep_best': False} → None",
        ),
        (
            {"temperature": 2.0},
            "temperature 1.0 → 2.0",
        ),
    ],
    ids=["rollouts", "signal", "measure", "no measure", "temperature"],
)
def test_a_setting_that_is_not_its_default_now_is_a_change(
    change: dict[str, Any], message: str, tmp_path: Path
) -> None:
    settings = TrainSettings.model_validate_json(json.dumps(WAY))
    new = ("rollouts.top_p", "signal.put", "measure.patience", "temperature")
    earlier = drop(describe(settings), *new)
    changed = TrainSettings.model_validate_json(json.dumps(WAY | change))
    with pytest.raises(RunError) as caught:
        check(tmp_path, earlier, changed)
    assert str(caught.value) == (
        f"{tmp_path}: holds a training of other settings ({message}).\n"
        "Go back to those settings, give another output folder, or delete this one."
    )


def test_other_contents_are_a_change_where_they_were_put_down(tmp_path: Path) -> None:
    settings = TrainSettings()
    earlier = describe(settings, teacher_weights="a", corpus_texts="t")
    check(tmp_path, earlier, settings, teacher_weights="a", corpus_texts="t")
    with pytest.raises(RunError) as caught:
        check(tmp_path, earlier, settings, teacher_weights="b", corpus_texts="t")
    assert str(caught.value) == (
        f"{tmp_path}: holds a training of other settings (teacher_weights a → b).\n"
        "Go back to those settings, give another output folder, or delete this one."
    )
    with pytest.raises(RunError) as caught:
        check(tmp_path, earlier, settings, teacher_weights="a")
    assert str(caught.value) == (
        f"{tmp_path}: holds a training of other settings (corpus_texts t → None).\n"
        "Go back to those settings, give another output folder, or delete this one."
    )


@pytest.mark.parametrize("name", ["loss", "grad_norm"])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_a_step_that_is_no_number_ends_a_training(name: str, value: float) -> None:
    check_finite({"loss": 2.0, "grad_norm": 1.0}, 3, Path("out"))
    with pytest.raises(RunError) as caught:
        check_finite({"loss": 2.0, "grad_norm": 1.0, name: value}, 3, Path("out"))
    assert str(caught.value) == (
        f"out: {name} is not finite at step 3 ({value}); the training has ended.\n"
        "Lower learning_rate, or look at the rows' weights, and give another output folder or"
        " delete this one."
    )


def test_nothing_is_saved_of_the_step_that_ends_a_training() -> None:
    pace = TrainingPace(2, None, None)
    saved = []
    for step, stopped in ((1, False), (2, False), (4, True), (6, False)):
        control = TrainerControl(should_training_stop=stopped)
        pace.on_step_end(None, TrainerState(global_step=step, max_steps=6), control)
        saved.append((control.should_save, control.should_training_stop))
    assert saved == [(False, False), (True, False), (False, True), (False, True)]


def test_weights_that_are_no_numbers_are_not_published(tmp_path: Path) -> None:
    model = nn.Linear(2, 2)
    with torch.no_grad():
        model.weight[1, 0] = torch.nan
    result = TrainResult(
        steps=1, train_loss=1.0, rows=1, skipped={}, tokens=1, seconds=0.0, output=tmp_path
    )
    with pytest.raises(RunError) as caught:
        publish_model(model, None, result, tmp_path)
    assert str(caught.value) == (
        f"{tmp_path}: weight of the trained model is not finite, so it is not published.\n"
        "Lower learning_rate, and give another output folder or delete this one."
    )
    assert list(tmp_path.iterdir()) == []
