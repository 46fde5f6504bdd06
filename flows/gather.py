"""Fill `Facts` from a run directory: every figure is counted anew from the committed files."""

import importlib.metadata
import os
import platform
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from statistics import fmean, median

import pyarrow.parquet as pq

from filters.consensus_check import describe_votes
from flows.facts import (
    DatasetFacts,
    DuplicateFacts,
    Facts,
    Lineage,
    LineageStep,
    ModelFacts,
    OperatorFacts,
    ReasonCount,
    RunFacts,
    SamplerFacts,
    SeedFacts,
    StageCount,
    StageTime,
)
from flows.gather_canaries import gather_canaries
from flows.gather_contamination import gather_contamination
from flows.gather_credit import gather_credit
from flows.gather_cycles import gather_cycles
from flows.gather_difficulty import gather_difficulty, gather_student_difficulty
from flows.gather_evolution import gather_judge
from flows.gather_judging import gather_battery
from flows.gather_learning import gather_evaluation, gather_training
from flows.gather_sampling import gather_matches
from flows.gather_votes import gather_votes
from flows.gather_watch import gather_teachers
from flows.history import list_answering, list_earlier
from flows.intervals import Interval
from flows.run_settings import Model
from flows.stages.accepted import read_verified
from flows.stages.answer import load_sampler_examples
from flows.stages.consensus import CONSENSUS
from flows.stages.decontaminate import DECONTAMINATE
from flows.stages.difficulty import DIFFICULTY
from flows.stages.family import SYNTHESISE, Family, answer_stages, read_family, read_stage
from flows.stages.judge import JUDGE
from flows.stages.publish import QUARANTINE, REJECTED, TRAIN, hash_dataset
from flows.stages.release import RELEASE
from flows.stages.screen import SCREEN
from flows.stages.selection import SELECT
from flows.stages.watch import WATCH
from flows.wording_training import tell_teacher
from flows.work import Context, model_id
from generators.answers import SamplerSettings
from generators.operator_sets import OPERATORS
from generators.operators import bare_text
from generators.records import CHECK, Answer, Check, Decision, Prompt, Verdict
from trainers.evaluate import bootstrap_interval, pass_at_k

LINEAGES = 6


def gather_facts(context: Context) -> Facts:
    """Everything the report and the cards show, as far as the run has come."""
    config = context.config
    family = read_family(context)
    rows = pq.read_table(context.run.place(TRAIN)).to_pylist()
    published = {row["prompt_id"] for row in rows}
    evaluation = gather_evaluation(context)
    warnings = [
        f"{name}: {model.conditions}"
        for name, model in config.models.items()
        if model.outputs_may_train == "conditional"
    ]
    warnings += [doubt] if evaluation and (doubt := tell_teacher(evaluation)) else []
    return Facts(
        run=_gather_run(context),
        seeds=_gather_seeds(context, family),
        rounds=config.evolve.rounds if config.evolve else 0,
        pool=len(family.survivors()),
        models=tuple(_gather_models(context)),
        counts=tuple(gather_counts(context, family)),
        operators=tuple(_gather_operators(family, published)),
        judge=gather_judge(context),
        samplers=tuple(_gather_sampler(context, s) for s in config.samplers),
        matches=gather_matches(context, family),
        difficulty=tuple(gather_difficulty(context, family)),
        student_difficulty=tuple(gather_student_difficulty(context, family)),
        credit=tuple(gather_credit(context, family)),
        lineages=tuple(gather_lineages(family, rows)),
        votes=gather_votes(context, family),
        teachers=tuple(gather_teachers(context)),
        battery=gather_battery(context),
        contamination=tuple(gather_contamination(context)),
        duplicates=_gather_duplicates(context),
        dataset=_gather_dataset(context, family, rows),
        training=gather_training(context),
        evaluation=evaluation,
        canaries=gather_canaries(context),
        cycles=gather_cycles(context),
        warnings=tuple(warnings),
    )


def _gather_run(context: Context) -> RunFacts:
    manifest = context.run.manifest
    cycle = manifest.cycles[str(context.cycle)]
    versions = {"python": platform.python_version()}
    for package in ("tutelage", "torch", "transformers", "datasets", "prefect"):
        versions[package] = importlib.metadata.version(package)
    return RunFacts(
        name=manifest.name,
        started=cycle.started,
        finished=cycle.finished or context.run.now(),
        stages=tuple(StageTime(stage=s, seconds=t) for s, t in manifest.seconds.items()),
        config_digest=manifest.config_digest,
        machine=f"{platform.machine()}, {os.cpu_count()} cores",
        cycle=context.cycle,
        versions=versions,
    )


def _gather_seeds(context: Context, family: Family) -> SeedFacts:
    seeds = [prompt for prompt in family.survivors() if prompt.round == 0]
    written = _count(seed.author for seed in seeds if seed.id in family.drawn)
    return SeedFacts(
        total=len(seeds),
        by_domain=_count(seed.domain for seed in seeds),
        licences=tuple(sorted({seed.licence for seed in seeds})),
        path=", ".join([*context.config.seeds.paths, *(f"magpie:{model}" for model in written)]),
        synthesised=written,
    )


def _gather_models(context: Context) -> Iterable[ModelFacts]:
    config = context.config
    for name, model in config.models.items():
        yield ModelFacts(
            id=model_id(model),
            role=_describe_role(context, name),
            licence=model.licence or "not stated",
            outputs_may_train=model.outputs_may_train,
            terms=model.conditions or "",
        )
    if config.train is not None:
        student = config.train.untaught.model
        licences = [m.licence for m in config.models.values() if _is_same(m, student)]
        yield ModelFacts(
            id=student,
            role="student",
            licence=next((text for text in licences if text), "its own model's"),
            outputs_may_train=None,
        )


def _is_same(model: Model, student: str) -> bool:
    return model.kind == "embedded" and model.model == student


def _describe_role(context: Context, name: str) -> str:
    config = context.config
    roles = [f"sampler {s.name}" for s in config.answer.samplers if s.model == name]
    if config.evolve is not None and config.evolve.model == name:
        roles.insert(0, "evolves prompts")
    if any(entry.model == name for entry in config.seeds.synthesise):
        roles.insert(0, "writes prompts")
    if config.judge is not None and config.judge.model == name:
        roles.append("judges answers")
    if config.difficulty is not None and config.difficulty.model == name:
        roles.append("measures difficulty")
    if config.select is not None and config.select.model == name:
        roles.append("reads the answers")
    if config.train is not None and name in config.train.teachers:
        roles.append("teacher of the student")
    return ", ".join(roles) or "not used"


def gather_counts(context: Context, family: Family) -> Iterable[StageCount]:
    """How each stage sorted what came to it; the conservation law is checked as they are built."""
    if context.config.seeds.synthesise:
        yield _sum_up(SYNTHESISE, "synthesised prompts", family.drawn.values())
    yield _sum_up("evolve", "evolved prompts", family.verdicts.values())
    yield _sum_up("check", "prompts", read_stage(context, "check", "verdicts-check", Verdict))
    stages = answer_stages(context)
    answers = [v for stage in stages for v in read_stage(context, stage, "verdicts-", Verdict)]
    yield _sum_up("answer", "answers", answers)
    if context.config.watch is not None:
        trusted = read_stage(context, WATCH, "verdicts-", Verdict)
        yield _sum_up(WATCH, "answers let through", trusted)
    if context.config.consensus is not None:
        votes = read_stage(context, CONSENSUS, "verdicts-", Verdict)
        yield _sum_up("consensus", "answers voted on", votes)
    if judged := read_stage(context, JUDGE, "verdicts-", Verdict):
        yield _sum_up(JUDGE, "answers put to the judge", judged)
    if released := read_stage(context, RELEASE, "verdicts-", Verdict):
        yield _sum_up(RELEASE, "answers out of quarantine", released)
    if context.config.decontaminate is not None:
        compared = read_stage(context, DECONTAMINATE, "verdicts-", Verdict)
        yield _sum_up(DECONTAMINATE, "accepted answers", compared)
    yield _sum_up("dedup", "verified answers", read_stage(context, "dedup", "verdicts-", Verdict))
    if context.config.screen is not None:
        screened = read_stage(context, SCREEN, "verdicts-", Verdict)
        yield _sum_up(SCREEN, "unique answers", screened)
    if context.config.difficulty is not None:
        grades = read_stage(context, DIFFICULTY, "verdicts-", Verdict)
        yield _sum_up("difficulty", "unique answers", grades)
    if context.config.select is not None:
        selected = read_stage(context, SELECT, "verdicts-", Verdict)
        yield _sum_up(SELECT, "wanted answers", selected)
    yield _sum_up("publish", "rows", read_stage(context, "publish", "verdicts-", Verdict))


def _sum_up(stage: str, unit: str, verdicts: Iterable[Verdict]) -> StageCount:
    verdicts = list(verdicts)
    decisions = Counter(verdict.decision for verdict in verdicts)
    return StageCount(
        stage=stage,
        unit=unit,
        total=len(verdicts),
        accepted=decisions["accept"],
        quarantined=decisions["quarantine"],
        rejected=decisions["reject"],
        reasons=_count_reasons(verdicts),
    )


def _count_reasons(verdicts: Iterable[Verdict]) -> tuple[ReasonCount, ...]:
    fallen = [verdict for verdict in verdicts if verdict.decision != "accept"]
    counted: Counter[tuple[Decision, str]] = Counter((v.decision, v.reason) for v in fallen)
    return tuple(
        ReasonCount(decision=decision, reason=reason, count=count)
        for (decision, reason), count in counted.most_common()
    )


def _gather_operators(family: Family, published: set[str]) -> Iterable[OperatorFacts]:
    """Per round and operator; an attempt that brought no child has these in its verdict's id."""
    tried: dict[tuple[int, str], list[Verdict]] = defaultdict(list)
    for id, verdict in family.verdicts.items():
        attempt = family.describe_attempt(id)
        tried[attempt.round, attempt.operator].append(verdict)
    for (round, operator), verdicts in sorted(tried.items()):
        accepted = [verdict for verdict in verdicts if verdict.decision == "accept"]
        alive = [family.prompts[verdict.subject_id] for verdict in accepted]
        added = [
            len(bare_text(c).split()) - len(bare_text(family.prompts[c.parent_id]).split())
            for c in alive
            if c.parent_id
        ]
        yield OperatorFacts(
            round=round,
            operator=operator,
            tried=len(verdicts),
            survived=len(alive),
            published=sum(child.id in published for child in alive),
            median_added_words=median(added) if added else None,
            reasons=_count_reasons(verdicts),
        )


def _gather_sampler(context: Context, sampler: SamplerSettings) -> SamplerFacts:
    stage = f"answer-{sampler.name}"
    answers = read_stage(context, stage, "answers-", Answer)
    verified = read_verified(context, stage)
    passed: dict[str, list[str]] = {answer.prompt_id: [] for answer in answers}
    for answer in answers:
        if answer.id in verified:
            passed[answer.prompt_id].append(" ".join(answer.completion.casefold().split()))
    n = sampler.n
    solved = [pass_at_k(n, min(len(right), n), n) for right in passed.values()]
    return SamplerFacts(
        name=sampler.name,
        model=answers[0].model if answers else model_id(context.config.models[sampler.model]),
        form=context.config.models[sampler.model].form,
        examples=sum(map(len, load_sampler_examples(context, sampler).by_task.values())),
        prompts=len(passed),
        samples=len(answers),
        prompt_tokens=sum(answer.usage.prompt_tokens for answer in answers),
        completion_tokens=sum(answer.usage.completion_tokens for answer in answers),
        accepted=sum(map(len, passed.values())),
        draws=n,
        coverage=Interval.of(bootstrap_interval(solved)) if solved else None,
        distinct_correct=fmean(len(set(right)) for right in passed.values()) if passed else None,
    )


def gather_lineages(family: Family, rows: Sequence[dict]) -> Iterable[Lineage]:
    """A few published rows, those with the longest lines and unlike operators first."""
    shown: set[tuple[str, ...]] = set()
    for row in sorted(rows, key=lambda row: (-row["round"], row["id"])):
        line = trace(family, row["prompt_id"])
        operators = tuple(prompt.operator for prompt in line)
        if operators in shown:
            continue
        shown.add(operators)
        yield Lineage(
            row_id=row["id"],
            domain=row["domain"],
            steps=tuple(_describe_step(family, prompt) for prompt in line),
            check=describe_check(CHECK.validate_json(row["check"])),
            answer=row["completion"][-1]["content"],
            teacher=row["teacher"],
            verified_by=row["verified_by"],
        )
        if len(shown) == LINEAGES:
            return


def trace(family: Family, id: str) -> list[Prompt]:
    """The prompts from the seed down to this one."""
    line = [family.prompts[id]]
    while line[0].parent_id is not None:
        line.insert(0, family.prompts[line[0].parent_id])
    return line


def _describe_step(family: Family, prompt: Prompt) -> LineageStep:
    verdict = family.find_verdict(prompt.id)
    return LineageStep(
        round=prompt.round,
        operator=prompt.operator,
        text=prompt.text,
        decision=verdict.decision if verdict else "accept",
        reason=verdict.reason if verdict else "seed",
        author=prompt.author,
    )


def describe_check(check: Check) -> str:
    """A check in a few words."""
    match check.kind:
        case "math" | "exact" | "choice":
            return f"the answer is {check.answer}"
        case "procedural":
            return f"{check.task} computes {check.entry['answer']}"
        case "consensus":
            return f"voted: {describe_votes(check.votes, check.n)}"
        case "constraint":
            return "; ".join(_describe_constraint(c) for c in check.constraints)
        case _:
            return CHECK.dump_json(check, by_alias=True).decode()


def _describe_constraint(constraint: dict) -> str:
    name = constraint["id"].partition(":")[2].replace("_", " ")
    values = ", ".join(f"{k} {v}" for k, v in constraint.items() if k != "id")
    return f"{name} ({values})" if values else name


def _gather_duplicates(context: Context) -> DuplicateFacts:
    verdicts = read_stage(context, "dedup", "verdicts-", Verdict)
    reasons = Counter(verdict.reason for verdict in verdicts)
    return DuplicateFacts(
        exact_prompts=reasons["exact_duplicate_prompt"],
        near_prompts=reasons["near_duplicate_prompt"],
        exact_answers=reasons["exact_duplicate_answer"],
        near_answers=reasons["near_duplicate_answer"],
        semantic_prompts=reasons["semantic_duplicate_prompt"],
        semantic_answers=reasons["semantic_duplicate_answer"],
    )


def _gather_dataset(context: Context, family: Family, rows: Sequence[dict]) -> DatasetFacts:
    place = context.run.place
    tokens = {
        answer.id: answer.usage.completion_tokens
        for one in (*list_earlier(context), context)
        for stage in list_answering(one)
        for answer in read_stage(one, stage, "answers-", Answer)
    }
    lengths = [tokens[row["id"]] for row in rows]
    return DatasetFacts(
        path=TRAIN,
        hash=hash_dataset(place(TRAIN)),
        rows=len(rows),
        prompts=len({row["prompt_id"] for row in rows}),
        evolved=sum(descends_from_rewrite(family, row["prompt_id"]) for row in rows),
        by_domain=_count(row["domain"] for row in rows),
        by_verified_by=_count(row["verified_by"] for row in rows),
        by_operator=_count(row["operator"] for row in rows),
        by_round=_count(row["round"] for row in rows),
        by_licence=_count(row["licence"] for row in rows),
        mean_completion_tokens=fmean(lengths) if lengths else 0.0,
        quarantined=pq.read_metadata(place(QUARANTINE)).num_rows,
        rejected=pq.read_metadata(place(REJECTED)).num_rows,
        licence=context.config.publish.licence,
    )


def descends_from_rewrite(family: Family, id: str) -> bool:
    """Whether a model rewrote this prompt or one of its ancestors."""
    written = {name for name, operator in OPERATORS.items() if operator.kind != "key"}
    return any(prompt.operator in written for prompt in trace(family, id))


def _count(values: Iterable) -> dict:
    return dict(sorted(Counter(values).items()))
