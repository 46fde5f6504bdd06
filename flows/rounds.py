"""What `tutelage rounds` does: find out how many rounds of evolution the student gains from.

The stop rule of Code Evol-Instruct (Luo et al. 2023, WizardCoder, arXiv:2306.08568): after each
round a student is taught on all rows so far and scored on prompts kept for this; at the first fall
evolution ends, and the number of rounds with the best score is taken. Each number of rounds is a
run of its own beside the one it is meant for. They share the journal, so a trial asks only for what
its round added, and the run itself asks for nothing that the trials asked.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path

import pyarrow.parquet as pq

from filters.heldout import find_shared, show_prompt
from flows.conduct import PlainConductor
from flows.config import RunConfig
from flows.console import Console
from flows.intervals import Interval
from flows.pipeline import conduct
from flows.stage_settings import EvaluateSettings, StopRuleSettings
from flows.stages.evaluate import ArmResult, choose_held_out
from flows.stages.publish import TRAIN
from flows.stages.train import load_held_out
from flows.store import RunDirectory, write_durably
from generators.errors import ConfigError, HeldOutError
from generators.records import Record
from trainers.evaluate import PassScore, bootstrap_interval


class Trial(Record):
    """What the student came to after some rounds."""

    rounds: int
    rows: int
    """Published in the trial's run."""
    score: Interval
    """Zero-shot pass@1 of the student on the stop rule's prompts."""
    gain: Interval | None
    """Over the trial before, prompt by prompt; None in the first."""
    run: str
    """The trial's run directory."""


class RoundSearch(Record):
    """How many rounds pay."""

    rounds: int
    """Those of the best trial; of equals, the fewest."""
    fell: bool
    """Whether the last trial's score fell, which ended the search."""
    trials: tuple[Trial, ...]
    summary: str
    """The file that holds this."""


def find_rounds(config: RunConfig, console: Console, *, update: bool = False) -> RoundSearch:
    """Try one round, then two, until the score falls or `evolve.rounds` are through.

    Raises ConfigError where the configuration has no `stop_rule`, HeldOutError where its prompts
    are among those that the run is evaluated on.
    """
    rule = config.stop_rule
    if rule is None:
        remedy = "name prompts in stop_rule.held_out"
        raise ConfigError(f"{config.name}: there is no stop_rule section: {remedy}")
    refuse_shared_prompts(config, rule)
    place = config.root.with_name(f"{config.name}-rounds.json")
    trials = run_trials(config, rule, console, update=update)
    found = choose_rounds(trials, rule.tolerance, place)
    text = found.model_dump_json(indent=1)
    write_durably(place, lambda path: path.write_text(text, encoding="utf-8"))
    show_rounds(found, console)
    return found


def run_trials(
    config: RunConfig, rule: StopRuleSettings, console: Console, *, update: bool
) -> Iterator[Trial]:
    """Conduct the trials of one round, of two, and so on, each when it is asked for."""
    assert config.evolve is not None
    before: PassScore | None = None
    for rounds in range(1, config.evolve.rounds + 1):
        trial = describe_trial(config, rule, rounds)
        run = conduct(trial, console, PlainConductor(), update=update)
        score = read_score(run)
        yield Trial(
            rounds=rounds,
            rows=pq.read_metadata(run.place(TRAIN)).num_rows,
            score=Interval.of(score.pass_at[1]),
            gain=before and find_gain(before, score),
            run=str(run.root),
        )
        before = score


def choose_rounds(trials: Iterable[Trial], tolerance: float, summary: Path) -> RoundSearch:
    """Go through the trials until the score falls, and take the best of them."""
    tried = list(until_fall(trials, tolerance))
    return RoundSearch(
        rounds=max(tried, key=lambda trial: (trial.score.value, -trial.rounds)).rounds,
        fell=len(tried) > 1 and _falls(tried[-2], tried[-1], tolerance),
        trials=tuple(tried),
        summary=str(summary),
    )


def until_fall(trials: Iterable[Trial], tolerance: float) -> Iterator[Trial]:
    """The trials up to the first whose score has fallen; what follows it is not begun."""
    before: Trial | None = None
    for trial in trials:
        yield trial
        if before is not None and _falls(before, trial, tolerance):
            return
        before = trial


def _falls(before: Trial, after: Trial, tolerance: float) -> bool:
    return after.score.value < before.score.value - tolerance


def refuse_shared_prompts(config: RunConfig, rule: StopRuleSettings) -> None:
    """Raise HeldOutError where the stop rule's prompts are among those of the evaluation."""
    if config.evaluate is None:
        return
    ours = choose_held_out(describe_evaluation(rule))
    if shared := find_shared(ours, load_held_out(config.evaluate)):
        raise HeldOutError(
            f"{config.name}: {len(shared)} of {len(ours)} prompts in stop_rule.held_out are in "
            f"evaluate.held_out as well: {show_prompt(shared[0][0])}. A score that chose the "
            "rounds proves nothing about them; keep other prompts for the stop rule."
        )


def describe_evaluation(rule: StopRuleSettings) -> EvaluateSettings:
    """The evaluation of a trial: greedy answers only, for that is what decides."""
    return EvaluateSettings(
        held_out=rule.held_out, prompts=rule.prompts, max_tokens=rule.max_tokens, k_prompts=0
    )


def describe_trial(config: RunConfig, rule: StopRuleSettings, rounds: int) -> RunConfig:
    """The run with so many rounds, evaluated on the stop rule's prompts."""
    assert config.evolve is not None
    changes = {
        "name": f"{config.name}-rounds-{rounds}",
        "evolve": config.evolve.model_copy(update={"rounds": rounds}),
        "evaluate": describe_evaluation(rule),
        "stop_rule": None,
        "select": config.select and config.select.model_copy(update={"beside_random": False}),
    }
    # Read anew and not copied: a copy would keep the digest of the whole.
    return RunConfig.model_validate(config.model_dump(by_alias=True) | changes)


def read_score(run: RunDirectory) -> PassScore:
    """How the trial's student did, prompt by prompt."""
    (file,) = run.files("evaluate-after")
    return ArmResult.model_validate_json(file.read_bytes()).pass_1


def find_gain(before: PassScore, after: PassScore) -> Interval:
    """The second score less the first, prompt by prompt."""
    gains = [float(after.correct[id] - solved) for id, solved in before.correct.items()]
    return Interval.of(bootstrap_interval(gains))


def show_rounds(found: RoundSearch, console: Console) -> None:
    """Print what each number of rounds came to, and which to take."""
    console.table(
        "Rounds of evolution",
        ["rounds", "rows", "pass@1", "gain over the round before"],
        [list(_list_cells(trial)) for trial in found.trials],
    )
    ended = "the score fell then" if found.fell else "all of evolve.rounds were tried"
    console.line(f"best after {found.rounds}; {ended}. Set evolve.rounds: {found.rounds}")
    console.line(f"summary: {found.summary}")


def _list_cells(trial: Trial) -> Iterator[str | int]:
    yield trial.rounds
    yield trial.rows
    for figure in (trial.score, trial.gain):
        yield f"{figure.value:.3f} [{figure.low:.3f}, {figure.high:.3f}]" if figure else ""
