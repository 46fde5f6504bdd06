"""One arm of `trainer_speed.py`: a few steps of one trainer, in a process of its own.

Given a job as JSON, it prints what was found as JSON. All arms read the same folder: the student's
weights and the rows, in this order; nothing is shuffled. TRL's trainers get the token ids that
ours makes of the rows, and on-policy the prompts' messages, of which they make the same ids.
"""

import json
import resource
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from datasets import Dataset
from transformers import Trainer, TrainerCallback
from transformers.utils.logging import disable_progress_bar

from generators.embedded import BUNDLED, LoadedModel, load_model
from trainers.assembly import load_data, make_objective, make_prefixes, make_teacher
from trainers.distiller import Distiller
from trainers.rows import collate, load_rows
from trainers.settings import RolloutSettings, Student, TopSignal, TrainSettings
from trainers.student_metrics import measure_student
from trainers.students import load_student
from trainers.teachers import count_ids
from trainers.training_folder import make_arguments

NEW_TOKENS = 64
MAX_LENGTH = 512
LEARNING_RATE = 1e-4
NEVER_SAID = "<|endoftext|>"
"""Ends a completion on-policy, for both, so that all completions have their full length."""
MIB = 1024
TOP_K = 50


class Job(NamedTuple):
    arm: str
    folder: str
    precision: Any
    batch: int
    accumulation: int
    steps: int
    """That are timed; one more goes before them."""
    checked: bool = False
    """Whether the student is compared with the teacher on held-out rows afterwards."""


class Found(NamedTuple):
    """What an arm took, over the timed steps."""

    wall_s: float
    cpu_s: float
    tokens: int
    """Prompts' and completions', without padding."""
    targets: int
    """The completions' among them."""
    peak_mib: float
    """The process's largest resident set, over its whole life."""
    grown_mib: float
    """By how much that is above what was resident when the training began."""
    loss: float
    """Of the step before the timed ones."""
    signal_s: float = 0.0
    """Spent on writing a cached signal before the training."""
    forward_kl: float = 0.0
    bytes_per_token: float = 0.0


class Watch(TrainerCallback):
    """Takes the time at each step's end, and what is resident at the beginning."""

    def __init__(self) -> None:
        self.wall: list[float] = []
        self.cpu: list[float] = []
        self.resident = 0.0
        self.loss = 0.0

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        lines = Path("/proc/self/status").read_text().splitlines()
        self.resident = next(int(at.split()[1]) for at in lines if at.startswith("VmRSS:")) / MIB

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.wall.append(time.perf_counter())
        self.cpu.append(time.process_time())
        control.should_log = state.global_step == 1

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
        self.loss = self.loss or logs.get("loss", 0.0)


class Counter:
    """Counts the tokens that a trainer's `compute_loss` is given, batch by batch."""

    def __init__(self, trainer: Trainer) -> None:
        self.counts: list[tuple[int, int]] = []
        self._compute: Callable[..., Any] = trainer.compute_loss
        trainer.compute_loss = self

    def __call__(self, model: Any, inputs: Any, *others: Any, **options: Any) -> Any:
        if "labels" in inputs:
            targets = int((inputs["labels"] != -100).sum())
            tokens = int(inputs["attention_mask"].sum())
        else:
            targets = int(inputs["completion_mask"].sum())
            tokens = int(inputs["prompt_mask"].sum()) + targets
        self.counts.append((tokens, targets))
        return self._compute(model, inputs, *others, **options)


def make_ours(job: Job, settings: TrainSettings) -> Trainer:
    """The trainer that `train_student` makes for these settings, with the rows in their order."""
    folder = Path(job.folder)
    student = open_student(folder, never_ends=settings.rollouts is not None)
    data = load_data(settings, folder / "rows.parquet", student.tokenizer)
    arguments = make_arguments(settings, folder / "unused")
    arguments.train_sampling_strategy = "sequential"
    named = BUNDLED if settings.follows_teacher else None
    teacher = make_teacher(
        settings, named, student, data.rows, folder / f"signal-{job.precision}", data.contexts
    )
    pad_id = student.tokenizer.pad_token_id
    return Distiller(
        objective=make_objective(settings),
        teacher=teacher,
        prefixes=make_prefixes(settings, student, teacher, pad_id=pad_id, place=(0, 1)),
        vocabulary_size=count_ids(student.tokenizer),
        model=student.model,
        args=arguments,
        train_dataset=data.rows.rows,
        data_collator=partial(collate, pad_id=pad_id),
    )


def open_student(folder: Path, *, never_ends: bool = False) -> LoadedModel:
    student = load_student(Student(model=str(folder / "student")))
    if never_ends:
        student.tokenizer.eos_token = NEVER_SAID
        student.model.generation_config.eos_token_id = student.tokenizer.eos_token_id
    return student


def make_settings(job: Job, **chosen: Any) -> TrainSettings:
    return TrainSettings(
        learning_rate=LEARNING_RATE,
        schedule="constant",
        batch_size=job.batch,
        accumulation=job.accumulation,
        max_steps=job.steps + 1,
        max_length=MAX_LENGTH,
        precision=job.precision,
        **chosen,
    )


def make_trl_options(job: Job) -> dict[str, Any]:
    """What our settings say, in transformers' words."""
    return {
        "output_dir": f"{job.folder}/unused",
        "learning_rate": LEARNING_RATE,
        "lr_scheduler_type": "constant",
        "per_device_train_batch_size": job.batch,
        "gradient_accumulation_steps": job.accumulation,
        "max_steps": job.steps + 1,
        "bf16": job.precision == "bfloat16",
        "use_cpu": True,
        "gradient_checkpointing": False,
        "save_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
        "dataloader_pin_memory": False,
    }


def make_token_rows(folder: Path, tokenizer: Any) -> Dataset:
    """The rows as the ids that our trainer reads, in the form that TRL takes them in."""
    rows = load_rows(folder / "rows.parquet", tokenizer, max_length=MAX_LENGTH).rows
    return Dataset.from_list(
        [
            {
                "input_ids": row.input_ids,
                "completion_mask": [int(i >= row.prompt_length) for i in range(len(row[0]))],
                "labels": [-100] * row.prompt_length + row.input_ids[row.prompt_length :],
                "prompt": tokenizer.decode(row.input_ids[: row.prompt_length]),
            }
            for row in rows
        ]
    )


def make_trl_sft(job: Job) -> Trainer:
    from trl.trainer.sft_config import SFTConfig
    from trl.trainer.sft_trainer import SFTTrainer

    model, tokenizer = open_student(Path(job.folder))
    return SFTTrainer(
        model=model,
        args=SFTConfig(
            **make_trl_options(job),
            max_length=MAX_LENGTH,
            completion_only_loss=True,
            dataset_kwargs={"skip_prepare_dataset": True},
            train_sampling_strategy="sequential",
        ),
        train_dataset=make_token_rows(Path(job.folder), tokenizer),
        processing_class=tokenizer,
    )


def make_trl_gkd(job: Job) -> Trainer:
    from trl.experimental.gkd import GKDConfig, GKDTrainer

    model, tokenizer = open_student(Path(job.folder))
    return GKDTrainer(
        model=model,
        teacher_model=load_model(BUNDLED, job.precision).model,
        args=GKDConfig(
            **make_trl_options(job),
            max_length=MAX_LENGTH,
            lmbda=0.0,
            beta=0.0,
            train_sampling_strategy="sequential",
        ),
        train_dataset=make_token_rows(Path(job.folder), tokenizer),
        processing_class=tokenizer,
    )


def make_trl_distillation(job: Job) -> Trainer:
    from trl.trainer.distillation_config import DistillationConfig
    from trl.trainer.distillation_trainer import DistillationTrainer

    model, tokenizer = open_student(Path(job.folder), never_ends=True)
    rows = Dataset.from_parquet(f"{job.folder}/rows.parquet", cache_dir=f"{job.folder}/cache")
    return DistillationTrainer(
        model=model,
        teacher_model=load_model(BUNDLED, job.precision).model,
        args=DistillationConfig(
            **make_trl_options(job),
            beta=1.0,
            max_completion_length=NEW_TOKENS,
            shuffle_dataset=False,
        ),
        train_dataset=rows.select_columns(["prompt"]),
        processing_class=tokenizer,
    )


def make_trainer(job: Job) -> Trainer:
    match job.arm:
        case "ours sft":
            return make_ours(job, make_settings(job))
        case "ours forward":
            return make_ours(job, make_settings(job, objective="forward"))
        case "ours cached":
            signal = TopSignal(kind="cached", top_k=TOP_K)
            return make_ours(job, make_settings(job, objective="forward", signal=signal))
        case "ours reverse":
            rollouts = RolloutSettings(max_new_tokens=NEW_TOKENS)
            return make_ours(job, make_settings(job, objective="reverse", rollouts=rollouts))
        case "trl sft":
            return make_trl_sft(job)
        case "trl gkd":
            return make_trl_gkd(job)
        case _:
            return make_trl_distillation(job)


def run(job: Job) -> Found:
    """Train, and tell what it took."""
    disable_progress_bar()
    began = time.perf_counter()
    trainer = make_trainer(job)
    made_s = time.perf_counter() - began
    watch, counter = Watch(), Counter(trainer)
    trainer.add_callback(watch)
    trainer.train()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / MIB
    counts = counter.counts[job.accumulation :]
    return Found(
        wall_s=watch.wall[-1] - watch.wall[0],
        cpu_s=watch.cpu[-1] - watch.cpu[0],
        tokens=sum(tokens for tokens, _ in counts),
        targets=sum(targets for _, targets in counts),
        peak_mib=peak,
        grown_mib=peak - watch.resident,
        loss=watch.loss,
        signal_s=made_s,
    )


if __name__ == "__main__":
    print(json.dumps(run(Job(**json.loads(sys.argv[1])))._asdict()))
