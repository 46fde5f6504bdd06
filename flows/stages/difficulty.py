"""Stage `difficulty`: the student, as it is before its training, tries the prompts that have a
verified answer; those it never or always solves are set aside.
"""

import functools
from collections import Counter

from filters.difficulty import DifficultySettings, grade_difficulty
from filters.verify import VERSIONS, verify_many
from flows.stages.accepted import keep_accepted, list_accepting
from flows.stages.consensus import read_every_decided
from flows.stages.family import evolve_stages, read_family, read_stage
from flows.stages.screen import SCREEN, read_screened
from flows.store import FileEntry
from flows.work import Context, Job, Tick, shard_jobs
from generators.answers import Examples, SamplerSettings, draft_samples
from generators.records import Answer, Prompt, Verdict

DIFFICULTY = "difficulty"


class DifficultyStage:
    """One verdict for each unique verified answer, by how often the student solves its prompt."""

    name = DIFFICULTY

    def __init__(self, settings: DifficultySettings) -> None:
        self.settings = settings

    def plan(self, context: Context) -> list[Job]:
        settings = [
            self.settings.model_dump(mode="json"),
            context.model_settings(self.settings.model),
            VERSIONS,
            [context.config.seed, context.config.shard_rows],
        ]
        before = [*evolve_stages(context), "check", *list_accepting(context), "dedup", SCREEN]
        jobs = shard_jobs(
            self.name,
            [f"{context.folder}/verdicts-difficulty-{{}}.parquet"],
            len(list_prompts(context)),
            context.config.shard_rows,
            context.key(self.name, settings, before),
        )
        return [job.model_copy(update={"rows": job.rows * self.settings.k}) for job in jobs]

    def work(self, context: Context, job: Job, tick: Tick) -> list[FileEntry]:
        size = context.config.shard_rows
        prompts = list_prompts(context)[job.shard * size : (job.shard + 1) * size]
        rates = measure_rates(context, self.settings, prompts, tick)
        answers = [answer for answer in read_screened(context) if answer.prompt_id in rates]
        verdicts = [judge_difficulty(a, rates[a.prompt_id], self.settings) for a in answers]
        return [context.write_records(job, job.outputs[0], Verdict, verdicts)]


def read_wanted(context: Context) -> list[Answer]:
    """The unique verified answers whose prompts are of a wanted difficulty."""
    screened = read_screened(context)
    if context.config.difficulty is None:
        return screened
    return keep_accepted(context, DIFFICULTY, screened)


def list_prompts(context: Context) -> list[Prompt]:
    """The prompts that have a unique verified answer, by round and id, with their votes; those of
    answers that were released from an earlier cycle's quarantine are among them."""
    prompts = read_family(context).prompts | read_every_decided(context)
    ids = {answer.prompt_id for answer in read_screened(context)}
    return sorted((prompts[id] for id in ids), key=lambda prompt: (prompt.round, prompt.id))


def sample_student(settings: DifficultySettings) -> SamplerSettings:
    """The student as a sampler: asked outright, k times."""
    return SamplerSettings(
        name=DIFFICULTY, model=settings.model, n=settings.k, sampling=settings.sampling
    )


def measure_rates(
    context: Context, settings: DifficultySettings, prompts: list[Prompt], tick: Tick
) -> dict[str, float]:
    """How often the student solves each prompt; a sample that did not come is not solved."""
    asked = functools.partial(
        draft_samples,
        sampler=sample_student(settings),
        examples=Examples({}, "chat"),
        run_seed=context.config.seed,
        cycle=context.cycle,
    )
    drafts = [draft for prompt in prompts for draft in asked(prompt)]
    outcomes = context.resources.ask(settings.model, [d.request for d in drafts], tick)
    checks = {prompt.id: prompt.check for prompt in prompts if prompt.check is not None}
    whole = [
        (draft.prompt.id, outcome.text)
        for draft, outcome in zip(drafts, outcomes, strict=True)
        if outcome.kind == "response" and outcome.finish_reason != "length"
    ]
    verdicts = verify_many([(checks[id], text) for id, text in whole])
    judged = zip(whole, verdicts, strict=True)
    solved = Counter(id for (id, _), verdict in judged if verdict.decision == "accept")
    return {prompt.id: solved[prompt.id] / settings.k for prompt in prompts}


def judge_difficulty(answer: Answer, rate: float, settings: DifficultySettings) -> Verdict:
    """Keep or reject an answer by the student's pass rate on its prompt."""
    decision, reason = grade_difficulty(rate, settings.band)
    return Verdict(
        subject_id=answer.id,
        stage=DIFFICULTY,
        detector="student_pass_rate",
        version="1",
        decision=decision,
        reason=reason,
        evidence=f"solves {round(rate * settings.k)} of {settings.k}",
        score=rate,
    )


def read_pass_rates(context: Context) -> dict[str, float]:
    """The student's pass rate on each answer's prompt, by the answer's id."""
    verdicts = read_stage(context, DIFFICULTY, "verdicts-", Verdict)
    return {v.subject_id: v.score for v in verdicts if v.score is not None}
