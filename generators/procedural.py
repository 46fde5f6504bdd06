"""Procedural tasks: questions made by a program, whose answers are computed and never guessed.

Sums, products and greatest common divisors come from reasoning-gym; `template:…` tasks are our own
word problems. Each entry belongs to one split by a hash of its operands, so what a student is
tested on never occurs in its training, whatever is drawn and however it evolves.

An entry evolves along its task's axes: it is drawn anew one rung higher or lower on exactly one of
them, and measured to be there.
"""

import itertools
import json
import random
import re
import warnings
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from functools import cache, partial
from typing import Any, Literal, NamedTuple, Self

from pydantic import Field, ValidationError, model_validator

from generators import word_problems
from generators.errors import InputError, nearest
from generators.lines import FieldFault, name_choices
from generators.records import ProceduralCheck, Record, digest

Split = Literal["train", "heldout", "examples"]
Entry = dict[str, Any]
"""`question`, `answer` and `metadata`: in it `operands` and the `params` it was drawn with."""
Signature = tuple[str, tuple[int, ...]]

TRAIN_SHARE = 0.70
HELDOUT_SHARE = 0.26
"""What is left over is reserved for few-shot examples."""
_ANSWER_FORM = re.compile(r" Give only the \w+ as your final answer\.$")
"""Our answers may show the step that leads to the number, so the question does not forbid it."""
MAX_DRAWS = 20_000
"""Draws in a row without anything new, after which a task has no more to give."""


class Params(Record):
    """Parameters of a task's generator; a `min_…` never exceeds its `max_…`."""

    @model_validator(mode="after")
    def _check_ranges(self) -> Self:
        values = self.model_dump()
        for low in (name for name in values if name.startswith("min_")):
            high = low.replace("min_", "max_")
            if values[low] > values[high]:
                raise ValueError(f"{low} is above {high}")
        return self


class ChainParams(Params):
    """Sums and products: how many terms of how many digits."""

    min_terms: int = Field(default=2, ge=2, le=12)
    max_terms: int = Field(default=2, ge=2, le=12)
    min_digits: int = Field(default=1, ge=1, le=10)
    max_digits: int = Field(default=1, ge=1, le=10)
    allow_negation: bool = False


class GcdParams(Params):
    """Greatest common divisors: of how many numbers, from which range."""

    min_numbers: int = Field(default=2, ge=2, le=10)
    max_numbers: int = Field(default=2, ge=2, le=10)
    min_value: int = Field(default=1, ge=1)
    max_value: int = Field(default=30, ge=2)

    @model_validator(mode="after")
    def _check_width(self) -> Self:
        if self.min_value == self.max_value:
            raise ValueError("min_value and max_value are the same; leave a range between them")
        return self


class StoryParams(Params):
    """Word problems: how many steps, with numbers from which range."""

    num_steps: int = Field(default=1, ge=1, le=3)
    min_value: int = Field(default=2, ge=2)
    max_value: int = Field(default=20, ge=2)


class Axis(NamedTuple):
    """One difficulty parameter of a generator."""

    name: str
    fields: tuple[str, ...]
    """The generator's parameters that are set to a rung to draw there."""
    rungs: tuple[int, ...]
    """From easy to hard."""
    measure: Callable[[Sequence[int]], int]
    """Where operands lie; the rung at or above it is the entry's level."""

    def level(self, operands: Sequence[int]) -> int:
        value = self.measure(operands)
        return next((rung for rung in self.rungs if rung >= value), value)

    def step(self, level: int, *, harder: bool) -> int | None:
        """The next rung, or None at the ladder's end."""
        if harder:
            return next((rung for rung in self.rungs if rung > level), None)
        return next((rung for rung in reversed(self.rungs) if rung < level), None)


class Task(NamedTuple):
    """A generator of entries and the axes along which they evolve."""

    params: type[Params]
    axes: tuple[Axis, ...]
    draw: Callable[[dict[str, Any], int], Iterator[Entry]]
    """Params and seed to entries without end."""


class Evolved(NamedTuple):
    """A task drawn anew, and what changed, such as `num_terms 2 -> 3`."""

    check: ProceduralCheck
    change: str


def make_entries(
    task: str,
    params: Mapping[str, Any],
    count: int,
    *,
    seed: int,
    split: Split | None = None,
    avoid: Collection[Signature] = (),
) -> list[Entry]:
    """Draw `count` entries of distinct signatures, the same for the same seed.

    Without a split they are of train or heldout; those reserved for examples come only by name.
    Raises InputError for an unknown task or parameter, and when there are fewer than `count`.
    """
    faults = find_param_faults(task, params)
    if faults:
        raise InputError("\n".join(f"{field}: {message}" for field, message in faults))
    wanted = {split} if split else {"train", "heldout"}
    resolved = TASKS[task].params(**params).model_dump()
    entries: dict[Signature, Entry] = {}
    idle = 0
    for entry in TASKS[task].draw(resolved, int(digest("draw", task, seed), 16)):
        if len(entries) == count or idle == MAX_DRAWS:
            break
        key = (task, tuple(sorted(map(abs, entry["metadata"]["operands"]))))
        if key in entries or key in avoid or split_of(key) not in wanted:
            idle += 1
        else:
            idle = 0
            entries[key] = entry
    if len(entries) < count:
        where = f" in the {split} split" if split else ""
        raise InputError(
            f"{task} has only {len(entries)} distinct entries left{where} with these params, "
            f"not {count}; lower the count or widen the params"
        )
    return list(entries.values())


def find_param_faults(task: str, params: Mapping[str, Any]) -> list[FieldFault]:
    """What is wrong with a reference to a task, as fields `task` and `params.…`."""
    if task not in TASKS:
        return [("task", f"{task!r} is not known; choose from {name_choices(task, TASKS)}")]
    model = TASKS[task].params
    try:
        model.model_validate(dict(params), strict=True)
    except ValidationError as error:
        return [_explain(dict(fault), task, model) for fault in error.errors()]
    return []


def signature(check: ProceduralCheck) -> Signature:
    """The task and its sorted operands without signs: one for 3 + 4, 4 + 3 and 3 - 4."""
    return check.task, tuple(sorted(map(abs, _operands(check))))


def split_of(signature: Signature) -> Split:
    """Where an entry belongs, by a stable hash: 70 % train, 26 % heldout, the rest examples."""
    share = int(digest("signature", *signature), 16) / 16**16
    if share < TRAIN_SHARE:
        return "train"
    return "heldout" if share < TRAIN_SHARE + HELDOUT_SHARE else "examples"


def levels(check: ProceduralCheck) -> dict[str, int]:
    """The rung on which an entry lies, by axis."""
    operands = _operands(check)
    return {axis.name: axis.level(operands) for axis in _task(check.task).axes}


def evolve_entry(
    check: ProceduralCheck, *, harder: bool, seed: int, split: Split
) -> Evolved | None:
    """Draw the task anew, one rung harder or easier on exactly one axis, from the given split.

    The seed picks the axis among those that have a further rung. None where none has.
    """
    old = levels(check)
    axes = list(_task(check.task).axes)
    random.Random(digest("axis", seed)).shuffle(axes)
    for axis in axes:
        rung = axis.step(old[axis.name], harder=harder)
        new = {**old, axis.name: rung or 0}
        params = _pin(check, new)
        if rung is None or find_param_faults(check.task, params):
            continue
        entry = _draw_at(check.task, params, new, seed=seed, split=split)
        if entry is not None:
            change = f"{axis.name} {old[axis.name]} -> {rung}"
            return Evolved(ProceduralCheck(task=check.task, entry=entry), change)
    return None


def prompt_of(check: ProceduralCheck) -> str:
    """The question of an entry."""
    return check.entry["question"]


def score(check: ProceduralCheck, answer_text: str) -> float:
    """1.0 for the right answer. Only that counts: reasoning-gym gives parts of a point for less.

    Any task of reasoning-gym can be scored, also one that is not in `TASKS`. Raises InputError for
    an unknown task.
    """
    if check.task.startswith(_OWN):
        _task(check.task)
        text = answer_text.strip()
        return float(bool(re.fullmatch(r"[+-]?[0-9]{1,18}", text)) and int(text) == _answer(check))
    gym = _import_gym()
    if check.task not in gym.factory.DATASETS:
        near = nearest(check.task, [*gym.factory.DATASETS, *TASKS])
        raise InputError(f"{check.task!r} is no task of reasoning-gym{near}")
    return float(gym.get_score_answer_fn(check.task)(answer_text, check.entry))


def _answer(check: ProceduralCheck) -> int:
    return int(check.entry["answer"])


def _task(name: str) -> Task:
    if name not in TASKS:
        raise InputError(f"task {name!r} is not known; choose from {name_choices(name, TASKS)}")
    return TASKS[name]


def _operands(check: ProceduralCheck) -> list[int]:
    try:
        return check.entry["metadata"]["operands"]
    except KeyError as error:
        raise InputError(f"an entry of {check.task} has no metadata.operands") from error


def _pin(check: ProceduralCheck, levels: Mapping[str, int]) -> dict[str, Any]:
    """The generator's params for entries of exactly these levels."""
    params = dict(check.entry["metadata"].get("params", {}))
    for axis in _task(check.task).axes:
        params.update(dict.fromkeys(axis.fields, levels[axis.name]))
    return params


def _draw_at(
    task: str, params: dict[str, Any], levels: Mapping[str, int], *, seed: int, split: Split
) -> Entry | None:
    """An entry of the split that measures exactly these levels."""
    axes = TASKS[task].axes
    resolved = TASKS[task].params(**params).model_dump()
    draws = TASKS[task].draw(resolved, int(digest("evolve", task, seed), 16))
    for entry in itertools.islice(draws, MAX_DRAWS):
        operands = entry["metadata"]["operands"]
        there = all(axis.level(operands) == levels[axis.name] for axis in axes)
        if there and split_of(signature(ProceduralCheck(task=task, entry=entry))) == split:
            return entry
    return None


def _explain(fault: dict[str, Any], task: str, model: type[Params]) -> FieldFault:
    field = ".".join(["params", *map(str, fault["loc"])])
    if fault["type"] == "extra_forbidden":
        choices = name_choices(str(fault["loc"][-1]), model.model_fields)
        return field, f"is not a parameter of {task}; there are {choices}"
    message = fault["msg"].removeprefix("Value error, ")
    return field, message[0].lower() + message[1:]


@cache
def _import_gym() -> Any:
    """Import reasoning-gym, which takes seconds, and quietly: a package it uses has bad syntax."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SyntaxWarning)
        import reasoning_gym
    return reasoning_gym


def _draw_gym(task: str, params: dict[str, Any], seed: int) -> Iterator[Entry]:
    dataset = _import_gym().create_dataset(task, **params, seed=seed)
    for index in itertools.count():
        entry = json.loads(json.dumps(dataset[index]))
        entry["question"] = _ANSWER_FORM.sub("", entry["question"])
        metadata = entry["metadata"]
        # Where an entry was drawn is no part of what it is: equal questions get equal ids.
        for name in ("source_index", "difficulty"):
            metadata.pop(name, None)
        if "numbers" in metadata:
            metadata["operands"] = metadata["numbers"]
        else:
            metadata["operands"] = [int(n) for n in metadata["expression"].split()[::2]]
        metadata["params"] = params
        yield entry


def _draw_story(story: str, params: dict[str, Any], seed: int) -> Iterator[Entry]:
    for entry in word_problems.draw_entries(story, **params, seed=seed):
        entry["metadata"]["params"] = params
        yield entry


def _most_digits(operands: Sequence[int]) -> int:
    return max(len(str(abs(n))) for n in operands)


def _chain_axes(terms: tuple[int, ...], digits: tuple[int, ...]) -> tuple[Axis, ...]:
    return (
        Axis("num_terms", ("min_terms", "max_terms"), terms, len),
        Axis("num_digits", ("min_digits", "max_digits"), digits, _most_digits),
    )


_OWN = "template:"
_STORY_AXES = (
    Axis("num_steps", ("num_steps",), (1, 2, 3), lambda operands: len(operands) - 1),
    Axis("max_value", ("max_value",), (10, 20, 50, 100, 500), max),
)
_GCD_AXES = (
    Axis("num_numbers", ("min_numbers", "max_numbers"), (2, 3, 4, 5), len),
    Axis("max_value", ("max_value",), (10, 20, 30, 60, 100, 300, 1000), max),
)

TASKS: dict[str, Task] = {
    "chain_sum": Task(
        ChainParams,
        _chain_axes((2, 3, 4, 5, 6), (1, 2, 3, 4)),
        partial(_draw_gym, "chain_sum"),
    ),
    "products": Task(
        ChainParams,
        _chain_axes((2, 3, 4), (1, 2, 3, 4)),
        partial(_draw_gym, "products"),
    ),
    "gcd": Task(GcdParams, _GCD_AXES, partial(_draw_gym, "gcd")),
    **{
        _OWN + story: Task(StoryParams, _STORY_AXES, partial(_draw_story, story))
        for story in word_problems.STORIES
    },
}
