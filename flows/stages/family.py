"""A cycle's prompts, from the seeds to the youngest children, as the committed files tell them.

A later cycle goes on from the pool of those before it: their prompts are its elders, which may be
evolved again and stand in its lineages, but are not answered a second time.
"""

import functools
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from flows.store import name_folder
from flows.work import Context, JobContext
from generators.records import Answer, Prompt, Verdict
from generators.tables import R, read_records

SYNTHESISE = "synthesise"


class Attempted(NamedTuple):
    """Which operator was tried, and where."""

    round: int
    operator: str
    domain: str


class Elders(NamedTuple):
    """The prompts of earlier cycles."""

    prompts: Mapping[str, Prompt] = MappingProxyType({})
    verdicts: Mapping[str, Verdict] = MappingProxyType({})
    alive: tuple[Prompt, ...] = ()
    """Those that were not eliminated."""

    @property
    def last_round(self) -> int:
        """The last round that was evolved, if only in vain; a later cycle counts on from it."""
        failed = [int(id.rpartition(":")[2]) for id in self.verdicts if _is_failed_attempt(id)]
        return max([0, *failed, *(prompt.round for prompt in self.prompts.values())])


class Family(NamedTuple):
    """All prompts by id, elders included, and what was decided about each attempt to evolve one."""

    prompts: dict[str, Prompt]
    verdicts: dict[str, Verdict]
    drawn: Mapping[str, Verdict] = MappingProxyType({})
    """What was decided about each prompt that a model was to write itself."""
    elders: Elders = Elders()

    def survived(self, prompt: Prompt) -> bool:
        """Seeds are always in; a child, and a prompt that a model wrote itself, when accepted."""
        verdict = self.drawn.get(prompt.id) or self.verdicts.get(prompt.id)
        return prompt.round == 0 if verdict is None else verdict.decision == "accept"

    def find_verdict(self, id: str) -> Verdict | None:
        """What was decided about a prompt when it was evolved, in whichever cycle."""
        return self.verdicts.get(id) or self.elders.verdicts.get(id)

    def describe_attempt(self, id: str) -> Attempted:
        """What an attempt at evolving was; one that brought no child tells it by its id."""
        if child := self.prompts.get(id):
            return Attempted(child.round, child.operator, child.domain)
        parent, operator, round = id.split(":")
        return Attempted(int(round), operator, self.prompts[parent].domain)

    def survivors(self) -> list[Prompt]:
        """The merged pool of this cycle's rounds: seeds and accepted children, by round and id."""
        own = (p for id, p in self.prompts.items() if id not in self.elders.prompts)
        return sorted(filter(self.survived, own), key=_by_round)

    def pool(self) -> list[Prompt]:
        """What the next round evolves: each line's youngest survivor. A parent whose child
        fell stays in."""
        alive = sorted([*self.elders.alive, *self.survivors()], key=_by_round)
        replaced = {prompt.parent_id for prompt in alive}
        return [prompt for prompt in alive if prompt.id not in replaced]


def read_family(context: Context, before_round: int | None = None) -> Family:
    """Read seeds and rounds of evolution; all of them, or those before a round."""
    elders = read_elders(context)
    prompts = dict(elders.prompts)
    verdicts: dict[str, Verdict] = {}
    drawn: dict[str, Verdict] = {}
    for stage in evolve_stages(context, before_round):
        prompts |= {p.id: p for p in read_stage(context, stage, "prompts-", Prompt)}
        decided = drawn if stage == SYNTHESISE else verdicts
        decided |= {v.subject_id: v for v in read_stage(context, stage, "verdicts-", Verdict)}
    return Family(prompts, verdicts, drawn, elders)


def read_elders(context: JobContext[Any]) -> Elders:
    """The prompts of all cycles before this one, whichever settings they were made under."""
    folders = {name_folder(cycle) for cycle in range(1, context.cycle)}
    entries = context.run.manifest.files.values() if folders else ()
    own = [e for e in entries if e.path.partition("/")[0] in folders]
    files = tuple(sorted((e.path, e.stage, e.sha256) for e in own))
    return _read_elders(context.run.root, files)


@functools.lru_cache(maxsize=4)
def _read_elders(root: Path, files: tuple[tuple[str, str, str], ...]) -> Elders:
    prompts: dict[str, Prompt] = {}
    verdicts: dict[str, Verdict] = {}
    for path, stage, sha256 in files:
        name = path.rpartition("/")[2]
        if stage not in ("seeds", SYNTHESISE) and not stage.startswith("evolve-"):
            continue
        if name.startswith("prompts-"):
            prompts |= {p.id: p for p in _read_once(root / path, sha256, Prompt)}
        elif name.startswith("verdicts-"):
            verdicts |= {v.subject_id: v for v in _read_once(root / path, sha256, Verdict)}
    every = Family(prompts, verdicts)
    return Elders(prompts, verdicts, tuple(every.survivors()))


def _is_failed_attempt(id: str) -> bool:
    """Whether it names an attempt at evolving that brought no child: `PARENT:OPERATOR:ROUND`."""
    return ":" in id and not id.startswith("magpie:")


def _by_round(prompt: Prompt) -> tuple[int, str]:
    return prompt.round, prompt.id


def read_stage(context: JobContext[Any], stage: str, prefix: str, kind: type[R]) -> list[R]:
    """Read one kind of a stage's committed records."""
    root = context.run.root
    paths = [f.relative_to(root).as_posix() for f in stage_files(context, stage, prefix)]
    return read_files(context, paths, kind)


def read_files(context: JobContext[Any], paths: Iterable[str], kind: type[R]) -> list[R]:
    """Read the records of committed files, given by their paths in the run directory."""
    files = context.run.manifest.files
    return [*read_entries(context.run.root, ((p, files[p].sha256) for p in paths), kind)]


def read_entries(root: Path, files: Iterable[tuple[str, str]], kind: type[R]) -> Iterator[R]:
    """The records of committed files, given by their paths and hashes."""
    for path, sha256 in files:
        yield from _read_once(root / path, sha256, kind)


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
    context: Context,
    family: Family,
    verdicts: Iterable[Verdict],
    earlier: Mapping[str, Answer] = MappingProxyType({}),
) -> Iterator[Subject]:
    """Find the prompt and the answer behind each verdict, among this cycle's answers and those of
    an `earlier` one.

    What did not come to be is named after the prompt that it was to come from.
    """
    answers = {**earlier} | {
        answer.id: answer
        for stage in answer_stages(context)
        for answer in read_stage(context, stage, "answers-", Answer)
    }
    for verdict in verdicts:
        answer = answers.get(verdict.subject_id)
        id = answer.prompt_id if answer else verdict.subject_id.partition(":")[0]
        yield Subject(verdict, family.prompts.get(id), answer)


def stage_files(context: JobContext[Any], stage: str, prefix: str) -> list[Path]:
    """A stage's committed files of this cycle whose names begin with `prefix`."""
    folder = context.run.place(context.folder)
    files = context.run.files(stage)
    return [f for f in files if f.parent == folder and f.name.startswith(prefix)]


def evolve_stages(context: Context, before_round: int | None = None) -> list[str]:
    """The stages that hold prompts; all of them, or those before a round."""
    rounds = context.config.evolve.rounds if context.config.evolve else 0
    last = rounds if before_round is None else before_round - 1
    own = [SYNTHESISE] if context.config.seeds.synthesise else []
    return ["seeds", *own, *(f"evolve-{r}" for r in range(1, last + 1))]


def answer_stages(context: Context) -> list[str]:
    """The stages that hold answers, in the samplers' order."""
    return [f"answer-{sampler.name}" for sampler in context.config.answer.samplers]
