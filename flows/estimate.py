"""What a run may take, counted before anything is asked: requests, tokens, and a bound in dollars.

Requests and completion tokens are upper bounds: every child survives and can be checked, every
later sampler is asked for everything, every answer uses all of its `max_tokens`, and the journal
holds nothing yet. A prompt's tokens are bounded as a budget bounds them. The answer by which
evolution judges a child is the first sampler's first one, so it is counted there. Evaluation and
training happen in this process and are not counted.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence

from filters.equality import build_comparison
from filters.judge_battery import plan_attempts
from filters.judging import Case, build_requests
from flows.config import RunConfig
from flows.console import Console
from flows.run_settings import EmbeddedModel
from flows.stages.calibrate import CALIBRATE
from flows.stages.check import judge_check
from flows.stages.difficulty import DIFFICULTY, sample_student
from flows.stages.family import SYNTHESISE
from flows.stages.judge import JUDGE, TRY_JUDGE
from flows.stages.seeds import load_all_seeds
from flows.stages.synthesise import find_opening
from generators.answers import SamplerSettings, group_examples, put_prompt
from generators.calibration import load_pairs
from generators.clients import Request
from generators.consensus import put_to_vote
from generators.operator_sets import FOLLOW_UP, OPERATORS
from generators.operators import Draw, EvolveSettings, bare_text, build_rewrite, fitting_operators
from generators.records import JudgeCheck, Prompt, Record, Usage
from generators.seeds import load_examples
from generators.self_synthesis import draft_turns, make_prompt
from generators.spending import BYTES_PER_TOKEN, FREE, bound_usage


class StageEstimate(Record):
    """What one stage asks of one model, at most."""

    stage: str
    model: str
    """Its name under `models`."""
    requests: int
    prompt_tokens: int
    completion_tokens: int
    cost_usd: float | None
    """None where the model's price is not stated; a model in this process costs nothing."""


class Estimate(Record):
    """What a run takes, at most."""

    stages: tuple[StageEstimate, ...]
    requests: int
    prompt_tokens: int
    completion_tokens: int
    cost_usd: float | None
    """None where some price is not stated."""


def estimate_run(config: RunConfig) -> Estimate:
    """Read the seeds and count; nothing is sent, and nothing is written."""
    seeds = [*load_all_seeds(config, cycle=1), *imagine_prompts(config)]
    stages = [
        *_estimate_synthesis(config),
        *_estimate_evolution(config, seeds),
        *_estimate_answers(config, seeds),
        *_estimate_judging(config, seeds),
    ]
    costs = [stage.cost_usd for stage in stages]
    known = [cost for cost in costs if cost is not None]
    return Estimate(
        stages=tuple(stages),
        requests=sum(stage.requests for stage in stages),
        prompt_tokens=sum(stage.prompt_tokens for stage in stages),
        completion_tokens=sum(stage.completion_tokens for stage in stages),
        cost_usd=sum(known) if len(known) == len(costs) else None,
    )


def show_estimate(estimate: Estimate, console: Console) -> None:
    """Print the estimate as a table and a sum."""
    rows = [
        (s.stage, s.model, s.requests, s.prompt_tokens, s.completion_tokens, _dollars(s.cost_usd))
        for s in estimate.stages
    ]
    columns = ["stage", "model", "requests", "prompt tokens", "completion tokens", "USD"]
    console.table("At most", columns, rows)
    price = _dollars(estimate.cost_usd)
    if estimate.cost_usd is not None:
        price = f"USD {price}"
    console.line(
        f"{estimate.requests:,} requests, {estimate.prompt_tokens:,} prompt tokens and "
        f"{estimate.completion_tokens:,} completion tokens at most, {price}"
    )


def _dollars(cost: float | None) -> str:
    return "no price stated" if cost is None else f"{cost:.4f}"


def _estimate_synthesis(config: RunConfig) -> Iterator[StageEstimate]:
    for entry in config.seeds.synthesise:
        open_turn, indices = find_opening(config, entry), range(entry.most_draws)
        asked = draft_turns(entry, indices, open_turn, run_seed=config.seed, cycle=1)
        yield _make_row(config, SYNTHESISE, entry.model, asked, 1, 0)


def imagine_prompts(config: RunConfig) -> list[Prompt]:
    """Prompts in the place of those that models are to write themselves: as many as are wanted,
    each as long as it may be."""
    wanted = [entry for entry in config.seeds.synthesise for _ in range(entry.count)]
    imagined = [
        make_prompt(
            entry,
            "x" * (BYTES_PER_TOKEN * entry.sampling.max_tokens),
            "",
            model=entry.model,
            occurrence=i,
        )
        for i, entry in enumerate(wanted)
    ]
    return [put_to_vote(prompt, config.consensus) for prompt in imagined]


def _estimate_evolution(config: RunConfig, seeds: Sequence[Prompt]) -> Iterator[StageEstimate]:
    settings = config.evolve
    if settings is None:
        return
    model, longest = settings.model, settings.sampling.max_tokens
    form, draw = config.models[model].form, Draw(config.seed, 1, 1)
    parents = _take_parents(seeds, settings, lambda name: OPERATORS[name].kind != "key")
    rewrites, comparisons = [], []
    for parent in parents:
        names = fitting_operators(parent, settings)
        drafts = [
            build_rewrite(parent, name, form, settings, draw, answer=_imagine_reply(config, name))
            for name in names
            if OPERATORS[name].kind != "key"
        ]
        rewrites.append(max(drafts, key=lambda draft: bound_usage([draft]).prompt_tokens))
        if settings.asks_judge:
            comparisons.append(build_comparison(form, bare_text(parent), bare_text(parent)))
    if settings.asks_judge:
        pairs = load_pairs(settings.calibration)
        labelled = [build_comparison(form, pair.first, pair.second) for pair in pairs]
        yield _make_row(config, CALIBRATE, model, labelled, 1, 0)
    for round in range(1, settings.rounds + 1):
        # Each round has lengthened what it rewrites by one turn at most; the judge reads two tasks.
        grown = (round - 1) * len(rewrites) * _longest_turn(config, settings)
        grown += (2 * round - 1) * len(comparisons) * longest
        yield _make_row(config, f"evolve-{round}", model, [*rewrites, *comparisons], 1, grown)


def _estimate_answers(config: RunConfig, seeds: Sequence[Prompt]) -> Iterator[StageEstimate]:
    settings = config.evolve
    children = _take_parents(seeds, settings, lambda name: True) if settings else []
    has_judge = config.judge is not None
    checked = [p for p in seeds if judge_check(p, has_judge=has_judge).decision == "accept"]
    stages = {f"answer-{sampler.name}": sampler for sampler in config.samplers}
    if config.difficulty is not None:
        stages[DIFFICULTY] = sample_student(config.difficulty)
    for name, sampler in stages.items():
        put = _putting(config, sampler)
        asked = [put(prompt) for prompt in checked]
        grown = 0
        if settings is not None:
            asked += [put(child) for child in children for _ in range(settings.rounds)]
            lengthenings = settings.rounds * (settings.rounds + 1) // 2
            grown = _longest_turn(config, settings) * lengthenings * len(children)
        yield _make_row(config, name, sampler.model, asked, sampler.n, grown)


def _estimate_judging(config: RunConfig, seeds: Sequence[Prompt]) -> Iterator[StageEstimate]:
    judged = [(p.conversation, p.check) for p in seeds if isinstance(p.check, JudgeCheck)]
    if config.judge is None or not judged:
        return
    model = config.judge.model
    form = config.models[model].form
    trials = [[a.case for a in plan_attempts(*prompt)] for prompt in judged]
    trials.sort(key=lambda cases: sum(len(case.answer) for case in cases), reverse=True)
    tried = [case for cases in trials[: config.judge.battery_prompts] for case in cases]
    asked = [request for case in tried for request in build_requests(form, case)]
    yield _make_row(config, TRY_JUDGE, model, asked, 1, 0)
    asked = [r for prompt in judged for r in build_requests(form, Case(*prompt, answer=""))]
    longest = max(sampler.sampling.max_tokens for sampler in config.samplers)
    samples = sum(sampler.n for sampler in config.samplers)
    yield _make_row(config, JUDGE, model, asked, samples, longest * len(asked))


def _imagine_reply(config: RunConfig, operator: str) -> str | None:
    """A text in the place of the answer that a conversation is carried on after, as long as it
    may be; None for an operator that carries none on."""
    if operator != FOLLOW_UP:
        return None
    return "x" * (BYTES_PER_TOKEN * config.samplers[0].sampling.max_tokens)


def _longest_turn(config: RunConfig, settings: EvolveSettings) -> int:
    """By how many tokens a round lengthens a prompt at most: by a rewritten task, and by an answer
    where conversations are carried on."""
    talks = FOLLOW_UP in (settings.operators or ())
    return settings.sampling.max_tokens + talks * config.samplers[0].sampling.max_tokens


def _putting(config: RunConfig, sampler: SamplerSettings) -> Callable[[Prompt], Request]:
    lines = load_examples(sampler.examples) if sampler.examples else []
    examples = group_examples(lines, config.models[sampler.model].form)
    return lambda prompt: put_prompt(prompt, sampler, examples, 0)


def _take_parents(
    seeds: Iterable[Prompt], settings: EvolveSettings, fits: Callable[[str], bool]
) -> list[Prompt]:
    """The longest seeds that a round may take for operators that `fits` knows, up to the limit of
    their domains. Each line's youngest survivor takes the place of its seed, so no round has
    more."""
    able = [seed for seed in seeds if any(map(fits, fitting_operators(seed, settings)))]
    taken: Counter[str] = Counter()
    chosen = []
    for seed in sorted(able, key=lambda seed: len(seed.text), reverse=True):
        limits = settings.parents
        if limits is None or taken[seed.domain] < limits.get(seed.domain, 0):
            taken[seed.domain] += 1
            chosen.append(seed)
    return chosen


def _make_row(
    config: RunConfig, stage: str, model: str, asked: Sequence[Request], n: int, grown: int
) -> StageEstimate:
    """Add up requests that are each sent n times; `grown` prompt tokens are not yet in them."""
    bound = bound_usage(asked)
    usage = Usage(
        prompt_tokens=n * (bound.prompt_tokens + grown),
        completion_tokens=n * bound.completion_tokens,
    )
    settings = config.models[model]
    price = FREE if isinstance(settings, EmbeddedModel) else settings.price
    return StageEstimate(
        stage=stage,
        model=model,
        requests=n * len(asked),
        **usage.model_dump(),
        cost_usd=price.cost(usage) if price else None,
    )
