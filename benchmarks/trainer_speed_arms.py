"""One arm of `trainer_speed.py`: a few steps of one trainer, in a process of its own.

Given a job as JSON, it prints what was found as JSON. All arms read the same folder: the student's
weights and the rows, in the rows' order; nothing is shuffled. TRL's trainers get the token ids that
ours makes of the rows; its on-policy trainer makes the prompts' ids itself, and they are the same.
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

from generators.embedded import BUNDLED, LoadedModel, Precision, load_model
from trainers.assembly import load_data, make_objective, make_prefixes, make_teacher
from trainers.distiller import Distiller
from trainers.rows import collate, load_rows
from trainers.settings import RolloutSettings, Student, TopSignal, TrainSettings
from trainers.signal_store import SignalStore
from trainers.student_metrics import measure_student
from trainers.students import load_student
from trainers.teachers import count_ids
from trainers.training_folder import make_arguments

NEW_TOKENS, TOP_K, MAX_LENGTH = 64, 50, 512
NEVER_SAID = "<|endoftext|>"
"""Ends a completion on-policy, of both trainers: a chat model hardly ever says it, so (nearly) all
completions have their full length."""
MIB = 1024


class Job(NamedTuple):
    """What an arm is to do."""

    arm: str
    folder: str
    rows: str
    """A file in the folder."""
    precision: Precision
    batch: int
    steps: int
    """That are timed; one more goes before them."""
    learning_rate: float
    checked: bool = False
    """Whether student and teacher are compared on held-out rows, before and after."""


class Found(NamedTuple):
    """What an arm took over the timed steps."""

    wall_s: float
    cpu_s: float
    tokens: int
    """Prompts' and completions', without padding."""
    targets: int
    """The completions' among them."""
    peak_mib: float
    """The process's largest resident set from its start on."""
    grown_mib: float
    """By how much that is above what was resident when the training began."""
    first_loss: float
    kl_before: float = 0.0
    """Forward, in nats per token of the held-out rows."""
    kl_after: float = 0.0


class Written(NamedTuple):
    """A cached signal."""

    seconds: float
    tokens: int
    bytes: int


class Watch(TrainerCallback):
    """Takes the time at each step's end, and what is resident at the beginning."""

    def __init__(self) -> None:
        self.wall: list[float] = []
        self.cpu: list[float] = []
        self.resident = 0.0
        self.losses: list[float] = []

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        lines = Path("/proc/self/status").read_text().splitlines()
        self.resident = next(int(at.split()[1]) for at in lines if at.startswith("VmRSS:")) / MIB

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.wall.append(time.perf_counter())
        self.cpu.append(time.process_time())
        control.should_log = state.global_step == 1

    def on_log(self, args: Any, state: Any, control: Any, **given: Any) -> None:
        if "loss" in given["logs"]:
            self.losses.append(float(given["logs"]["loss"]))


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


def open_student(job: Job, *, never_ends: bool = False) -> LoadedModel:
    student = load_student(Student(model=f"{job.folder}/student"))
    if never_ends:
        student.tokenizer.eos_token = NEVER_SAID
        student.model.generation_config.eos_token_id = student.tokenizer.eos_token_id
    return student


def make_settings(job: Job, **chosen: Any) -> TrainSettings:
    return TrainSettings(
        learning_rate=job.learning_rate,
        schedule="constant",
        batch_size=job.batch,
        max_steps=job.steps + 1,
        max_length=MAX_LENGTH,
        precision=job.precision,
        **chosen,
    )


def make_ours(job: Job, settings: TrainSettings) -> Trainer:
    """The trainer that `train_student` makes for these settings, with the rows in their order."""
    student = open_student(job, never_ends=settings.rollouts is not None)
    model, tokenizer = student
    data = load_data(settings, Path(job.folder, job.rows), tokenizer)
    arguments = make_arguments(settings, Path(job.folder, "unused"))
    arguments.train_sampling_strategy = "sequential"
    named = BUNDLED if settings.follows_teacher else None
    signal = Path(job.folder, "signal")
    teacher = make_teacher(settings, named, student, data.rows, signal, data.contexts)
    pad_id, unused = tokenizer.pad_token_id, Path(job.folder, "unused")
    return Distiller(
        objective=make_objective(settings),
        teacher=teacher,
        prefixes=make_prefixes(
            settings, student, teacher, pad_id=pad_id, place=(0, 1), folder=unused
        ),
        vocabulary_size=count_ids(tokenizer),
        model=model,
        args=arguments,
        train_dataset=data.rows.rows,
        data_collator=partial(collate, pad_id=pad_id),
    )


def make_options(job: Job) -> dict[str, Any]:
    """What our settings say, for TRL; what recomputes activations is switched off as with us."""
    return {
        "output_dir": f"{job.folder}/unused",
        "learning_rate": job.learning_rate,
        "lr_scheduler_type": "constant",
        "per_device_train_batch_size": job.batch,
        "max_steps": job.steps + 1,
        "bf16": job.precision == "bfloat16",
        "use_cpu": True,
        "gradient_checkpointing": job.arm.endswith("recomputing"),
        "save_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
        "dataloader_pin_memory": False,
    }


def make_token_rows(job: Job, tokenizer: Any) -> Dataset:
    """The rows as the ids that our trainer reads, in the form that TRL takes them in."""
    rows = load_rows(Path(job.folder, job.rows), tokenizer, max_length=MAX_LENGTH).rows
    return Dataset.from_list(
        [
            {
                "input_ids": ids,
                "labels": [-100] * start + ids[start:],
                "completion_mask": [0] * start + [1] * (len(ids) - start),
                "prompt": tokenizer.decode(ids[:start]),
            }
            for ids, start, _ in rows
        ]
    )


def make_trl_sft(job: Job) -> Trainer:
    from trl.trainer.sft_config import SFTConfig
    from trl.trainer.sft_trainer import SFTTrainer

    model, tokenizer = open_student(job)
    return SFTTrainer(
        model=model,
        args=SFTConfig(
            **make_options(job),
            max_length=MAX_LENGTH,
            completion_only_loss=True,
            dataset_kwargs={"skip_prepare_dataset": True},
            train_sampling_strategy="sequential",
        ),
        train_dataset=make_token_rows(job, tokenizer),
        processing_class=tokenizer,
    )


def make_trl_gkd(job: Job) -> Trainer:
    from trl.experimental.gkd import GKDConfig, GKDTrainer

    model, tokenizer = open_student(job)
    return GKDTrainer(
        model=model,
        teacher_model=load_model(BUNDLED, job.precision).model,
        args=GKDConfig(
            **make_options(job),
            max_length=MAX_LENGTH,
            lmbda=0.0,
            beta=0.0,
            train_sampling_strategy="sequential",
        ),
        train_dataset=make_token_rows(job, tokenizer),
        processing_class=tokenizer,
    )


def make_trl_distillation(job: Job) -> Trainer:
    from trl.trainer.distillation_config import DistillationConfig
    from trl.trainer.distillation_trainer import DistillationTrainer

    model, tokenizer = open_student(job, never_ends=True)
    rows = Dataset.from_parquet(f"{job.folder}/{job.rows}", cache_dir=f"{job.folder}/cache")
    assert isinstance(rows, Dataset)
    return DistillationTrainer(
        model=model,
        teacher_model=load_model(BUNDLED, job.precision).model,
        args=DistillationConfig(
            **make_options(job),
            beta=1.0,
            max_completion_length=NEW_TOKENS,
            shuffle_dataset=False,
        ),
        train_dataset=rows.select_columns(["prompt"]),
        processing_class=tokenizer,
    )


def make_trainer(job: Job) -> Trainer:
    """What the arm's name says."""
    match job.arm.removesuffix(", recomputing"):
        case "tutelage sft":
            return make_ours(job, make_settings(job))
        case "tutelage forward":
            return make_ours(job, make_settings(job, objective="forward"))
        case "tutelage forward, cached":
            signal = TopSignal(kind="cached", top_k=TOP_K)
            return make_ours(job, make_settings(job, objective="forward", signal=signal))
        case "tutelage reverse":
            rollouts = RolloutSettings(max_new_tokens=NEW_TOKENS)
            return make_ours(job, make_settings(job, objective="reverse", rollouts=rollouts))
        case "TRL SFT":
            return make_trl_sft(job)
        case "TRL GKD":
            return make_trl_gkd(job)
        case "TRL Distillation":
            return make_trl_distillation(job)
        case name:
            raise ValueError(f"no arm {name!r}")


def measure_kl(job: Job, student: Any) -> float:
    """Forward KL on the held-out rows."""
    teacher, tokenizer = load_model(BUNDLED, job.precision)
    rows = load_rows(Path(job.folder, "held.parquet"), tokenizer, max_length=MAX_LENGTH).rows
    size = count_ids(tokenizer)
    return measure_student(student, teacher, rows, vocabulary_size=size).forward_kl


def run(job: Job) -> Found:
    """Train, and tell what it took."""
    trainer = make_trainer(job)
    before = measure_kl(job, open_student(job).model) if job.checked else 0.0
    watch, counter = Watch(), Counter(trainer)
    trainer.add_callback(watch)
    trainer.train()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / MIB
    timed = counter.counts[1:]
    return Found(
        wall_s=watch.wall[-1] - watch.wall[0],
        cpu_s=watch.cpu[-1] - watch.cpu[0],
        tokens=sum(tokens for tokens, _ in timed),
        targets=sum(targets for _, targets in timed),
        peak_mib=peak,
        grown_mib=peak - watch.resident,
        first_loss=watch.losses[0],
        kl_before=before,
        kl_after=measure_kl(job, trainer.model) if job.checked else 0.0,
    )


def write(job: Job) -> Written:
    """Have the teacher's signal for the rows lie in the folder, and tell what it took."""
    began = time.perf_counter()
    make_trainer(job)
    seconds = time.perf_counter() - began
    size = SignalStore(Path(job.folder, "signal")).measure()
    return Written(seconds, size.tokens, size.bytes)


if __name__ == "__main__":
    disable_progress_bar()
    job = Job(**json.loads(sys.argv[1]))
    found = write(job) if job.steps == 0 else run(job)
    print(json.dumps(found._asdict()))
