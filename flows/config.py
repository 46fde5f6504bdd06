"""What a run is: the configuration file's settings, each with its meaning.

Every section belongs to the room that uses it (`EvolveSettings` to evolution, `TrainSettings` to
the trainer); here they are put together, and checked for what only the whole can tell: that names
of models exist, that files are there, that the teachers' licences let the outputs train a model.
"""

import functools
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from flows.config_file import read_config
from generators.answers import SamplerSettings
from generators.embedded import EmbeddedSettings
from generators.endpoint_settings import EndpointSettings
from generators.errors import nearest
from generators.licence import Terms
from generators.openai_compatible import identify_answers
from generators.operator_sets import OPERATORS
from generators.operators import EvolveSettings
from generators.prompting import Form
from generators.records import Record, VerifiedBy, digest
from generators.spending import Budget, Price
from trainers.settings import TrainSettings


class EmbeddedModel(EmbeddedSettings, Terms):
    """A model that runs in this process."""

    kind: Literal["embedded"]
    form: Form = "chat"
    """`complete` for small and base models: prompts are few-shot texts to be continued."""


class EndpointModel(EndpointSettings, Terms):
    """A model behind an OpenAI-compatible URL."""

    kind: Literal["openai"]
    form: Form = "chat"
    revision: str | None = None
    """Which state of the model the server has; part of the journal's key."""
    price: Price | None = None
    """What its tokens cost; asked for by `budget.max_cost_usd`."""


PACES = {
    *("base_url", "api_key_env", "concurrency", "timeout_s", "deadline_s", "max_attempts"),
    *("requests_per_minute", "tokens_per_minute", "breaker_failures", "breaker_pause_s", "price"),
}
"""Settings of a model that decide nothing of what it answers."""
Model = Annotated[EmbeddedModel | EndpointModel, Field(discriminator="kind")]


class SeedSettings(Record):
    paths: tuple[str, ...] = Field(min_length=1)
    """JSONL files, relative to where the command is typed."""


class AnswerSettings(Record):
    samplers: tuple[SamplerSettings, ...] = Field(min_length=1)
    """In the order in which they are asked: the cheap one first."""


class DedupSettings(Record):
    threshold: float = Field(default=0.7, gt=0, le=1)
    """Jaccard similarity of word 3-grams from which two texts are near duplicates."""


class PublishSettings(Record):
    accept: tuple[VerifiedBy, ...] = ("program", "constraint", "reference", "consensus")
    """How a row may have been verified. `judge` and `none` must be named to be let in."""
    answers_per_prompt: int = Field(default=2, ge=1)
    """At most so many distinct verified answers of one prompt are published."""
    licence: str
    """The published dataset's licence."""


class TrainStage(TrainSettings):
    """Training as the last step of the run."""

    student: str = "smollm2-135m-instruct"
    """The model to teach: the bundled one, a folder, or a Hugging Face id."""
    accept: tuple[VerifiedBy, ...] = ("program", "constraint", "reference", "consensus")
    """Rows verified in these ways are trained on."""


class EvaluateSettings(Record):
    """Held-out evaluation, before and after training."""

    held_out: tuple[str, ...] = Field(min_length=1)
    """JSONL files of seeds; their procedural prompts come from the held-out split."""
    prompts: int = Field(default=200, ge=1)
    """Prompts answered greedily, for pass@1."""
    k: int = Field(default=4, ge=1)
    k_prompts: int = Field(default=50, ge=0)
    """Prompts answered k times, for pass@k."""
    temperature: float = Field(default=0.7, gt=0)
    max_tokens: int = Field(default=48, ge=1)
    examples: str | None = None
    """Worked examples: with them the untrained student is scored once more, to tell how much of a
    gain is form."""
    text: str | None = None
    """JSONL of plain paragraphs for perplexity and the divergence from the teacher."""
    batch_size: int = Field(default=64, ge=1)


class RunConfig(Record):
    """A run: from seeds to an evaluated student."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    seed: int = 0
    runs_dir: str = "runs"
    """Where run directories and the journal lie."""
    shard_rows: int = Field(default=200, ge=1)
    """Rows worked on by one task."""
    seeds: SeedSettings
    models: dict[str, Model] = Field(min_length=1)
    budget: Budget | None = None
    """What the requests to model servers may cost; without it there is no limit."""
    evolve: EvolveSettings | None = None
    answer: AnswerSettings
    dedup: DedupSettings = DedupSettings()
    publish: PublishSettings
    train: TrainStage | None = None
    evaluate: EvaluateSettings | None = None

    @property
    def root(self) -> Path:
        """The run directory."""
        return Path(self.runs_dir) / self.name

    @property
    def journal_path(self) -> Path:
        return Path(self.runs_dir) / "journal.sqlite"

    @functools.cached_property
    def digest(self) -> str:
        """Digest of everything that decides what the run makes; not of where it lies, nor where
        its servers are, how fast they are asked and what they may cost."""
        exclude: Any = dict.fromkeys(("name", "runs_dir", "budget"), True)
        exclude["models"] = {"__all__": PACES}
        return digest(self.model_dump(mode="json", exclude=exclude))


def load_config(path: str | Path, overrides: Mapping[str, Any] | None = None) -> RunConfig:
    """Read and check a configuration; raises ConfigError that lists what is wrong and where."""
    return read_config(Path(path), RunConfig, overrides=overrides or {}, check=find_problems)


def find_problems(config: RunConfig) -> Iterator[tuple[str, str]]:
    """What only the whole configuration can tell to be wrong: the setting, and the trouble."""
    for setting, name in _named_models(config):
        if name not in config.models:
            known = ", ".join(config.models)
            near = nearest(name, config.models)
            yield setting, f"no model is called {name!r}{near} (models: {known})"
    for setting, file in _named_files(config):
        if not Path(file).exists():
            yield setting, f"{file}: no such file (looked for it from {Path.cwd()})"
    if "://" in config.runs_dir:
        yield "runs_dir", f"{config.runs_dir}: run directories lie on a local disk"
    names = [sampler.name for sampler in config.answer.samplers]
    for name in sorted({name for name in names if names.count(name) > 1}):
        yield "answer.samplers", f"two samplers are called {name!r}"
    if config.evolve is not None:
        for i, operator in enumerate(config.evolve.operators or ()):
            if operator not in OPERATORS:
                near, known = nearest(operator, OPERATORS), ", ".join(OPERATORS)
                yield f"evolve.operators.{i}", f"{operator!r} is no operator{near} (known: {known})"
    for i, sampler in enumerate(config.answer.samplers):
        if sampler.structured and isinstance(config.models.get(sampler.model), EmbeddedModel):
            what = f"models.{sampler.model} runs in this process, where no schema can be asked for"
            yield f"answer.samplers.{i}.structured", f"{what}; take it out"
    yield from _find_budget_problems(config)
    yield from _find_training_problems(config)


def _find_budget_problems(config: RunConfig) -> Iterator[tuple[str, str]]:
    if config.budget is None:
        return
    if config.budget.max_cost_usd is None and config.budget.max_tokens is None:
        yield "budget", "sets no limit: name max_cost_usd or max_tokens"
    if config.budget.max_cost_usd is None:
        return
    servers = {n: m for n, m in config.models.items() if isinstance(m, EndpointModel)}
    for name, model in servers.items():
        if model.price is None:
            yield (
                f"models.{name}.price",
                "budget.max_cost_usd needs it: write "
                "`price: {input_usd_per_million: …, output_usd_per_million: …}`",
            )
        first = next(n for n, m in servers.items() if _identify(m) == _identify(model))
        if servers[first].price not in (None, model.price):
            message = f"models.{first} is the same model at another price; state one price"
            yield f"models.{name}.price", message


def _identify(model: EndpointModel) -> str:
    return identify_answers(model, f"{model.model}@{model.revision}")


def _find_training_problems(config: RunConfig) -> Iterator[tuple[str, str]]:
    if config.train is None:
        if config.evaluate is not None:
            yield "evaluate", "there is no student to evaluate: add a train section"
        return
    teacher = config.models.get(config.train.teacher or "")
    if config.train.objective != "sft" and config.train.teacher is None:
        yield "train.objective", f"{config.train.objective} follows a teacher: name train.teacher"
    if teacher is not None and not isinstance(teacher, EmbeddedModel):
        yield (
            "train.teacher",
            "its logits are needed, so it must run in this process: name an embedded model, or "
            "choose objective sft",
        )


def _named_models(config: RunConfig) -> Iterator[tuple[str, str]]:
    if config.evolve is not None:
        yield "evolve.model", config.evolve.model
    for i, sampler in enumerate(config.answer.samplers):
        yield f"answer.samplers.{i}.model", sampler.model
    if config.train is not None and config.train.teacher is not None:
        yield "train.teacher", config.train.teacher


def _named_files(config: RunConfig) -> Iterator[tuple[str, str]]:
    for i, path in enumerate(config.seeds.paths):
        yield f"seeds.paths.{i}", path
    for i, sampler in enumerate(config.answer.samplers):
        if sampler.examples is not None:
            yield f"answer.samplers.{i}.examples", sampler.examples
    if config.evaluate is not None:
        for i, path in enumerate(config.evaluate.held_out):
            yield f"evaluate.held_out.{i}", path
        for name in ("examples", "text"):
            if (path := getattr(config.evaluate, name)) is not None:
                yield f"evaluate.{name}", path
