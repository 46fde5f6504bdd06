"""The Prefect flow: the same stages as `flows.pipeline`, each job a task, with artifacts.

A task is one shard, never one row. Nothing is cached by Prefect: the journal and the manifest are
the truth, so a task that is retried or run again finds what was done. Without `PREFECT_API_URL`
Prefect starts a server of its own for the time of the run.
"""

import os
import threading
from collections.abc import Iterator, Sequence
from typing import Any
from uuid import UUID

os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
os.environ.setdefault("DO_NOT_TRACK", "1")

from prefect import flow, task
from prefect.artifacts import (
    create_markdown_artifact,
    create_progress_artifact,
    create_table_artifact,
    update_progress_artifact,
)
from prefect.cache_policies import NO_CACHE
from prefect.futures import as_completed
from prefect.task_runners import ThreadPoolTaskRunner

from flows.config import load_config
from flows.console import Console
from flows.facts import StageCount
from flows.gather import gather_counts
from flows.pipeline import choose_stages, conduct
from flows.run_settings import RunSettings
from flows.stages.family import read_family
from flows.stages.report import REPORT
from flows.store import FileEntry, RunDirectory
from flows.summary import summarise_run, tell_summary
from flows.work import Job, JobContext, Stage, Tick, attach_context, share_context
from generators.clients import Stopped
from generators.errors import EndpointError, TutelageError

SHARDS_AT_ONCE = 4


THREADS: Any = ThreadPoolTaskRunner(max_workers=SHARDS_AT_ONCE)


@flow(name="distill", task_runner=THREADS)
def distill(
    config: str,
    overrides: dict[str, Any] | None = None,
    update: bool = False,
    quiet: bool = False,
) -> str:
    """Take a configuration file from seeds to an evaluated student; return the run directory."""
    settings = load_config(config, overrides)
    run = conduct_in_tasks(settings, quiet=quiet, update=update)
    publish_summary(settings, tell_summary(summarise_run(run)))
    return str(run.root)


def conduct_in_tasks(settings: RunSettings, *, quiet: bool, update: bool) -> RunDirectory:
    """Conduct a run inside a flow, each of its jobs as a task."""
    conductor = PrefectConductor()
    try:
        return conduct(settings, Console(json=quiet), conductor, update=update)
    except BaseException:
        conductor.stop.set()
        raise


def publish_summary(settings: RunSettings, markdown: str) -> None:
    """Show what came out where Prefect shows it."""
    key = _key(settings, "summary")
    create_markdown_artifact(markdown, key=key, description="What came out")


def _may_pass(task: Any, run: Any, state: Any) -> bool:
    """Retry what another try may mend: not a bad configuration, a bad file or a damaged run."""
    error = state.result(raise_on_failure=False)
    return isinstance(error, EndpointError) or not isinstance(error, TutelageError | Stopped)


@task(
    task_run_name="{stage} {shard}",
    retries=2,
    retry_delay_seconds=[2, 10],
    retry_condition_fn=_may_pass,
    cache_policy=NO_CACHE,
    persist_result=False,
)
def run_job(root: str, stage: str, shard: int, job: dict[str, Any]) -> list[dict[str, Any]]:
    """Do one job of a stage in whichever process this is; return its files' entries."""
    context, tick = attach_context(root)
    work = next(s for s in choose_stages(context.config) if s.name == stage).work
    entries = work(context, Job.model_validate(job), tick)
    return [entry.model_dump(mode="json") for entry in entries]


class PrefectConductor:
    """Jobs as Prefect tasks, with artifacts: progress, reasons for drops, links."""

    def __init__(self) -> None:
        self.stop = threading.Event()

    def carry_out(
        self, stage: Stage, context: JobContext[Any], jobs: Sequence[Job], tick: Tick
    ) -> Iterator[list[FileEntry]]:
        progress = Progress(context.config, stage.name, sum(job.rows for job in jobs))

        def tick_or_stop(rows: int) -> None:
            if self.stop.is_set():
                raise Stopped(f"{stage.name} was interrupted")
            tick(rows)
            progress.advance(rows)

        root = str(context.run.root)
        with share_context(root, context, tick_or_stop):
            try:
                futures = [
                    run_job.submit(root, stage.name, job.shard, job.model_dump(mode="json"))
                    for job in jobs
                ]
                for future in as_completed(futures):
                    yield [FileEntry.model_validate(entry) for entry in future.result()]
                    progress.report()
            except BaseException:
                self.stop.set()
                context.resources.interrupt()
                raise

    def stage_ended(self, stage: Stage, context: JobContext[Any]) -> None:
        config, root = context.config, context.run.root.resolve()
        if stage.name == "publish":
            counts = gather_counts(context, read_family(context))
            create_table_artifact(
                _list_drops(counts), key=_key(config, "drops"), description="Why rows fell"
            )
        if stage.name == "report":
            link = (root / REPORT).as_uri()
            create_markdown_artifact(
                f"[report.html]({link})", key=_key(config, "report"), description="The report"
            )


class Progress:
    """A stage's progress as an artifact, renewed as shards end."""

    def __init__(self, config: RunSettings, stage: str, total: int) -> None:
        self.total, self.done = max(total, 1), 0
        self._lock = threading.Lock()
        key = _key(config, f"{stage}-progress")
        created = create_progress_artifact(0.0, key=key, description=stage)
        self._id = created if isinstance(created, UUID) else None

    def advance(self, rows: int) -> None:
        with self._lock:
            self.done += rows

    def report(self) -> None:
        if self._id is not None:
            update_progress_artifact(self._id, min(100.0, 100 * self.done / self.total))


def _list_drops(counts: Iterator[StageCount] | Any) -> list[dict[str, Any]]:
    return [
        {"stage": c.stage, "decision": r.decision, "reason": r.reason, c.unit: r.count}
        for c in counts
        for r in c.reasons
    ]


def _key(config: RunSettings, name: str) -> str:
    """Artifact keys are lower-case letters, digits and dashes."""
    text = f"{config.name}-{name}".lower()
    return "".join(c if c.isalnum() and c.isascii() else "-" for c in text)
