"""How hard each round's prompts are: for the first sampler, and for the student itself."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from statistics import fmean

from flows.facts import DifficultyFacts
from flows.stages.accepted import read_verified
from flows.stages.difficulty import read_pass_rates
from flows.stages.family import Family, read_stage
from flows.stages.screen import read_screened
from flows.work import Context
from generators.records import Answer

BIN_EDGES = (0.0, 0.25, 0.5, 0.75, 1.0)


def gather_difficulty(context: Context, family: Family) -> Iterator[DifficultyFacts]:
    """How often the first sampler, which is asked for every prompt, solves those of each round."""
    sampler = context.config.samplers[0]
    stage = f"answer-{sampler.name}"
    accepted = read_verified(context, stage)
    right: Counter[str] = Counter()
    for answer in read_stage(context, stage, "answers-", Answer):
        right[answer.prompt_id] += answer.id in accepted
    return _sum_up(family, {id: count / sampler.n for id, count in right.items()})


def gather_student_difficulty(context: Context, family: Family) -> Iterator[DifficultyFacts]:
    """How often the untrained student solves the prompts that have a verified answer."""
    return _sum_up(family, rate_prompts(context))


def rate_prompts(context: Context) -> dict[str, float]:
    """The student's pass rate by prompt; empty where it was not measured."""
    rates = read_pass_rates(context)
    return {a.prompt_id: rates[a.id] for a in read_screened(context) if a.id in rates}


def _sum_up(family: Family, rates: Mapping[str, float]) -> Iterator[DifficultyFacts]:
    by_round: dict[int, list[float]] = defaultdict(list)
    for id, rate in rates.items():
        by_round[family.prompts[id].round].append(rate)
    for round, found in sorted(by_round.items()):
        bins = Counter(map(find_bin, found))
        yield DifficultyFacts(
            round=round,
            prompts=len(found),
            mean_pass_rate=fmean(found),
            histogram=tuple(bins[i] for i in range(6)),
        )


def find_bin(rate: float) -> int:
    """0, (0, .25], (.25, .5], (.5, .75], (.75, 1), 1."""
    if rate >= 1:
        return 5
    return next(i for i, edge in enumerate((*BIN_EDGES[:-1], 1.0)) if rate <= edge)
