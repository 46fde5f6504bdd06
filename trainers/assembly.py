"""From settings to the parts of a training: what is minimised, who is followed, whose tokens."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch

from generators.embedded import LoadedModel, identify_model
from generators.errors import ConfigError, InputError, RunError
from trainers.cached_teacher import CachedTeacher, write_signal
from trainers.context_teacher import ContextTeacher
from trainers.contexts import keep_shown, load_contexts
from trainers.corpus import Corpus
from trainers.cross_objectives import ChunkObjective, SortedObjective
from trainers.cross_teacher import CrossTeacher, load_aligned_rows, load_cross_teacher
from trainers.cross_tokenizer import AlignedRow
from trainers.distiller import Distiller
from trainers.hidden_matching import HiddenMatching
from trainers.measuring import Measurer, Report, Subject, Verify, part_rows
from trainers.objectives import CrossEntropy, Objective, TeacherDivergence
from trainers.policy import PolicyGradient
from trainers.precision import find_precision
from trainers.prefixes import StudentPrefixes
from trainers.processes import first_before_others
from trainers.remote_teacher import RemoteTeacher, TokenScorer, ask_at_once
from trainers.routed_teacher import RoutedTeacher, choose_teachers, map_domains
from trainers.row_keys import PromptIds
from trainers.rows import (
    TokenRow,
    TokenRows,
    drop_completion,
    has_completions,
    load_rows,
)
from trainers.served_student import ServedStudent
from trainers.settings import (
    ACROSS,
    POLICY,
    ContextSignal,
    RemoteSignal,
    TopSignal,
    TrainSettings,
)
from trainers.signal_settings import Teacher
from trainers.signal_store import Cut, SampledCut, SignalHeader, TopCut, identify_source
from trainers.teachers import LocalTeacher, TeacherSignal, count_ids, load_teacher
from trainers.text_rows import holds_texts, load_text_rows

MakeScorer = Callable[[], TokenScorer]


class Data(NamedTuple):
    """What is trained on, what is kept to measure on, prompts behind examples, and the rows as a
    teacher of another vocabulary reads them."""

    rows: TokenRows
    kept: TokenRows
    contexts: Mapping[PromptIds, PromptIds]
    aligned: Sequence[AlignedRow] = ()


def load_data(
    settings: TrainSettings, dataset: Path, tokenizer: Any, teacher: Teacher | None = None
) -> Data:
    """Open a dataset and encode its rows, or its texts; for a teacher of another vocabulary as it
    reads them too.

    Raises ConfigError where plain text meets settings that need prompts, and what `load_rows`,
    `load_text_rows` and `load_aligned_rows` raise.
    """
    contexts: Mapping[PromptIds, PromptIds] = {}
    aligned: Sequence[AlignedRow] = ()
    across = settings.objective in ACROSS
    if holds_texts(dataset):
        if across or settings.rollouts is not None or isinstance(settings.signal, ContextSignal):
            raise ConfigError(
                f"{dataset}: plain text has no prompts, which rollouts, signal context and the"
                f" objectives {', '.join(ACROSS)} need.\n"
                "Leave them out, or give rows of prompt and completion."
            )
        data = load_text_rows(dataset, tokenizer, window=settings.max_length)
    elif across:
        assert isinstance(teacher, str)
        data, aligned = load_aligned_rows(
            dataset, tokenizer, teacher, max_length=settings.max_length
        )
    else:
        # What is measured on has its completions, where there are any.
        bare = settings.writes_all and not (settings.measure and has_completions(dataset))
        data = load_rows(dataset, tokenizer, max_length=settings.max_length, prompts_only=bare)
    if isinstance(settings.signal, ContextSignal):
        contexts = load_contexts(dataset, settings.signal, tokenizer)
        data = keep_shown(data, contexts)
    if settings.measure is None:
        return Data(data, TokenRows([], {}), contexts, aligned)
    parted = part_rows(data, settings.measure.rows)
    train = parted.train
    if settings.writes_all:
        train = train._replace(rows=[drop_completion(row) for row in train.rows])
    return Data(train, parted.kept, contexts, aligned)


def make_objective(settings: TrainSettings) -> Objective:
    """What the settings say is minimised."""
    match settings.objective:
        case "sft":
            return CrossEntropy()
        case "importance" | "reinforce" | "minillm":
            return PolicyGradient(settings.objective, settings.policy)
        case "aligned":
            return ChunkObjective(settings.chunk_temperature, settings.ce_weight, settings.mixing)
        case "uld":
            return SortedObjective(settings.ce_weight, settings.mixing, settings.temperature)
        case "forward" | "reverse" | "jsd" | "skew_forward" | "skew_reverse" as kind:
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
    teacher: Teacher | None,
    student: LoadedModel,
    data: TokenRows,
    folder: Path,
    contexts: Mapping[PromptIds, PromptIds],
    aligned: Sequence[AlignedRow] = (),
    make_scorer: MakeScorer | None = None,
    teacher_id: str | None = None,
) -> TeacherSignal | CrossTeacher | None:
    """Who is followed, heard as the settings say; None where nobody is. A signal that is written
    to disk lies in `folder`; `contexts` are the prompts behind their examples, `aligned` the rows
    as a teacher of another vocabulary reads them, and `make_scorer` makes a remote one's client;
    `teacher_id` is what a signal calls one whose weights are not here."""
    if isinstance(teacher, Mapping):
        return make_routed_teacher(settings, teacher, student, data)
    if settings.objective in ACROSS:
        assert teacher is not None
        form = "chunks" if settings.objective == "aligned" else "pairs"
        return load_cross_teacher(teacher, student, aligned, form, settings.precision)
    match settings.signal:
        case ContextSignal():
            half = find_precision(settings.precision) == "bfloat16"
            return ContextTeacher(
                student.model,
                count_ids(student.tokenizer),
                contexts,
                settings.signal.refresh,
                autocast=torch.bfloat16 if half else None,
            )
        case TopSignal():
            assert isinstance(teacher, str)
            with first_before_others():
                return make_cached_teacher(
                    settings, teacher, student, data.rows, folder, make_scorer, teacher_id
                )
        case RemoteSignal(top=top):
            own = settings.objective in POLICY  # learns from the drawn token's own probability
            return make_remote_teacher(student.tokenizer, make_scorer, top=top, own=own)
        case None if teacher is not None:
            return load_teacher(
                teacher, student.model, student.tokenizer, precision=settings.precision
            )
    return None


def make_routed_teacher(
    settings: TrainSettings, teachers: Mapping[str, str], student: LoadedModel, data: TokenRows
) -> RoutedTeacher:
    """Several teachers, each model loaded once. Raises ConfigError for a vocabulary that is not
    the student's, or a domain without a teacher, and InputError where rows have no domain."""
    names = choose_teachers(data.domains or [None] * len(data.rows), teachers)
    domains = map_domains(data.rows, names)
    loaded = {
        name: load_teacher(name, student.model, student.tokenizer, precision=settings.precision)
        for name in dict.fromkeys(teachers.values())
    }
    return RoutedTeacher({domain: loaded[name] for domain, name in teachers.items()}, domains)


def make_remote_teacher(
    tokenizer: Any, make_scorer: MakeScorer | None, *, top: int, own: bool = False
) -> RemoteTeacher:
    """A teacher behind a URL, as `RemoteTeacher` reads it. Raises ConfigError where nobody says how
    to reach it, or it has not the student's vocabulary."""
    if make_scorer is None:
        raise ConfigError(
            "signal: there is no client for the teacher's server, which is to be asked; give"
            " train_student one (make_scorer), or leave signal out."
        )
    teacher = RemoteTeacher(make_scorer(), count_ids(tokenizer), top=top, own=own)
    try:
        teacher.check_tokenizer(tokenizer)
    except BaseException:
        teacher.close()
        raise
    return teacher


def make_prefixes(
    settings: TrainSettings,
    student: LoadedModel,
    teacher: TeacherSignal | CrossTeacher | None,
    *,
    pad_id: int,
    place: tuple[int, int],
    folder: Path,
) -> StudentPrefixes | None:
    """The student as a writer of its own completions, where the settings have it write; a server
    that does so finds it in `folder`."""
    if settings.rollouts is None:
        return None
    served = None
    if settings.rollouts.serve is not None:
        served = ServedStudent(
            student,
            settings.rollouts,
            folder,
            max_length=settings.max_length,
            precision=settings.precision,
        )
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
        served=served,
    )


def make_hidden(
    settings: TrainSettings,
    student: Any,
    teacher: TeacherSignal | CrossTeacher | None,
    *,
    processes: int,
) -> HiddenMatching | None:
    """The layers that follow the teacher's, where the settings name some."""
    if settings.hidden is None:
        return None
    assert isinstance(teacher, LocalTeacher)  # the settings were checked
    return HiddenMatching(
        settings.hidden, student, teacher.model, seed=settings.seed, processes=processes
    )


def make_corpus(
    settings: TrainSettings, tokenizer: Any, *, pad_id: int, place: tuple[int, int]
) -> Corpus | None:
    """The texts beside rollouts, where the settings name some."""
    if settings.corpus is None:
        return None
    found = load_text_rows(Path(settings.corpus.texts), tokenizer, window=settings.corpus.window)
    return Corpus(
        found.rows,
        settings.corpus,
        batches=settings.accumulation,
        pad_id=pad_id,
        seed=settings.seed,
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
    make_scorer: MakeScorer | None = None,
    teacher_id: str | None = None,
    **writing: Any,
) -> CachedTeacher:
    """The teacher's signal for these rows, from `folder`; what is missing of it is written first,
    as `writing` says to `write_signal`, and only then are the teacher's weights loaded, or its
    server is asked."""
    assert isinstance(settings.signal, TopSignal)
    source = identify_source(teacher_id or identify_model(teacher), student.tokenizer)
    served = teacher_id is not None
    header = SignalHeader(
        source=source,
        cut=make_cut(settings),
        precision=None if served else find_precision(settings.precision),
    )
    if not is_written(folder, header, rows):
        writing |= {"device": student.model.device}
        if served:
            top = settings.signal.top_k
            with make_remote_teacher(student.tokenizer, make_scorer, top=top) as remote:
                write_signal(remote, rows, folder, header, plan=ask_at_once, **writing)
        else:
            local = load_teacher(
                teacher, student.model, student.tokenizer, precision=settings.precision
            )
            write_signal(local, rows, folder, header, **writing)
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
    found = cached.store.header  # in whichever precision it was read, it is the teacher's
    return found.model_copy(update={"precision": header.precision}) == header
