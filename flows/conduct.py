"""How the jobs of a stage are done: what is missing, wave by wave, each file committed as it comes.

A conductor decides where jobs run: in this thread (`PlainConductor`) or as Prefect tasks
(`flows.distill`). Both see the same jobs, and only this process writes the manifest.
"""

import time
from collections.abc import Iterator, Sequence
from typing import Any, Protocol

from flows.console import Console
from flows.stages.watch import describe_alarm
from flows.store import FileEntry
from flows.waves import plan_wave
from flows.work import Job, JobContext, Stage, Tick


class Conductor(Protocol):
    """Where the jobs of a stage are done."""

    def carry_out(
        self, stage: Stage, context: JobContext[Any], jobs: Sequence[Job], tick: Tick
    ) -> Iterator[list[FileEntry]]:
        """Do the jobs; yield the entries of each as it ends."""
        ...

    def stage_ended(self, stage: Stage, context: JobContext[Any]) -> None:
        """Told after a stage's files are committed."""
        ...


class PlainConductor:
    """One job after another, in this thread."""

    def carry_out(
        self, stage: Stage, context: JobContext[Any], jobs: Sequence[Job], tick: Tick
    ) -> Iterator[list[FileEntry]]:
        for job in jobs:
            yield stage.work(context, job, tick)

    def stage_ended(self, stage: Stage, context: JobContext[Any]) -> None:
        """Nobody else is told."""


def conduct_stage(
    stage: Stage, context: JobContext[Any], console: Console, conductor: Conductor
) -> None:
    """Do what is missing of a stage, committing each job as it ends; a stage that works towards a
    number of rows goes no further than it must."""
    started, worked = time.monotonic(), False
    jobs = stage.plan(context)
    while True:
        wave = plan_wave(stage, context, jobs)
        wanted = jobs if wave is None else wave.jobs
        missing = [job for job in wanted if not context.run.has(job.outputs, job.key)]
        if wave is not None and wave.aim and wave.jobs:
            console.line(f"{stage.name}: {wave.aim.told}")
        if not missing:
            break
        worked = True
        do_jobs(stage, context, wanted, missing, console, conductor)
    if wave is not None and wave.alarm is not None:
        left = sum(job.rows for job in jobs[len(wave.jobs) :])
        console.warn(
            f"{stage.name}: its teacher is quarantined ({describe_alarm(wave.alarm)}); {left:,} "
            "answers were not asked for"
        )
    if worked:
        context.run.add_seconds(stage.name, time.monotonic() - started)
    context.run.keep_only(stage.name, {job.key for job in jobs})
    context.run.drop(path for job in jobs if job not in wanted for path in job.outputs)
    conductor.stage_ended(stage, context)


def do_jobs(
    stage: Stage,
    context: JobContext[Any],
    jobs: Sequence[Job],
    missing: Sequence[Job],
    console: Console,
    conductor: Conductor,
) -> None:
    """Do the missing ones of these jobs, and commit the files of each as it ends."""
    with console.stage(stage.name, sum(job.rows for job in jobs)) as progress:
        progress.advance(sum(job.rows for job in jobs if job not in missing))
        for entries in conductor.carry_out(stage, context, missing, progress.advance):
            context.run.commit(entries)
