"""Stage `seeds`: read and check the seed files, draw the procedural ones. A later cycle takes what
none before it had: new lines of the files, and new draws."""

import functools
from pathlib import Path
from typing import Any

from flows.config import RunConfig
from flows.history import read_weights
from flows.stages.family import read_elders
from flows.store import FileEntry, hash_input
from flows.work import Context, Job, Tick
from generators.consensus import put_to_vote
from generators.procedural import TASKS
from generators.records import Prompt
from generators.seeds import load_seeds
from generators.steering import Weights, scale_draws


class SeedsStage:
    """Seeds of the training split become prompts of round 0."""

    name = "seeds"

    def plan(self, context: Context) -> list[Job]:
        contents = [(path, hash_input(Path(path))) for path in context.config.seeds.paths]
        config = context.config
        consensus = config.consensus and config.consensus.model_dump()
        settings: list[Any] = [contents, config.seed, consensus]
        if weights := read_weights(context):
            settings.append(weights)
        key = context.key(self.name, settings, [])
        output = f"{context.folder}/prompts-round-0.parquet"
        return [Job(stage=self.name, outputs=(output,), rows=len(contents), key=key)]

    def work(self, context: Context, job: Job, tick: Tick) -> list[FileEntry]:
        elders = read_elders(context).prompts
        drawn = load_all_seeds(context.config, context.cycle, read_weights(context))
        prompts = [prompt for prompt in drawn if prompt.id not in elders]
        tick(job.rows)
        return [context.write_records(job, job.outputs[0], Prompt, prompts)]


def load_all_seeds(config: RunConfig, cycle: int, weights: Weights | None = None) -> list[Prompt]:
    """The training prompts of all seed files; exact repeats across files are read once. Those of
    domains that vote are put to the vote where they have no check of their own. With `weights`
    procedural tasks that weigh less are drawn less often."""
    tasks = {kind: weight for kind, weight in (weights or {}).items() if kind in TASKS}
    draw, shares = f"{config.seed}/{cycle}", scale_draws(tasks)
    load = functools.partial(load_seeds, split="train", draw=draw, shares=shares)
    prompts = [prompt for path in config.seeds.paths for prompt in load(path)]
    distinct = {prompt.id: prompt for prompt in prompts}.values()
    return [put_to_vote(prompt, config.consensus) for prompt in distinct]
