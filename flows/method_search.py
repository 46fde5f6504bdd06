"""One search for a better evolving method, step by step (Auto-Evol).

Zeng et al. 2024, arXiv:2406.00770. In each step the method in force evolves a minibatch of seeds
over some rounds; the optimiser reads these trajectories, says what goes wrong and writes a better
method, several times over; each of these candidates evolves the development seeds once, and the
failures are counted that the texts and the first sampler's answers show
(`filters.evolution_failures`). The one that fails least is in force from then on, if it fails less
than the one before.

Every draw is decided by the seed, and everything asked goes through the journal. All methods evolve
the same development seeds by the same draws.
"""

import random
import shutil
from collections import Counter
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

from pydantic import Field

from filters.evolution_failures import find_failure
from flows.console import Console
from flows.stages.evolve import draw_probes
from flows.store import write_durably
from flows.work import Context, Tick
from generators.clients import Failure, Request, draw_seed
from generators.method import (
    INITIAL,
    AutoEvolSettings,
    Reply,
    Trajectory,
    draft_feedback,
    draft_method,
    dump_method,
    load_method,
    read_reply,
)
from generators.operator_sets import METHOD
from generators.operators import (
    Attempt,
    Draw,
    EvolveSettings,
    bare_text,
    build_rewrite,
    read_rewrite,
)
from generators.records import Prompt, Record

SURVIVED = "survived"
CANDIDATES = "candidates"
"""The folder of the methods that were tried."""
IDLE_STEPS = 2
"""After so many steps without a better candidate the search ends."""
_ENDS = ("empty_prompt", "too_long")
"""What leaves nothing to go on from."""


class Trial(Record):
    """How one development seed fared under one method."""

    step: int
    candidate: int
    prompt_id: str
    text: str | None
    """The evolved task; null where the request for it failed."""
    answer: str | None
    reason: str
    """The failure, or `survived`."""
    evidence: str | None


class Candidate(Record):
    """A method that was written, and what it came to."""

    step: int
    """0 for the method that the search begins with."""
    candidate: int
    method: str | None
    feedback: str | None
    """What it was written upon."""
    reason: str | None = None
    """Why it was not tried; null where it was."""
    failures: dict[str, int] = Field(default_factory=dict)
    """Development seeds by how they failed."""
    failed: int | None = None
    failure_rate: float | None = None
    chosen: bool = False
    """Whether it was in force after its step."""


class Batches(NamedTuple):
    """Seeds for the search, no two of which are alike."""

    development: list[Prompt]
    training: list[Prompt]


class Fate(NamedTuple):
    """What became of one attempt at evolving a task."""

    answer: str | None
    reason: str
    evidence: str | None = None


class Search:
    """The steps of one search, and what they left behind."""

    def __init__(
        self, context: Context, settings: AutoEvolSettings, evolve: EvolveSettings, batches: Batches
    ) -> None:
        self.context = context
        self.settings = settings
        self.evolve = evolve
        self.batches = batches
        self.optimiser = settings.optimiser or evolve.model
        self.candidates: list[Candidate] = []
        self.trajectories: list[Trajectory] = []
        self.trials: list[Trial] = []
        self.idle = 0

    def run(self, console: Console) -> None:
        """Take steps until they are used up, bring nothing better twice in a row, or nothing fails
        any more."""
        shutil.rmtree(self._folder, ignore_errors=True)
        with console.stage("initial method", self.settings.dev) as progress:
            text = load_method(INITIAL)
            self._add(self._try(0, 0, text, None, progress.advance), chosen=True)
        for step in range(1, self.settings.steps + 1):
            if self.idle < IDLE_STEPS and self.in_force.failed:
                with console.stage(f"step {step}") as progress:
                    self._take(step, progress.advance)

    @property
    def in_force(self) -> Candidate:
        """The method that was chosen last."""
        return next(c for c in reversed(self.candidates) if c.chosen)

    def _take(self, step: int, tick: Tick) -> None:
        """One step: trajectories, candidates, and the choice among them."""
        method = text_of(self.in_force)
        trajectories = self._follow(step, tick)
        self.trajectories += trajectories
        written = self._write_candidates(step, method, trajectories, tick)
        tried = [
            self._try(step, c.candidate, c.method, c.feedback, tick) if c.method is not None else c
            for c in written
        ]
        current = self.in_force
        best = choose_best([current, *tried])
        for candidate in tried:
            self._add(candidate, chosen=candidate is best)
        self.idle = self.idle + 1 if best is current else 0

    def _add(self, candidate: Candidate, *, chosen: bool) -> None:
        self.candidates.append(candidate.model_copy(update={"chosen": chosen}))

    def _follow(self, step: int, tick: Tick) -> list[Trajectory]:
        """Evolve a minibatch over the rounds by the method in force, and have the ends answered."""
        seed, settings = self.context.config.seed, self.settings
        rng = random.Random(draw_seed(seed, "auto_evol", "minibatch", step))
        seeds = rng.sample(self.batches.training, settings.minibatch)
        chains: dict[str, list[Prompt]] = {prompt.id: [prompt] for prompt in seeds}
        last: dict[str, Attempt] = {}
        file = self._file(self.in_force)
        for round in range(1, settings.rounds + 1):
            alive = [s for s in seeds if s.id not in last or _can_go_on(last[s.id])]
            attempts = self._rewrite(file, [chains[s.id][-1] for s in alive], round, tick)
            for prompt, attempt in zip(alive, attempts, strict=True):
                last[prompt.id] = attempt
                chains[prompt.id] += [attempt.child] if attempt.child is not None else []
        fates = self._settle([last[prompt.id] for prompt in seeds])
        return [
            Trajectory(
                step=step,
                prompt_id=prompt.id,
                domain=prompt.domain,
                texts=tuple(bare_text(text) for text in chains[prompt.id]),
                **fate._asdict(),
            )
            for prompt, fate in zip(seeds, fates, strict=True)
        ]

    def _write_candidates(
        self, step: int, method: str, trajectories: Sequence[Trajectory], tick: Tick
    ) -> list[Candidate]:
        """Have the method diagnosed and rewritten, as often as candidates are wanted. What cannot
        be read is a candidate that has lost, and says why."""
        numbers, sampling = range(1, self.settings.candidates + 1), self.settings.sampling
        diagnose, improve = (partial(self._seed, step, what) for what in ("diagnose", "improve"))
        diagnoses = self._ask_optimiser(
            [draft_feedback(method, trajectories, sampling, diagnose(n)) for n in numbers], tick
        )
        usable = {n: d.text for n, d in zip(numbers, diagnoses, strict=True) if d.text is not None}
        replies = self._ask_optimiser(
            [draft_method(method, text, sampling, improve(n)) for n, text in usable.items()], tick
        )
        written = dict(zip(usable, replies, strict=True))
        candidates = []
        for n, diagnosis in zip(numbers, diagnoses, strict=True):
            reply = written.get(n, Reply(None, diagnosis.reason))
            candidates.append(
                Candidate(
                    step=step,
                    candidate=n,
                    method=reply.text,
                    feedback=diagnosis.text,
                    reason=reply.reason,
                )
            )
        return candidates

    def _ask_optimiser(self, requests: Sequence[Request], tick: Tick) -> list[Reply]:
        outcomes = self.context.resources.ask(self.optimiser, requests, tick) if requests else []
        return [read_reply(outcome) for outcome in outcomes]

    def _seed(self, step: int, what: str, candidate: int) -> int:
        return draw_seed(self.context.config.seed, "auto_evol", what, step, candidate)

    def _try(
        self, step: int, candidate: int, method: str, feedback: str | None, tick: Tick
    ) -> Candidate:
        """Write a method down as a file, evolve the development seeds by it, and count."""
        written = Candidate(step=step, candidate=candidate, method=method, feedback=feedback)
        file, source = self._file(written), dump_method(method)
        write_durably(file, lambda place: place.write_text(source, encoding="utf-8"))
        seeds = self.batches.development
        attempts = self._rewrite(file, seeds, 1, tick)
        fates = self._settle(attempts)
        self.trials += [
            Trial(
                step=step,
                candidate=candidate,
                prompt_id=seed.id,
                text=None if attempt.child is None else attempt.child.text,
                **fate._asdict(),
            )
            for seed, attempt, fate in zip(seeds, attempts, fates, strict=True)
        ]
        failures = Counter(fate.reason for fate in fates if fate.reason != SURVIVED)
        failed = failures.total()
        found = {"failures": dict(sorted(failures.items())), "failed": failed}
        return written.model_copy(update=found | {"failure_rate": failed / len(seeds)})

    def _rewrite(
        self, file: Path, parents: Sequence[Prompt], round: int, tick: Tick
    ) -> list[Attempt]:
        """Evolve tasks by a method file, as a run does but that no check is attached."""
        changes = {"method": str(file), "open_domains": ()}
        settings, config = self.evolve.model_copy(update=changes), self.context.config
        draw = Draw(config.seed, self.context.cycle, round)
        requests = [build_rewrite(p, METHOD, "chat", settings, draw) for p in parents]
        ask = self.context.resources.ask
        outcomes = ask(settings.model, requests, tick) if requests else []
        model = self.context.resources.client(settings.model).id
        return [
            read_rewrite(p, METHOD, o, form="chat", model=model, settings=settings, draw=draw)
            for p, o in zip(parents, outcomes, strict=True)
        ]

    def _settle(self, attempts: Sequence[Attempt]) -> list[Fate]:
        """Judge evolved tasks by their text, and those that stand by the first sampler's answer."""
        fates = [_judge(attempt, None) for attempt in attempts]
        standing = [i for i, fate in enumerate(fates) if fate.reason == SURVIVED]
        children = [child for i in standing if (child := attempts[i].child) is not None]
        _, outcomes = draw_probes(self.context, children)
        for i, outcome in zip(standing, outcomes, strict=True):
            if isinstance(outcome, Failure):
                fates[i] = Fate(None, outcome.reason, outcome.message[:300])
            else:
                fates[i] = _judge(attempts[i], outcome.text)
        return fates

    @property
    def _folder(self) -> Path:
        return self.context.run.root / CANDIDATES

    def _file(self, candidate: Candidate) -> Path:
        return self._folder / f"{candidate.step}-{candidate.candidate}.jinja"


def choose_best(candidates: Sequence[Candidate]) -> Candidate:
    """The one that fails least. The first, which is in force, stays where none fails less; of
    others that are equal the shorter method is chosen."""
    first, *others = candidates
    able = [c for c in others if c.failed is not None and c.failed < (first.failed or 0)]
    return min(able, key=lambda c: (c.failed, len(c.method or "")), default=first)


def _can_go_on(attempt: Attempt) -> bool:
    """Whether there is a text for the next round to evolve, whatever it is like."""
    return attempt.child is not None and _judge(attempt, None).reason not in _ENDS


def _judge(attempt: Attempt, answer: str | None) -> Fate:
    if attempt.failure is not None:
        return Fate(None, attempt.failure.reason, attempt.failure.message[:300])
    assert attempt.child is not None
    if not attempt.ended:
        return Fate(None, "unfinished", attempt.child.text[-80:])
    objection = find_failure(bare_text(attempt.parent), attempt.child.text, answer)
    return Fate(answer, *(objection or (SURVIVED, None)))


def text_of(candidate: Candidate) -> str:
    """The text of a method that was written."""
    assert candidate.method is not None
    return candidate.method
