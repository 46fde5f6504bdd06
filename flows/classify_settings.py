"""What a classifier's training is: the soft labels it learns from, its student, its teacher."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from flows.config_file import read_config, refuse_other_kinds
from flows.run_settings import EmbeddedModel, RunSettings, find_shared_problems
from generators.records import Record
from trainers.classifier_settings import ClassifierSettings

IDLE = ("journal", "shard_rows", "budget")
"""Settings of other runs, which ask models; nothing is asked here."""


class LabelData(Record):
    """Which rows teach, and which are kept to tell what was learned."""

    train: tuple[str, ...] = Field(min_length=1)
    """Parquet files of soft labels, or folders of them, such as an annotation's `dataset`."""
    held_out: tuple[str, ...] = ()
    """The same for evaluation. Without it a share of the training texts is held out."""
    held_out_share: float = Field(default=0.2, gt=0, lt=1)
    """The share of texts held out where no files are named; all rows of a text go one way."""
    rows: Literal["contexts", "pooled"] = "contexts"
    """Of a text that was read in several contexts: a row for each of them, or the one over all."""


class ClassifierStage(ClassifierSettings):
    """The training, with its models by their names."""

    student: str
    """A name under `models`: the pretrained model that gets a classifier's head."""
    layers: tuple[int, ...] | None = Field(default=None, min_length=1)
    """Keep only these of the student's transformer layers, counted from 0."""


class ClassifyConfig(RunSettings):
    """A classifier: soft labels in, a trained and evaluated student out."""

    data: LabelData
    classifier: ClassifierStage

    @property
    def named_models(self) -> list[tuple[str, str]]:
        """The settings that name a model, with the names."""
        teacher = self.classifier.teacher
        named = [("classifier.student", self.classifier.student)]
        return [*named, *([("classifier.teacher", teacher)] if teacher is not None else [])]


def load_classification(
    path: str | Path, overrides: Mapping[str, Any] | None = None
) -> ClassifyConfig:
    """Read and check a classifier's configuration; raises ConfigError that lists what is wrong and
    where."""
    refuse_other_kinds(Path(path), "classifier")
    return read_config(
        Path(path), ClassifyConfig, overrides=overrides or {}, check=find_classifier_problems
    )


def find_classifier_problems(config: ClassifyConfig) -> Iterator[tuple[str, str]]:
    """What only the whole configuration can tell to be wrong: the setting, and the trouble."""
    yield from find_shared_problems(config, config.named_models, _named_files(config))
    for setting, name in config.named_models:
        if not isinstance(config.models.get(name, None), EmbeddedModel | None):
            yield setting, "a classifier runs in this process: name a model of kind embedded"
    for name in IDLE:
        if getattr(config, name) != RunSettings.model_fields[name].default:
            yield name, "would do nothing, no model is asked; take it out"
    share = LabelData.model_fields["held_out_share"].default
    if config.data.held_out and config.data.held_out_share != share:
        yield "data.held_out_share", "would do nothing beside data.held_out; take one of them out"
    for i, file in enumerate(config.data.held_out):
        if file in config.data.train:
            yield f"data.held_out.{i}", f"{file} is also in data.train; keep other texts"


def _named_files(config: ClassifyConfig) -> Iterator[tuple[str, str]]:
    """The files that must be there already; what other runs make may come later."""
    runs = Path(config.runs_dir).resolve()
    for section in ("train", "held_out"):
        for i, file in enumerate(getattr(config.data, section)):
            if not Path(file).resolve().is_relative_to(runs):
                yield f"data.{section}.{i}", file
