"""Stage `select`: which of the wanted answers are worth learning from, by `select` in the
configuration. What looks planted to the student is quarantined, what teaches little is rejected.
"""

from filters.selection import VERSION, Measured, SelectSettings, select_answers
from flows.overrides import OVERRIDES, overrule, read_overrides
from flows.stages.accepted import keep_accepted
from flows.stages.difficulty import DIFFICULTY, read_wanted
from flows.stages.embeddings import EMBEDDINGS, read_vectors
from flows.stages.family import answer_stages, evolve_stages, read_family
from flows.stages.losses import LOSSES, find_ifd, read_losses
from flows.stages.screen import SCREEN
from flows.store import FileEntry
from flows.work import Context, Job, Tick
from generators.records import Answer, Verdict

SELECT = "select"


class SelectStage:
    """One verdict for each wanted answer."""

    name = SELECT

    def __init__(self, settings: SelectSettings) -> None:
        self.settings = settings

    def plan(self, context: Context) -> list[Job]:
        read = [LOSSES, *([EMBEDDINGS] if self.settings.by_distance else [])]
        stages = [*answer_stages(context), "dedup", SCREEN, DIFFICULTY, *read, OVERRIDES]
        settings = [self.settings.model_dump(mode="json", exclude={"beside_random"}), VERSION]
        key = context.key(self.name, settings, [*evolve_stages(context), *stages])
        output = f"{context.folder}/verdicts-select.parquet"
        rows = len(read_wanted(context))
        return [Job(stage=self.name, outputs=(output,), rows=rows, key=key)]

    def work(self, context: Context, job: Job, tick: Tick) -> list[FileEntry]:
        wanted, overrides = read_wanted(context), read_overrides(context.run)
        verdicts = judge_answers(context, wanted, self.settings)
        tick(job.rows)
        overruled = [overrule(verdict, overrides) for verdict in verdicts]
        return [context.write_records(job, job.outputs[0], Verdict, overruled)]


def judge_answers(
    context: Context, wanted: list[Answer], settings: SelectSettings
) -> list[Verdict]:
    """Decide about all wanted answers; what is usual is measured among them."""
    prompts, losses = read_family(context).prompts, read_losses(context)
    measured = [
        Measured(
            id=answer.id,
            domain=prompts[answer.prompt_id].domain,
            text=answer.completion,
            loss=losses[answer.id].loss if answer.id in losses else None,
            ifd=find_ifd(losses.get(answer.id)),
        )
        for answer in wanted
    ]
    vectors = read_vectors(context) if settings.by_distance else {}
    return [
        Verdict(
            subject_id=id,
            stage=SELECT,
            detector=SELECT,
            version=VERSION,
            decision=selection.decision,
            reason=selection.reason,
            evidence=selection.evidence,
            score=selection.score,
        )
        for id, selection in select_answers(measured, settings, vectors).items()
    ]


def read_selected(context: Context) -> list[Answer]:
    """The wanted answers that this stage let on; all of them where there is no such stage."""
    wanted = read_wanted(context)
    if context.config.select is None:
        return wanted
    return keep_accepted(context, SELECT, wanted)
