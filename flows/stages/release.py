"""Stage `release`: answers that a person let out of quarantine join those that were verified.

They are looked at for duplicates, contamination and difficulty as all others are. What a later
stage puts into quarantine waits for a release of its own, and what one rejects stays rejected.
"""

from flows.history import BASE, read_base_verdicts
from flows.overrides import OVERRIDES, VERSION, may_lift, overrule, read_overrides
from flows.stages.consensus import CONSENSUS
from flows.stages.family import answer_stages, read_stage
from flows.stages.judge import JUDGE
from flows.stages.watch import WATCH
from flows.store import FileEntry
from flows.work import Context, Job, Tick
from generators.records import Verdict

RELEASE = "release"


class ReleaseStage:
    """One verdict for each quarantined answer that was released; no job where there is none."""

    name = RELEASE

    def plan(self, context: Context) -> list[Job]:
        rows = len(judge_released(context))
        if not rows:
            return []
        before = [OVERRIDES, BASE, *list_quarantining(context)]
        key = context.key(self.name, VERSION, before)
        output = f"{context.folder}/verdicts-release.parquet"
        return [Job(stage=self.name, outputs=(output,), rows=rows, key=key)]

    def work(self, context: Context, job: Job, tick: Tick) -> list[FileEntry]:
        verdicts = judge_released(context)
        tick(len(verdicts))
        return [context.write_records(job, job.outputs[0], Verdict, verdicts)]


def judge_released(context: Context) -> list[Verdict]:
    """The releases of answers that lie in quarantine for what a sampler's stage, the watch over
    its teacher, a vote or a judge said, or that an earlier cycle left in quarantine."""
    overrides = read_overrides(context.run)
    if not overrides:
        return []
    stages = list_quarantining(context)
    verdicts = [v for stage in stages for v in read_stage(context, stage, "verdicts-", Verdict)]
    verdicts += read_base_verdicts(context).values()
    overruled = [overrule(verdict, overrides) for verdict in verdicts if may_lift(verdict)]
    released = [v for v in overruled if v.decision == "accept"]
    return [verdict.model_copy(update={"stage": RELEASE}) for verdict in released]


def list_quarantining(context: Context) -> list[str]:
    """The stages before this one that put answers into quarantine."""
    return [*answer_stages(context), WATCH, CONSENSUS, JUDGE]


def read_released(context: Context) -> set[str]:
    """The answers that this stage let out of quarantine."""
    return {v.subject_id for v in read_stage(context, RELEASE, "verdicts-", Verdict)}
