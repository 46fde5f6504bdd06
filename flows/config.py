"""What a run is: the configuration file's settings, each with its meaning.

Every section belongs to the room that uses it (`EvolveSettings` to evolution, `TrainSettings` to
the trainer); here they are put together, and checked for what only the whole can tell: that names
of models exist, that files are there, that the teachers' licences let the outputs train a model.
"""

import functools
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import Field

from filters.difficulty import DifficultySettings
from filters.paraphrases import SemanticSettings
from filters.screen import ScreenSettings, find_screen_problems
from filters.selection import SelectSettings
from flows.config_file import read_config, refuse_other_kinds
from flows.cycle_settings import CycleSettings
from flows.decontaminate_settings import DecontaminateSettings, find_benchmark_problems
from flows.encoders import find_encoder_problems
from flows.judge_settings import JudgeSettings, find_judge_problems
from flows.run_settings import EmbeddedModel, RunSettings, find_shared_problems
from flows.stage_settings import (
    AnswerSettings,
    EvaluateSettings,
    PublishSettings,
    SeedSettings,
    StopRuleSettings,
    TrainStage,
)
from flows.training_settings import (
    find_training_problems,
    list_training_files,
    list_training_models,
)
from flows.untaught import find_other_model
from flows.watch_settings import WatchSettings, find_watch_problems
from generators.answers import SamplerSettings
from generators.calibration import find_shortage, load_pairs
from generators.compute import (
    Basis,
    Exchange,
    Problem,
    TokenCost,
    find_exchange,
    find_match_problems,
    match_samplers,
)
from generators.consensus import ConsensusSettings
from generators.constraint_forms import may_demand
from generators.credit import load_credit
from generators.errors import InputError, nearest
from generators.method import AutoEvolSettings, find_method_fault
from generators.model_size import count_parameters
from generators.operator_sets import METHOD, OPERATORS
from generators.operators import EvolveSettings
from generators.records import Record, digest
from generators.self_synthesis import find_synthesis_problems

_TAKEN = ("difficulty", "judge")
"""Stages whose shards of verdicts are files of the form that a sampler's are."""
_NAMES = f"it names files: letters, digits, _ . and -, and none of {', '.join(_TAKEN)}"


class DedupSettings(Record):
    threshold: float = Field(default=0.7, gt=0, le=1)
    """Jaccard similarity of word 3-grams from which two texts are near duplicates."""
    semantic: SemanticSettings | None = None
    """Without it texts that say the same in other words are kept."""


class RunConfig(RunSettings):
    """A run: from seeds to an evaluated student."""

    seeds: SeedSettings
    evolve: EvolveSettings | None = None
    auto_evol: AutoEvolSettings | None = None
    """How `tutelage optimise` looks for a better method; a run itself takes none of it."""
    stop_rule: StopRuleSettings | None = None
    """How `tutelage rounds` finds how many rounds pay; a run itself takes none of it."""
    consensus: ConsensusSettings | None = None
    """Tasks of closed domains that no program can check are voted on by the samplers."""
    judge: JudgeSettings | None = None
    """Without it prompts with a check of kind judge are quarantined."""
    answer: AnswerSettings
    watch: WatchSettings | None = None
    """Without it a teacher is asked whatever becomes of its answers."""
    decontaminate: DecontaminateSettings | None = None
    """Without it rows are not held against benchmarks."""
    dedup: DedupSettings = DedupSettings()
    screen: ScreenSettings | None = None
    """Without it rows are not searched for personal data, secrets, coarse words, languages."""
    difficulty: DifficultySettings | None = None
    """Prompts are kept by how often the student solves them."""
    select: SelectSettings | None = None
    """Answers are kept by how they read to the student, by length and repetition."""
    publish: PublishSettings
    train: TrainStage | None = None
    evaluate: EvaluateSettings | None = None
    cycles: CycleSettings = CycleSettings()
    viewer: bool = True
    """Whether the run builds `viewer.db` at its end; else `tutelage inspect` does when it opens."""

    @functools.cached_property
    def samplers(self) -> tuple[SamplerSettings, ...]:
        """The samplers with n worked out where one is matched to another."""
        return match_samplers(self.answer.samplers, functools.partial(_find_cost, self))

    def find_exchange(self, sampler: SamplerSettings) -> Exchange:
        """How the tokens of a matched sampler are exchanged for those of its reference."""
        (reference,) = (s for s in self.answer.samplers if s.name == sampler.matched_to)
        return find_exchange(sampler, reference, functools.partial(_find_cost, self))

    @functools.cached_property
    def digest(self) -> str:
        """Digest of everything that decides what the run makes, the samplers' n worked out."""
        settings = self.dump_decisive()
        settings["answer"]["samplers"] = [s.model_dump(mode="json") for s in self.samplers]
        return digest(settings)


def load_config(path: str | Path, overrides: Mapping[str, Any] | None = None) -> RunConfig:
    """Read and check a configuration; raises ConfigError that lists what is wrong and where."""
    refuse_other_kinds(Path(path), "seeds")
    return read_config(Path(path), RunConfig, overrides=overrides or {}, check=find_problems)


def _find_cost(config: RunConfig, name: str, basis: Basis) -> TokenCost:
    model = config.models[name]
    if isinstance(model, EmbeddedModel):
        count = count_parameters(model.model) if basis == "parameters" else None
        return TokenCost(count, None)
    parameters = model.parameters and model.parameters * 1e9
    return TokenCost(parameters, model.price and model.price.output_usd_per_million)


def find_problems(config: RunConfig) -> Iterator[tuple[str, str]]:
    """What only the whole configuration can tell to be wrong: the setting, and the trouble."""
    yield from find_shared_problems(config, _named_models(config), _named_files(config))
    names = [sampler.name for sampler in config.answer.samplers]
    for name in sorted({name for name in names if names.count(name) > 1}):
        yield "answer.samplers", f"two samplers are called {name!r}; give each its own name"
    for i, name in enumerate(names):
        if name in _TAKEN or not re.fullmatch(r"\w[\w.-]*", name):
            yield f"answer.samplers.{i}.name", f"{name!r} cannot be a sampler's name; {_NAMES}"
    if config.evolve is not None:
        for i, operator in enumerate(config.evolve.operators or ()):
            if operator not in OPERATORS:
                near, known = nearest(operator, OPERATORS), ", ".join(OPERATORS)
                yield f"evolve.operators.{i}", f"{operator!r} is no operator{near} (known: {known})"
        credit = config.evolve.credit
        if credit is not None and Path(credit).exists():
            try:
                load_credit(credit)
            except InputError as error:
                yield "evolve.credit", str(error)
        if (config.evolve.choice == "thompson") != (credit is not None):
            what = "thompson chooses by the credit.json of an earlier run, and uniform by nothing"
            yield "evolve.credit", f"{what}: give both choice: thompson and credit, or neither"
        named = config.evolve.constraints
        if named and not any(may_demand(id) for id in named):
            yield (
                "evolve.constraints",
                "all of these only forbid something, so gibberish would meet them; add one that "
                "asks for something, such as length_constraints:number_words",
            )
    yield from _find_method_problems(config)
    yield from _find_auto_evol_problems(config)
    for i, sampler in enumerate(config.answer.samplers):
        if sampler.structured and isinstance(config.models.get(sampler.model), EmbeddedModel):
            what = f"models.{sampler.model} runs in this process, where no schema can be asked for"
            yield f"answer.samplers.{i}.structured", f"{what}; take it out"
    yield from _find_seed_problems(config)
    yield from find_benchmark_problems(config.decontaminate)
    yield from find_encoder_problems(config.dedup.semantic, config.decontaminate)
    yield from find_watch_problems(config.watch, config.answer.samplers)
    samplers = {sampler.name: sampler.model for sampler in config.answer.samplers}
    weights = {name: model.model for name, model in config.models.items()}
    yield from find_judge_problems(config.judge, samplers, weights, config.publish.accept)
    yield from _find_calibration_problems(config)
    known = all(sampler.model in config.models for sampler in config.answer.samplers)
    unmatched = list(_find_match_problems(config)) if known else []
    yield from unmatched
    if known and not unmatched:
        yield from _find_consensus_problems(config)
    yield from _find_difficulty_problems(config)
    if config.screen is not None:
        for field, message in find_screen_problems(config.screen):
            yield f"screen.{field}", message
    yield from _find_selection_problems(config)
    yield from _find_stop_rule_problems(config)
    if config.train is None and config.evaluate is not None:
        yield "evaluate", "there is no student to evaluate: add a train section"
    if config.cycles.steer and config.evaluate is None:
        yield "cycles.steer", "it goes by what the student fails at: add an evaluate section"
    yield from find_training_problems(config.train, config.models, config.budget)


def _find_method_problems(config: RunConfig) -> Iterator[tuple[str, str]]:
    evolve = config.evolve
    if evolve is None:
        return
    named = evolve.operators or ()
    if evolve.method is None:
        for i, operator in enumerate(named):
            if operator == METHOD:
                yield f"evolve.operators.{i}", "needs its file: name one in evolve.method"
        return
    if evolve.operators is not None and METHOD not in named:
        yield "evolve.method", f"is not used: add {METHOD} to evolve.operators, or take it out"
    yield from _find_form_problem(config, "evolve.method", evolve.model)
    file = Path(evolve.method)
    if file.exists() and (fault := find_method_fault(file)) is not None:
        yield "evolve.method", fault


def _find_form_problem(config: RunConfig, setting: str, name: str) -> Iterator[tuple[str, str]]:
    """A model that only continues texts follows no method, and judges none."""
    model = config.models.get(name)
    if model is not None and model.form != "chat":
        what = f"models.{name} only continues texts (form: {model.form})"
        yield setting, f"{what}, and a method is for models of form: chat"


def _find_auto_evol_problems(config: RunConfig) -> Iterator[tuple[str, str]]:
    settings = config.auto_evol
    if settings is None:
        return
    if config.evolve is None:
        yield "auto_evol", "there is nothing to optimise: add an evolve section"
        return
    yield from _find_form_problem(config, "auto_evol", config.evolve.model)
    if settings.optimiser not in (None, config.evolve.model):
        yield from _find_form_problem(config, "auto_evol.optimiser", settings.optimiser)
    if settings.sampling.temperature == 0 and settings.candidates > 1:
        message = "0 writes the same method each time; raise it or set candidates to 1"
        yield "auto_evol.sampling.temperature", message


def _find_seed_problems(config: RunConfig) -> Iterator[tuple[str, str]]:
    seeds = config.seeds
    if not seeds.paths and not seeds.synthesise:
        remedy = "name files in paths, or let a model write some (synthesise)"
        yield "seeds", f"brings no prompts: {remedy}"
    served = {name for name, m in config.models.items() if not isinstance(m, EmbeddedModel)}
    for setting, message in find_synthesis_problems(seeds.synthesise, served):
        yield f"seeds.{setting}", message


def _find_calibration_problems(config: RunConfig) -> Iterator[tuple[str, str]]:
    evolve = config.evolve
    if evolve is None or not evolve.asks_judge or not Path(evolve.calibration).exists():
        return
    try:
        shortage = find_shortage(load_pairs(evolve.calibration))
    except InputError as error:
        yield from (("evolve.calibration", line) for line in str(error).splitlines())
        return
    if shortage is not None:
        remedy = "; or set evolve.equality_judge to no"
        yield "evolve.calibration", f"{evolve.calibration}: {shortage}{remedy}"


def _find_consensus_problems(config: RunConfig) -> Iterator[tuple[str, str]]:
    if config.consensus is None:
        return
    samplers, needed = config.samplers, config.consensus.min_votes
    for i, sampler in enumerate(samplers):
        if sampler.sampling.temperature == 0 and sampler.n > 1:
            message = "0 gives the same answer n times, which is one vote; raise it or set n to 1"
            yield f"answer.samplers.{i}.sampling.temperature", message
    if (votes := sum(sampler.n for sampler in samplers)) < needed:
        message = (
            f"{needed} votes are needed, and the samplers' n together give {votes}; lower it, or"
            " raise an n"
        )
        yield "consensus.min_votes", message
    open_domains = config.evolve.open_domains if config.evolve else ()
    for i, domain in enumerate(config.consensus.domains):
        if domain in open_domains:
            message = (
                f"{domain!r} is one of evolve.open_domains, where no single answer is right; take"
                " it out of one of the two"
            )
            yield f"consensus.domains.{i}", message


def _find_difficulty_problems(config: RunConfig) -> Iterator[tuple[str, str]]:
    if config.difficulty is None:
        return
    band = config.difficulty.band
    if band is not None and not 0 <= band[0] < band[1] <= 1:
        what = f"{list(band)}: give two rates from 0 to 1, the lower one first, or null"
        yield "difficulty.band", what
    model = config.models.get(config.difficulty.model)
    what = find_other_model(config.train, model.model) if isinstance(model, EmbeddedModel) else None
    if what is not None:
        yield "difficulty.model", f"{what}; difficulty is measured on the student itself"
    if config.difficulty.sampling.temperature == 0:
        message = "0 gives the same answer k times; raise it"
        yield "difficulty.sampling.temperature", message


def _find_selection_problems(config: RunConfig) -> Iterator[tuple[str, str]]:
    if config.select and config.select.beside_random and not (config.train and config.evaluate):
        what = "two students are compared: add the sections train and evaluate, or take it out"
        yield "select.beside_random", what
    name = config.select and config.select.model
    model = config.models.get(name) if name else None
    if model is None:
        return
    if not isinstance(model, EmbeddedModel):
        message = "answers are read by a model in this process: give one of kind embedded"
        yield "select.model", message
    elif (what := find_other_model(config.train, model.model)) is not None:
        yield "select.model", f"{what}; answers are read by the student itself"


def _find_stop_rule_problems(config: RunConfig) -> Iterator[tuple[str, str]]:
    if config.stop_rule is None:
        return
    if config.evolve is None or config.train is None:
        what = "a student is trained after each round of evolution"
        yield "stop_rule", f"{what}: add the sections evolve and train"
    elif config.evolve.rounds < 1:
        yield "evolve.rounds", "the stop rule tries one round at least; raise it"
    tested = config.evaluate.held_out if config.evaluate else ()
    for i, path in enumerate(config.stop_rule.held_out):
        if path in tested:
            message = f"{path} is also in evaluate.held_out; keep other prompts for the stop rule"
            yield f"stop_rule.held_out.{i}", message


def _find_match_problems(config: RunConfig) -> Iterator[tuple[str, str]]:
    remedies = {
        "parameters": "`parameters: …`, non-embedding and in billions",
        "price": "`price: {input_usd_per_million: …, output_usd_per_million: …}`, above 0",
    }
    samplers, find_cost = config.answer.samplers, functools.partial(_find_cost, config)
    for problem in find_match_problems(samplers, find_cost):
        if isinstance(problem, Problem):
            yield f"answer.samplers.{problem.sampler}.{problem.setting}", problem.text
            continue
        place, remedy = f"models.{problem.model}.{problem.figure}", remedies[problem.figure]
        text = f"a sampler's matched_to needs it: write {remedy}; or state its exchange as a number"
        if isinstance(config.models[problem.model], EmbeddedModel):
            text = "a model in this process has no price; let the sampler exchange parameters"
        yield place, text


def _named_models(config: RunConfig) -> Iterator[tuple[str, str]]:
    for i, entry in enumerate(config.seeds.synthesise):
        yield f"seeds.synthesise.{i}.model", entry.model
    if config.evolve is not None:
        yield "evolve.model", config.evolve.model
    if config.auto_evol is not None and config.auto_evol.optimiser is not None:
        yield "auto_evol.optimiser", config.auto_evol.optimiser
    for i, sampler in enumerate(config.answer.samplers):
        yield f"answer.samplers.{i}.model", sampler.model
    if config.judge is not None:
        yield "judge.model", config.judge.model
    if config.difficulty is not None:
        yield "difficulty.model", config.difficulty.model
    if config.select is not None and config.select.model is not None:
        yield "select.model", config.select.model
    yield from list_training_models(config.train)


def _named_files(config: RunConfig) -> Iterator[tuple[str, str]]:
    for i, path in enumerate(config.seeds.paths):
        yield f"seeds.paths.{i}", path
    if config.evolve is not None and config.evolve.asks_judge:
        yield "evolve.calibration", config.evolve.calibration
    for i, sampler in enumerate(config.answer.samplers):
        if sampler.examples is not None:
            yield f"answer.samplers.{i}.examples", sampler.examples
    if config.evolve is not None and config.evolve.credit is not None:
        yield "evolve.credit", config.evolve.credit
    if config.evolve is not None and config.evolve.method is not None:
        yield "evolve.method", config.evolve.method
    for i, path in enumerate(config.stop_rule.held_out if config.stop_rule else ()):
        yield f"stop_rule.held_out.{i}", path
    for i, path in enumerate(config.decontaminate.benchmarks if config.decontaminate else ()):
        yield f"decontaminate.benchmarks.{i}", path
    yield from list_training_files(config.train, config.evaluate)
