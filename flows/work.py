"""Jobs, and what they work with: the run, its configuration, its models and the journal.

A job is one shard of one stage. It takes paths, writes files and returns their entries, so it can
run in this thread, in a Prefect task, or in another process that opens the same run directory.
"""

import asyncio
import functools
import re
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

from flows.annotate_settings import AnnotateConfig, parse_settings
from flows.classify_settings import ClassifyConfig
from flows.config import RunConfig
from flows.request_loop import RequestLoop
from flows.run_settings import (
    COUNTING,
    INERT_OF_MODELS,
    EmbeddedModel,
    EndpointModel,
    RunSettings,
    ServerModel,
    VllmModel,
)
from flows.shared_limits import SharedSlots
from flows.store import FileEntry, RunDirectory, name_folder, write_file
from flows.teach_settings import TeachConfig
from generators.clients import Client, Outcome, Request, Stopped, answer_requests
from generators.database_journal import DatabaseJournal
from generators.embedded import EmbeddedClient, EmbeddedSettings, identify_model
from generators.endpoint_settings import EndpointSettings
from generators.journal_place import make_journal
from generators.openai_batch import BatchClient
from generators.openai_compatible import OpenAICompatibleClient, identify_answers
from generators.records import Record, digest
from generators.spending import FREE, Meter, MeteredClient, read_spending
from generators.tables import R, write_records
from generators.vllm_client import ManagedVllmClient, VllmClient, VllmSettings, identify_vllm
from generators.vllm_server import ManagedServer

TEMPORARY = Path(tempfile.gettempdir())
C = TypeVar("C", bound=RunSettings)
Tick = Callable[[int], None]
"""Told how many rows of a job are newly done."""


class Job(Record):
    """One shard of one stage."""

    stage: str
    """The stage's name in the manifest: `evolve-1`, `answer-weak`."""
    shard: int = 0
    shards: int = 1
    outputs: tuple[str, ...]
    """Paths in the run directory."""
    rows: int
    """How many ticks the job is worth."""
    key: str
    """Digest of the settings and inputs that decide the outputs."""


class Stage(Protocol):
    """One step of a run: how it is cut into jobs, and how a job is done."""

    name: str

    def plan(self, context: "JobContext[Any]") -> list[Job]:
        """Cut the stage into jobs, from what is committed now."""
        ...

    def work(self, context: "JobContext[Any]", job: Job, tick: Tick) -> list[FileEntry]:
        """Do one job; its files are in place when it returns, but not yet committed."""
        ...


class Resources:
    """The models and the journal of one process; made when first asked for."""

    def __init__(self, config: RunSettings) -> None:
        self.config = config
        self._clients: dict[str, Client] = {}
        self._slots: dict[str, asyncio.Semaphore] = {}
        self._shared = SharedSlots()
        self._servers: list[ManagedServer] = []
        self._meter: Meter | None = None
        self._lock = threading.RLock()
        self._journal: DatabaseJournal | None = None
        self._requests: RequestLoop | None = None

    @property
    def journal(self) -> DatabaseJournal:
        with self._lock:
            if self._journal is None:
                place, run = self.config.journal_place, self.config.name
                self._journal = make_journal(place, run=run).open()
            return self._journal

    def client(self, name: str) -> Client:
        """The client of a model under `models`."""
        with self._lock:
            if name not in self._clients:
                client = make_client(self.config.models[name], Path(self.config.runs_dir))
                if isinstance(client, ManagedVllmClient):
                    self._share_server(client)
                own = isinstance(client, EmbeddedClient)
                self._clients[name] = client if own else self._put_on_meter(client)
                self._slots[name] = asyncio.Semaphore(client.concurrency)
            return self._clients[name]

    def make_scorer(self, name: str) -> Client:
        """A client of a vLLM server for a training alone, which runs it on an event loop of its
        own and closes it; what it spends is not on the meter."""
        with self._lock:
            client = make_client(self.config.models[name], Path(self.config.runs_dir))
            if isinstance(client, ManagedVllmClient):
                self._share_server(client)
            return client

    def _share_server(self, client: ManagedVllmClient) -> None:
        """One server for all models that differ only in how they are asked."""
        alike = [server for server in self._servers if server.is_like(client.server)]
        client.server = alike[0] if alike else client.server
        self._servers += [] if alike else [client.server]

    def _put_on_meter(self, client: Client) -> Client:
        """The client as far as the budget allows; one meter watches all models of the run."""
        if self.config.budget is None:
            return client
        if self._meter is None:
            servers = [m for m in self.config.models.values() if isinstance(m, ServerModel)]
            prices = {identify_answers(m, model_id(m)): m.price or FREE for m in servers}
            spent = read_spending(self.journal, self.config.name)
            self._meter = Meter(self.config.budget, prices, spent)
        return MeteredClient(client, self._meter)

    def ask(self, name: str, requests: Sequence[Request], tick: Tick | None) -> list[Outcome]:
        """Answer requests through the journal, from any thread."""
        client = self.client(name)
        if isinstance(client, EmbeddedClient):
            return asyncio.run(answer_requests(client, requests, self.journal, tick))
        with self._shared.hold(getattr(self.config.models[name], "shared_limit", None)):
            # However many shards ask at once, they keep the model's concurrency together.
            answering = answer_requests(client, requests, self.journal, tick, self._slots[name])
            with self._lock:
                self._requests = self._requests or RequestLoop()
            return self._requests.run(answering)

    def interrupt(self) -> None:
        """Break off what the models of this process are at, in whichever thread."""
        self._shared.stop()
        with self._lock:
            for client in self._clients.values():
                if isinstance(client, EmbeddedClient):
                    client.stop()

    def release_models(self) -> None:
        """Let go of models in this process and stop our own servers, to make room for a training;
        asked again, they come back."""
        with self._lock:
            for server in self._servers:
                server.stop()
            self._clients = {
                name: client
                for name, client in self._clients.items()
                if not isinstance(client, EmbeddedClient)
            }

    def close(self) -> None:
        """Break off requests that are under way, and give back connections and the journal."""
        self._shared.stop()
        with self._lock:
            if self._requests is not None:
                every = self._clients.values()
                self._requests.close([c for c in every if not isinstance(c, EmbeddedClient)])
                self._requests = None
            self._clients.clear()
            if self._journal is not None:
                self._journal.close()
                self._journal = None


class JobContext(NamedTuple, Generic[C]):
    """What every stage is given."""

    run: RunDirectory
    config: C
    cycle: int
    resources: Resources

    @property
    def folder(self) -> str:
        """This cycle's folder in the run directory."""
        return name_folder(self.cycle)

    def key(self, stage: str, settings: Any, input_stages: Sequence[str]) -> str:
        """Digest of a stage's settings and of the files of the stages that it reads."""
        entries = self.run.entries()
        inputs = [(e.path, e.sha256) for e in entries if e.stage in input_stages]
        return digest(stage, settings, inputs)

    def model_settings(self, name: str) -> Any:
        """The settings of a model that decide what it answers."""
        return self.config.models[name].model_dump(mode="json", exclude=INERT_OF_MODELS | COUNTING)

    def write(self, job: Job, path: str, write: Callable[[Path], Any]) -> FileEntry:
        """Have `write` fill one of a job's outputs, durably."""
        return write_file(self.run.root, path, write, stage=job.stage, key=job.key)

    def write_text(self, job: Job, path: str, text: str) -> FileEntry:
        """Write a text as one of a job's outputs."""
        return self.write(job, path, lambda place: place.write_text(text, encoding="utf-8"))

    def write_records(self, job: Job, path: str, kind: type[R], records: Sequence[R]) -> FileEntry:
        """Write records as one of a job's outputs."""
        return self.write(job, path, lambda place: write_records(place, kind, records))


Context = JobContext[RunConfig]
AnnotationContext = JobContext[AnnotateConfig]
ClassifierContext = JobContext[ClassifyConfig]
TeachContext = JobContext[TeachConfig]
LearningContext = Context | TeachContext
"""Where a language model is taught: at the end of a run, or on its own."""


@contextmanager
def open_context(root: Path, config: C, cycle: int | None = None) -> Iterator[JobContext[C]]:
    """Open a cycle of a run for work, the newest where none is named, and close its journal and
    models at the end."""
    resources = Resources(config)
    try:
        yield enter_cycle(root, config, resources, cycle)
    finally:
        resources.close()


def enter_cycle(
    root: Path, config: C, resources: Resources, cycle: int | None = None
) -> JobContext[C]:
    """What a stage of a cycle is given; of the newest one, where none is named."""
    run = RunDirectory(root, cycle or RunDirectory(root).cycle)
    return JobContext(run, config, run.cycle, resources)


def shard_jobs(
    stage: str, outputs: Sequence[str], rows: int, shard_rows: int, key: str
) -> list[Job]:
    """Cut `rows` rows into jobs; `outputs` are path patterns with `{}` for the shard's number."""
    shards = max(1, -(-rows // shard_rows))
    return [
        Job(
            stage=stage,
            shard=shard,
            shards=shards,
            outputs=tuple(pattern.format(f"{shard:03d}") for pattern in outputs),
            rows=min(shard_rows, rows - shard * shard_rows),
            key=key,
        )
        for shard in range(shards)
    ]


def model_id(model: EmbeddedModel | ServerModel) -> str:
    """Name and revision of a model, as rows and the journal call it; never its URL."""
    if isinstance(model, EmbeddedModel):
        return identify_model(model.model)
    if isinstance(model, VllmModel):
        return identify_vllm(model)
    return f"{model.model}@{model.revision}" if model.revision else model.model


@functools.singledispatch
def make_client(model: Any, logs: Path = TEMPORARY) -> Client:
    """The client that a model's settings describe; a server that it starts writes into `logs`."""
    raise TypeError(f"{type(model).__name__} is no kind of model")


@make_client.register
def _(model: EmbeddedModel, logs: Path = TEMPORARY) -> Client:
    settings = {name: getattr(model, name) for name in EmbeddedSettings.model_fields}
    return EmbeddedClient(EmbeddedSettings(**settings))


@make_client.register
def _(model: EndpointModel, logs: Path = TEMPORARY) -> Client:
    fields = {name: getattr(model, name) for name in EndpointSettings.model_fields}
    settings = EndpointSettings(**fields)
    if model.batch is not None:
        return BatchClient(settings, model.batch, model_id=model_id(model))
    return OpenAICompatibleClient(settings, model_id=model_id(model))


@make_client.register
def _(model: VllmModel, logs: Path = TEMPORARY) -> Client:
    settings = VllmSettings(**{name: getattr(model, name) for name in VllmSettings.model_fields})
    if settings.serve is None:
        return VllmClient(settings, model_id=model_id(model))
    log = f"{re.sub(r'[^A-Za-z0-9._-]+', '-', settings.model).strip('-')}.vllm.log"
    return ManagedVllmClient(settings, log=logs / log)


_SHARED: dict[str, tuple[JobContext[Any], Tick] | None] = {}
"""By run directory; None where this process has shared a context and taken it back."""
_OPENED: dict[str, JobContext[Any]] = {}
"""By run directory: what a worker's process has opened itself."""


@contextmanager
def share_context(root: str, context: JobContext[Any], tick: Tick) -> Iterator[None]:
    """Let the tasks of this process use the conductor's own models and journal."""
    _SHARED[root] = (context, tick)
    try:
        yield
    finally:
        _SHARED[root] = None


def attach_context(root: str) -> tuple[JobContext[Any], Tick]:
    """The context shared in this process; in a worker's process, one opened from the manifest.

    Raises Stopped for a task that comes after its stage was interrupted.
    """
    if root not in _SHARED:
        return _open_anew(root), lambda rows: None
    shared = _SHARED[root]
    if shared is None:
        raise Stopped("the run was interrupted")
    return shared


def _open_anew(root: str) -> JobContext[Any]:
    """The run as this process opened it before, or anew where another cycle has begun since or
    its configuration has changed."""
    opened, manifest = _OPENED.get(root), RunDirectory(Path(root)).manifest
    if opened is not None:
        known = (opened.cycle, opened.config.digest)
        if known == (manifest.newest, manifest.config_digest):
            return opened
        opened.resources.close()
    config = parse_settings(manifest.config)
    _OPENED[root] = enter_cycle(Path(root), config, Resources(config))
    return _OPENED[root]
