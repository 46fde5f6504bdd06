"""Tool calls that nobody offered, that break their tool's schema, or that are written as text.

The name of a call must be declared in the row's `tools`, and its arguments must be one JSON object
that the tool's JSON Schema accepts. A call that stands in the text of an answer was never made, and
teaches a student to write calls instead of making them.
"""

import re
from collections.abc import Iterator
from functools import lru_cache
from json import dumps
from typing import Any

from jsonschema import SchemaError
from jsonschema.exceptions import best_match
from jsonschema.protocols import Validator
from referencing.exceptions import Unresolvable

from filters.audit.passages import asked_before, asks_for_code, blank_quotes
from filters.audit.rows import AuditRow, Hit, clip, turns_of
from generators.records import FunctionCall
from generators.strict_json import open_validator, parse_strictly


def find_undeclared_calls(row: AuditRow) -> Iterator[Hit]:
    """Calls of tools that the row does not declare; every call, where it declares none."""
    declared = {_function(tool)["name"] for tool in row.tools}
    for i, turn in turns_of(row, "assistant"):
        for call in turn.tool_calls:
            if call.name not in declared:
                yield Hit("undeclared_tool_call", clip(call.name) or "''", i)


def find_broken_arguments(row: AuditRow) -> Iterator[Hit]:
    """Arguments that are no JSON, that can be read in two ways, or that break the tool's schema."""
    functions = {_function(tool)["name"]: _function(tool) for tool in row.tools}
    for i, turn in turns_of(row, "assistant"):
        for call in turn.tool_calls:
            if call.name in functions and (broken := _judge(call, functions[call.name])):
                yield Hit(*broken, i)


def _function(tool: dict[str, Any]) -> dict[str, Any]:
    """What a tool declares, in OpenAI's form or flat."""
    function = tool.get("function", tool)
    return function if isinstance(function, dict) else tool


def _judge(call: FunctionCall, function: dict[str, Any]) -> tuple[str, str] | None:
    """The reason and evidence against a call's arguments, or None."""
    schema = function.get("parameters", function.get("input_schema")) or {"type": "object"}
    try:
        validator = _open(dumps(schema, sort_keys=True))
        # Some servers send no text at all for a call without arguments.
        value = parse_strictly(call.arguments if call.arguments.strip() else "{}")
    except SchemaError as error:
        return "bad_tool_schema", clip(f"{call.name}: {error.message}")
    except (ValueError, RecursionError) as error:
        return "arguments_not_json", clip(f"{call.arguments} ({error})")
    try:
        fault = best_match(validator.iter_errors(value))
    except (Unresolvable, re.error, RecursionError) as error:
        return "bad_tool_schema", clip(f"{call.name}: {type(error).__name__}: {error}")
    if fault is not None:
        return "arguments_break_schema", clip(f"{fault.json_path}: {fault.message}")
    if not isinstance(value, dict):
        return "arguments_break_schema", clip(f"$: {call.arguments} is no object")
    return None


@lru_cache(maxsize=256)
def _open(schema: str) -> Validator:
    """A validator of a schema's text. Raises SchemaError where it is none."""
    return open_validator(parse_strictly(schema))


_TAG = re.compile(
    r"</?(?:tool_call|tool_calls|tool_use|tool_code|function_calls?|functioncall|antml:invoke)"
    r"\b[^>\n]{0,80}>"
    r"|<(?:invoke|function)[ =][\"'\w][^>\n]{0,80}>|\[TOOL_CALLS\]|<\|(?:python_tag|tool_calls?)\|>"
    r"|^```(?:tool_call|tool_code|function_call)s?\b"
    r"|^[ \t]*Action[ \t]*:[^\n]{1,80}\n[ \t]*Action Input[ \t]*:",
    re.MULTILINE,
)
_IS = r"\"\s{0,5}:\s{0,5}"
_NEXT = r"\s{0,5},\s{0,20}\""
_OBJECT = re.compile(
    rf"\{{\s{{0,20}}\"(?:type{_IS}\"(?:function|tool_use)\"{_NEXT})?(?:"
    rf"(?:name|tool|function|tool_name){_IS}\"[\w.-]{{1,80}}\"{_NEXT}"
    rf"(?:arguments|args|parameters|input|tool_input){_IS}[{{\"]"
    rf"|function{_IS}\{{\s{{0,20}}\"name{_IS}|tool_calls?{_IS}[\[{{]"
    rf"|action{_IS}\"[^\"\n]{{1,80}}\"{_NEXT}action_input{_IS}"
    rf"|(?:arguments|parameters){_IS}\{{[^{{}}]{{0,400}}\}}{_NEXT}name{_IS})"
)
_SPEAKS_OF_CALLS = re.compile(
    r"\b(?:(?:tool|function)[ -]?(?:calls?|calling|use)|json|xml|templates?|formats?|schemas?|"
    r"react (?:agent|format|loop)|agents?)\b",
    re.IGNORECASE,
)


def find_calls_as_text(row: AuditRow) -> Iterator[Hit]:
    """A tool call that an answer writes instead of making it.

    JSON that was asked for is none, nor what an answer shows in code where calls are spoken of.
    """
    for i, turn in turns_of(row, "assistant"):
        if not turn.content:
            continue
        asked = asked_before(row, i)
        tag = _find_tag(turn.content, asked)
        found = tag or _find_object(turn.content, asked) or _find_bare_call(turn.content, row)
        if found:
            yield Hit("tool_call_as_text", clip(found), i)


def _find_tag(text: str, asked: str) -> str | None:
    if _SPEAKS_OF_CALLS.search(asked):
        text = blank_quotes(text)
    return next((m[0] for m in _TAG.finditer(text) if m[0].strip() not in asked), None)


def _find_object(text: str, asked: str) -> str | None:
    if '"arguments"' in asked or _SPEAKS_OF_CALLS.search(asked) or asks_for_code(asked):
        return None
    match = _OBJECT.search(text)
    return text[match.start() : match.start() + 200] if match else None


def _find_bare_call(text: str, row: AuditRow) -> str | None:
    """The whole answer is a call in the way of a program: `get_weather(city="Paris")`."""
    bare = text.strip().strip("`[]").strip()
    called = re.fullmatch(r"(?:print\()?([A-Za-z_][\w.]{0,80})\([^\n]{0,400}\)", bare)
    names = {_function(tool)["name"] for tool in row.tools}
    return bare if called and called[1].removeprefix("functions.") in names else None
