"""Compare samplers that were matched in cost, and measure the audit that judges their chains."""

import random
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from filters.chain_faults import plant_faults
from filters.chains import ChainAudit, audit_chain
from flows.facts_sampling import ArmFacts, BudgetFacts, ComparisonFacts, MatchFacts
from flows.intervals import Interval
from flows.stages.answer import AUDITED, BROKEN_CHAIN, is_verified
from flows.stages.family import Family, read_stage
from flows.work import Context, model_id
from generators.answers import SamplerSettings
from generators.compute import Exchange, match_count
from generators.records import Answer, ConsensusCheck, Verdict
from trainers.evaluate import bootstrap_interval, pass_at_k, wilson_interval


class _Chain(NamedTuple):
    """A right answer to a prompt whose answers are audited."""

    answer: Answer
    stated: str | None
    audit: ChainAudit


class _Arm(NamedTuple):
    sampler: SamplerSettings
    model: str
    token_cost: float
    asked: frozenset[str]
    answers: Sequence[Answer]
    verdicts: Mapping[str, Verdict]

    def right(self, prompts: Sequence[str]) -> dict[str, list[Answer]]:
        """The verified answers of each prompt."""
        found: dict[str, list[Answer]] = {id: [] for id in prompts}
        for answer in self.answers:
            if answer.prompt_id in found and is_verified(self.verdicts[answer.id]):
                found[answer.prompt_id].append(answer)
        return found

    def count_tokens(self, prompts: Sequence[str]) -> int:
        asked = set(prompts)
        return sum(a.usage.completion_tokens for a in self.answers if a.prompt_id in asked)


def gather_matches(context: Context, family: Family) -> tuple[MatchFacts, ...]:
    """Every sampler that is matched to another, compared with it where that is fair."""
    samplers = {sampler.name: sampler for sampler in context.config.samplers}
    matches = []
    for sampler in samplers.values():
        if sampler.matched_to is not None:
            reference = samplers[sampler.matched_to]
            exchange = context.config.find_exchange(sampler)
            matches.append(_gather_match(context, family, sampler, reference, exchange))
    return tuple(matches)


def _gather_match(
    context: Context,
    family: Family,
    sampler: SamplerSettings,
    reference: SamplerSettings,
    exchange: Exchange,
) -> MatchFacts:
    matched = _read_arm(context, sampler, exchange.matched)
    other = _read_arm(context, reference, exchange.reference)
    voted = {id for id, p in family.prompts.items() if isinstance(p.check, ConsensusCheck)}
    prompts = sorted((matched.asked & other.asked) - voted)
    names = [one.name for one in context.config.samplers]
    earlier, later = sorted((sampler, reference), key=lambda one: names.index(one.name))
    absence = None
    if later.asks != "all":
        absence = (
            f"{later.name} was asked only for what {earlier.name} had left open, and those prompts "
            f"are the harder ones. With `asks: all` for {later.name} both are asked the same."
        )
    elif not prompts:
        absence = f"There is no prompt that both {earlier.name} and {later.name} were asked."
    return MatchFacts(
        matched=sampler.name,
        reference=reference.name,
        basis=exchange.basis,
        rate=exchange.rate,
        comparison=_compare(family, prompts, matched, other, exchange) if not absence else None,
        absence=absence,
    )


def _read_arm(context: Context, sampler: SamplerSettings, token_cost: float) -> _Arm:
    stage = f"answer-{sampler.name}"
    answers = read_stage(context, stage, "answers-", Answer)
    verdicts = {v.subject_id: v for v in read_stage(context, stage, "verdicts-", Verdict)}
    prompt_of = {answer.id: answer.prompt_id for answer in answers}
    asked = {prompt_of.get(id, id.partition(":")[0]) for id in verdicts}
    model = answers[0].model if answers else model_id(context.config.models[sampler.model])
    return _Arm(sampler, model, token_cost, frozenset(asked), answers, verdicts)


def _compare(
    family: Family, prompts: Sequence[str], matched: _Arm, reference: _Arm, exchange: Exchange
) -> ComparisonFacts:
    drawn = reference.sampler.n * len(prompts)
    nominal_tokens = reference.count_tokens(prompts) / drawn or 1.0
    chains = [list(_audit_right(family, prompts, arm)) for arm in (matched, reference)]
    planted = [found for audited in chains for found in _try_faults(audited)]
    n, most = reference.sampler.n, matched.sampler.n
    return ComparisonFacts(
        prompts=len(prompts),
        nominal_tokens=nominal_tokens,
        matched=_describe_arm(matched, prompts, nominal_tokens, chains[0]),
        reference=_describe_arm(reference, prompts, nominal_tokens, chains[1]),
        budgets=tuple(
            _cover(matched, reference, prompts, k, min(most, match_count(k, exchange.rate)))
            for k in sorted({1, n})
        ),
        planted=len(planted),
        detected=Interval.of(wilson_interval(sum(planted), len(planted))) if planted else None,
    )


def _describe_arm(
    arm: _Arm, prompts: Sequence[str], nominal_tokens: float, chains: Sequence[_Chain]
) -> ArmFacts:
    right = arm.right(prompts)
    tokens = arm.count_tokens(prompts) / len(prompts)
    forms: dict[str, set[tuple[str, ...]]] = {id: set() for id in prompts}
    for answer, _, audit in chains:
        if audit.steps and is_verified(arm.verdicts[answer.id]):
            forms[answer.prompt_id].add(tuple(step.form for step in audit.steps))
    texts = [{" ".join(a.completion.casefold().split()) for a in of} for of in right.values()]
    calculated = sum(bool(chain.audit.steps) for chain in chains)
    broken = sum(not is_verified(arm.verdicts[chain.answer.id]) for chain in chains)
    return ArmFacts(
        sampler=arm.sampler.name,
        model=arm.model,
        samples=arm.sampler.n,
        sample_cost=arm.token_cost * nominal_tokens,
        tokens=tokens,
        actual=tokens * arm.token_cost,
        distinct_answers=Interval.of(bootstrap_interval([len(of) for of in texts])),
        distinct_chains=Interval.of(bootstrap_interval([len(of) for of in forms.values()])),
        calculated=calculated,
        broken=broken,
        false_positives=Interval.of(wilson_interval(broken, calculated)) if calculated else None,
    )


def _cover(
    matched: _Arm, reference: _Arm, prompts: Sequence[str], reference_k: int, matched_k: int
) -> BudgetFacts:
    """Mean pass@k of both, and their difference prompt by prompt."""

    def solve(arm: _Arm, k: int) -> list[float]:
        n = arm.sampler.n
        return [pass_at_k(n, min(len(of), n), k) for of in arm.right(prompts).values()]

    ours, theirs = solve(matched, matched_k), solve(reference, reference_k)
    gains = [a - b for a, b in zip(ours, theirs, strict=True)]
    return BudgetFacts(
        reference_samples=reference_k,
        matched_samples=matched_k,
        reference=Interval.of(bootstrap_interval(theirs)),
        matched=Interval.of(bootstrap_interval(ours)),
        gain=Interval.of(bootstrap_interval(gains)),
    )


def _audit_right(family: Family, prompts: Sequence[str], arm: _Arm) -> Iterator[_Chain]:
    """The answers that a verifier accepted, those with a broken chain among them."""
    asked = set(prompts)
    for answer in arm.answers:
        verdict = arm.verdicts[answer.id]
        check = family.prompts[answer.prompt_id].check
        is_right = is_verified(verdict) or verdict.reason == BROKEN_CHAIN
        if answer.prompt_id in asked and is_right and check is not None and check.kind in AUDITED:
            stated = verdict.evidence if is_verified(verdict) else None
            yield _Chain(answer, stated, audit_chain(answer.completion, stated))


def _try_faults(chains: Sequence[_Chain]) -> Iterator[bool]:
    """Whether each fault that can be planted into a sound chain is found."""
    for answer, stated, audit in chains:
        if audit.steps and audit.broken is None and stated is not None:
            spoiled = plant_faults(answer.completion, random.Random(answer.id))
            if spoiled is not None:
                yield audit_chain(spoiled, stated).broken is not None
