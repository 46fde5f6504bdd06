"""A row to audit: a conversation in OpenAI's form, read out of whatever a file holds.

Files differ: content may be null beside tool calls or a list of parts, arguments may be a text or
an object, tables keep nested values as JSON text, reasoning has several names, and trainers' files
have `prompt` and `completion` columns instead of `messages`. All become one form here. What a turn
holds besides text (signed reasoning, a provider's refusal) stays in `blocks`.
"""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, Literal, NamedTuple

from filters.verify import parse_check
from generators.errors import InputError
from generators.lines import FieldFault, name_choices
from generators.records import Check, FunctionCall, Record
from generators.strict_json import parse_strictly

Role = Literal["system", "user", "assistant", "tool"]
ROLES: dict[str, Role] = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "human": "user",
    "assistant": "assistant",
    "gpt": "assistant",
    "model": "assistant",
    "tool": "tool",
    "function": "tool",
}
"""The names that files give the four roles."""
MAX_EVIDENCE = 160
_MESSAGES = re.compile(r'\s*\[\s*\{\s*"(?:role|from|content)"\s*:')
"""How a list of messages begins that stands as text; other JSON is what a side says."""
_TEXT_PARTS = ("text", "input_text", "output_text")
_REASONING = ("reasoning_content", "reasoning", "thinking")
_KNOWN = {"role", "from", "content", "value", "name", "weight", "tool_calls", "function_call"}
_KNOWN |= {"tool_call_id", "id", *_REASONING}


class Turn(Record):
    """One message as the detectors read it."""

    role: Role
    content: str = ""
    reasoning: str = ""
    tool_calls: tuple[FunctionCall, ...] = ()
    blocks: tuple[dict[str, Any], ...] = ()
    """What the message holds besides text and calls."""


class AuditRow(Record):
    """A conversation, and what its file says about it."""

    id: str | int
    turns: tuple[Turn, ...]
    tools: tuple[dict[str, Any], ...] = ()
    finish_reason: str | None = None
    source: str | None = None
    check: Check | None = None


class Hit(NamedTuple):
    """What a detector found in a turn (counted from 0), and the span that it rests on."""

    reason: str
    evidence: str
    turn: int


class Finding(Record):
    """A hit, and the detector that made it."""

    detector: str
    version: str
    level: Literal["L0", "L1", "L2"]
    reason: str
    evidence: str
    where: str
    """The turn, as `messages[1]`."""


def clip(text: str, limit: int = MAX_EVIDENCE) -> str:
    """The start of a span that is too long to store."""
    text = text.strip()
    return text if len(text) <= limit else text[: limit - 1] + "…"


def turns_of(row: AuditRow, *roles: Role) -> Iterator[tuple[int, Turn]]:
    """The row's turns of these roles, with their places."""
    return ((i, turn) for i, turn in enumerate(row.turns) if turn.role in roles)


def find_row_faults(value: Mapping[str, Any]) -> list[FieldFault]:
    """Why this is no row to audit: fields and plain messages; empty when it is one."""
    faults: list[FieldFault] = []
    try:
        json.dumps(value, ensure_ascii=False, default=str).encode()
        messages = _read_messages(value)
    except UnicodeEncodeError:
        return [("", "escapes half of a surrogate pair, which is no character")]
    except RecursionError:
        return [("", "is nested too deeply to be read")]
    except _Misshapen as error:
        messages, faults = [], [(error.field, error.message)]
    for i, message in enumerate(messages):
        faults += [(f"messages[{i}]{f}", text) for f, text in _find_message_faults(message)]
    for read in (_read_tools, _read_check, _read_finish, _read_source):
        try:
            read(value)
        except _Misshapen as error:
            faults.append((error.field, error.message))
    return faults


def read_row(value: Mapping[str, Any]) -> AuditRow:
    """The row that `find_row_faults` finds no fault in."""
    return AuditRow(
        id=value["id"],
        turns=tuple(_read_turn(message) for message in _read_messages(value)),
        tools=_read_tools(value),
        finish_reason=_read_finish(value),
        source=_read_source(value),
        check=_read_check(value),
    )


class _Misshapen(Exception):
    """A field that is not of the form it must have."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field}: {message}")
        self.field, self.message = field, message


def _unfold(value: Any, field: str) -> Any:
    """A nested value out of its cell: tables keep it as JSON text."""
    if not isinstance(value, str):
        return value
    try:
        return parse_strictly(value)
    except (ValueError, RecursionError) as error:
        raise _Misshapen(field, f"is not JSON: {error}") from error


def _read_messages(value: Mapping[str, Any]) -> list[Any]:
    """The conversation, from `messages` (or `conversations`), or `prompt` and `completion`."""
    for field in ("messages", "conversations"):
        if value.get(field) is not None:
            return _read_list(value[field], field)
    if value.get("prompt") is None or value.get("completion") is None:
        raise _Misshapen("messages", "is missing; give messages, or prompt and completion")
    return [
        *_read_side(value["prompt"], "prompt", "user"),
        *_read_side(value["completion"], "completion", "assistant"),
    ]


def _read_list(value: Any, field: str) -> list[Any]:
    messages = _unfold(value, field)
    if not isinstance(messages, list | tuple):
        raise _Misshapen(field, "must be a list of messages")
    if not messages:
        raise _Misshapen(field, "is empty")
    return list(messages)


def _read_side(value: Any, field: str, role: Role) -> list[Any]:
    """One side of a pair: a list of messages, or the text of one."""
    if isinstance(value, str) and not _MESSAGES.match(value):
        return [{"role": role, "content": value}]
    return _read_list(value, field)


def _find_message_faults(message: Any) -> Iterator[FieldFault]:
    if not isinstance(message, Mapping):
        yield "", "must be an object with role and content"
        return
    role = message.get("role", message.get("from"))
    if not isinstance(role, str) or role not in ROLES:
        known = name_choices(str(role), ("system", "user", "assistant", "tool"))
        yield (
            ".role",
            "is missing" if role is None else f"{role!r} is not known; choose from {known}",
        )
    content = message.get("content", message.get("value"))
    if content is None and ROLES.get(str(role), "user") in ("user", "system"):
        yield ".content", "is missing"
    elif isinstance(content, list | tuple):
        for i, part in enumerate(content):
            if not isinstance(part, str | Mapping):
                yield f".content[{i}]", "must be a text or an object with a type"
    elif content is not None and not isinstance(content, str):
        yield ".content", "must be a text, a list of parts, or null"
    yield from _find_call_faults(message)


def _find_call_faults(message: Mapping[str, Any]) -> Iterator[FieldFault]:
    try:
        calls = _list_calls(message)
    except _Misshapen as error:
        yield error.field, error.message
        return
    for field, call in calls:
        function = call.get("function", call) if isinstance(call, Mapping) else None
        if not isinstance(function, Mapping) or not isinstance(function.get("name"), str):
            yield field, "must hold a function with a name"


def _list_calls(message: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """A message's calls, each with its field; OpenAI's older form has one, in `function_call`."""
    calls = _unfold(message.get("tool_calls") or None, ".tool_calls") or []
    if not isinstance(calls, list | tuple):
        raise _Misshapen(".tool_calls", "must be a list")
    named = [(f".tool_calls[{i}]", call) for i, call in enumerate(calls)]
    older = _unfold(message.get("function_call") or None, ".function_call")
    return named if older is None else [*named, (".function_call", older)]


def _read_turn(message: Mapping[str, Any]) -> Turn:
    content = message.get("content", message.get("value"))
    parts = [content] if isinstance(content, str) else list(content or ())
    reasoning = [message[name] for name in _REASONING if isinstance(message.get(name), str)]
    texts: list[str] = []
    blocks: list[dict[str, Any]] = []
    for part in parts:
        if isinstance(part, str):
            texts.append(part)
        elif part.get("type", "text") in _TEXT_PARTS and isinstance(part.get("text"), str):
            texts.append(part["text"])
        else:
            blocks.append(dict(part))
            reasoning += [part[name] for name in _REASONING if isinstance(part.get(name), str)]
    known = {name for name in _KNOWN if not isinstance(message.get(name), dict | list)}
    known |= {"content", "value", "tool_calls", "function_call"}
    rest = {name: held for name, held in message.items() if name not in known and held}
    return Turn(
        role=ROLES[message.get("role", message.get("from"))],
        content="\n".join(texts),
        reasoning="\n".join(dict.fromkeys(reasoning)),
        tool_calls=tuple(_read_calls(message)),
        blocks=(*blocks, rest) if rest else tuple(blocks),
    )


def _read_calls(message: Mapping[str, Any]) -> Iterator[FunctionCall]:
    for _, call in _list_calls(message):
        function = call.get("function", call)
        arguments = function.get("arguments", "")
        is_text = isinstance(arguments, str)
        yield FunctionCall(
            name=function["name"],
            arguments=arguments if is_text else json.dumps(arguments, ensure_ascii=False),
        )


def _read_tools(value: Mapping[str, Any]) -> tuple[dict[str, Any], ...]:
    tools = _unfold(value.get("tools") or None, "tools") or []
    if not isinstance(tools, list | tuple):
        raise _Misshapen("tools", "must be a list of tools")
    for i, tool in enumerate(tools):
        function = tool.get("function", tool) if isinstance(tool, Mapping) else None
        if not isinstance(function, Mapping) or not isinstance(function.get("name"), str):
            raise _Misshapen(f"tools[{i}]", "must be an object with a function's name")
    return tuple(dict(tool) for tool in tools)


def _read_check(value: Mapping[str, Any]) -> Check | None:
    check = _unfold(value["check"], "check") if value.get("check") not in (None, "") else None
    if check is None:
        return None
    if not isinstance(check, Mapping):
        raise _Misshapen("check", "must be an object")
    if not isinstance(check.get("kind", ""), str):
        raise _Misshapen("check.kind", "must be a text")
    try:
        return parse_check(check)
    except InputError as error:
        field, _, message = str(error).partition("\n")[0].partition(": ")
        raise _Misshapen(field, message) from error


def _read_finish(value: Mapping[str, Any]) -> str | None:
    return _read_text(value, "finish_reason")


def _read_source(value: Mapping[str, Any]) -> str | None:
    """Who answered; a published row calls that its teacher, and its seed's file the source."""
    is_published = "completion" in value and "teacher" in value
    return _read_text(value, "teacher" if is_published else "source")


def _read_text(value: Mapping[str, Any], field: str) -> str | None:
    held = value.get(field)
    if held is not None and not isinstance(held, str):
        raise _Misshapen(field, "must be a text")
    return held or None
