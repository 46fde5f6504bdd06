"""Stage `evolve-R`: one round of evolution, and the elimination of what came to nothing.

Each parent of the pool is rewritten by one operator. A child falls by the textual rules, by the
model's judgement that it equals its parent (where stage `calibrate` found that the model can tell),
or by the answer that it gets (a refusal, or nothing):
that answer is the first sample which the first sampler would draw anyway, so with the journal it
costs nothing more.
"""

from collections.abc import Sequence
from typing import Any

from filters.eliminate import eliminate
from filters.equality import COMPARISON
from flows.history import CREDIT, find_base, read_weights
from flows.stages.answer import (
    JUDGING,
    describe_asking,
    judge_outcomes,
    load_sampler_examples,
)
from flows.stages.calibrate import CALIBRATE, judge_equality, read_agreement
from flows.stages.check import CHECKING, judge_check
from flows.stages.family import evolve_stages, read_elders, read_family
from flows.store import FileEntry
from flows.work import Context, Job, Tick, shard_jobs
from generators.answers import Draft, draft_samples
from generators.clients import Failure, Outcome
from generators.credit import Credits, dump_credit, load_credit
from generators.operator_sets import FOLLOW_UP, OPERATORS
from generators.operators import (
    Attempt,
    Draw,
    EvolveSettings,
    bare_text,
    build_rewrite,
    choose_operator,
    evolve_by_key,
    pick_parents,
    read_rewrite,
)
from generators.prompting import hash_template
from generators.records import Prompt, Verdict

UNJUDGED = "survived_unjudged"
"""Not eliminated, but a request to the judge or for the answer failed."""


class EvolveStage:
    """One round: parents in, children and their verdicts out."""

    def __init__(self, settings: EvolveSettings, round: int) -> None:
        self.settings = settings
        self.round = round
        self.name = f"evolve-{round}"

    def plan(self, context: Context) -> list[Job]:
        config, folder, round = context.config, context.folder, self.round
        form = config.models[self.settings.model].form
        templates, elsewhere = self.settings.list_templates(), {"calibration", "credit", "method"}
        settings = [
            self.settings.model_dump(mode="json", exclude={"rounds", *elsewhere}),
            dump_credit([*credits.values()]) if (credits := self._find_credits(context)) else None,
            read_weights(context),
            context.model_settings(self.settings.model),
            [hash_template(form, name) for name in (*templates, COMPARISON)],
            describe_asking(context, config.samplers[0]),
            [*JUDGING, *CHECKING] if FOLLOW_UP in templates else [],
            [config.seed, config.shard_rows, config.consensus and config.consensus.model_dump()],
        ]
        return shard_jobs(
            self.name,
            [
                f"{folder}/prompts-round-{round}-{{}}.parquet",
                f"{folder}/verdicts-evolve-{round}-{{}}.parquet",
            ],
            len(self._parents(context)),
            config.shard_rows,
            context.key(self.name, settings, [CALIBRATE, *evolve_stages(context, round)]),
        )

    def _find_credits(self, context: Context) -> Credits | None:
        """What operators are chosen by: the file that is named, or what they had earned when a
        steered cycle began."""
        if self.settings.credit:
            return load_credit(self.settings.credit)
        earned = find_base(context, CREDIT) if context.config.cycles.steer else None
        return load_credit(earned) if earned else None

    def work(self, context: Context, job: Job, tick: Tick) -> list[FileEntry]:
        size = context.config.shard_rows
        parents = self._parents(context)[job.shard * size : (job.shard + 1) * size]
        attempts = self._evolve(context, parents, tick)
        verdicts = self._eliminate(context, attempts)
        children = [attempt.child for attempt in attempts if attempt.child is not None]
        return [
            context.write_records(job, job.outputs[0], Prompt, children),
            context.write_records(job, job.outputs[1], Verdict, verdicts),
        ]

    def _draw(self, context: Context) -> Draw:
        """A later cycle counts its rounds on from the last one before it."""
        round = read_elders(context).last_round + self.round
        return Draw(context.config.seed, context.cycle, round)

    def _parents(self, context: Context) -> list[Prompt]:
        pool = read_family(context, before_round=self.round).pool()
        return pick_parents(pool, self.settings, self._draw(context), read_weights(context))

    def _evolve(self, context: Context, parents: Sequence[Prompt], tick: Tick) -> list[Attempt]:
        draw, settings = self._draw(context), self.settings
        form = context.config.models[settings.model].form
        credits = self._find_credits(context)
        chosen = [(parent, choose_operator(parent, settings, draw, credits)) for parent in parents]
        replies = self._answer_parents(context, [p for p, name in chosen if name == FOLLOW_UP])
        asked = [
            (p, name)
            for p, name in chosen
            if OPERATORS[name].kind != "key" and (name != FOLLOW_UP or p.id in replies)
        ]
        requests = [
            build_rewrite(p, name, form, settings, draw, answer=replies.get(p.id))
            for p, name in asked
        ]
        ask = context.resources.ask
        outcomes: list[Outcome] = ask(settings.model, requests, tick) if requests else []
        model = context.resources.client(settings.model).id if asked else ""
        rewritten = {
            parent.id: read_rewrite(
                parent,
                name,
                outcome,
                form=form,
                model=model,
                settings=settings,
                draw=draw,
                consensus=context.config.consensus,
                answer=replies.get(parent.id),
            )
            for (parent, name), outcome in zip(asked, outcomes, strict=True)
        }
        tick(len(chosen) - len(asked))

        def settle(parent: Prompt, name: str) -> Attempt:
            if parent.id in rewritten:
                return rewritten[parent.id]
            if name == FOLLOW_UP:
                return leave_unanswered(parent, draw)
            return evolve_by_key(parent, name, settings, draw)

        return [settle(parent, name) for parent, name in chosen]

    def _answer_parents(self, context: Context, parents: Sequence[Prompt]) -> dict[str, str]:
        """The answers that conversations are carried on after: the first one to each parent whose
        check is fit to judge, if it passes all that an answer must pass."""
        fit = [parent for parent in parents if judge_check(parent).decision == "accept"]
        if not fit:
            return {}
        drafts, outcomes = draw_probes(context, fit)
        sampler = context.config.samplers[0]
        answers, verdicts = judge_outcomes(context, sampler, drafts, outcomes)
        accepted = {verdict.subject_id for verdict in verdicts if verdict.decision == "accept"}
        return {answer.prompt_id: answer.completion for answer in answers if answer.id in accepted}

    def _eliminate(self, context: Context, attempts: Sequence[Attempt]) -> list[Verdict]:
        """Cheap rules first: what they let through is judged, and what is left is answered."""
        verdicts = {attempt.id: judge_text(attempt) for attempt in attempts}

        def standing() -> list[Attempt]:
            return [a for a in attempts if _is_rewrite(a) and verdicts[a.id].decision == "accept"]

        equal = self._judge_equality(context, standing())
        for attempt in standing():
            verdicts[attempt.id] = _apply_rules(attempt, equal=equal.get(attempt.id))
        answers = self._probe(context, standing())
        for attempt in standing():
            verdict = _apply_rules(attempt, answer=answers.get(attempt.id))
            missing = [
                *(["the judge gave no judgement"] if equal.get(attempt.id, True) is None else []),
                *(["no answer came to look at"] if attempt.id not in answers else []),
            ]
            verdicts[attempt.id] = note_missing(verdict, missing)
        return [verdicts[attempt.id] for attempt in attempts]

    def _judge_equality(
        self, context: Context, attempts: Sequence[Attempt]
    ) -> dict[str, bool | None]:
        """Ask the model which rewritten tasks equal their parents; None where it does not say.

        A model that was measured and found unable to tell is not asked.
        """
        agreement = read_agreement(context)
        distrusted = agreement is not None and not agreement.trusted
        if distrusted or not self.settings.asks_judge:
            return {}
        pairs = [(bare_text(attempt.parent), bare_text(_child(attempt))) for attempt in attempts]
        judgements = judge_equality(context, self.settings.model, pairs, None)
        return {attempt.id: equal for attempt, equal in zip(attempts, judgements, strict=True)}

    def _probe(self, context: Context, attempts: Sequence[Attempt]) -> dict[str, str]:
        """The answer that each child gets, by the attempt."""
        _, outcomes = draw_probes(context, [_child(attempt) for attempt in attempts])
        return {
            attempt.id: outcome.text
            for attempt, outcome in zip(attempts, outcomes, strict=True)
            if outcome.kind == "response"
        }


def draw_probes(context: Context, prompts: Sequence[Prompt]) -> tuple[list[Draft], list[Outcome]]:
    """The first sampler's first answer to each prompt."""
    sampler = context.config.samplers[0]
    examples = load_sampler_examples(context, sampler)
    seed, cycle = context.config.seed, context.cycle
    drafts = [
        draft
        for prompt in prompts
        for draft in draft_samples(
            prompt, sampler, examples, run_seed=seed, cycle=cycle, indices=[0]
        )
    ]
    requests = [draft.request for draft in drafts]
    outcomes = context.resources.ask(sampler.model, requests, None) if requests else []
    return drafts, outcomes


def leave_unanswered(parent: Prompt, draw: Draw) -> Attempt:
    """A conversation that is not carried on, because its last question has no verified answer."""
    message = "the first answer to the task is not verified, so no conversation is built on it"
    failure = Failure(reason="parent_unanswered", message=message, permanent=True)
    return Attempt(parent, FOLLOW_UP, draw.round, failure=failure)


def note_missing(verdict: Verdict, missing: Sequence[str]) -> Verdict:
    """A survivor of which not everything could be asked says so; the other rules let it pass."""
    if verdict.decision != "accept" or not missing:
        return verdict
    return verdict.model_copy(update={"reason": UNJUDGED, "evidence": "; ".join(missing)})


def judge_text(attempt: Attempt) -> Verdict:
    """What can be told without asking anybody: failures, the textual rules, a missing check."""
    if attempt.failure is not None:
        reason, evidence = attempt.failure.reason, attempt.failure.message[:300]
        return _verdict(attempt, "quarantine", reason, evidence)
    if not _is_rewrite(attempt):
        return _verdict(attempt, "accept", "by_key", "made by a program, with a key of its own")
    if not attempt.ended:
        return _verdict(attempt, "reject", "unfinished", _child(attempt).text[-80:])
    verdict = _apply_rules(attempt)
    if verdict.decision == "accept" and _child(attempt).check is None:
        return _verdict(attempt, "quarantine", "no_check", "the rewritten task has no check")
    return verdict


def _apply_rules(
    attempt: Attempt, *, answer: str | None = None, equal: bool | None = None
) -> Verdict:
    child = _child(attempt)
    verdict = eliminate(attempt.parent, bare_text(child), answer=answer, equal=equal)
    return verdict.model_copy(update={"subject_id": child.id, "stage": "evolve"})


def _is_rewrite(attempt: Attempt) -> bool:
    """Whether a model wrote the child; what a program made need not be judged."""
    return OPERATORS[attempt.operator].kind != "key"


def _child(attempt: Attempt) -> Prompt:
    assert attempt.child is not None
    return attempt.child


def _verdict(attempt: Attempt, decision: Any, reason: str, evidence: str) -> Verdict:
    return Verdict(
        subject_id=attempt.id,
        stage="evolve",
        detector="evolve",
        version="1",
        decision=decision,
        reason=reason,
        evidence=evidence,
    )
