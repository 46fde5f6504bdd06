"""From settings to the parts of a training: what is minimised, who is followed, whose tokens."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch

from generators.embedded import LoadedModel, computes_in_bfloat16, identify_model
from generators.errors import ConfigError, InputError, RunError
from trainers.cached_teacher import CachedTeacher, write_signal
from trainers.context_teacher import ContextTeacher
from trainers.contexts import keep_shown, load_contexts
from trainers.distiller import Distiller
from trainers.measuring import Measurer, Report, Subject, Verify, part_rows
from trainers.objectives import CrossEntropy, Objective, TeacherDivergence
from trainers.policy import PolicyGradient
from trainers.prefixes import StudentPrefixes
from trainers.processes import first_before_others
from trainers.row_keys import PromptIds
from trainers.rows import (
    TokenRow,
    TokenRows,
    drop_completion,
    has_completions,
    load_rows,
)
from trainers.settings import ContextSignal, TopSignal, TrainSettings
from trainers.signal_store import Cut, SampledCut, SignalHeader, TopCut, identify_source
from trainers.teachers import LocalTeacher, TeacherSignal, count_ids, load_teacher
from trainers.text_rows import holds_texts, load_text_rows


class Data(NamedTuple):
    """What is trained on, what is kept to measure on, and prompts behind examples."""

    rows: TokenRows
    kept: TokenRows
    contexts: Mapping[PromptIds, PromptIds]


def load_data(settings: TrainSettings, dataset: Path, tokenizer: Any) -> Data:
    """Open a dataset and encode its rows, or its texts.

    Raises ConfigError where plain text meets settings that need prompts, and what `load_rows` and
    `load_text_rows` raise.
    """
    contexts: Mapping[PromptIds, PromptIds] = {}
    if holds_texts(dataset):
        if settings.rollouts is not None or isinstance(settings.signal, ContextSignal):
            raise ConfigError(
                f"{dataset}: plain text has no prompts, which rollouts and signal context need.\n"
                "Leave them out, or give rows of prompt and completion."
            )
        data = load_text_rows(dataset, tokenizer, window=settings.max_length)
    else:
        # What is measured on has its completions, where there are any.
        bare = settings.writes_all and not (settings.measure and has_completions(dataset))
        data = load_rows(dataset, tokenizer, max_length=settings.max_length, prompts_only=bare)
    if isinstance(settings.signal, ContextSignal):
        contexts = load_contexts(dataset, settings.signal, tokenizer)
        data = keep_shown(data, contexts)
    if settings.measure is None:
        return Data(data, TokenRows([], {}), contexts)
    parted = part_rows(data, settings.measure.rows)
    train = parted.train
    if settings.writes_all:
        train = train._replace(rows=[drop_completion(row) for row in train.rows])
    return Data(train, parted.kept, contexts)


def make_objective(settings: TrainSettings) -> Objective:
    """What the settings say is minimised."""
    match settings.objective:
        case "sft":
            return CrossEntropy()
        case "importance" | "reinforce" | "minillm":
            return PolicyGradient(settings.objective, settings.policy)
        case kind:
            return TeacherDivergence(
                kind,
                beta=settings.beta,
                alpha=settings.alpha,
                temperature=settings.temperature,
                tail=settings.tail,
                ce_weight=settings.ce_weight,
                mixing=settings.mixing,
            )


def make_teacher(
    settings: TrainSettings,
    teacher: str | None,
    student: LoadedModel,
    data: TokenRows,
    folder: Path,
    contexts: Mapping[PromptIds, PromptIds],
) -> TeacherSignal | None:
    """Who is followed, heard as the settings say; None where nobody is. A signal that is written
    to disk lies in `folder`; `contexts` are the prompts behind their examples."""
    match settings.signal:
        case ContextSignal():
            half = settings.precision == "bfloat16" or (
                settings.precision == "auto" and computes_in_bfloat16()
            )
            return ContextTeacher(
                student.model,
                count_ids(student.tokenizer),
                contexts,
                settings.signal.refresh,
                autocast=torch.bfloat16 if half else None,
            )
        case TopSignal():
            assert teacher is not None
            with first_before_others():
                return make_cached_teacher(settings, teacher, student, data.rows, folder)
        case None if teacher is not None:
            return load_teacher(
                teacher, student.model, student.tokenizer, precision=settings.precision
            )
    return None


def make_prefixes(
    settings: TrainSettings,
    student: LoadedModel,
    teacher: TeacherSignal | None,
    *,
    pad_id: int,
    place: tuple[int, int],
) -> StudentPrefixes | None:
    """The student as a writer of its own completions, where the settings have it write."""
    if settings.rollouts is None:
        return None
    return StudentPrefixes(
        student.model,
        student.tokenizer,
        settings.rollouts,
        pad_id=pad_id,
        max_length=settings.max_length,
        seed=settings.seed,
        precision=settings.precision,
        teacher=teacher.model if isinstance(teacher, LocalTeacher) else None,
        place=place,
    )


def make_measurer(
    trainer: Distiller,
    settings: TrainSettings,
    student: LoadedModel,
    kept: TokenRows,
    output: Path,
    report: Report,
    verify: Verify | None,
) -> Measurer | None:
    """Who looks at the student while it is trained; None where nobody is asked to."""
    if settings.measure is None:
        return None
    teacher = trainer.teacher
    subject = Subject(
        LoadedModel(trainer.model, student.tokenizer),
        teacher.model if isinstance(teacher, LocalTeacher) else None,
        trainer.vocabulary_size,
        settings.max_length,
        settings.seed,
    )
    return Measurer(settings.measure, subject, kept, output, report, verify)


def make_cached_teacher(
    settings: TrainSettings,
    teacher: str,
    student: LoadedModel,
    rows: list[TokenRow],
    folder: Path,
    **writing: Any,
) -> CachedTeacher:
    """The teacher's signal for these rows, from `folder`; what is missing of it is written first,
    as `writing` says to `write_signal`, and only then are the teacher's weights loaded."""
    assert isinstance(settings.signal, TopSignal)
    source = identify_source(identify_model(teacher), student.tokenizer)
    header = SignalHeader(source=source, cut=make_cut(settings))
    if not is_written(folder, header, rows):
        local = load_teacher(
            teacher, student.model, student.tokenizer, precision=settings.precision
        )
        write_signal(local, rows, folder, header, device=student.model.device, **writing)
    cached = CachedTeacher(folder, source)
    cached.check_rows(rows)
    return cached


def make_cut(settings: TrainSettings) -> Cut:
    """What a cached signal keeps of each distribution."""
    signal = settings.signal
    assert isinstance(signal, TopSignal)
    if signal.kept == "sampled":
        return SampledCut(draws=signal.top_k, temperature=settings.temperature, seed=settings.seed)
    return TopCut(top_p=signal.top_p, top_k=signal.top_k, temperature=settings.temperature)


def is_written(folder: Path, header: SignalHeader, rows: list[TokenRow]) -> bool:
    """Whether the folder holds this signal for all rows."""
    try:
        cached = CachedTeacher(folder, header.source)
        cached.check_rows(rows)
    except (InputError, RunError):
        return False
    return cached.store.header == header
