"""Stage `answer-NAME`: one sampler answers what has no verified answer yet; each answer is judged.

The samplers are asked in the order of the configuration, so what the cheap one has answered and a
verifier has accepted is never asked of the dear one. A task that is put to the vote goes to all of
them, and its answers are let on to the count (`flows.stages.consensus`); so does a task that a
model is to judge (`flows.stages.judge`).
"""

from collections.abc import Sequence
from typing import Any

from filters.chains import VERSION, audit_chain
from filters.judgement import shorten
from filters.structure import JUDGED_BY, judge_structure
from filters.verify import VERSIONS, verify_many
from flows.run_settings import VllmModel
from flows.run_watch import watch_stages
from flows.stages.check import check_stage_prompts
from flows.stages.family import answer_stages, evolve_stages, read_family, read_stage
from flows.store import FileEntry
from flows.work import Context, Job, Tick, shard_jobs
from generators.answers import (
    Draft,
    Examples,
    SamplerSettings,
    draft_samples,
    group_examples,
    to_answer,
)
from generators.clients import Failure, Outcome, request_key
from generators.prompting import hash_template
from generators.records import Answer, ConsensusCheck, JudgeCheck, Prompt, Verdict
from generators.seeds import load_examples

PUT_TO_VOTE = "put_to_vote"
PUT_TO_JUDGE = "put_to_judge"
BROKEN_CHAIN = "broken_chain"
CALLS_TOOLS = "calls_tools"
AUDITED = ("exact", "math", "procedural")
"""Kinds of check whose accepted answers are audited for their calculations."""
JUDGING = (*VERSIONS, *JUDGED_BY, f"chain: {VERSION}", "calls: 1")
"""What decides how an answer is judged."""


class AnswerStage:
    """Draw n answers to each open prompt, and let structure and verifiers decide on each."""

    def __init__(self, sampler: SamplerSettings) -> None:
        self.sampler = sampler
        self.name = f"answer-{sampler.name}"

    def plan(self, context: Context) -> list[Job]:
        sampler, folder = self.sampler, context.folder
        prompts = len(open_prompts(context, sampler))
        earlier = earlier_stages(context, sampler)
        suspects = watch_stages(context, earlier).suspects
        settings = [
            *describe_asking(context, sampler),
            JUDGING,
            [context.config.seed, context.config.shard_rows],
            *([sorted(suspects)] if suspects else []),
        ]
        before = [*evolve_stages(context), "check", *earlier]
        jobs = shard_jobs(
            self.name,
            [f"{folder}/{kind}-{sampler.name}-{{}}.parquet" for kind in ("answers", "verdicts")],
            prompts,
            context.config.shard_rows,
            context.key(self.name, settings, before),
        )
        return [job.model_copy(update={"rows": job.rows * sampler.n}) for job in jobs]

    def work(self, context: Context, job: Job, tick: Tick) -> list[FileEntry]:
        prompts = open_prompts(context, self.sampler)
        size = context.config.shard_rows
        shard = prompts[job.shard * size : (job.shard + 1) * size]
        examples = load_sampler_examples(context, self.sampler)
        drafts = [d for prompt in shard for d in draft_all(context, self.sampler, examples, prompt)]
        requests = [draft.request for draft in drafts]
        outcomes = context.resources.ask(self.sampler.model, requests, tick)
        answers, verdicts = judge_outcomes(context, self.sampler, drafts, outcomes)
        return [
            context.write_records(job, job.outputs[0], Answer, answers),
            context.write_records(job, job.outputs[1], Verdict, verdicts),
        ]


def describe_asking(context: Context, sampler: SamplerSettings) -> list[Any]:
    """All that decides what a sampler answers to a prompt."""
    return [
        sampler.model_dump(mode="json", exclude={"matched_to", "exchange"}),
        context.model_settings(sampler.model),
        [e.model_dump() for e in load_examples(sampler.examples)] if sampler.examples else [],
        hash_template("complete", "answer"),
    ]


def draft_all(
    context: Context, sampler: SamplerSettings, examples: Examples, prompt: Prompt
) -> list[Draft]:
    """The sampler's n requests for one prompt."""
    seed, cycle = context.config.seed, context.cycle
    return draft_samples(prompt, sampler, examples, run_seed=seed, cycle=cycle)


def load_sampler_examples(context: Context, sampler: SamplerSettings) -> Examples:
    """The sampler's worked examples, in the form that its model takes."""
    examples = load_examples(sampler.examples) if sampler.examples else []
    model = context.config.models[sampler.model]
    return group_examples(examples, model.form, guided=isinstance(model, VllmModel))


def open_prompts(context: Context, sampler: SamplerSettings) -> list[Prompt]:
    """Prompts with a check that has a verifier, and without a verified answer so far, unless the
    sampler is asked for all of them."""
    family = read_family(context)
    earlier = earlier_stages(context, sampler) if sampler.asks == "open" else []
    answered = find_answered(context, earlier)
    prompts = [p for p in check_stage_prompts(context, family) if p.id not in answered]
    if context.config.publish.target_rows is None:
        return prompts
    # Not all will be asked, so every round has its share: ids are hashes, their order is a draw.
    return sorted(prompts, key=lambda prompt: prompt.id)


def earlier_stages(context: Context, sampler: SamplerSettings) -> list[str]:
    """The stages of the samplers that are asked before this one."""
    stages = answer_stages(context)
    return stages[: stages.index(f"answer-{sampler.name}")]


def find_answered(context: Context, stages: Sequence[str]) -> set[str]:
    """Prompts that have an answer from one of these stages that a verifier accepted, and whose
    teacher had not turned bad by then. A vote that has been held changes nothing here: every
    sampler has a say in it."""
    answered: set[str] = set()
    suspects = watch_stages(context, stages).suspects
    for stage in stages:
        verdicts = read_stage(context, stage, "verdicts-", Verdict)
        accepted = {v.subject_id for v in verdicts if is_verified(v)} - suspects
        answers = read_stage(context, stage, "answers-", Answer)
        answered |= {a.prompt_id for a in answers if a.id in accepted}
    return answered


def is_verified(verdict: Verdict) -> bool:
    """Whether a sampler's stage accepted an answer, and did not only let it on to a vote or to a
    judge."""
    return verdict.decision == "accept" and verdict.reason not in (PUT_TO_VOTE, PUT_TO_JUDGE)


def judge_outcomes(
    context: Context,
    sampler: SamplerSettings,
    drafts: Sequence[Draft],
    outcomes: Sequence[Outcome],
) -> tuple[list[Answer], list[Verdict]]:
    """One verdict for each draft: the failure's, the structure's if it objects, the verifier's."""
    client = context.resources.client(sampler.model)
    answers: list[Answer] = []
    verdicts: list[Verdict] = []
    checked: list[tuple[Answer, Prompt]] = []
    for draft, outcome in zip(drafts, outcomes, strict=True):
        if isinstance(outcome, Failure):
            verdicts.append(judge_failure(draft, sampler, outcome))
            continue
        key = request_key(client.id, draft.request)
        answer = to_answer(draft, outcome, sampler=sampler.name, model=client.id, request_key=key)
        answers.append(answer)
        objection = judge_structure(answer, draft.prompt)
        if objection.decision != "accept":
            verdicts.append(objection)
        elif answer.tool_calls:
            verdicts.append(refuse_calls(answer))
        elif isinstance(draft.prompt.check, ConsensusCheck):
            verdicts.append(let_on(answer, "consensus", PUT_TO_VOTE))
        elif isinstance(draft.prompt.check, JudgeCheck):
            verdicts.append(let_on(answer, "judge", PUT_TO_JUDGE))
        else:
            checked.append((answer, draft.prompt))
    verified = verify_many([(p.check, a.completion) for a, p in checked if p.check is not None])
    for (answer, prompt), verdict in zip(checked, verified, strict=True):
        verdict = verdict.model_copy(update={"subject_id": answer.id})
        verdicts.append(object_to_chain(answer, prompt, verdict) or verdict)
    return answers, verdicts


def refuse_calls(answer: Answer) -> Verdict:
    """Reject an answer that calls tools, as it may: it waits for their results, and no verifier
    judges calls."""
    return Verdict(
        subject_id=answer.id,
        stage="answer",
        detector="calls",
        version="1",
        decision="reject",
        reason=CALLS_TOOLS,
        evidence=shorten(", ".join(call.function.name for call in answer.tool_calls)),
    )


def object_to_chain(answer: Answer, prompt: Prompt, verdict: Verdict) -> Verdict | None:
    """Quarantine for an answer that is right although its calculations do not hold or lead to
    something else; None for any other."""
    is_audited = prompt.check is not None and prompt.check.kind in AUDITED
    if not is_audited or verdict.decision != "accept":
        return None
    broken = audit_chain(answer.completion, verdict.evidence).broken
    if broken is None:
        return None
    return Verdict(
        subject_id=answer.id,
        stage="answer",
        detector="chain",
        version=VERSION,
        decision="quarantine",
        reason=BROKEN_CHAIN,
        evidence=shorten(broken),
    )


def let_on(answer: Answer, detector: str, reason: str) -> Verdict:
    """What can only be judged when all samplers have answered."""
    return Verdict(
        subject_id=answer.id,
        stage="answer",
        detector=detector,
        version="1",
        decision="accept",
        reason=reason,
    )


def judge_failure(draft: Draft, sampler: SamplerSettings, failure: Failure) -> Verdict:
    """A sample that did not come: quarantined with the model's or network's own reason, and named
    after what it was to come from, `PROMPT:SAMPLER:SAMPLE`."""
    return Verdict(
        subject_id=f"{draft.prompt.id}:{sampler.name}:{draft.sample}",
        stage="answer",
        detector="client",
        version="1",
        decision="quarantine",
        reason=failure.reason,
        evidence=failure.message[:300],
    )
