"""What `tutelage optimise` does: search for a better evolving method, and write it as a file.

The search itself is in `flows.method_search`. Everything asked goes through the journal: the same
command after a kill asks nothing twice and finds the same method.
"""

import random
from collections.abc import Iterable
from pathlib import Path

from flows.config import RunConfig
from flows.console import Console
from flows.method_search import CANDIDATES, Batches, Candidate, Search, text_of
from flows.pipeline import probe_places
from flows.stages.seeds import load_all_seeds
from flows.store import MANIFEST, hold_run, write_durably
from flows.work import open_context
from generators.clients import draw_seed
from generators.errors import ConfigError, RunError
from generators.licence import check_licences
from generators.method import AutoEvolSettings, dump_method
from generators.operator_sets import METHOD
from generators.operators import EvolveSettings, bare_text, fitting_operators
from generators.prompting import hash_template
from generators.records import Record
from generators.wording import normalise

FOUND, SUMMARY = "method.jinja", "summary.json"
TRAJECTORIES, TRIALS = "trajectories.jsonl", "trials.jsonl"
LEFT = {FOUND, SUMMARY, TRAJECTORIES, TRIALS, CANDIDATES, ".lock"}
"""What a search leaves in its folder."""


class MethodSearch(Record):
    """What a search came to."""

    method: str
    """The method file."""
    template_hash: str
    """As the rows of a run carry that the method made."""
    step: int
    candidate: int
    initial_failure_rate: float
    failure_rate: float
    development: int
    """Seeds that the rates are of."""
    candidates: tuple[Candidate, ...]


def optimise_method(config: RunConfig, console: Console) -> MethodSearch:
    """Search for a better method than the initial one, and write it as a method file.

    Raises ConfigError where the configuration has no `auto_evol` or too few seeds, LicenceError
    before anything is asked.
    """
    if config.auto_evol is None or config.evolve is None:
        remedy = "write `auto_evol: {}` to take the defaults"
        raise ConfigError(f"{config.name}: there is no auto_evol section: {remedy}")
    for condition in check_licences(config.models):
        console.warn(f"a teacher's terms have conditions: {condition}")
    batches = draw_batches(config, config.auto_evol, config.evolve)
    own = config.model_copy(update={"name": f"{config.name}-method"})
    if (own.root / MANIFEST).exists():
        raise RunError(f"{own.root}: a run lies here; rename it, or give this one another name.")
    refuse_strangers(own.root)
    probe_places(own)
    with hold_run(own.root), open_context(own.root, own, cycle=1) as context:
        search = Search(context, config.auto_evol, config.evolve, batches)
        search.run(console)
        found = write_search(search)
    show_search(found, console)
    return found


def refuse_strangers(root: Path) -> None:
    """Raise RunError where other things lie than a search leaves, which a search would replace."""
    found = sorted(path.name for path in root.iterdir()) if root.is_dir() else []
    strangers = [name for name in found if name not in LEFT]
    if strangers:
        raise RunError(
            f"{root}: this folder holds other things ({strangers[0]}) than a search for a method. "
            "Move it away, or give the configuration another name."
        )


def draw_batches(config: RunConfig, settings: AutoEvolSettings, evolve: EvolveSettings) -> Batches:
    """Draw the development seeds and keep the others for minibatches; ConfigError where the seeds
    that a method can rewrite are too few."""
    only = evolve.model_copy(update={"operators": (METHOD,)})
    domains = evolve.parents
    fitting = [
        seed
        for seed in load_all_seeds(config, cycle=1)
        if fitting_operators(seed, only) and (domains is None or domains.get(seed.domain, 0) > 0)
    ]
    able = list({normalise(bare_text(seed)): seed for seed in reversed(fitting)}.values())
    needed = settings.dev + settings.minibatch
    if len(able) < needed:
        raise ConfigError(
            f"{config.name}: auto_evol needs {settings.dev} + {settings.minibatch} seeds, and a "
            f"method can rewrite {len(able)} of those in seeds.paths: add some, or lower "
            "auto_evol.dev or auto_evol.minibatch"
        )
    rng = random.Random(draw_seed(config.seed, "auto_evol", "seeds"))
    shuffled = rng.sample(sorted(able, key=lambda seed: seed.id), len(able))
    return Batches(shuffled[: settings.dev], shuffled[settings.dev :])


def write_search(search: Search) -> MethodSearch:
    """Write the method in force, and how it was found."""
    best, root = search.in_force, search.context.run.root
    file, source = root / FOUND, dump_method(text_of(best))
    write_durably(file, lambda place: place.write_text(source, encoding="utf-8"))
    found = MethodSearch(
        method=str(file),
        template_hash=hash_template("chat", file),
        step=best.step,
        candidate=best.candidate,
        initial_failure_rate=_rate_of(search.candidates[0]),
        failure_rate=_rate_of(best),
        development=search.settings.dev,
        candidates=tuple(search.candidates),
    )
    _write_lines(root / TRAJECTORIES, search.trajectories)
    _write_lines(root / TRIALS, search.trials)
    summary = found.model_dump_json(indent=1)
    write_durably(root / SUMMARY, lambda p: p.write_text(summary, encoding="utf-8"))
    return found


def show_search(found: MethodSearch, console: Console) -> None:
    """Print what each method came to, and where the best one lies."""
    rows = [
        (c.step, c.candidate, _tell_rate(c), _tell_failures(c), "chosen" if c.chosen else "")
        for c in found.candidates
    ]
    columns = ["step", "candidate", "failure rate", "failures", ""]
    console.table(f"Methods on {found.development} development seeds", columns, rows)
    console.line(
        f"failure rate {found.initial_failure_rate:.3f} at first, {found.failure_rate:.3f} with "
        f"the method of step {found.step}, candidate {found.candidate}"
    )
    console.line(f"method: {found.method}")


def _tell_rate(candidate: Candidate) -> str:
    return "" if candidate.failure_rate is None else f"{candidate.failure_rate:.3f}"


def _tell_failures(candidate: Candidate) -> str:
    if candidate.reason is not None:
        return f"not tried: {candidate.reason}"
    return ", ".join(f"{reason} {count}" for reason, count in candidate.failures.items())


def _rate_of(candidate: Candidate) -> float:
    assert candidate.failure_rate is not None
    return candidate.failure_rate


def _write_lines(path: Path, records: Iterable[Record]) -> None:
    text = "".join(f"{record.model_dump_json()}\n" for record in records)
    write_durably(path, lambda place: place.write_text(text, encoding="utf-8"))
