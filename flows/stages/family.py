"""A cycle's prompts, from the seeds to the youngest children, as the committed files tell them."""

import functools
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple, TypeVar

from flows.work import Context
from generators.records import Answer, Prompt, Verdict
from generators.tables import read_records

R = TypeVar("R", Prompt, Answer, Verdict)


class Family(NamedTuple):
    """All prompts by id, and what was decided about each attempt to evolve one."""

    prompts: dict[str, Prompt]
    verdicts: dict[str, Verdict]

    def survived(self, prompt: Prompt) -> bool:
        """Seeds are always in; a child is when it was accepted."""
        return prompt.round == 0 or self.verdicts[prompt.id].decision == "accept"

    def survivors(self) -> list[Prompt]:
        """The merged pool of all rounds: seeds and accepted children, by round and id."""
        alive = [prompt for prompt in self.prompts.values() if self.survived(prompt)]
        return sorted(alive, key=lambda prompt: (prompt.round, prompt.id))

    def pool(self) -> list[Prompt]:
        """What the next round evolves: each line's youngest survivor. A parent whose child
        fell stays in."""
        alive = self.survivors()
        replaced = {prompt.parent_id for prompt in alive}
        return [prompt for prompt in alive if prompt.id not in replaced]


def read_family(context: Context, before_round: int | None = None) -> Family:
    """Read seeds and rounds of evolution; all of them, or those before a round."""
    rounds = context.config.evolve.rounds if context.config.evolve else 0
    last = rounds if before_round is None else before_round - 1
    stages = ["seeds", *(f"evolve-{r}" for r in range(1, last + 1))]
    prompts = [p for stage in stages for p in read_stage(context, stage, "prompts-", Prompt)]
    verdicts = [v for s in stages[1:] for v in read_stage(context, s, "verdicts-", Verdict)]
    return Family({p.id: p for p in prompts}, {v.subject_id: v for v in verdicts})


def read_stage(context: Context, stage: str, prefix: str, kind: type[R]) -> list[R]:
    """Read one kind of a stage's committed records."""
    hashes = {context.run.place(e.path): e.sha256 for e in context.run.manifest.files.values()}
    files = stage_files(context, stage, prefix)
    return [record for file in files for record in _read_once(file, hashes[file], kind)]


@functools.lru_cache(maxsize=1024)
def _read_once(file: Path, sha256: str, kind: type[R]) -> list[R]:
    """The records of a committed file. Every shard asks for the family again, and holding its
    rows to their schema each time would cost more than all else."""
    return read_records(file, kind)


class Subject(NamedTuple):
    """What a verdict is about."""

    verdict: Verdict
    prompt: Prompt | None
    """The prompt itself, or the one that an answer or a failed attempt belongs to."""
    answer: Answer | None


def find_subjects(
    context: Context, family: Family, verdicts: Iterable[Verdict]
) -> Iterator[Subject]:
    """Find the prompt and the answer behind each verdict.

    What did not come to be is named after the prompt that it was to come from.
    """
    answers = {
        answer.id: answer
        for stage in answer_stages(context)
        for answer in read_stage(context, stage, "answers-", Answer)
    }
    for verdict in verdicts:
        answer = answers.get(verdict.subject_id)
        id = answer.prompt_id if answer else verdict.subject_id.partition(":")[0]
        yield Subject(verdict, family.prompts.get(id), answer)


def stage_files(context: Context, stage: str, prefix: str) -> list[Path]:
    """A stage's committed files of this cycle whose names begin with `prefix`."""
    folder = context.run.place(context.folder)
    files = context.run.files(stage)
    return [f for f in files if f.parent == folder and f.name.startswith(prefix)]


def evolve_stages(context: Context) -> list[str]:
    """The stages that hold prompts."""
    rounds = context.config.evolve.rounds if context.config.evolve else 0
    return ["seeds", *(f"evolve-{r}" for r in range(1, rounds + 1))]


def answer_stages(context: Context) -> list[str]:
    """The stages that hold answers, in the samplers' order."""
    return [f"answer-{sampler.name}" for sampler in context.config.answer.samplers]
