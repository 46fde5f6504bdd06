"""What a training on its own is: any dataset of rows, who is taught on it, and how."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import Field

from flows.config_file import read_config, refuse_other_kinds
from flows.run_settings import Model, RunSettings, find_shared_problems
from flows.stage_settings import EvaluateSettings, TrainStage
from flows.training_settings import (
    find_training_problems,
    list_cached_parts,
    list_training_files,
    list_training_models,
)


class TeachConfig(RunSettings):
    """A training: rows in, a taught and evaluated student out."""

    models: dict[str, Model] = Field(default_factory=dict)
    """Needed where a teacher is followed; the student is named in `train`."""
    dataset: str
    """A Parquet file, or a folder of them, with `prompt` and `completion`, with prompts alone where
    the student writes the rest, or with `text`; JSONL of texts will do too."""
    train: TrainStage
    evaluate: EvaluateSettings | None = None
    """Without it the student is not asked held-out prompts."""


def load_teaching(path: str | Path, overrides: Mapping[str, Any] | None = None) -> TeachConfig:
    """Read and check a training's configuration; raises ConfigError that lists what is wrong and
    where."""
    refuse_other_kinds(Path(path), "dataset")
    return read_config(
        Path(path), TeachConfig, overrides=overrides or {}, check=find_teaching_problems
    )


def find_teaching_problems(config: TeachConfig) -> Iterator[tuple[str, str]]:
    """What only the whole configuration can tell to be wrong: the setting, and the trouble."""
    models = list_training_models(config.train)
    yield from find_shared_problems(config, models, _named_files(config))
    yield from find_training_problems(config.train, config.models)
    if config.budget is not None:
        yield "budget", "would do nothing, nothing that is asked here is counted in it; take it out"
    usual = RunSettings.model_fields["shard_rows"].default
    if config.shard_rows != usual and not list_cached_parts(config.train):
        yield "shard_rows", "would do nothing, no signal is written; take it out"


def _named_files(config: TeachConfig) -> Iterator[tuple[str, str]]:
    """The files that must be there already; a dataset that a run makes may come later."""
    runs = Path(config.runs_dir).resolve()
    if not Path(config.dataset).resolve().is_relative_to(runs):
        yield "dataset", config.dataset
    yield from list_training_files(config.train, config.evaluate)
