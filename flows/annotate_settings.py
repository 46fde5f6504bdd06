"""What an annotation is: texts, labels, annotators, and the terms of the dataset that comes out."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import Field

from flows.classify_settings import ClassifyConfig, load_classification
from flows.config import RunConfig, load_config
from flows.config_file import list_settings, read_config, refuse_other_kinds
from flows.run_settings import EmbeddedModel, RunSettings, find_shared_problems
from flows.teach_settings import TeachConfig, load_teaching
from generators.annotation import Annotator, VotingAnnotator, WeighingAnnotator
from generators.label_reading import find_alike, fold_label
from generators.records import Record

MOST_LABELS = 64
"""An annotator reads all of them with every text."""


class SoftLabelSettings(Record):
    """The dataset that is published."""

    licence: str
    """The published dataset's licence."""
    min_votes: int = Field(default=1, ge=1)
    """A row with fewer votes that could be read is quarantined; probabilities that could be read
    are one vote."""


class AnnotateConfig(RunSettings):
    """An annotation: texts in, soft labels out."""

    texts: tuple[str, ...] = Field(min_length=1)
    """JSONL files of texts, relative to where the command is typed."""
    labels: dict[str, str] = Field(min_length=2)
    """At most 64 labels, each with a description for the annotators; an empty one is left out."""
    annotators: tuple[Annotator, ...] = Field(min_length=1)
    publish: SoftLabelSettings

    def dump_decisive(self) -> dict[str, Any]:
        """The order of the labels decides too: annotators are shown them in it."""
        return super().dump_decisive() | {"labels": list(self.labels.items())}

    @property
    def contexts(self) -> list[str | None]:
        """The personas, in the order in which they are named; None is reading as anybody."""
        return list(dict.fromkeys(annotator.persona for annotator in self.annotators))


def load_annotation(path: str | Path, overrides: Mapping[str, Any] | None = None) -> AnnotateConfig:
    """Read and check an annotation's configuration; raises ConfigError that lists what is wrong
    and where."""
    refuse_other_kinds(Path(path), "annotators")
    return read_config(
        Path(path), AnnotateConfig, overrides=overrides or {}, check=find_annotation_problems
    )


def load_settings(path: str | Path) -> RunSettings:
    """Read and check a configuration of any kind: one that names annotators is an annotation's, one
    with a classifier is its training's, one with a dataset is that of a training on its own."""
    loaders = {
        "annotators": load_annotation,
        "classifier": load_classification,
        "dataset": load_teaching,
    }
    names = list_settings(Path(path))
    return next((loaders[mark] for mark in loaders if mark in names), load_config)(path)


def parse_settings(settings: Mapping[str, Any]) -> RunSettings:
    """The settings, of whichever kind, that a manifest holds."""
    kinds = {"annotators": AnnotateConfig, "classifier": ClassifyConfig, "dataset": TeachConfig}
    kind = next((kinds[mark] for mark in kinds if mark in settings), RunConfig)
    return kind.model_validate(settings)


def find_annotation_problems(config: AnnotateConfig) -> Iterator[tuple[str, str]]:
    """What only the whole configuration can tell to be wrong: the setting, and the trouble."""
    models = [(f"annotators.{i}.model", a.model) for i, a in enumerate(config.annotators)]
    files = [(f"texts.{i}", file) for i, file in enumerate(config.texts)]
    yield from find_shared_problems(config, models, files)
    names = [annotator.name for annotator in config.annotators]
    for name in sorted({name for name in names if names.count(name) > 1}):
        yield "annotators", f"two annotators are called {name!r}"
    yield from _find_label_problems(config)
    for i, annotator in enumerate(config.annotators):
        if isinstance(annotator, VotingAnnotator):
            if annotator.sampling.temperature == 0 and annotator.votes > 1:
                text = (
                    "0 gives the same answer n times, which is one vote; raise it or set votes to 1"
                )
                yield f"annotators.{i}.sampling.temperature", text
        elif annotator.model in config.models:
            for setting, text in _find_weighing_problems(config, annotator):
                yield f"annotators.{i}.{setting}", text
    yield from _find_vote_problems(config)


def _find_label_problems(config: AnnotateConfig) -> Iterator[tuple[str, str]]:
    if len(config.labels) > MOST_LABELS:
        yield "labels", f"must be at most {MOST_LABELS}, are {len(config.labels)}"
    folded: dict[str, str] = {}
    for label in config.labels:
        key = fold_label(label)
        if "\n" in label:
            yield "labels", f"{label!r} is more than one line; write it in one"
        elif not key:
            yield "labels", f"{label!r} has no letter or digit by which an answer could name it"
        elif key in folded:
            yield (
                "labels",
                f"{folded[key]!r} and {label!r} are the same without case and outer punctuation, "
                "as answers are read; rename one",
            )
        folded.setdefault(key, label)


def _find_weighing_problems(
    config: AnnotateConfig, annotator: WeighingAnnotator
) -> Iterator[tuple[str, str]]:
    if isinstance(config.models[annotator.model], EmbeddedModel):
        if annotator.top_logprobs is not None:
            yield (
                "top_logprobs",
                f"models.{annotator.model} runs in this process, where the labels' probabilities "
                "are exact; take it out",
            )
    elif alike := find_alike([*config.labels]):
        yield (
            "method",
            f"a server tells the probabilities of first tokens alone, and the labels {alike[0]!r} "
            f"and {alike[1]!r} begin alike: rename one, or choose votes",
        )


def _find_vote_problems(config: AnnotateConfig) -> Iterator[tuple[str, str]]:
    """A context whose annotators together cannot reach the votes that a row needs."""
    needed = config.publish.min_votes
    for context in config.contexts:
        votes = sum(
            annotator.votes if isinstance(annotator, VotingAnnotator) else 1
            for annotator in config.annotators
            if annotator.persona == context
        )
        if votes < needed:
            whose = f"those who read as {context!r}" if context else "those without a persona"
            text = f"{needed} votes are needed, and the annotators ({whose}) give {votes} together"
            yield "publish.min_votes", text
