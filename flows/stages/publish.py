"""Stage `publish`: the verified rows become a dataset; everything else lies beside it with the
reason why. A later cycle adds to what was there when it began.

`dataset/train.parquet` has conversational `prompt` and `completion` columns, as trainers expect
them; `quarantine.parquet` and `rejected.parquet` hold every other subject of the run. The dataset's
hash covers the rows, not their order, nor times or costs.
"""

import functools
import hashlib
from collections import Counter
from collections.abc import Container, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from flows.history import BASE, find_earlier_answers, list_answering, list_earlier, read_base
from flows.overrides import (
    OVERRIDES,
    Override,
    key_of,
    list_rejected,
    overrule,
    read_log,
    read_overrides,
    reject_row,
)
from flows.stage_settings import PublishSettings
from flows.stages.accepted import list_accepting, read_verified
from flows.stages.consensus import read_decided, read_every_decided, share_of_votes
from flows.stages.decontaminate import DECONTAMINATE
from flows.stages.difficulty import DIFFICULTY, read_pass_rates
from flows.stages.family import Family, evolve_stages, find_subjects, read_family, read_stage
from flows.stages.losses import LOSSES, RowLoss, find_ifd, read_losses
from flows.stages.release import read_released
from flows.stages.screen import SCREEN, read_tags
from flows.stages.selection import SELECT, read_selected
from flows.store import QUARANTINE, REJECTED, TRAIN, FileEntry
from flows.work import Context, Job, Tick
from generators.records import (
    VERIFIED_BY,
    Answer,
    ConsensusCheck,
    Prompt,
    Verdict,
    VerifiedBy,
    canonical_json,
)

_TURNS = pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))
ROW_SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("prompt", _TURNS),
        ("completion", _TURNS),
        ("root_id", pa.string()),
        ("parent_id", pa.string()),
        ("prompt_id", pa.string()),
        ("cycle", pa.int32()),
        ("round", pa.int32()),
        ("operator", pa.string()),
        ("domain", pa.string()),
        ("check", pa.string()),
        ("verified_by", pa.string()),
        ("confidence", pa.float64()),
        ("weight", pa.float64()),
        ("student_pass_rate", pa.float64()),
        ("student_loss", pa.float64()),
        ("ifd", pa.float64()),
        ("teacher", pa.string()),
        ("author", pa.string()),
        ("source", pa.string()),
        ("licence", pa.string()),
        ("tools", pa.string()),
        ("tags", pa.list_(pa.string())),
    ]
)
SET_ASIDE_SCHEMA = pa.schema(
    [
        *[(name, pa.string()) for name in ("id", "stage", "decision", "reason", "evidence")],
        *[(name, pa.string()) for name in ("detector", "version")],
        ("score", pa.float64()),
        *[(name, pa.string()) for name in ("prompt", "completion", "prompt_id", "root_id")],
        ("parent_id", pa.string()),
        ("cycle", pa.int32()),
        ("round", pa.int32()),
        *[(name, pa.string()) for name in ("operator", "domain", "author", "teacher")],
    ]
)


BY_PERSON: VerifiedBy = "person"


class Noted(NamedTuple):
    """What was noted of an answer besides the verdicts on it."""

    confidence: float
    pass_rate: float | None = None
    """The student's, on the answer's prompt."""
    loss: RowLoss | None = None
    tags: Sequence[str] | None = None
    by_person: bool = False
    """Whether a person answers for it, and no verification."""
    cycle: int = 1
    """In which it was given."""


class Base(NamedTuple):
    """What becomes of the rows that a later cycle began with."""

    rows: Sequence[dict[str, Any]]
    """That stay."""
    verdicts: Sequence[Verdict]
    """On those that a person has taken out since."""


class PublishStage:
    """Verified, unique answers are published, up to so many a prompt."""

    name = "publish"

    def plan(self, context: Context) -> list[Job]:
        before = [*evolve_stages(context), *judging_stages(context), LOSSES, OVERRIDES, BASE]
        key = context.key(self.name, context.config.publish.model_dump(), before)
        verdicts = f"{context.folder}/verdicts-publish.parquet"
        outputs = (TRAIN, QUARANTINE, REJECTED, verdicts)
        rows = len(read_selected(context))
        return [Job(stage=self.name, outputs=outputs, rows=rows, key=key)]

    def work(self, context: Context, job: Job, tick: Tick) -> list[FileEntry]:
        family, wanted, base = read_family(context), read_selected(context), settle_base(context)
        prompts = family.prompts | read_every_decided(context)
        by_person = find_persons_rows(context, wanted, prompts)
        taken = Counter(row["prompt_id"] for row in base.rows)
        verdicts = choose_rows(wanted, prompts, context.config.publish, by_person, taken)
        rejected = list_rejected(read_log(context.run))
        verdicts = [_obey(verdict, rejected) for verdict in verdicts]
        chosen = {v.subject_id for v in verdicts if v.decision == "accept"}
        noted = read_noted(context, by_person)
        settings = context.config.publish
        rows = [
            make_row(a, prompts[a.prompt_id], noted[a.id], settings)
            for a in wanted
            if a.id in chosen
        ]
        rows, verdicts = [*base.rows, *rows], [*base.verdicts, *verdicts]
        aside = list_set_aside(context, family, verdicts)
        tables = [sorted(rows, key=lambda row: row["id"])]
        tables += [[r for r in aside if r["decision"] == d] for d in ("quarantine", "reject")]
        schemas = (ROW_SCHEMA, SET_ASIDE_SCHEMA, SET_ASIDE_SCHEMA)
        entries = [
            context.write(job, path, functools.partial(write_table, rows=rows, schema=schema))
            for path, rows, schema in zip(job.outputs, tables, schemas, strict=False)
        ]
        tick(job.rows)
        return [*entries, context.write_records(job, job.outputs[-1], Verdict, verdicts)]


def settle_base(context: Context) -> Base:
    """The rows that this cycle began with, without those that a benchmark gave away or that a
    person has taken out since."""
    rejected = list_rejected(read_log(context.run))
    judged = read_stage(context, DECONTAMINATE, "verdicts-", Verdict)
    gone = {verdict.subject_id for verdict in judged if verdict.decision != "accept"}
    there = [row for row in read_base(context, TRAIN) if row["id"] not in gone]
    return Base(
        rows=[row for row in there if row["id"] not in rejected],
        verdicts=[reject_row(rejected[row["id"]]) for row in there if row["id"] in rejected],
    )


def _obey(verdict: Verdict, rejected: Mapping[str, Override]) -> Verdict:
    """The verdict, or in the place of an acceptance what a person decided."""
    override = rejected.get(verdict.subject_id)
    return verdict if override is None or verdict.decision != "accept" else reject_row(override)


def judging_stages(context: Context) -> list[str]:
    """The stages whose verdicts decide what is published, in order."""
    return [
        "check",
        *list_accepting(context),
        DECONTAMINATE,
        "dedup",
        SCREEN,
        DIFFICULTY,
        SELECT,
    ]


def choose_rows(
    answers: Sequence[Answer],
    prompts: Mapping[str, Prompt],
    settings: PublishSettings,
    by_person: Container[str] = (),
    taken: Mapping[str, int] = MappingProxyType({}),
) -> list[Verdict]:
    """Accept the first answers of each prompt whose kind of verification is let in, or that a
    person answers for, up to the number of rows that is wanted. `taken` are the rows that a prompt
    has already."""
    counts = Counter(taken)
    verdicts = []
    answers = sorted(answers, key=lambda answer: answer.id in by_person)  # verified ones first
    for answer in answers:
        verified_by = verified_by_of(prompts[answer.prompt_id])
        if verified_by not in settings.accept and answer.id not in by_person:
            verdicts.append(_judge(answer, "quarantine", f"verified_by_{verified_by}"))
        elif counts[answer.prompt_id] >= settings.answers_per_prompt:
            verdicts.append(_judge(answer, "reject", "surplus"))
        else:
            counts[answer.prompt_id] += 1
            verdicts.append(_judge(answer, "accept", "published"))
    return (
        verdicts if settings.target_rows is None else _cut(answers, verdicts, settings, by_person)
    )


def _cut(
    answers: Sequence[Answer],
    verdicts: Sequence[Verdict],
    settings: PublishSettings,
    by_person: Container[str],
) -> list[Verdict]:
    """Reject what goes beyond the wanted number of rows; the first answers of all prompts come
    before the second ones, and what a person lets in comes on top."""
    rank: Counter[str] = Counter()
    order: list[tuple[int, str, int]] = []
    for place, (answer, verdict) in enumerate(zip(answers, verdicts, strict=True)):
        if verdict.decision == "accept" and answer.id not in by_person:
            order.append((rank[answer.prompt_id], answer.prompt_id, place))
            rank[answer.prompt_id] += 1
    beyond = {place for _, _, place in sorted(order)[settings.target_rows :]}
    return [
        _judge(answer, "reject", "beyond_target") if place in beyond else verdict
        for place, (answer, verdict) in enumerate(zip(answers, verdicts, strict=True))
    ]


def verified_by_of(prompt: Prompt) -> str:
    """How an accepted answer to this prompt counts as verified."""
    return "none" if prompt.check is None else VERIFIED_BY[prompt.check.kind]


def measure_confidence(context: Context) -> dict[str, float]:
    """For each answer the share of its sampler's samples of that prompt that were accepted, or of
    all votes that the elected answer had. What samplers an earlier cycle had, and how many samples
    each drew, is told by its answers."""
    confidence: dict[str, float] = {}
    shares = {id: share_of_votes(prompt) for id, prompt in read_decided(context).items()}
    is_newest = context.cycle == context.run.manifest.newest
    drawn = {f"answer-{s.name}": s.n for s in context.config.samplers if is_newest}
    for stage in list_answering(context):
        answers = read_stage(context, stage, "answers-", Answer)
        accepted = read_verified(context, stage)
        samples = drawn.get(stage) or 1 + max((a.sample_index for a in answers), default=0)
        by_prompt: dict[str, list[str]] = {}
        for answer in answers:
            by_prompt.setdefault(answer.prompt_id, []).append(answer.id)
        for prompt, ids in by_prompt.items():
            own = sum(id in accepted for id in ids) / samples
            confidence |= dict.fromkeys(ids, shares.get(prompt, own))
    return confidence


def read_noted(context: Context, by_person: Container[str]) -> dict[str, Noted]:
    """What is noted of each answer, by its id: of this cycle, and of those before it, which may
    have been released since."""
    rates, losses, tags = read_pass_rates(context), read_losses(context), read_tags(context)
    return {
        id: Noted(confidence, rates.get(id), losses.get(id), tags.get(id), id in by_person, c.cycle)
        for c in (*list_earlier(context), context)
        for id, confidence in measure_confidence(c).items()
    }


def find_persons_rows(
    context: Context, answers: Sequence[Answer], prompts: Mapping[str, Prompt]
) -> set[str]:
    """The answers that were released although no verification stands behind them.

    One that is verified and was released from another quarantine, as for personal data or for what
    became of its teacher, is not among them.
    """
    unaided = choose_rows(answers, prompts, context.config.publish)
    overrides = read_overrides(context.run)
    every = [*list_earlier(context), context]
    verified = (read_verified(c, stage) for c in every for stage in list_answering(c))
    return read_released(context).difference(*verified) | {
        verdict.subject_id for verdict in unaided if key_of(verdict) in overrides
    }


def make_row(
    answer: Answer, prompt: Prompt, noted: Noted, settings: PublishSettings
) -> dict[str, Any]:
    """One row of the published dataset."""
    is_elected = isinstance(prompt.check, ConsensusCheck) and not noted.by_person
    confidence = round(noted.confidence, 4)
    return {
        "id": answer.id,
        "prompt": [{"role": m.role, "content": m.content} for m in prompt.messages],
        "completion": [{"role": m.role, "content": m.content} for m in answer.messages],
        "root_id": prompt.root_id,
        "parent_id": prompt.parent_id,
        "prompt_id": prompt.id,
        "cycle": noted.cycle,
        "round": prompt.round,
        "operator": prompt.operator,
        "domain": prompt.domain,
        "check": canonical_json(prompt.check),
        "verified_by": BY_PERSON if noted.by_person else verified_by_of(prompt),
        "confidence": confidence,
        "weight": confidence if settings.weights == "votes" and is_elected else 1.0,
        "student_pass_rate": noted.pass_rate,
        "student_loss": noted.loss.loss if noted.loss else None,
        "ifd": find_ifd(noted.loss),
        "teacher": answer.model,
        "author": prompt.author,
        "source": prompt.source,
        "licence": settings.licence,
        "tools": canonical_json(prompt.tools) if prompt.tools else None,
        "tags": noted.tags,
    }


def list_set_aside(
    context: Context, family: Family, published: Sequence[Verdict]
) -> list[dict[str, Any]]:
    """Every subject of the run that was not accepted, with what was decided and why."""
    overrides = read_overrides(context.run)
    verdicts = [overrule(v, overrides) for v in [*read_verdicts(context, family), *published]]
    fallen = [verdict for verdict in verdicts if verdict.decision != "accept"]
    ids = [verdict.subject_id for verdict in fallen]
    earlier = {answer.id: answer for answer in find_earlier_answers(context, ids)}
    released, published_before = read_released(context), read_base(context, TRAIN)
    before = [row for path in (QUARANTINE, REJECTED) for row in read_base(context, path)]
    made = {row["id"]: row["cycle"] for row in (*published_before, *before)}
    subjects = find_subjects(context, family, fallen, earlier)
    rows = [
        _set_aside_row(*subject) | {"cycle": made.get(subject.verdict.subject_id, context.cycle)}
        for subject in subjects
    ]
    return [*(row for row in before if row["id"] not in released), *rows]


def read_verdicts(context: Context, family: Family) -> list[Verdict]:
    """The verdicts of all stages before this one."""
    stages = judging_stages(context)
    later = [v for stage in stages for v in read_stage(context, stage, "verdicts-", Verdict)]
    return [*family.drawn.values(), *family.verdicts.values(), *later]


def _set_aside_row(
    verdict: Verdict, prompt: Prompt | None, answer: Answer | None
) -> dict[str, Any]:
    row = verdict.model_dump(exclude={"subject_id"}) | {"id": verdict.subject_id}
    row["completion"] = answer.completion if answer else None
    row["teacher"] = answer.model if answer else None
    if prompt is not None:
        row |= {"prompt": prompt.text, "prompt_id": prompt.id}
        names = ("root_id", "parent_id", "round", "operator", "domain", "author")
        row |= {name: getattr(prompt, name) for name in names}
    return row


def write_table(path: Path, rows: Sequence[Mapping[str, Any]], schema: pa.Schema) -> None:
    """Write plain rows; a column that a row lacks is null."""
    columns = {name: [row.get(name) for row in rows] for name in schema.names}
    pq.write_table(pa.table(columns, schema=schema), path)


def hash_dataset(path: Path) -> str:
    """SHA-256 over the canonical rows, sorted by id."""
    rows = sorted(pq.read_table(path).to_pylist(), key=lambda row: row["id"])
    return hashlib.sha256("\n".join(map(canonical_json, rows)).encode()).hexdigest()


def _judge(answer: Answer, decision: Any, reason: str) -> Verdict:
    return Verdict(
        subject_id=answer.id,
        stage="publish",
        detector="publish",
        version="1",
        decision=decision,
        reason=reason,
    )
