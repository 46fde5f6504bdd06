"""What is checked of the sections `train` and `evaluate`, in whichever configuration they stand."""

from collections.abc import Iterator, Mapping, Sequence

from flows.run_settings import EmbeddedModel, Model, VllmModel
from flows.stage_settings import EvaluateSettings, TrainStage
from generators.spending import Budget
from trainers.added_losses import CorpusSettings
from trainers.settings import ContextSignal, RemoteSignal, TopSignal, TrainSettings


def find_training_problems(
    train: TrainStage | None, models: Mapping[str, Model], budget: Budget | None = None
) -> Iterator[tuple[str, str]]:
    """What is wrong with a training beside the models that are there, and what may be spent."""
    if train is None:
        return
    parts = train.split()
    following = [i for i, part in enumerate(parts) if part.follows_teacher]
    if following and train.teacher is None:
        place, part = following[0], parts[following[0]]
        own = bool(train.phases) and train.phases[place].objective is not None
        setting = f"train.phases.{place}.objective" if own else "train.objective"
        yield setting, f"{part.objective} follows a teacher: name train.teacher"
    if train.phases and train.teacher is not None and not following:
        yield "train.teacher", "no phase follows a teacher; take it out, or choose a divergence"
    yield from _find_teacher_problems(train, parts, models)
    if budget is not None and any(isinstance(part.signal, RemoteSignal) for part in parts):
        what = "what a remote teacher is asked while the student trains is not counted in a budget"
        yield "train.signal", f"{what}: take out one of them"
    if len({part.temperature for part in list_cached_parts(train)}) > 1:
        yield (
            "train.signal",
            "is written once for all phases, at one temperature: give them the same, or read the "
            "teacher as it is needed",
        )


def _find_teacher_problems(
    train: TrainStage, parts: Sequence[TrainSettings], models: Mapping[str, Model]
) -> Iterator[tuple[str, str]]:
    """What is wrong with the models that are named as teachers, beside how they are heard."""
    asked = {isinstance(part.signal, RemoteSignal) for part in parts if part.follows_teacher}
    for setting, name in list_training_models(train):
        model = models.get(name)
        if model is None:
            continue
        if False in asked and not isinstance(model, EmbeddedModel):
            remedy = "name an embedded model, or choose objective sft"
            if isinstance(model, VllmModel):
                remedy += ", or ask its server (signal: {kind: remote})"
            yield setting, f"its logits are needed, so it must run in this process: {remedy}"
        if True in asked and not isinstance(model, VllmModel):
            yield (
                setting,
                "signal remote asks a server what it thinks of given tokens, which only vLLM tells:"
                " name a model of kind vllm, or leave signal out for one of kind embedded",
            )


def list_cached_parts(train: TrainSettings) -> list[TrainSettings]:
    """The phases whose teacher is heard from disk."""
    return [part for part in train.split() if isinstance(part.signal, TopSignal)]


def list_corpora(train: TrainSettings) -> Iterator[tuple[str, CorpusSettings]]:
    """The settings that name a corpus beside the rows, with what they say."""
    named = {"train.corpus": train.corpus}
    named |= {f"train.phases.{i}.corpus": phase.corpus for i, phase in enumerate(train.phases)}
    yield from ((setting, corpus) for setting, corpus in named.items() if corpus is not None)


def list_training_models(train: TrainStage | None) -> Iterator[tuple[str, str]]:
    """The settings of a training that name a model, with the names."""
    if train is None or train.teacher is None:
        return
    if isinstance(train.teacher, str):
        yield "train.teacher", train.teacher
    else:
        yield from ((f"train.teacher.{domain}", name) for domain, name in train.teacher.items())


def list_training_files(
    train: TrainStage | None, evaluate: EvaluateSettings | None
) -> Iterator[tuple[str, str]]:
    """The settings of training and evaluation that name a file, with the files."""
    if train is not None and isinstance(train.signal, ContextSignal):
        yield "train.signal.examples", train.signal.examples
    if train is not None:
        for setting, corpus in list_corpora(train):
            yield f"{setting}.texts", corpus.texts
    if evaluate is not None:
        for i, path in enumerate(evaluate.held_out):
            yield f"evaluate.held_out.{i}", path
        for name in ("examples", "text", "canaries"):
            if (path := getattr(evaluate, name)) is not None:
                yield f"evaluate.{name}", path
