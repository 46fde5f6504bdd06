"""Stage `screen`: unique answers and their prompts are searched for personal data, secrets, coarse
words and unwanted languages. What is found is a tag, or a reason for quarantine, as configured.
"""

from collections.abc import Sequence

from filters.screen import VERSIONS, ScreenSettings, Tag, find_objection, find_tags
from flows.overrides import OVERRIDES, overrule, read_overrides
from flows.stages.accepted import keep_accepted
from flows.stages.dedup import read_unique
from flows.stages.family import evolve_stages, read_family, read_stage
from flows.store import FileEntry
from flows.work import Context, Job, Tick, shard_jobs
from generators.records import Answer, Verdict

SCREEN = "screen"


class ScreenStage:
    """One verdict for each unique answer, and a tag for each thing found."""

    name = SCREEN

    def __init__(self, settings: ScreenSettings) -> None:
        self.settings = settings

    def plan(self, context: Context) -> list[Job]:
        before = [*evolve_stages(context), "dedup", OVERRIDES]
        return shard_jobs(
            self.name,
            [f"{context.folder}/{kind}-screen-{{}}.parquet" for kind in ("verdicts", "tags")],
            len(read_unique(context)),
            context.config.shard_rows,
            context.key(self.name, [self.settings.model_dump(), VERSIONS], before),
        )

    def work(self, context: Context, job: Job, tick: Tick) -> list[FileEntry]:
        prompts, overrides = read_family(context).prompts, read_overrides(context.run)
        size = context.config.shard_rows
        verdicts: list[Verdict] = []
        every: list[Tag] = []
        for answer in read_unique(context)[job.shard * size : (job.shard + 1) * size]:
            asked = prompts[answer.prompt_id].conversation
            parts = [("prompt", asked), ("completion", answer.completion)]
            tags = list(find_tags(answer.id, parts, self.settings))
            verdicts.append(overrule(judge_tags(answer, tags, self.settings), overrides))
            every += tags
            tick(1)
        return [
            context.write_records(job, job.outputs[0], Verdict, verdicts),
            context.write_records(job, job.outputs[1], Tag, every),
        ]


def judge_tags(answer: Answer, tags: Sequence[Tag], settings: ScreenSettings) -> Verdict:
    """Quarantine an answer for the first thing that must not be in a row."""
    objection = find_objection(tags, settings)
    shown = objection or (tags[0] if tags else None)
    return Verdict(
        subject_id=answer.id,
        stage=SCREEN,
        detector=SCREEN,
        version="-".join(VERSIONS),
        decision="accept" if objection is None else "quarantine",
        reason=objection.group if objection else "tagged" if tags else "clean",
        evidence=None if shown is None else f"{shown.kind} in the {shown.part}: {shown.evidence}",
        score=None if shown is None else shown.score,
    )


def read_screened(context: Context) -> list[Answer]:
    """The unique answers that this stage let on; all of them where there is no such stage."""
    unique = read_unique(context)
    if context.config.screen is None:
        return unique
    return keep_accepted(context, SCREEN, unique)


def read_tags(context: Context) -> dict[str, list[str]]:
    """What each answer is tagged with, by its id."""
    found: dict[str, set[str]] = {}
    for tag in read_stage(context, SCREEN, "tags-", Tag):
        found.setdefault(tag.subject_id, set()).add(tag.kind)
    return {id: sorted(kinds) for id, kinds in found.items()}
