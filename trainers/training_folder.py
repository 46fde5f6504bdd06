"""A training's folder, which survives a kill at any moment, and the pace that all trainings keep.

OUTPUT/training.json     what is trained on what; other settings do not go on from it
OUTPUT/checkpoints/      complete ones only (`trainers.checkpoints`); gone when it is done
OUTPUT/model/            the finished model, put there by one rename, with its result.json
"""

import hashlib
import json
import math
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from pydantic_core import to_jsonable_python
from transformers import TrainerCallback, TrainingArguments

from generators.errors import RunError
from generators.records import Record
from trainers.checkpoints import commit_checkpoint, flush, publish_folder
from trainers.classifier_settings import ClassifierSettings
from trainers.metrics import append_metrics
from trainers.precision import find_precision
from trainers.processes import wait_for_all
from trainers.rows import find_parquet_files
from trainers.settings import Student, TrainSettings

OnLog = Callable[[dict[str, Any]], None]
"""Told every step's figures; an exception from it ends the training."""


class TrainingPace(TrainerCallback):
    """Logs every step, saves every `save_steps`, and stops at the last."""

    def __init__(self, save_steps: int, on_log: OnLog | None, metrics: Path | None) -> None:
        self.save_steps = save_steps
        self.report = on_log
        self.metrics = metrics

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        control.should_log = True
        over = control.should_training_stop or state.global_step >= state.max_steps
        control.should_training_stop = over
        # Ended early, it would go on from a checkpoint of its last step.
        control.should_save = state.global_step % self.save_steps == 0 and not over

    def on_log(self, args: Any, state: Any, control: Any, **given: Any) -> None:
        logs = given["logs"]
        if "loss" not in logs:
            return
        check_finite(logs, state.global_step, Path(args.output_dir).parent)
        if state.is_world_process_zero:
            self.tell({"step": state.global_step, **logs})

    def tell(self, line: dict[str, Any]) -> None:
        """Give a line to whoever listens, and keep it."""
        if self.metrics is not None:
            append_metrics(self.metrics, line)
        if self.report is not None:
            self.report(line)

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        wait_for_all()  # each process has files of its own in a checkpoint
        if state.is_world_process_zero:
            commit_checkpoint(Path(args.output_dir) / f"checkpoint-{state.global_step}")


def check_finite(logs: Mapping[str, float], step: int, output: Path) -> None:
    """Raise RunError where a step's loss or its gradient is no finite number: the weights are
    lost, and nothing of them is to be kept."""
    for name in ("loss", "grad_norm"):
        if not math.isfinite(logs.get(name, 0.0)):
            raise RunError(
                f"{output}: {name} is not finite at step {step} ({logs[name]}); the training has"
                " ended.\n"
                "Lower learning_rate, or look at the rows' weights, and give another output folder"
                " or delete this one."
            )


def make_arguments(
    settings: TrainSettings | ClassifierSettings, checkpoints: Path
) -> TrainingArguments:
    """transformers' arguments for these settings; `TrainingPace` says when to log and to save."""
    schedules = {"constant": "constant_with_warmup"}
    bf16 = find_precision(settings.precision) == "bfloat16"
    sharded = isinstance(settings, TrainSettings) and settings.sharded
    arguments = TrainingArguments(
        output_dir=str(checkpoints),
        learning_rate=settings.learning_rate,
        lr_scheduler_type=schedules.get(settings.schedule, settings.schedule),
        warmup_steps=settings.warmup,
        weight_decay=settings.weight_decay,
        max_grad_norm=settings.max_grad_norm or 0.0,
        per_device_train_batch_size=settings.batch_size,
        gradient_accumulation_steps=settings.accumulation,
        num_train_epochs=settings.epochs,
        max_steps=settings.max_steps or -1,
        seed=settings.seed,
        bf16=bf16,
        use_cpu=not torch.cuda.is_available(),
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        remove_unused_columns=False,
        logging_nan_inf_filter=False,
        dataloader_pin_memory=torch.cuda.is_available(),
        fsdp=sharded,  # type: ignore[arg-type]  # a bool by its documentation
        fsdp_config={"version": 2, "state_dict_type": "FULL_STATE_DICT"} if sharded else None,
        ddp_find_unused_parameters=False,  # every step has a gradient of all that is trained
    )
    arguments._n_gpu = min(arguments.n_gpu, 1)  # more GPUs take a process each, never DataParallel
    return arguments


def hash_dataset_files(dataset: Path) -> str:
    """SHA-256 of a Parquet file, or of all those of a folder."""
    hashed = hashlib.sha256()
    for file in find_parquet_files(dataset):
        hashed.update(file.read_bytes())
    return hashed.hexdigest()


def read_step(checkpoint: Path | None) -> int:
    """The step after which a checkpoint was written; 0 without one."""
    return int(checkpoint.name.rpartition("-")[2]) if checkpoint else 0


def write_description(output: Path, description: Mapping[str, Any]) -> None:
    """Put down, durably, everything that decides the losses."""
    output.mkdir(parents=True, exist_ok=True)
    scratch = output / "training.json.partial"
    scratch.write_text(json.dumps(description, indent=2))
    flush(scratch)
    scratch.rename(output / "training.json")


def check_unchanged(
    output: Path, description: Mapping[str, Any], settings: Record, student: Student
) -> None:
    """Raise RunError, naming the changes, where the folder holds a training of other settings, of
    which `description` is made.

    A setting that did not exist yet when the folder was made counts as its default. Of what is no
    setting, such as a hash of weights, nothing is told where it was not put down.
    """
    earlier = json.loads((output / "training.json").read_text())
    earlier = add_defaults(earlier, description, settings)
    earlier["student"] = add_defaults(earlier["student"], description["student"], student)
    known = {k for k in description if k in earlier or k in type(settings).model_fields}
    changed = sorted(k for k in {*known, *earlier} if description.get(k) != earlier.get(k))
    if changed:
        differences = "; ".join(f"{k} {earlier.get(k)} → {description.get(k)}" for k in changed)
        raise RunError(
            f"{output}: holds a training of other settings ({differences}).\n"
            "Go back to those settings, give another output folder, or delete this one."
        )


def add_defaults(earlier: Any, now: Any, record: Any) -> Any:
    """What was put down of settings, with the defaults of those that only `now` has: both were
    dumped of records like this one."""
    if isinstance(record, tuple) and isinstance(earlier, list) and len(earlier) == len(record):
        return [add_defaults(*each) for each in zip(earlier, now, record, strict=True)]
    if not (isinstance(record, Record) and isinstance(earlier, dict) and isinstance(now, dict)):
        return earlier
    missing = {
        name: to_jsonable_python(field.get_default(call_default_factory=True))
        for name, field in type(record).model_fields.items()
        if name in now and name not in earlier and not field.is_required()
    }
    return missing | {
        name: add_defaults(value, now.get(name), getattr(record, name, None))
        for name, value in earlier.items()
    }


def publish_model(
    model: Any,
    tokenizer: Any,
    result: Record,
    output: Path,
    weights: Mapping[str, Any] | None = None,
) -> None:
    """Save the finished model under its final name, and let the checkpoints go. `weights` are
    given where no process holds all of them by itself. Raises RunError where one is no finite
    number."""
    for name, weight in (weights or model.state_dict()).items():
        if weight.is_floating_point() and not weight.isfinite().all():
            raise RunError(
                f"{output}: {name} of the trained model is not finite, so it is not published.\n"
                "Lower learning_rate, and give another output folder or delete this one."
            )
    scratch = output / "model.partial"
    shutil.rmtree(scratch, ignore_errors=True)
    model.config.use_cache = True  # the Trainer turned it off
    model.save_pretrained(scratch, state_dict=weights)
    tokenizer.save_pretrained(scratch)
    (scratch / "result.json").write_text(result.model_dump_json(indent=2))
    publish_folder(scratch, output / "model")
    shutil.rmtree(output / "checkpoints", ignore_errors=True)
