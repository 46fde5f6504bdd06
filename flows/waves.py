"""How far a sampler is asked by now: a run that wants so many rows (`publish.target_rows`), or that
watches its teachers (`watch`), asks for answers in waves.

After each wave the committed answers are looked at: how many rows they would publish, and whether
the stage's teacher has turned bad. What a wave holds follows from the committed shards before it
and from nothing else, so a run that was killed and resumed asks for the same.
"""

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

from filters.teacher_watch import Alarm
from flows.run_watch import open_watch
from flows.stages.answer import AnswerStage, earlier_stages
from flows.target import Aim, take_aim
from flows.work import Context, Job, JobContext, Stage


class Wave(NamedTuple):
    """How far a stage is to go for now, and what has come of it."""

    jobs: list[Job]
    aim: Aim | None = None
    """None in a run without a target."""
    alarm: Alarm | None = None
    """Why its teacher is asked no further, although jobs are left."""


def plan_wave(stage: Stage, context: JobContext[Any], jobs: list[Job]) -> Wave | None:
    """The part of an answer stage's jobs that is to be done by now; None where all of them are."""
    if not isinstance(stage, AnswerStage):
        return None
    config, before = context.config, earlier_stages(context, stage.sampler)
    target, watch = config.publish.target_rows, open_watch(context, before)
    if target is None and watch is None:
        return None
    done, start = 0, None
    while True:
        suspects = watch.suspects if watch else set()
        aim = take_aim(context, before, jobs[:done], suspects, start) if target else None
        start = aim.rows if aim and start is None else start
        if done == len(jobs) or (aim and not aim.forecast):
            return Wave(jobs[:done], aim and aim._replace(forecast=0))
        if watch and (alarm := watch.alarms.get(stage.sampler.model)):
            return Wave(jobs[:done], aim and aim._replace(forecast=0), alarm)
        sizes = [math.ceil(aim.forecast / config.shard_rows)] if aim else []
        sizes += [config.watch.wave_shards] if watch else []
        wave = jobs[: done + min(sizes)]
        if not all(context.run.has(job.outputs, job.key) for job in wave):
            return Wave(wave, aim)
        if watch:
            watch.take(stage.name, [path for job in wave[done:] for path in job.outputs])
        done = len(wave)


def list_unasked(context: Context) -> Iterator[tuple[AnswerStage, int]]:
    """The samplers' stages that stopped for their teacher, and the number of prompts that they were
    not asked for that reason."""
    for sampler in context.config.samplers:
        stage = AnswerStage(sampler)
        jobs = stage.plan(context)
        wave = plan_wave(stage, context, jobs)
        if wave is not None and wave.alarm is not None:
            yield stage, sum(job.rows for job in jobs[len(wave.jobs) :]) // sampler.n
