"""What every run is told, whatever it makes: its name and place, its models, what it may spend.

`flows.config` adds the settings of a run from seeds to a student, `flows.annotate_settings` those
of an annotation.
"""

import functools
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationInfo, field_validator

from flows.notify_settings import NotifySettings
from flows.shared_limits import SharedLimit
from generators.embedded import EmbeddedSettings
from generators.endpoint_settings import BatchSettings, EndpointSettings
from generators.errors import nearest
from generators.journal_place import FILE, find_fault
from generators.licence import Terms
from generators.openai_compatible import identify_answers
from generators.prompting import Form
from generators.records import Record, digest
from generators.spending import Budget, Price
from generators.vllm_client import VllmSettings
from trainers.rollout_settings import INERT_OF_TRAINING


class EmbeddedModel(EmbeddedSettings, Terms):
    """A model that runs in this process."""

    kind: Literal["embedded"]
    form: Form = "chat"
    """`complete` for small and base models: prompts are few-shot texts to be continued."""


class ServerModel(EndpointSettings, Terms):
    """A model behind a URL."""

    form: Form = "chat"
    revision: str | None = None
    """Which state of the model the server has; part of the journal's key."""
    price: Price | None = None
    """What its tokens cost; asked for by `budget.max_cost_usd`."""
    parameters: float | None = Field(default=None, gt=0)
    """Its non-embedding parameters in billions; asked for by a sampler's `matched_to`."""
    shared_limit: SharedLimit | None = None
    """Keep a limit together with other flows; without it the run minds its own `concurrency`."""


class EndpointModel(ServerModel):
    """A model behind an OpenAI-compatible URL."""

    kind: Literal["openai"]
    batch: BatchSettings | None = None
    """Ask it by OpenAI's Batch API; without it each request is sent on its own."""

    @field_validator("batch")
    @classmethod
    def _check_batch(
        cls, batch: BatchSettings | None, info: ValidationInfo
    ) -> BatchSettings | None:
        defaults = {name: cls.model_fields[name].default for name in OF_SINGLE_REQUESTS}
        idle = [name for name, usual in defaults.items() if info.data.get(name, usual) != usual]
        if batch is not None and idle:
            raise ValueError(
                f"{', '.join(idle)}: would do nothing, requests go in one file; take it out"
            )
        return batch


class VllmModel(VllmSettings, ServerModel):
    """A model behind a vLLM server, which may be one of our own."""

    kind: Literal["vllm"]


OF_SINGLE_REQUESTS = (
    "requests_per_minute",
    "tokens_per_minute",
    "breaker_failures",
    "breaker_pause_s",
)
"""Settings of a server that mean nothing where it is asked in batches."""
INERT_OF_MODELS: dict[str, Any] = dict.fromkeys(
    (
        *("base_url", "api_key_env", "concurrency", "timeout_s", "deadline_s", "max_attempts"),
        *OF_SINGLE_REQUESTS,
        *("price", "batch", "shared_limit"),
    ),
    True,
) | {"serve": {"python", "env", "start_timeout_s", "stop_timeout_s", "max_restarts"}}
"""Settings of a model that decide nothing of what it answers."""
COUNTING = {"parameters": True}
"""Settings of a model that decide how many samples are drawn, and nothing of what they say."""
INERT = ("name", "runs_dir", "journal", "budget", "auto_evol", "stop_rule", "notify", "viewer")
"""Settings of a run that decide nothing of what it makes."""
Model = Annotated[EmbeddedModel | EndpointModel | VllmModel, Field(discriminator="kind")]


class RunSettings(Record):
    """What a run from seeds to a student and an annotation have in common."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    seed: int = 0
    runs_dir: str = "runs"
    """Where run directories lie, and the journal if it has no place of its own."""
    journal: str | None = None
    """The journal's SQLite file, or a PostgreSQL database as `postgresql://user@host/database`."""
    shard_rows: int = Field(default=200, ge=1)
    """Rows worked on by one task."""
    models: dict[str, Model] = Field(min_length=1)
    budget: Budget | None = None
    """What the requests to model servers may cost; without it there is no limit."""
    notify: NotifySettings | None = None
    """Whom the Prefect flow tells how it ended; nobody without it."""

    @property
    def root(self) -> Path:
        """The run directory."""
        return Path(self.runs_dir) / self.name

    @property
    def journal_place(self) -> str:
        """The journal's file or URL."""
        return self.journal or str(Path(self.runs_dir) / FILE)

    @functools.cached_property
    def digest(self) -> str:
        """Digest of everything that decides what the run makes."""
        return digest(self.dump_decisive())

    def dump_decisive(self) -> dict[str, Any]:
        """The settings that decide what the run makes; not where it lies, nor where its servers
        are, how fast they are asked and what they may cost."""
        exclude: Any = dict.fromkeys(INERT, True)
        exclude["models"] = {"__all__": INERT_OF_MODELS}
        exclude["train"] = INERT_OF_TRAINING
        return self.model_dump(mode="json", exclude=exclude)


def find_shared_problems(
    config: RunSettings, models: Iterable[tuple[str, str]], files: Iterable[tuple[str, str]]
) -> Iterator[tuple[str, str]]:
    """What is wrong with the settings that all runs have, and with the models and files that a
    configuration names, given as settings and names."""
    for setting, name in models:
        if name not in config.models:
            known = ", ".join(config.models)
            near = nearest(name, config.models)
            yield setting, f"no model is called {name!r}{near} (models: {known})"
    for setting, file in files:
        if not Path(file).exists():
            yield setting, f"{file}: no such file (looked for it from {Path.cwd()})"
    if "://" in config.runs_dir:
        yield "runs_dir", f"{config.runs_dir}: run directories lie on a local disk; name a folder"
    if config.journal is not None and (fault := find_fault(config.journal)):
        yield "journal", fault
    yield from _find_budget_problems(config)
    yield from _find_limit_problems(config)


def _find_budget_problems(config: RunSettings) -> Iterator[tuple[str, str]]:
    if config.budget is None:
        return
    if config.budget.max_cost_usd is None and config.budget.max_tokens is None:
        yield "budget", "sets no limit: name max_cost_usd or max_tokens"
    if config.budget.max_cost_usd is None:
        return
    servers = {n: m for n, m in config.models.items() if isinstance(m, ServerModel)}
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


def _find_limit_problems(config: RunSettings) -> Iterator[tuple[str, str]]:
    first: dict[str, str] = {}
    for name, model in config.models.items():
        limit = model.shared_limit if isinstance(model, ServerModel) else None
        if limit is None:
            continue
        other = config.models[first.setdefault(limit.name, name)]
        if isinstance(other, ServerModel) and other.shared_limit != limit:
            text = f"models.{first[limit.name]} gives {limit.name} another number; state one"
            yield f"models.{name}.shared_limit.slots", text


def _identify(model: ServerModel) -> str:
    return identify_answers(model, f"{model.model}@{model.revision}")
