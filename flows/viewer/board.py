"""Sums a run's tables up for the dashboard.

The figures are those of the report (`flows.gather`), but of all cycles together and counted by
the database, so that a run of any size takes little memory. They come as the same records, which
refuse counts that do not add up.
"""

import sqlite3
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from statistics import fmean

from flows.annotate_settings import parse_settings
from flows.config import RunConfig
from flows.cycles import tell_promotion
from flows.facts import (
    DifficultyFacts,
    Facts,
    OperatorFacts,
    ReasonCount,
    RunFacts,
    SeedFacts,
    StageCount,
    StageTime,
)
from flows.gather_difficulty import find_bin
from flows.gather_learning import gather_evaluation
from flows.promotion import Promotion
from flows.run_settings import ServerModel
from flows.stages.answer import BROKEN_CHAIN, PUT_TO_JUDGE, PUT_TO_VOTE
from flows.stages.train import STUDENT
from flows.store import TRAIN, Manifest, name_folder
from flows.viewer.board_facts import Board, Cluster, CycleTally, Found, Spending, Taught
from flows.viewer.sources import PHASES, UNITS
from flows.work import model_id, open_context
from generators.records import Usage
from trainers.settings import TrainResult

LARGEST = 12
"""Clusters of duplicates that are shown."""
EXCERPT = 300
POISON = ("answer_form", "teacher_watch", "screen", "self_synthesis_rules")
"""Detectors that look for poison and for what must not be in a dataset."""


def sum_up_board(connection: sqlite3.Connection, root: Path, manifest: Manifest) -> Board:
    """Everything that the dashboard shows."""
    config = parse_settings(manifest.config)
    assert isinstance(config, RunConfig)
    return Board(
        facts=_sum_up_facts(connection, root, manifest, config),
        spending=tuple(_list_spending(connection, config)),
        clusters=tuple(_list_clusters(connection)),
        clustered=_ask(connection, "select count(distinct original) from duplicates"),
        found=tuple(_list_found(connection)),
        cycles=tuple(_list_cycles(connection, root, manifest)),
        answers=_ask(connection, "select count(*) from answers"),
        prompts=_ask(connection, "select count(*) from prompts where kind = 'prompt'"),
        taught=_tell_taught(root, manifest, config),
        is_published=TRAIN in manifest.files,
    )


def _sum_up_facts(
    connection: sqlite3.Connection, root: Path, manifest: Manifest, config: RunConfig
) -> Facts:
    with open_context(root, config) as context:
        evaluation = gather_evaluation(context)
    cycles = manifest.cycles.values()
    ended = [cycle.finished for cycle in cycles if cycle.finished is not None]
    return Facts(
        run=RunFacts(
            name=manifest.name,
            started=min(cycle.started for cycle in cycles),
            finished=max(ended) if len(ended) == len(cycles) else None,
            stages=tuple(StageTime(stage=s, seconds=t) for s, t in manifest.seconds.items()),
            config_digest=manifest.config_digest,
            cycle=len(cycles),
            versions={},
        ),
        seeds=_sum_up_seeds(connection, config),
        rounds=_ask(connection, "select coalesce(max(round), 0) from prompts"),
        counts=tuple(_count_phases(connection)),
        operators=tuple(_list_operators(connection)),
        difficulty=tuple(_list_difficulty(connection, config)),
        evaluation=evaluation,
    )


def _tell_taught(root: Path, manifest: Manifest, config: RunConfig) -> Taught | None:
    """How the student was taught; None where there is none yet."""
    told = f"{STUDENT}/result.json"
    if config.train is None or told not in manifest.files:
        return None
    result = TrainResult.model_validate_json((root / told).read_bytes())
    return Taught(
        objective=", then ".join(part.objective for part in config.train.split()),
        steps=result.steps,
        rows=result.rows,
        seconds=result.seconds,
    )


def _ask(connection: sqlite3.Connection, question: str) -> int:
    return connection.execute(question).fetchone()[0]


def _sum_up_seeds(connection: sqlite3.Connection, config: RunConfig) -> SeedFacts:
    domains: Counter[str] = Counter()
    licences: set[str] = set()
    for domain, licence, number in connection.execute(
        "select domain, licence, count(*) from prompts where round = 0 and id not in "
        "(select subject_id from verdicts where phase = 'synthesise' and decision != 'accept') "
        "group by 1, 2"
    ):
        domains[domain] += number
        licences.add(licence)
    return SeedFacts(
        total=sum(domains.values()),
        by_domain=dict(sorted(domains.items())),
        licences=tuple(sorted(licences)),
        path=", ".join(config.seeds.paths),
    )


def _count_phases(connection: sqlite3.Connection) -> Iterator[StageCount]:
    """How each phase sorted what came to it."""
    found: dict[str, Counter[tuple[str, str]]] = defaultdict(Counter)
    for phase, decision, reason, number in connection.execute(
        "select phase, decision, reason, count(*) from verdicts group by 1, 2, 3"
    ):
        found[phase][decision, reason] += number
    for phase in sorted(found, key=lambda name: (_rank(name), name)):
        tally = found[phase]
        fell = Counter({key: n for key, n in tally.items() if key[0] != "accept"})
        yield StageCount(
            stage=phase,
            unit=UNITS.get(phase, "subjects"),
            total=tally.total(),
            accepted=tally.total() - fell.total(),
            quarantined=sum(n for (decision, _), n in fell.items() if decision == "quarantine"),
            rejected=sum(n for (decision, _), n in fell.items() if decision == "reject"),
            reasons=_list_reasons(fell),
        )


def _rank(phase: str) -> int:
    return PHASES.index(phase) if phase in PHASES else len(PHASES)


def _list_reasons(fell: Counter) -> tuple[ReasonCount, ...]:
    return tuple(
        ReasonCount(decision=decision, reason=reason, count=number)
        for (decision, reason), number in fell.most_common()
    )


def _list_operators(connection: sqlite3.Connection) -> Iterator[OperatorFacts]:
    """What each operator did in each round."""
    tried: dict[tuple[int, str], Counter[tuple[str, str]]] = defaultdict(Counter)
    published: dict[tuple[int, str], int] = {}
    for round, operator, decision, reason, number, in_dataset in connection.execute(
        "select p.round, p.operator, v.decision, v.reason, count(*), "
        "sum(p.id in (select prompt_id from rows where decision = 'accept')) "
        "from verdicts v join prompts p on p.id = v.subject_id where v.phase = 'evolve' "
        "group by 1, 2, 3, 4 order by 1, 2"
    ):
        tried[round, operator][decision, reason] += number
        if decision == "accept":
            published[round, operator] = published.get((round, operator), 0) + in_dataset
    for (round, operator), tally in tried.items():
        fell = Counter({key: n for key, n in tally.items() if key[0] != "accept"})
        yield OperatorFacts(
            round=round,
            operator=operator,
            tried=tally.total(),
            survived=tally.total() - fell.total(),
            published=published.get((round, operator), 0),
            median_added_words=None,
            reasons=_list_reasons(fell),
        )


def _list_difficulty(
    connection: sqlite3.Connection, config: RunConfig
) -> Iterator[DifficultyFacts]:
    """How often the first sampler, which is asked for every prompt, solves those of each round."""
    sampler = config.samplers[0]
    bins: dict[int, Counter[int]] = defaultdict(Counter)
    rates: dict[int, list[float]] = defaultdict(list)
    for round, right in connection.execute(
        "with verified as (select distinct subject_id from verdicts where decision = 'accept' and "
        "(phase = 'answer' and reason not in (?, ?) or phase in ('consensus', 'judge'))) "
        "select p.round, sum(a.id in verified) from answers a join prompts p on p.id = a.prompt_id "
        "where a.sampler = ? group by a.prompt_id",
        (PUT_TO_VOTE, PUT_TO_JUDGE, sampler.name),
    ):
        rate = min(1.0, right / sampler.n)
        bins[round][find_bin(rate)] += 1
        rates[round].append(rate)
    for round in sorted(bins):
        yield DifficultyFacts(
            round=round,
            prompts=bins[round].total(),
            mean_pass_rate=fmean(rates[round]),
            histogram=tuple(bins[round][i] for i in range(6)),
        )


def _list_spending(connection: sqlite3.Connection, config: RunConfig) -> Iterator[Spending]:
    prices = {
        model_id(model): model.price
        for model in config.models.values()
        if isinstance(model, ServerModel) and model.price is not None
    }
    for sampler, model, answers, published, prompt, completion in connection.execute(
        "select sampler, model, count(*), "
        "sum(id in (select id from rows where decision = 'accept')), "
        "sum(prompt_tokens), sum(completion_tokens) from answers group by 1, 2 order by 1, 2"
    ):
        usage = Usage(prompt_tokens=prompt, completion_tokens=completion)
        yield Spending(
            sampler=sampler,
            model=model,
            answers=answers,
            published=published,
            prompt_tokens=prompt,
            completion_tokens=completion,
            usd=prices[model].cost(usage) if model in prices else None,
        )


def _list_clusters(connection: sqlite3.Connection) -> Iterator[Cluster]:
    """The texts that are repeated most often, whether they are prompts or answers."""
    for original, repeats, kinds, highest, text in connection.execute(
        "select original, count(*), group_concat(distinct kind), max(d.score), "
        "coalesce((select text from prompts where id = original), "
        "(select completion from answers where id = original), '') "
        "from duplicates d group by original order by 2 desc, 1 limit ?",
        (LARGEST,),
    ):
        yield Cluster(
            original=original,
            text=text[:EXCERPT],
            repeats=repeats,
            kinds=tuple(sorted(kinds.split(","))),
            highest=highest,
        )


def _list_found(connection: sqlite3.Connection) -> Iterator[Found]:
    """What the audit of answers, the watch over teachers and the screen found, and chains of
    calculations that break."""
    marks = ", ".join("?" for _ in POISON)
    rows: Iterable[tuple] = connection.execute(
        "select detector, reason, decision, count(*), min(subject_id) from verdicts "
        f"where decision != 'accept' and (detector in ({marks}) or reason = ?) "
        "group by 1, 2, 3 order by 4 desc, 1, 2",
        (*POISON, BROKEN_CHAIN),
    )
    for detector, reason, decision, number, example in rows:
        yield Found(
            detector=detector, reason=reason, decision=decision, number=number, example=example
        )


def _list_cycles(
    connection: sqlite3.Connection, root: Path, manifest: Manifest
) -> Iterator[CycleTally]:
    def count(table: str, column: str, where: str = "true") -> Counter:
        return Counter(
            dict(
                connection.execute(
                    f"select {column}, count(*) from {table} where {where} group by 1"
                ).fetchall()
            )
        )

    prompts = count("prompts", "cycle", "kind = 'prompt'")
    answers = count("answers", "cycle")
    rows = {
        decision: count("rows", "cycle", f"decision = '{decision}'")
        for decision in ("accept", "quarantine", "reject")
    }
    for number, cycle in sorted((int(n), c) for n, c in manifest.cycles.items()):
        yield CycleTally(
            number=number,
            status=cycle.status,
            prompts=prompts[number],
            answers=answers[number],
            published=rows["accept"][number],
            quarantined=rows["quarantine"][number],
            rejected=rows["reject"][number],
            student=_tell_student(root, manifest, number),
        )


def _tell_student(root: Path, manifest: Manifest, cycle: int) -> str | None:
    told = f"{name_folder(cycle)}/promotion.json"
    if told not in manifest.files:
        return None
    return tell_promotion(Promotion.model_validate_json((root / told).read_bytes()))
