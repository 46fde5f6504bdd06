"""JSON read strictly: what readers disagree about is refused, and a schema never reaches out."""

import json
from typing import Any, NoReturn

from jsonschema import Draft202012Validator
from jsonschema.protocols import Validator
from jsonschema.validators import validator_for
from referencing import Registry


class AmbiguousJson(ValueError):
    """JSON that Python reads, but that has no one meaning."""


def parse_strictly(text: str) -> Any:
    """The JSON value of a text. Raises ValueError for what is none, and its AmbiguousJson for
    duplicate keys, NaN and Infinity."""
    return json.loads(text, object_pairs_hook=_refuse_duplicates, parse_constant=refuse_constant)


def refuse_constant(name: str) -> NoReturn:
    """For `json.loads(parse_constant=…)`: NaN and Infinity are not JSON."""
    raise AmbiguousJson(f"{name} is not a JSON number")


def open_validator(schema: dict[str, Any]) -> Validator:
    """A validator of the draft that the schema names (2020-12 without one). `format` is checked,
    not only noted, and a `$ref` to the network is not followed."""
    kind = validator_for(schema, default=Draft202012Validator)
    return kind(schema, registry=Registry(), format_checker=kind.FORMAT_CHECKER)


def _refuse_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) < len(pairs):
        keys = [key for key, _ in pairs]
        repeated = next(key for key in keys if keys.count(key) > 1)
        raise AmbiguousJson(f"the key {repeated!r} stands twice")
    return value
