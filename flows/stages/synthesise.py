"""Stage `synthesise`: prompts that a model writes itself, judged, and those accepted taken among
the seeds.

Each entry draws as many as it still lacks, until it has what it wants or may draw no more. So a
prompt that an earlier draw wrote is known when a later one is judged, and nothing that would be
accepted is drawn in vain. They have no check: like every seed without one they are for evolution
to build on, or for a vote.
"""

import functools
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from filters.synthesised import VERSION, Turn, judge_turn
from flows.config import RunConfig
from flows.run_settings import EmbeddedModel
from flows.stages.family import SYNTHESISE, read_elders, read_stage
from flows.store import FileEntry
from flows.work import Context, Job, Tick
from generators.clients import Failure, Outcome, Request
from generators.consensus import put_to_vote
from generators.embedded import load_tokenizer
from generators.operators import clean_rewrite
from generators.records import Prompt, Verdict
from generators.self_synthesis import (
    OpenTurn,
    SynthesisSettings,
    derive_user_turn,
    draft_turns,
    make_prompt,
    state_user_turn,
)
from generators.wording import normalise


class SynthesiseStage:
    """All entries, one after another: each must know what the others have brought."""

    name = SYNTHESISE

    def __init__(self, entries: Sequence[SynthesisSettings]) -> None:
        self.entries = entries

    def plan(self, context: Context) -> list[Job]:
        config = context.config
        settings = [
            [[e.model_dump(mode="json"), context.model_settings(e.model)] for e in self.entries],
            [config.seed, VERSION, config.consensus and config.consensus.model_dump()],
        ]
        kinds = ("prompts", "verdicts")
        outputs = tuple(f"{context.folder}/{kind}-synthesised.parquet" for kind in kinds)
        rows = sum(entry.most_draws for entry in self.entries)
        key = context.key(self.name, settings, ["seeds"])
        return [Job(stage=self.name, outputs=outputs, rows=rows, key=key)]

    def work(self, context: Context, job: Job, tick: Tick) -> list[FileEntry]:
        seeds = read_stage(context, "seeds", "prompts-", Prompt)
        pool = _Pool([*read_elders(context).prompts.values(), *seeds])
        for settings in self.entries:
            drawn = synthesise(context, settings, pool, tick)
            tick(settings.most_draws - drawn)
        voting = [put_to_vote(prompt, context.config.consensus) for prompt in pool.written]
        return [
            context.write_records(job, job.outputs[0], Prompt, voting),
            context.write_records(job, job.outputs[1], Verdict, pool.verdicts),
        ]


class _Pool:
    """What has been written so far, and what was decided about each draw."""

    def __init__(self, seeds: Sequence[Prompt]) -> None:
        self.written: list[Prompt] = []
        self.verdicts: list[Verdict] = []
        self.texts = Counter(prompt.text for prompt in seeds)
        self.known = {normalise(prompt.text): prompt.id for prompt in seeds}

    def add(self, prompt: Prompt, *, ended: bool) -> bool:
        """Judge a prompt and keep both; return whether it was accepted."""
        verdict = judge_turn(Turn(prompt.text, ended, self.known), subject_id=prompt.id)
        self.written.append(prompt)
        self.verdicts.append(verdict)
        self.texts[prompt.text] += 1
        accepted = verdict.decision == "accept"
        if accepted:
            self.known[normalise(prompt.text)] = prompt.id
        return accepted


class _Draw(NamedTuple):
    """One draw of an entry, and what came of it."""

    settings: SynthesisSettings
    number: str
    """Behind the cycle's own number, from the second cycle on."""
    request: Request
    outcome: Outcome


def synthesise(context: Context, settings: SynthesisSettings, pool: _Pool, tick: Tick) -> int:
    """Draw until the entry has what it wants, or may draw no more; return how many were drawn."""
    open_turn = find_opening(context.config, settings)
    seed, cycle = context.config.seed, context.cycle
    drawn = accepted = 0
    while accepted < settings.count and drawn < settings.most_draws:
        end = min(drawn + settings.count - accepted, settings.most_draws)
        indices = range(drawn, end)
        requests = draft_turns(settings, indices, open_turn, run_seed=seed, cycle=cycle)
        outcomes = context.resources.ask(settings.model, requests, tick)
        model = context.resources.client(settings.model).id
        numbers = [str(i) if cycle == 1 else f"{cycle}.{i}" for i in indices]
        for draw in zip(numbers, requests, outcomes, strict=True):
            accepted += _take(_Draw(settings, *draw), model, pool)
        drawn = end
    return drawn


def _take(draw: _Draw, model: str, pool: _Pool) -> bool:
    """Put what a draw came to into the pool; return whether it is a prompt to go on with."""
    if isinstance(draw.outcome, Failure):
        pool.verdicts.append(judge_failure(draw.settings, draw.number, draw.outcome))
        return False
    opening, text = draw.request.text or "", clean_rewrite(draw.outcome.text)
    prompt = make_prompt(draw.settings, text, opening, model=model, occurrence=pool.texts[text])
    return pool.add(prompt, ended=draw.outcome.finish_reason != "length")


def find_opening(config: RunConfig, settings: SynthesisSettings) -> OpenTurn:
    """How a user's turn begins: as the settings state it, else as the model's own chat template
    says. Raises ModelError where the template does not."""
    stated, model = settings.user_turn, config.models[settings.model]
    if stated is not None:
        return functools.partial(state_user_turn, stated)
    assert isinstance(model, EmbeddedModel)
    tokenizer = load_tokenizer(model.model)
    return functools.cache(functools.partial(derive_user_turn, tokenizer, model.model))


def judge_failure(settings: SynthesisSettings, number: str, failure: Failure) -> Verdict:
    """A draw that did not come: quarantined with the model's or network's own reason, and named
    after what it was to be, `magpie:NAME:NUMBER`."""
    return Verdict(
        subject_id=f"magpie:{settings.label}:{number}",
        stage=SYNTHESISE,
        detector="client",
        version="1",
        decision="quarantine",
        reason=failure.reason,
        evidence=failure.message[:300],
    )
