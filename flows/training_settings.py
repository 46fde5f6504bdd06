"""What is checked of the sections `train` and `evaluate`, in whichever configuration they stand."""

from collections.abc import Iterator, Mapping, Sequence

from flows.run_settings import EmbeddedModel, Model, VllmModel
from flows.stage_settings import EvaluateSettings, TrainStage
from flows.untaught import find_student_problems
from generators.errors import ConfigError
from generators.spending import Budget
from trainers.added_losses import CorpusSettings
from trainers.rollout_settings import RolloutServe
from trainers.settings import ContextSignal, RemoteSignal, TopSignal, TrainSettings
from trainers.signal_settings import Signal


def find_training_problems(
    train: TrainStage | None, models: Mapping[str, Model], budget: Budget | None = None
) -> Iterator[tuple[str, str]]:
    """What is wrong with a training beside the models that are there, and what may be spent."""
    if train is None:
        return
    unmakeable = list(find_student_problems(train.untaught))
    yield from unmakeable
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
    yield from _find_signal_problems(train, models, budget)
    if not unmakeable:
        yield from _find_hidden_problems(train, parts, models)


def _find_teacher_problems(
    train: TrainStage, parts: Sequence[TrainSettings], models: Mapping[str, Model]
) -> Iterator[tuple[str, str]]:
    """What is wrong with the models that are named as teachers, beside how they are heard."""
    asked = {type(part.signal) for part in parts if part.follows_teacher}
    for setting, name in list_training_models(train):
        model = models.get(name)
        if model is None:
            continue
        served = isinstance(model, VllmModel)
        read = asked - ({RemoteSignal, TopSignal} if served else {RemoteSignal})
        if read and not isinstance(model, EmbeddedModel):
            remedy = "name an embedded model, or choose objective sft"
            if served:
                remedy += ", or ask its server (signal: {kind: remote}, or {kind: cached})"
            yield setting, f"its logits are needed, so it must run in this process: {remedy}"
        if RemoteSignal in asked and not served:
            yield (
                setting,
                "signal remote asks a server what it thinks of given tokens, which only vLLM tells:"
                " name a model of kind vllm, or leave signal out for one of kind embedded",
            )


def _find_signal_problems(
    train: TrainStage, models: Mapping[str, Model], budget: Budget | None
) -> Iterator[tuple[str, str]]:
    """What is wrong with how a teacher is heard, at the first setting that says so."""
    cached = list_cached_parts(train)
    setting = next((setting for setting, _ in list_signals(train)), "train.signal")
    model = models.get(train.lone_teacher or "")
    if budget is not None and asks_server(train, models):
        what = "what a teacher's server is asked to teach is not counted in a budget"
        yield setting, f"{what}: take out one of them"
    if any(part.signal != cached[0].signal for part in cached):
        yield setting, "is written once for all phases: let them keep the same"
    elif len({part.temperature for part in cached}) > 1:
        yield (
            setting,
            "is written once for all phases, at one temperature: give them the same, or read the "
            "teacher as it is needed",
        )
    if isinstance(model, VllmModel):
        for part in cached:
            if part.temperature != 1:
                yield setting, "a server tells its likeliest tokens at temperature 1: leave it at 1"
            elif isinstance(part.signal, TopSignal) and part.signal.kept != "top":
                yield (
                    setting,
                    "a server tells its likeliest tokens, and none can be drawn: keep top",
                )


def _find_hidden_problems(
    train: TrainStage, parts: Sequence[TrainSettings], models: Mapping[str, Model]
) -> Iterator[tuple[str, str]]:
    """What is wrong with layers that follow layers, as far as the models are here to tell."""
    teacher = models.get(train.lone_teacher or "")
    following = [(i, part.hidden) for i, part in enumerate(parts) if part.hidden is not None]
    if not following or not isinstance(teacher, EmbeddedModel):
        return
    from trainers.hidden_matching import check_hidden

    for i, hidden in following:
        own = bool(train.phases) and train.phases[i].hidden is not None
        try:
            check_hidden(hidden, train.untaught, teacher.model, processes=train.processes)
        except ConfigError as error:
            yield f"train.phases.{i}.hidden" if own else "train.hidden", str(error)
            return


def asks_server(train: TrainSettings, models: Mapping[str, Model]) -> bool:
    """Whether a vLLM server is asked what the teacher thinks of given tokens."""
    served = isinstance(models.get(train.lone_teacher or ""), VllmModel)
    return served and any(isinstance(p.signal, RemoteSignal | TopSignal) for p in train.split())


def list_signals(train: TrainSettings) -> Iterator[tuple[str, Signal]]:
    """The settings that say how a teacher is heard, with what they say."""
    named = {"train.signal": train.signal}
    named |= {f"train.phases.{i}.signal": phase.signal for i, phase in enumerate(train.phases)}
    yield from ((setting, signal) for setting, signal in named.items() if signal is not None)


def list_cached_parts(train: TrainSettings) -> list[TrainSettings]:
    """The phases whose teacher is heard from disk."""
    return [part for part in train.split() if isinstance(part.signal, TopSignal)]


def list_rollout_servers(train: TrainSettings | None) -> list[RolloutServe]:
    """How servers are started that write what the student learns from."""
    rollouts = [part.rollouts for part in train.split()] if train is not None else []
    return [each.serve for each in rollouts if each is not None and each.serve is not None]


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
    if train is not None:
        for setting, signal in list_signals(train):
            if isinstance(signal, ContextSignal):
                yield f"{setting}.examples", signal.examples
        for setting, corpus in list_corpora(train):
            yield f"{setting}.texts", corpus.texts
    if evaluate is not None:
        for i, path in enumerate(evaluate.held_out):
            yield f"evaluate.held_out.{i}", path
        for name in ("examples", "text", "canaries"):
            if (path := getattr(evaluate, name)) is not None:
                yield f"evaluate.{name}", path
