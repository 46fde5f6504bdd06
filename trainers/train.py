"""Train a student on a published dataset, in a folder that survives a kill at any moment.

The folder is that of `trainers.training_folder`; a teacher's signal that is written to disk first
lies beside it, unless another place is given. Calling `train_student` again goes on from the last
checkpoint, with the same losses as a run that was never interrupted, or returns the result at once
when the student is finished.
"""

import functools
import shutil
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from transformers import DefaultFlowCallback, PrinterCallback, TrainerCallback
from transformers.utils.logging import disable_progress_bar

from generators.embedded import LoadedModel, identify_model
from generators.errors import ConfigError
from trainers.adapters import add_adapters, merge_adapters
from trainers.assembly import (
    Data,
    MakeScorer,
    load_data,
    make_corpus,
    make_hidden,
    make_measurer,
    make_objective,
    make_prefixes,
    make_teacher,
)
from trainers.checkpoints import find_checkpoint
from trainers.corpus import hash_texts
from trainers.distiller import Distiller
from trainers.launch import train_in_processes
from trainers.measuring import Measurer, Verify, clear_measures
from trainers.metrics import forget_steps_after
from trainers.phases import clear_phases, train_in_phases
from trainers.prefixes import StudentPrefixes
from trainers.processes import first_before_others, is_first, join_processes, wait_for_all
from trainers.remote_teacher import RemoteTeacher
from trainers.rollout_settings import INERT_OF_TRAINING
from trainers.rows import TokenRows, collate
from trainers.settings import ContextSignal, RemoteSignal, Student, TrainResult, TrainSettings
from trainers.signal_settings import Teacher
from trainers.students import load_student
from trainers.teachers import count_ids
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


def train_student(
    settings: TrainSettings,
    dataset: Path,
    student: str | Student,
    output: Path,
    *,
    teacher: Teacher | None = None,
    signal: Path | None = None,
    make_scorer: MakeScorer | None = None,
    teacher_id: str | None = None,
    verify: Verify | None = None,
    on_log: OnLog | None = None,
    metrics: Path | None = None,
) -> TrainResult:
    """Train a student on `dataset`, going on where an earlier call was cut short.

    `dataset` has conversational rows, or plain texts. `teacher` stands in for the settings' own;
    `signal` is the folder of what a cached teacher says; `make_scorer` makes the client of a
    teacher's server, which is closed here, and `teacher_id` names one whose weights are elsewhere;
    `verify` judges completions by a row's check where the student is measured. Every step's figures
    (`step`, `loss`, `tokens`, `learning_rate`, …) go to `on_log` and, as a line, to the file
    `metrics`, which belongs to this training alone; an exception from `on_log` ends the training.
    Raises ConfigError, InputError or ModelError for what cannot be used, and RunError where
    `output` holds a training of other settings.
    """
    started = time.monotonic()
    processes = _count_processes(settings)
    student = Student(model=student) if isinstance(student, str) else student
    teacher = _choose_teacher(settings, teacher)
    description = _describe(settings, dataset, student, teacher, teacher_id)
    with first_before_others():  # what is no checkpoint is removed
        checkpoint, finished = find_checkpoint(output / "checkpoints"), output / "model"
    if checkpoint or finished.is_dir():
        check_unchanged(output, description, settings, student)
    if finished.is_dir():
        return _read_finished(output)
    disable_progress_bar()  # `on_log` is how progress is told
    told: dict[str, Any] = {"teacher": teacher, "on_log": on_log, "metrics": metrics}
    given: dict[str, Any] = {"signal": signal, "teacher_id": teacher_id, "verify": verify}
    if settings.phases:
        write_description(output, description)
        given |= {"dataset": dataset, "make_scorer": make_scorer}
        train_one = functools.partial(train_student, **given)
        return train_in_phases(train_one, settings, student, output, **told)
    if processes < settings.processes:
        write_description(output, description)
        return train_in_processes(settings, dataset, student, output, **told, **given)
    loaded = load_student(student)
    data = load_data(settings, dataset, loaded.tokenizer, teacher)
    trainer = _make_trainer(
        settings, loaded, data, output, teacher, signal, make_scorer, teacher_id
    )
    pace = TrainingPace(settings.save_steps, on_log, metrics)
    measurer = make_measurer(trainer, settings, loaded, data.kept, output, pace.tell, verify)
    for callback in filter(None, (measurer, pace)):
        trainer.add_callback(callback)
    _begin(output, description, checkpoint, metrics, measurer)
    _train(trainer, checkpoint)
    _publish(trainer, measurer, data.rows, loaded.tokenizer, started, output)
    return _read_finished(output)


def _begin(
    output: Path,
    description: dict[str, Any],
    checkpoint: Path | None,
    metrics: Path | None,
    measurer: Measurer | None,
) -> None:
    """Put down what is trained, and drop what is known of steps that will be done again. Files are
    the first process's."""
    if not is_first():
        return
    write_description(output, description)
    if checkpoint is None:
        clear_measures(output)
    elif measurer is not None:
        measurer.restore(checkpoint)
    if metrics is not None:
        forget_steps_after(metrics, read_step(checkpoint) if checkpoint else -1)


def _publish(
    trainer: Distiller,
    measurer: Measurer | None,
    data: TokenRows,
    tokenizer: Any,
    started: float,
    output: Path,
) -> None:
    """Put the finished student into its place, and wait until it is there."""
    weights = trainer.gather_weights()
    if is_first():
        seconds = time.monotonic() - started
        result = _sum_up(trainer, measurer, data, seconds, output / "model")
        publish_model(merge_adapters(trainer.model), tokenizer, result, output, weights)
    wait_for_all()


def _read_finished(output: Path) -> TrainResult:
    """The result, when what a kill may have left beside it is gone."""
    shutil.rmtree(output / "checkpoints", ignore_errors=True)
    clear_measures(output)
    clear_phases(output)
    result = TrainResult.model_validate_json((output / "model" / "result.json").read_text())
    return result.model_copy(update={"output": output / "model"})


def _train(trainer: Distiller, checkpoint: Path | None) -> None:
    if checkpoint is not None:
        trainer.restore_parts(checkpoint)
    try:
        trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    finally:
        if isinstance(trainer.teacher, RemoteTeacher):
            trainer.teacher.close()
        if isinstance(trainer.prefixes, StudentPrefixes):
            trainer.prefixes.close()


def _sum_up(
    trainer: Distiller,
    measurer: Measurer | None,
    data: TokenRows,
    seconds: float,
    finished: Path,
) -> TrainResult:
    steps = [entry for entry in trainer.state.log_history if "loss" in entry]
    return TrainResult(
        steps=trainer.state.global_step,
        train_loss=sum(entry["loss"] for entry in steps) / len(steps),
        rows=len(data.rows),
        skipped=data.skipped,
        tokens=int(sum(entry["tokens"] for entry in steps)),
        best_step=measurer.restore_best() if measurer is not None else None,
        seconds=seconds,
        output=finished,
    )


def _count_processes(settings: TrainSettings) -> int:
    """Those that train already, as `trainers.launch` or torchrun has started them."""
    processes = join_processes()
    if processes not in (1, settings.processes) or (processes > 1 and settings.phases):
        raise ConfigError(
            f"processes: {settings.processes} are asked for, {processes} were started"
            f"{', and the phases are told to one' if settings.phases else ''}.\n"
            "Start it plainly, and as many are started as the settings say."
        )
    return processes


def _choose_teacher(settings: TrainSettings, teacher: Teacher | None) -> Teacher | None:
    teacher = teacher or settings.teacher
    if settings.follows_teacher and teacher is None:
        raise ConfigError(
            f"teacher: objective {settings.objective} needs one; name a model, or choose sft"
        )
    if not settings.follows_teacher and teacher is not None:
        raise ConfigError(
            "teacher: objective sft asks none, nor does a student that is its own; leave it out"
        )
    return teacher


def _make_trainer(
    settings: TrainSettings,
    student: LoadedModel,
    data: Data,
    output: Path,
    teacher: Teacher | None,
    signal: Path | None,
    make_scorer: MakeScorer | None,
    teacher_id: str | None,
) -> Distiller:
    model, tokenizer = student
    pad_id = tokenizer.eos_token_id if tokenizer.pad_token_id is None else tokenizer.pad_token_id
    arguments = make_arguments(settings, output / "checkpoints")
    model.to(arguments.device)
    followed = make_teacher(
        settings,
        teacher,
        student,
        data.rows,
        signal or output / "signal",
        data.contexts,
        data.aligned,
        make_scorer,
        teacher_id,
    )
    if settings.lora is not None:
        model = add_adapters(model, settings.lora, seed=settings.seed)
    place = (arguments.process_index, arguments.world_size)
    writer = LoadedModel(model, tokenizer)
    trainer = Distiller(
        objective=make_objective(settings),
        teacher=followed,
        prefixes=make_prefixes(
            settings, writer, followed, pad_id=pad_id, place=place, folder=output / "rollouts"
        ),
        hidden=make_hidden(settings, model, followed, processes=arguments.world_size),
        corpus=make_corpus(settings, tokenizer, pad_id=pad_id, place=place),
        vocabulary_size=count_ids(tokenizer),
        layout="packed" if settings.packing else "grouped",
        model=model,
        args=arguments,
        train_dataset=data.rows.rows,
        data_collator=functools.partial(collate, pad_id=pad_id),
    )
    for unwanted in (DefaultFlowCallback, PrinterCallback):  # `TrainingPace` paces and reports
        trainer.remove_callback(unwanted)
    trainer.add_callback(_PartsKeeper(trainer))
    return trainer


class _PartsKeeper(TrainerCallback):
    """Keeps with each checkpoint what the parts will need to go on from it, and tells the teacher
    of each step. Before `TrainingPace`, which declares a checkpoint complete."""

    def __init__(self, trainer: Distiller) -> None:
        self.trainer = trainer

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.trainer.tell_step(state.global_step)

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.trainer.save_parts(Path(args.output_dir) / f"checkpoint-{state.global_step}")


def _describe(
    settings: TrainSettings,
    dataset: Path,
    student: Student,
    teacher: Teacher | None,
    teacher_id: str | None,
) -> dict[str, Any]:
    """Everything that decides the losses."""
    parts = settings.split()
    files = {
        "corpus_texts": [part.corpus.texts for part in parts if part.corpus is not None],
        "examples": [p.signal.examples for p in parts if isinstance(p.signal, ContextSignal)],
    }
    contents = {name: _hash_contents(paths) for name, paths in files.items() if paths}
    served = teacher_id is not None or any(isinstance(p.signal, RemoteSignal) for p in parts)
    return {
        **settings.model_dump(
            mode="json", exclude={"teacher": True, "save_steps": True} | INERT_OF_TRAINING
        ),
        "teacher": teacher,
        "teacher_weights": teacher_id if served else _identify(teacher),
        "student": student.model_dump(mode="json"),
        "student_weights": identify_model(student.model),
        "dataset": hash_dataset_files(dataset),
        **contents,
    }


def _hash_contents(paths: Sequence[str]) -> str:
    """Of each file or folder once; who reads a missing one says so."""
    return " ".join(hash_texts(Path(p)) for p in dict.fromkeys(paths) if Path(p).exists())


def _identify(teacher: Teacher | None) -> Any:
    if isinstance(teacher, Mapping):
        return {domain: identify_model(name) for domain, name in teacher.items()}
    return None if teacher is None else identify_model(teacher)
