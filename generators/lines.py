"""JSONL files that people write: read line by line, and all that is wrong with them said at once.

Every line is held to a JSON Schema with `jsonschema`. What that library reports about a union of
forms is unreadable, so a union is narrowed to the form its discriminator names, and each error is
put as `field: message` in plain words.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError, ValidationError

from generators.errors import InputError, nearest
from generators.strict_json import refuse_constant

FieldFault = tuple[str, str]
"""A field and what is wrong with it."""


class Fault(NamedTuple):
    """One thing wrong in one line of a file."""

    file: str
    line: int
    field: str
    message: str

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}: "
        return place + (f"{self.field}: {self.message}" if self.field else self.message)


class Line(NamedTuple):
    """A line that holds a JSON object."""

    path: Path
    number: int
    value: dict[str, Any]

    def fault(self, field: str, message: str) -> Fault:
        return Fault(str(self.path), self.number, field, message)


class Reading(NamedTuple):
    """What a file or folder gave: its lines, and the faults of those that are no JSON objects."""

    lines: list[Line]
    faults: list[Fault]


def read_lines(path: str | Path, *, holds: str) -> Reading:
    """Read a JSONL file, or all `*.jsonl` of a folder in the order of their names.

    `holds` names the content ("seeds") and is used in messages. Raises InputError when there is
    nothing to read.
    """
    path = Path(path)
    files = sorted(path.glob("*.jsonl")) if path.is_dir() else [path]
    if not path.exists():
        raise InputError(f"{path}: no such file or folder; give a JSONL file of {holds}")
    if not files:
        raise InputError(f"{path}: no *.jsonl in this folder; give a file or folder of {holds}")
    readings = [_read_file(file) for file in files]
    lines = [line for reading in readings for line in reading.lines]
    faults = [fault for reading in readings for fault in reading.faults]
    if not lines and not faults:
        raise InputError(f"{path}: is empty; write {holds} into it, one JSON object a line")
    return Reading(lines, faults)


def raise_faults(faults: Iterable[Fault]) -> NoReturn:
    """Raise one InputError that lists every fault, in the order of files and lines."""
    ordered = sorted(dict.fromkeys(faults), key=lambda fault: (fault.file, fault.line))
    raise InputError("\n".join(map(str, ordered)))


def find_faults(value: Any, schema: dict[str, Any]) -> list[FieldFault]:
    """What is wrong with a value by a JSON Schema, as fields and plain messages."""
    errors = Draft202012Validator(schema).iter_errors(value)
    return list(dict.fromkeys(fault for error in errors for fault in _explain(error)))


def find_schema_fault(schema: Any) -> str | None:
    """Why this is no JSON Schema (draft 2020-12), or None if it is one."""
    try:
        Draft202012Validator.check_schema(schema)
    except SchemaError as error:
        place = "".join(f"{part}." for part in error.absolute_path).rstrip(".")
        return f"is not a JSON Schema: {place + ': ' if place else ''}{error.message}"
    return None


def name_choices(name: str, choices: Iterable[str]) -> str:
    """The choices for an unknown name, and the nearest of them."""
    choices = sorted(choices)
    return ", ".join(choices) + nearest(name, choices)


def _read_file(path: Path) -> Reading:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        number = data.count(b"\n", 0, error.start) + 1
        message = f"is not UTF-8 (byte 0x{data[error.start]:02x}); save the file as UTF-8"
        return Reading([], [Fault(str(path), number, "", message)])
    reading = Reading([], [])
    # Not splitlines(): a JSON string may hold U+2028, which is no end of a line.
    for number, content in enumerate(text.split("\n"), start=1):
        if not content.strip():
            continue
        value = _parse(content)
        if isinstance(value, dict):
            reading.lines.append(Line(path, number, value))
        else:
            reading.faults.append(Fault(str(path), number, "", value))
    return reading


def _parse(content: str) -> dict[str, Any] | str:
    """The object a line holds, or what is wrong with the line."""
    try:
        value = json.loads(content, parse_constant=refuse_constant)
        json.dumps(value, ensure_ascii=False).encode()
    except json.JSONDecodeError as error:
        return f"is not JSON: {error.msg} (column {error.colno})"
    except UnicodeEncodeError:
        return "is not JSON: it escapes half of a surrogate pair, which is no character"
    except (ValueError, RecursionError) as error:
        return f"is not JSON: {error}"
    if isinstance(value, dict):
        return value
    return f"must be a JSON object, not {_name_of(value)}"


def _explain(error: ValidationError) -> Iterator[FieldFault]:
    """One jsonschema error as fields and messages."""
    field = ".".join(map(str, error.absolute_path))
    schema: Any = error.schema
    rule: Any = error.validator_value
    value: Any = error.instance
    match error.validator:
        case "oneOf" if "discriminator" in schema:
            yield from _narrow(error, field)
        case "required":
            for name in schema["required"]:
                if name not in value:
                    yield _join(field, name), "is missing"
        case "additionalProperties":
            known = schema["properties"]
            for name in sorted(set(value) - set(known)):
                yield _join(field, name), _describe_stranger(name, known)
        case "type":
            yield field, f"must be {_NAMES[rule]}, not {_name_of(value)}"
        case "pattern" | "minItems" | "minLength" | "minProperties":
            yield field, "is empty"
        case "minimum":
            yield field, f"must be at least {rule}"
        case "const":
            yield field, f"must be {json.dumps(rule)}"
        case "enum":
            yield field, f"must be one of {', '.join(map(str, rule))}"
        case _:
            yield field, error.message


def _narrow(error: ValidationError, field: str) -> Iterator[FieldFault]:
    """The errors of the one form that the discriminator names."""
    schema: Any = error.schema
    key, forms = schema["discriminator"]["propertyName"], schema["discriminator"]["mapping"]
    if not isinstance(error.instance, dict):
        yield field, f"must be an object, not {_name_of(error.instance)}"
    elif key not in error.instance:
        yield _join(field, key), "is missing"
    elif (kind := error.instance[key]) not in list(forms):
        yield (
            _join(field, key),
            f"{kind!r} is not known; choose from {name_choices(str(kind), forms)}",
        )
    else:
        index = [form["$ref"] for form in schema["oneOf"]].index(forms[kind])
        for inner in error.context or ():
            if inner.schema_path[0] == index:
                yield from _explain(inner)


def _describe_stranger(name: str, known: dict[str, Any]) -> str:
    kind = known.get("kind", {}).get("const")
    place = f"a field of a check of kind {kind}" if kind else "a field here"
    return f"is not {place}; there are {name_choices(name, known)}"


def _join(*parts: str) -> str:
    return ".".join(part for part in parts if part)


_NAMES = {
    "string": "a text",
    "object": "an object",
    "array": "a list",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "null": "null",
}


def _name_of(value: Any) -> str:
    kinds: Sequence[tuple[type, str]] = (
        (bool, "true or false"),
        (str, "a text"),
        (dict, "an object"),
        (list, "a list"),
        (int, "a number"),
        (float, "a number"),
    )
    return next((name for kind, name in kinds if isinstance(value, kind)), "null")
