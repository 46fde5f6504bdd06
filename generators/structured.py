"""Answers that must be JSON of a given schema: what is wrong with one, and asking for it again.

A server that knows `response_format` mostly keeps to the schema, but a token limit, a weak grammar
or a server that ignores the field breaks it. So every answer is read strictly and held to the
schema, and one that fails is sent back once with its faults.
"""

import re
from typing import Any

from jsonschema import SchemaError
from referencing.exceptions import Unresolvable

from generators.strict_json import open_validator, parse_strictly

MOST_FAULTS = 5
"""A repair round names so many; a broken answer can break a schema in hundreds of places."""
LONGEST_FAULT = 300


def find_answer_faults(text: str, schema: dict[str, Any]) -> list[str]:
    """What keeps a text from being one JSON value of the schema, in plain words."""
    try:
        value = parse_strictly(text)
    except (ValueError, RecursionError) as error:
        return [f"is not JSON: {error}"]
    try:
        errors = sorted(open_validator(schema).iter_errors(value), key=lambda e: e.json_path)
    except (SchemaError, Unresolvable, re.error, RecursionError, OverflowError) as error:
        return [f"cannot be held to the schema: {error}"]
    return [f"{error.json_path}: {error.message}"[:LONGEST_FAULT] for error in errors]


def ask_for_repair(text: str, faults: list[str]) -> list[dict[str, Any]]:
    """The turns that send an answer back with its faults."""
    listed = "\n".join(f"- {fault}" for fault in faults[:MOST_FAULTS])
    plea = (
        f"This answer does not follow the required JSON schema:\n{listed}\n"
        "Answer again with the corrected JSON alone."
    )
    return [{"role": "assistant", "content": text}, {"role": "user", "content": plea}]


def describe_format(schema: dict[str, Any]) -> dict[str, Any]:
    """The `response_format` that asks a server for the schema."""
    return {
        "type": "json_schema",
        "json_schema": {"name": "answer", "schema": schema, "strict": True},
    }
