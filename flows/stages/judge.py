"""Stages `try-judge` and `judge`: a model judges the answers that no program can check.

First the judge is put on trial with texts that answer nothing (`filters.judge_battery`), on the
very prompts it is to judge. Where it lets too many of them pass, or knows not even the reference,
no answer is shown to it, and all of them are quarantined. Otherwise each answer is judged in both
orders (`filters.judging`). What it calls right waits in quarantine for a person, unless the
configuration lets it accept alone.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

from filters.judge_battery import VERSION as BATTERY_VERSION
from filters.judge_battery import Battery, plan_attempts, sum_up_battery
from filters.judging import TEMPLATE, VERSION, Case, Ruling, build_requests, weigh_orders
from filters.verify import SCORES
from flows.judge_settings import JudgeSettings
from flows.stages.answer import PUT_TO_JUDGE
from flows.stages.family import answer_stages, evolve_stages, read_family, read_stage
from flows.stages.watch import WATCH, read_distrusted
from flows.store import FileEntry
from flows.work import Context, Job, Tick, shard_jobs
from generators.clients import Failure
from generators.prompting import hash_template
from generators.records import Answer, Decision, JudgeCheck, Prompt, Verdict

JUDGE, TRY_JUDGE = "judge", "try-judge"
RIGHT, WRONG, ABSTAINED = "judged_right", "judged_wrong", "judge_abstained"
DISABLED = "judge_disabled"


class PutToJudge(NamedTuple):
    """An answer that waits for its judgement, and what it answers."""

    answer: Answer
    task: str
    check: JudgeCheck

    @property
    def case(self) -> Case:
        return Case(self.task, self.check, self.answer.completion)


class TryJudgeStage:
    """One job: the master keys on some of the prompts in, one `Battery` out; no job where nothing
    is to be judged."""

    name = TRY_JUDGE

    def __init__(self, settings: JudgeSettings) -> None:
        self.settings = settings

    def plan(self, context: Context) -> list[Job]:
        attempts = [a for prompt in self._choose(context) for a in plan_attempts(*prompt)]
        if not attempts:
            return []
        limits = [self.settings.master_keys_accepted, self.settings.battery_prompts]
        decisive = [describe_judge(context, self.settings), limits, BATTERY_VERSION]
        key = context.key(self.name, decisive, list_before(context))
        output = f"{context.folder}/battery-judge.json"
        return [Job(stage=self.name, outputs=(output,), rows=2 * len(attempts), key=key)]

    def work(self, context: Context, job: Job, tick: Tick) -> list[FileEntry]:
        prompts = self._choose(context)
        attempts = [attempt for prompt in prompts for attempt in plan_attempts(*prompt)]
        cases = [attempt.case for attempt in attempts]
        rulings = ask_judge(context, self.settings.model, cases, tick)
        battery = sum_up_battery(
            zip(attempts, rulings, strict=True),
            prompts=len(prompts),
            budget=self.settings.master_keys_accepted,
        )
        return [context.write_text(job, job.outputs[0], battery.model_dump_json(indent=1))]

    def _choose(self, context: Context) -> list[tuple[str, JudgeCheck]]:
        """The first of the prompts to be judged, by id; ids are hashes, so this is a draw."""
        waiting = {w.answer.prompt_id: (w.task, w.check) for w in list_put_to_judge(context)}
        return [waiting[id] for id in sorted(waiting)[: self.settings.battery_prompts]]


class JudgeStage:
    """One verdict for each answer that was let on to the judge."""

    name = JUDGE

    def __init__(self, settings: JudgeSettings) -> None:
        self.settings = settings

    def plan(self, context: Context) -> list[Job]:
        rows, size = len(list_put_to_judge(context)), context.config.shard_rows
        if not rows:
            return []
        alone = self.settings.accepts_alone
        decisive = [describe_judge(context, self.settings), alone, size]
        key = context.key(self.name, decisive, [*list_before(context), TRY_JUDGE])
        return shard_jobs(
            self.name, [f"{context.folder}/verdicts-judge-{{}}.parquet"], rows, size, key
        )

    def work(self, context: Context, job: Job, tick: Tick) -> list[FileEntry]:
        size = context.config.shard_rows
        shard = list_put_to_judge(context)[job.shard * size : (job.shard + 1) * size]
        battery = read_battery(context)
        assert battery is not None
        if battery.objection is not None:
            verdicts = [_quarantine_unjudged(w.answer, battery.objection) for w in shard]
        else:
            cases = [waiting.case for waiting in shard]
            rulings = ask_judge(context, self.settings.model, cases, None)
            verdicts = [
                give_verdict(w.answer, ruling, accepts_alone=self.settings.accepts_alone)
                for w, ruling in zip(shard, rulings, strict=True)
            ]
        tick(len(shard))
        return [context.write_records(job, job.outputs[0], Verdict, verdicts)]


def describe_judge(context: Context, settings: JudgeSettings) -> list[Any]:
    """All that decides what the judge says of a text."""
    form = context.config.models[settings.model].form
    return [context.model_settings(settings.model), hash_template(form, TEMPLATE), VERSION]


def list_before(context: Context) -> list[str]:
    """The stages that decide what is put to the judge."""
    return [*evolve_stages(context), "check", *answer_stages(context), WATCH]


def list_put_to_judge(context: Context) -> list[PutToJudge]:
    """The answers that the samplers' stages let on to the judge, by prompt and id; without those of
    a teacher that had turned bad, which lie in quarantine already."""
    prompts, distrusted = read_family(context).prompts, read_distrusted(context)
    waiting: list[PutToJudge] = []
    for stage in answer_stages(context):
        verdicts = read_stage(context, stage, "verdicts-", Verdict)
        let_on = {verdict.subject_id for verdict in verdicts if verdict.reason == PUT_TO_JUDGE}
        for answer in read_stage(context, stage, "answers-", Answer):
            if answer.id in let_on and answer.id not in distrusted:
                waiting.append(_prepare(answer, prompts[answer.prompt_id]))
    return sorted(waiting, key=lambda w: (w.answer.prompt_id, w.answer.id))


def _prepare(answer: Answer, prompt: Prompt) -> PutToJudge:
    assert isinstance(prompt.check, JudgeCheck)
    return PutToJudge(answer, prompt.conversation, prompt.check)


def ask_judge(
    context: Context, model: str, cases: Sequence[Case], tick: Tick | None
) -> list[Ruling | Failure]:
    """Put each case to a model under `models` in both orders: two requests a case."""
    form = context.config.models[model].form
    requests = [request for case in cases for request in build_requests(form, case)]
    outcomes = context.resources.ask(model, requests, tick)
    pairs = zip(cases, outcomes[::2], outcomes[1::2], strict=True)
    return [weigh_orders(case, first, second) for case, first, second in pairs]


def give_verdict(answer: Answer, ruling: Ruling | Failure, *, accepts_alone: bool) -> Verdict:
    """What becomes of an answer by what the judge said; where no word came, the client's reason."""
    if isinstance(ruling, Failure):
        return _decide(answer, "quarantine", ruling.reason, ruling.message[:300], by="client")
    decision, reason = "quarantine", ABSTAINED
    if ruling.opinion == "right":
        decision, reason = ("accept" if accepts_alone else "quarantine"), RIGHT
    elif ruling.opinion == "wrong":
        decision, reason = "reject", WRONG
    return _decide(answer, decision, reason, ruling.said)


def _quarantine_unjudged(answer: Answer, objection: str) -> Verdict:
    return _decide(answer, "quarantine", DISABLED, objection)


def _decide(
    answer: Answer, decision: Decision, reason: str, evidence: str, by: str = JUDGE
) -> Verdict:
    return Verdict(
        subject_id=answer.id,
        stage=JUDGE,
        detector=by,
        version=VERSION,
        decision=decision,
        reason=reason,
        evidence=evidence,
        score=SCORES[decision],
    )


def read_battery(context: Context) -> Battery | None:
    """How the judge did on trial; None where there was none."""
    files = context.run.files(TRY_JUDGE)
    return Battery.model_validate_json(files[0].read_bytes()) if files else None


def read_judged_right(context: Context) -> set[str]:
    """The answers that this stage accepted."""
    verdicts = read_stage(context, JUDGE, "verdicts-", Verdict)
    return {verdict.subject_id for verdict in verdicts if verdict.decision == "accept"}
