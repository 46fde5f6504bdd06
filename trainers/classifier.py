"""Train a classifier on soft labels, hard labels or another classifier's distribution.

    loss = Σ_rows w_row · loss_row  /  N

where `trainers.label_losses` gives a row's loss and N counts the rows of the whole accumulation
window, on all processes: a window cut into other batches gives the same gradients. There is no
label smoothing: the annotators' own doubts are in the soft labels.

The teacher of `hinton` reads every text once, before the first step; its tokenizer may be another,
its labels must be the same. Teacher's probabilities that are in the data already are soft labels.
"""

import functools
import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import DefaultFlowCallback, PrinterCallback, Trainer
from transformers.utils.logging import disable_progress_bar

from generators.embedded import identify_model
from trainers.checkpoints import find_checkpoint
from trainers.classifier_model import (
    list_labels,
    load_class_student,
    load_trained_classifier,
    predict_logits,
)
from trainers.classifier_rows import (
    ClassRow,
    ClassRows,
    collate_classes,
    encode_row,
    encode_rows,
)
from trainers.classifier_settings import ClassifierResult, ClassifierSettings
from trainers.label_losses import hard_loss, hinton_loss, soft_loss
from trainers.label_rows import LabelRow, LabelRows, check_labels, read_label_rows
from trainers.metrics import forget_steps_after
from trainers.settings import Student
from trainers.training_folder import (
    OnLog,
    TrainingPace,
    check_unchanged,
    hash_dataset_files,
    make_arguments,
    publish_model,
    read_step,
    write_description,
)


class ClassTrainer(Trainer):
    """Trains `model` on batches of `trainers.classifier_rows.collate_classes`."""

    def __init__(self, *, settings: ClassifierSettings, **trainer: Any) -> None:
        """`trainer` is handed on."""
        super().__init__(**trainer)
        self.settings = settings
        self.model_accepts_loss_kwargs = True  # `compute_loss` divides by the window's rows
        self._window_rows = 0

    def compute_loss(
        self,
        model: Any,
        inputs: dict[str, Tensor],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Any:
        output = model(input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"])
        logits_NC = output.logits.float()
        weighted = (self._compute_row_losses(logits_NC, inputs) * inputs["weights"]).sum()
        # the Trainer counts the entries of `labels`, which are a distribution a row
        count = inputs["labels"].numel() if num_items_in_batch is None else num_items_in_batch
        rows = count / logits_NC.shape[-1]
        self._window_rows = round(float(rows))
        # every process divides by the rows of all, and their gradients are averaged afterwards
        loss = weighted / rows * self.accelerator.num_processes
        return (loss, {"logits": logits_NC}) if return_outputs else loss

    def _compute_row_losses(self, logits_NC: Tensor, inputs: dict[str, Tensor]) -> Tensor:
        match self.settings.objective:
            case "soft":
                return soft_loss(logits_NC, inputs["labels"])
            case "hard":
                return hard_loss(logits_NC, inputs["class_ids"])
            case "hinton":
                return hinton_loss(
                    logits_NC,
                    inputs["teacher_logits"],
                    inputs["class_ids"],
                    temperature=self.settings.temperature,
                    alpha=self.settings.alpha,
                )

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Adds the rows of the step's window."""
        if "loss" in logs:
            logs["rows"] = self._window_rows
        super().log(logs, start_time)


def train_classifier(
    settings: ClassifierSettings,
    dataset: Path,
    student: Student,
    output: Path,
    *,
    on_log: OnLog | None = None,
    metrics: Path | None = None,
) -> ClassifierResult:
    """Train a classifier on `dataset`, going on where an earlier call was cut short.

    `on_log` and `metrics` are as for `trainers.train.train_student`, and so is the folder `output`.
    Raises ConfigError, InputError or ModelError for what cannot be used, and RunError where
    `output` holds a training of other settings.
    """
    started = time.monotonic()
    description = _describe(settings, dataset, student)
    checkpoint, finished = find_checkpoint(output / "checkpoints"), output / "model"
    if checkpoint or finished.is_dir():
        check_unchanged(output, description, settings, student)
    if finished.is_dir():
        shutil.rmtree(output / "checkpoints", ignore_errors=True)
        result = ClassifierResult.model_validate_json((finished / "result.json").read_text())
        return result.model_copy(update={"output": finished})
    disable_progress_bar()  # `on_log` is how progress is told
    read = read_label_rows([dataset])
    model, tokenizer = load_class_student(student, read.labels)
    data = encode_training_rows(settings, read, tokenizer)
    trainer = _make_trainer(settings, model, tokenizer, data.rows, output)
    trainer.add_callback(TrainingPace(settings.save_steps, on_log, metrics))
    if metrics is not None:
        forget_steps_after(metrics, read_step(checkpoint))
    write_description(output, description)
    trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    steps = [entry for entry in trainer.state.log_history if "loss" in entry]
    result = ClassifierResult(
        steps=trainer.state.global_step,
        train_loss=sum(entry["loss"] for entry in steps) / len(steps),
        labels=read.labels,
        rows=len(data.rows),
        skipped=dict(sorted((read.skipped | data.skipped).items())),
        seconds=time.monotonic() - started,
        output=finished,
    )
    if trainer.is_world_process_zero():
        publish_model(model, tokenizer, result, output)
    return result


def encode_training_rows(
    settings: ClassifierSettings, read: LabelRows, tokenizer: Any
) -> ClassRows:
    """The rows as tokens, with the teacher's logits where the objective follows one."""
    wants_label = settings.objective == "hard" or (
        settings.objective == "hinton" and settings.alpha < 1
    )
    data = encode_rows(
        read,
        tokenizer,
        read.labels,
        max_length=settings.max_length,
        wants_label=wants_label,
    )
    if settings.teacher is None:
        return data
    logits_NC = read_teacher_logits(settings.teacher, data.sources, read.labels).tolist()
    taught = [
        row._replace(teacher_logits=logits)
        for row, logits in zip(data.rows, logits_NC, strict=True)
    ]
    return data._replace(rows=taught)


def read_teacher_logits(teacher: str, rows: Sequence[LabelRow], labels: Sequence[str]) -> Tensor:
    """A trained classifier's logits [N, C] of these rows, in the order of `labels`. Raises
    InputError where its labels are others."""
    model, tokenizer = load_trained_classifier(teacher)
    names = list_labels(model)
    check_labels(names, labels)
    if torch.cuda.is_available():
        model.to("cuda")
    logits_NC = predict_logits(model, tokenizer, [encode_row(r, tokenizer, names) for r in rows])
    return logits_NC[:, [names.index(label) for label in labels]]


def _make_trainer(
    settings: ClassifierSettings,
    model: Any,
    tokenizer: Any,
    rows: Sequence[ClassRow],
    output: Path,
) -> ClassTrainer:
    arguments = make_arguments(settings, output / "checkpoints")
    trainer = ClassTrainer(
        settings=settings,
        model=model.to(arguments.device),
        args=arguments,
        train_dataset=rows,
        data_collator=functools.partial(collate_classes, pad_id=tokenizer.pad_token_id),
    )
    for unwanted in (DefaultFlowCallback, PrinterCallback):  # `TrainingPace` paces and reports
        trainer.remove_callback(unwanted)
    return trainer


def _describe(settings: ClassifierSettings, dataset: Path, student: Student) -> dict[str, Any]:
    """Everything that decides the losses."""
    teacher = settings.teacher
    return {
        **settings.model_dump(mode="json", exclude={"save_steps"}),
        "teacher": None if teacher is None else identify_model(teacher),
        "student": student.model_dump(mode="json"),
        "dataset": hash_dataset_files(dataset),
    }
