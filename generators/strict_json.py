"""JSON read strictly: what readers disagree about is refused, and a schema never reaches out."""

import json
import math
import re
from typing import Any, NoReturn

from jsonschema import Draft202012Validator
from jsonschema.protocols import Validator
from jsonschema.validators import validator_for
from referencing import Registry

_HALF = re.compile(r"\\ud[89a-f]|[\ud800-\udfff]", re.IGNORECASE)


class AmbiguousJson(ValueError):
    """JSON that Python reads, but that has no one meaning."""


def parse_strictly(text: str) -> Any:
    """The JSON value of a text. Raises ValueError for what is none, and its AmbiguousJson for
    duplicate keys, NaN, numbers too large to be any, and halves of a character."""
    value = json.loads(
        text,
        object_pairs_hook=_refuse_duplicates,
        parse_constant=refuse_constant,
        parse_float=_read_float,
    )
    if _HALF.search(text):
        try:
            json.dumps(value, ensure_ascii=False).encode()
        except UnicodeEncodeError as error:
            raise AmbiguousJson("half of a surrogate pair is no character") from error
    return value


def refuse_constant(name: str) -> NoReturn:
    """For `json.loads(parse_constant=…)`: NaN and Infinity are not JSON."""
    raise AmbiguousJson(f"{name} is not a JSON number")


def _read_float(digits: str) -> float:
    number = float(digits)
    if math.isinf(number):
        raise AmbiguousJson(f"{digits[:40]} is too large for a number")
    return number


def open_validator(schema: dict[str, Any]) -> Validator:
    """A validator of the draft that the schema names (2020-12 without one). `format` is checked,
    not only noted, and a `$ref` to the network is not followed. Raises SchemaError for what is no
    schema."""
    is_named = isinstance(schema, dict) and isinstance(schema.get("$schema"), str)
    kind = validator_for(schema, Draft202012Validator) if is_named else Draft202012Validator
    kind.check_schema(schema)
    return kind(schema, registry=Registry(), format_checker=kind.FORMAT_CHECKER)


def _refuse_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) < len(pairs):
        keys = [key for key, _ in pairs]
        repeated = next(key for key in keys if keys.count(key) > 1)
        raise AmbiguousJson(f"the key {repeated!r} stands twice")
    return value
