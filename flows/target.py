"""So many rows and no more (`publish.target_rows`): how many the answers so far would publish.

The yield so far forecasts how many more prompts are needed; `flows.waves` asks for them.
"""

import math
from collections.abc import Container, Sequence
from typing import NamedTuple

from flows.history import read_published
from flows.stages.accepted import order_answers
from flows.stages.answer import is_verified
from flows.stages.dedup import judge_duplicates
from flows.stages.family import read_family, read_files, read_stage
from flows.stages.publish import choose_rows
from flows.work import Context, Job
from generators.records import Answer, Verdict


class Aim(NamedTuple):
    """How near to its target a run is."""

    rows: int
    """That the committed answers would publish."""
    target: int
    forecast: int
    """About so many prompts are still to be asked; 0 where the target is reached."""

    @property
    def told(self) -> str:
        asked = f"{self.rows:,} of {self.target:,} rows"
        return f"{asked}; about {self.forecast:,} more prompts needed" if self.forecast else asked


def take_aim(
    context: Context,
    stages: Sequence[str],
    jobs: Sequence[Job],
    suspects: Container[str],
    start: int | None,
) -> Aim:
    """Count what whole stages and these jobs of the next one have brought, and forecast the rest.

    `suspects` are answers that will not be published; `start` is how many rows there were before
    the first of the jobs.
    """
    target, rows_a_job = context.config.publish.target_rows, context.config.shard_rows
    assert target is not None
    rows = count_rows(context, stages, jobs, suspects)
    if start is None or not jobs:
        return Aim(rows, target, rows_a_job if rows < target else 0)
    return Aim(rows, target, forecast(rows - start, len(jobs) * rows_a_job, target - rows))


def forecast(gained: int, asked: int, missing: int) -> int:
    """How many prompts bring the missing rows at the yield so far; as many again as were asked
    where nothing has come yet."""
    if missing <= 0:
        return 0
    return math.ceil(missing * asked / gained) if gained > 0 else asked


def count_rows(
    context: Context, stages: Sequence[str], jobs: Sequence[Job], suspects: Container[str]
) -> int:
    """The rows that the answers of whole stages and of these jobs would publish, without suspects.

    Votes that are not held yet count for nothing, and what decontamination, screening, the
    difficulty band and selection will take counts.
    """
    paths = [path for job in jobs for path in job.outputs]
    answers = read_files(context, [p for p in paths if "/answers-" in p], Answer)
    verdicts = read_files(context, [p for p in paths if "/verdicts-" in p], Verdict)
    for name in stages:
        answers += read_stage(context, name, "answers-", Answer)
        verdicts += read_stage(context, name, "verdicts-", Verdict)
    verified = {verdict.subject_id for verdict in verdicts if is_verified(verdict)}
    wanted = [a for a in answers if a.id in verified and a.id not in suspects]
    return count_publishable(context, order_answers(wanted))


def count_publishable(context: Context, accepted: Sequence[Answer]) -> int:
    """The rows that accepted answers, in their order, would publish without a target."""
    prompts = read_family(context).prompts
    published, threshold = read_published(context), context.config.dedup.threshold
    kept = judge_duplicates(accepted, prompts, threshold, kept=published)
    unique = {verdict.subject_id for verdict in kept if verdict.decision == "accept"}
    settings = context.config.publish.model_copy(update={"target_rows": None})
    chosen = choose_rows([a for a in accepted if a.id in unique], prompts, settings)
    return sum(verdict.decision == "accept" for verdict in chosen)
