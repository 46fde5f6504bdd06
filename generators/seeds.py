"""Seed prompts: read from JSONL, checked before anything is spent on them, expanded to prompts.

A line holds a `prompt`, or the `messages` of a chat, or a reference to a `procedural` task that
draws many prompts. Lines are held to the JSON Schema of `generators.seed_lines`, and beyond it to
what they mean: a choice's answer must be one of its options. All faults of all files are reported
at once.
"""

import functools
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import TypeAdapter

from generators import procedural
from generators.case_values import find_code_faults
from generators.constraint_forms import validate_constraint
from generators.errors import InputError
from generators.lines import (
    Fault,
    FieldFault,
    Line,
    find_faults,
    find_schema_fault,
    raise_faults,
    read_lines,
)
from generators.records import (
    Check,
    ChoiceCheck,
    CodeCheck,
    ConstraintCheck,
    ExactCheck,
    JsonSchemaCheck,
    JudgeCheck,
    MathCheck,
    Message,
    ProceduralCheck,
    Prompt,
    Record,
    digest,
)
from generators.seed_lines import (
    FORMS,
    LINE_SCHEMA,
    ChatLine,
    Example,
    Licensed,
    ProceduralLine,
    PromptLine,
    TextLine,
)

AnyRecord = TypeVar("AnyRecord", bound=Record)


def load_seeds(
    path: str | Path,
    *,
    split: Literal["train", "heldout"] | None = None,
    draw: str = "0",
    shares: Mapping[str, float] | None = None,
) -> list[Prompt]:
    """Load the seeds of a JSONL file, or of all `*.jsonl` in a folder.

    Procedural lines draw their prompts from `split` (from both if None); another `draw` gives
    others. A task among the `shares` draws only such a share of its count. Exact repeats of a
    prompt get ids of their own. Raises InputError that lists every bad line as
    `file:line: field: message`.
    """
    lines, faults = read_lines(path, holds="seeds")
    prompts: list[Prompt] = []
    taken: set[procedural.Signature] = set()
    repeats: Counter[str] = Counter()
    for line in lines:
        record = _parse_seed(line, faults)
        if isinstance(record, ProceduralLine):
            few = _take_share(record, shares or {})
            made = _draw_prompts(few, line, taken, faults, split=split, draw=draw)
        elif isinstance(record, PromptLine | ChatLine):
            made = [_make_prompt(record, line, repeats)]
        else:
            continue
        prompts.extend(made)
    if faults:
        raise_faults(faults)
    return prompts


def load_examples(path: str | Path) -> list[Example]:
    """Load solved examples; raises InputError that lists every bad line."""
    return _load_records(path, Example, holds="examples")


def load_texts(path: str | Path) -> list[str]:
    """Load plain paragraphs; raises InputError that lists every bad line."""
    return [line.text for line in _load_records(path, TextLine, holds="texts")]


def _parse_seed(line: Line, faults: list[Fault]) -> Licensed | None:
    """The record of a seed line; what is wrong with it is added to the faults."""
    named = [name for name in FORMS if name in line.value]
    if not named:
        faults.append(line.fault("prompt", "is missing (or messages, or procedural)"))
        return None
    if len(named) > 1:
        faults.append(line.fault(named[1], f"stands beside {named[0]}; keep one of them"))
        return None
    form = FORMS[named[0]]
    schema = {"$ref": f"#/$defs/{form.__name__}", "$defs": LINE_SCHEMA["$defs"]}
    found = find_faults(line.value, schema)
    record = None if found else form.model_validate(line.value)
    if record is not None:
        found = list(_find_nonsense(record))
    faults.extend(line.fault(*fault) for fault in found)
    return None if found else record


def _find_nonsense(record: Licensed) -> Iterator[FieldFault]:
    """What a line says in good form, but cannot mean."""
    if isinstance(record, ProceduralLine):
        reference = record.procedural
        for field, message in procedural.find_param_faults(reference.task, reference.params):
            yield f"procedural.{field}", message
    if isinstance(record, ChatLine) and not any(
        message.role == "user" and message.content.strip() for message in record.messages
    ):
        yield "messages", "has no turn in which the user says something"
    if isinstance(record, ChatLine):
        for index, message in enumerate(record.messages):
            if message.tool_calls or message.tool_call_id or message.role == "tool":
                yield (
                    f"messages.{index}",
                    "calls a tool or is a tool's result, which published rows have no place for; "
                    "tell it in words, or leave the line out",
                )
    if isinstance(record, PromptLine | ChatLine):
        for index, tool in enumerate(record.tools):
            if fault := find_schema_fault(tool.function.parameters):
                yield f"tools.{index}.function.parameters", fault
        for field, message in _find_check_nonsense(record.check):
            yield f"check.{field}", message


@functools.singledispatch
def _find_check_nonsense(check: Check | None) -> Iterator[FieldFault]:
    """What a check says in good form, but cannot judge by; one function per kind."""
    yield from ()


@_find_check_nonsense.register(MathCheck | ExactCheck)
def _(check: MathCheck | ExactCheck) -> Iterator[FieldFault]:
    if not check.answer.strip():
        yield "answer", "is empty"


@_find_check_nonsense.register
def _(check: ChoiceCheck) -> Iterator[FieldFault]:
    if len(check.options) < 2:
        yield "options", "must be at least two"
    if check.answer not in check.options:
        yield "answer", f"{check.answer!r} is none of the options ({', '.join(check.options)})"


@_find_check_nonsense.register
def _(check: JsonSchemaCheck) -> Iterator[FieldFault]:
    if fault := find_schema_fault(check.schema_):
        yield "schema", fault


@_find_check_nonsense.register
def _(check: ConstraintCheck) -> Iterator[FieldFault]:
    for index, constraint in enumerate(check.constraints):
        if fault := validate_constraint(constraint):
            yield f"constraints.{index}", fault


@_find_check_nonsense.register
def _(check: CodeCheck) -> Iterator[FieldFault]:
    return find_code_faults(check)


@_find_check_nonsense.register
def _(check: ProceduralCheck) -> Iterator[FieldFault]:
    if faults := procedural.find_param_faults(check.task, {}):
        yield faults[0]
    for field in ("question", "answer"):
        if not isinstance(check.entry.get(field), str):
            yield f"entry.{field}", "must be a text"
    metadata = check.entry.get("metadata")
    operands = metadata.get("operands") if isinstance(metadata, dict) else None
    if not isinstance(operands, list) or not all(type(n) is int for n in operands):
        yield "entry.metadata.operands", "must be a list of whole numbers"


@_find_check_nonsense.register
def _(check: JudgeCheck) -> Iterator[FieldFault]:
    if not check.rubric.strip():
        yield "rubric", "is empty"


def _make_prompt(record: PromptLine | ChatLine, line: Line, repeats: Counter[str]) -> Prompt:
    if isinstance(record, PromptLine):
        messages = (Message(role="user", content=record.prompt),)
    else:
        messages = record.messages
    tools = tuple(line.value.get("tools", ()))
    key = digest(messages, tools, record.check)
    repeats[key] += 1
    return Prompt.seed(
        messages,
        check=record.check,
        tools=tools,
        occurrence=repeats[key] - 1,
        **_describe(record, line),
    )


def _take_share(record: ProceduralLine, shares: Mapping[str, float]) -> ProceduralLine:
    """A reference that draws only its task's share, and one prompt at least."""
    procedure = record.procedural
    count = max(1, round(procedure.count * shares.get(procedure.task, 1.0)))
    return record.model_copy(update={"procedural": procedure.model_copy(update={"count": count})})


def _draw_prompts(
    record: ProceduralLine,
    line: Line,
    taken: set[procedural.Signature],
    faults: list[Fault],
    *,
    split: Literal["train", "heldout"] | None,
    draw: str,
) -> list[Prompt]:
    """The prompts of a reference, none of which an earlier line has `taken`."""
    task, params, count = record.procedural.task, record.procedural.params, record.procedural.count
    seed = int(digest("seeds", draw, task, params), 16)
    try:
        entries = procedural.make_entries(task, params, count, seed=seed, split=split, avoid=taken)
    except InputError as error:
        faults.append(line.fault("procedural.count", str(error)))
        return []
    checks = [ProceduralCheck(task=task, entry=entry) for entry in entries]
    taken.update(map(procedural.signature, checks))
    return [
        Prompt.seed(
            (Message(role="user", content=procedural.prompt_of(check)),),
            check=check,
            **_describe(record, line),
        )
        for check in checks
    ]


def _describe(record: Licensed, line: Line) -> dict[str, Any]:
    return {
        "domain": record.domain,
        "licence": record.licence,
        "author": record.author,
        "source": f"{line.path.name}:{line.number}",
    }


def _load_records(path: str | Path, form: type[AnyRecord], *, holds: str) -> list[AnyRecord]:
    lines, faults = read_lines(path, holds=holds)
    schema = TypeAdapter(form).json_schema()
    for line in lines:
        faults.extend(line.fault(*fault) for fault in find_faults(line.value, schema))
    if faults:
        raise_faults(faults)
    return [form.model_validate(line.value) for line in lines]
