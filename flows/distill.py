"""The Prefect flow: the same stages as `flows.pipeline`, each job a task, with artifacts.

A task is one shard, never one row. Nothing is cached by Prefect: the journal and the manifest are
the truth, so a task that is retried or run again finds what was done. Without `PREFECT_API_URL`
Prefect starts a server of its own for the time of the run.
"""

import threading
from collections.abc import Iterator, Sequence
from typing import Any

from prefect import flow, task
from prefect.cache_policies import NO_CACHE
from prefect.futures import as_completed
from prefect.task_runners import ThreadPoolTaskRunner

from flows.config import load_config
from flows.console import Console
from flows.lost_runs import begin_watched
from flows.notify import HOOKS
from flows.pipeline import conduct
from flows.run_artifacts import (
    Progress,
    publish_counts,
    publish_links,
    publish_report,
    publish_summary,
)
from flows.run_settings import RunSettings
from flows.stage_lists import choose_stages
from flows.store import FileEntry, RunDirectory
from flows.summary import summarise_run, tell_summary
from flows.work import Job, JobContext, Stage, Tick, attach_context, share_context
from generators.clients import Stopped
from generators.errors import EndpointError, TutelageError

SHARDS_AT_ONCE = 4


THREADS: Any = ThreadPoolTaskRunner(max_workers=SHARDS_AT_ONCE)


@flow(name="distill", task_runner=THREADS, **HOOKS)
def distill(
    config: str,
    overrides: dict[str, Any] | None = None,
    update: bool = False,
    quiet: bool = False,
    new_cycle: bool = False,
) -> str:
    """Take a configuration file from seeds to an evaluated student, or a finished run through
    another cycle; return the run directory."""
    settings = load_config(config, overrides)
    run = conduct_in_tasks(settings, quiet=quiet, update=update, new_cycle=new_cycle)
    publish_summary(settings, tell_summary(summarise_run(run)))
    publish_links(settings, run)
    return str(run.root)


def conduct_in_tasks(
    settings: RunSettings, *, quiet: bool, update: bool, new_cycle: bool = False
) -> RunDirectory:
    """Conduct a run inside a flow, each of its jobs as a task."""
    begin_watched()
    conductor, console = PrefectConductor(), Console(json=quiet)
    try:
        return conduct(settings, console, conductor, update=update, new_cycle=new_cycle)
    except BaseException:
        conductor.stop.set()
        raise


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
    stages = choose_stages(context.config, context.cycle)
    work = next(s for s in stages if s.name == stage).work
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
        if stage.name == "publish":
            publish_counts(context)
        if stage.name == "report":
            publish_report(context.config, context.run)
