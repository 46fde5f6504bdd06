"""What is checked of the sections `train` and `evaluate`, in whichever configuration they stand."""

from collections.abc import Iterator, Mapping

from flows.run_settings import EmbeddedModel, Model
from flows.stage_settings import EvaluateSettings, TrainStage
from trainers.settings import ContextSignal, TopSignal, TrainSettings


def find_training_problems(
    train: TrainStage | None, models: Mapping[str, Model]
) -> Iterator[tuple[str, str]]:
    """What is wrong with a training beside the models that are there."""
    if train is None:
        return
    parts = train.split()
    following = [i for i, part in enumerate(parts) if part.follows_teacher]
    teacher = models.get(train.teacher or "")
    if following and train.teacher is None:
        place, part = following[0], parts[following[0]]
        own = bool(train.phases) and train.phases[place].objective is not None
        setting = f"train.phases.{place}.objective" if own else "train.objective"
        yield setting, f"{part.objective} follows a teacher: name train.teacher"
    if train.phases and train.teacher is not None and not following:
        yield "train.teacher", "no phase follows a teacher; take it out, or choose a divergence"
    if teacher is not None and not isinstance(teacher, EmbeddedModel):
        yield (
            "train.teacher",
            "its logits are needed, so it must run in this process: name an embedded model, or "
            "choose objective sft",
        )
    if len({part.temperature for part in list_cached_parts(train)}) > 1:
        yield (
            "train.signal",
            "is written once for all phases, at one temperature: give them the same, or read the "
            "teacher as it is needed",
        )


def list_cached_parts(train: TrainSettings) -> list[TrainSettings]:
    """The phases whose teacher is heard from disk."""
    return [part for part in train.split() if isinstance(part.signal, TopSignal)]


def list_training_models(train: TrainStage | None) -> Iterator[tuple[str, str]]:
    """The settings of a training that name a model, with the names."""
    if train is not None and train.teacher is not None:
        yield "train.teacher", train.teacher


def list_training_files(
    train: TrainStage | None, evaluate: EvaluateSettings | None
) -> Iterator[tuple[str, str]]:
    """The settings of training and evaluation that name a file, with the files."""
    if train is not None and isinstance(train.signal, ContextSignal):
        yield "train.signal.examples", train.signal.examples
    if evaluate is not None:
        for i, path in enumerate(evaluate.held_out):
            yield f"evaluate.held_out.{i}", path
        for name in ("examples", "text", "canaries"):
            if (path := getattr(evaluate, name)) is not None:
                yield f"evaluate.{name}", path
