"""Stage `seeds`: read and check the seed files, draw the procedural ones."""

from pathlib import Path

from flows.config import RunConfig
from flows.store import FileEntry, hash_input
from flows.work import Context, Job, Tick
from generators.consensus import put_to_vote
from generators.records import Prompt
from generators.seeds import load_seeds


class SeedsStage:
    """Seeds of the training split become prompts of round 0."""

    name = "seeds"

    def plan(self, context: Context) -> list[Job]:
        contents = [(path, hash_input(Path(path))) for path in context.config.seeds.paths]
        config = context.config
        consensus = config.consensus and config.consensus.model_dump()
        key = context.key(self.name, [contents, config.seed, consensus], [])
        output = f"{context.folder}/prompts-round-0.parquet"
        return [Job(stage=self.name, outputs=(output,), rows=len(contents), key=key)]

    def work(self, context: Context, job: Job, tick: Tick) -> list[FileEntry]:
        prompts = load_all_seeds(context.config, context.cycle)
        tick(job.rows)
        return [context.write_records(job, job.outputs[0], Prompt, prompts)]


def load_all_seeds(config: RunConfig, cycle: int) -> list[Prompt]:
    """The training prompts of all seed files; exact repeats across files are read once. Those of
    domains that vote are put to the vote where they have no check of their own."""
    draw = f"{config.seed}/{cycle}"
    prompts = [p for path in config.seeds.paths for p in load_seeds(path, split="train", draw=draw)]
    distinct = {prompt.id: prompt for prompt in prompts}.values()
    return [put_to_vote(prompt, config.consensus) for prompt in distinct]
