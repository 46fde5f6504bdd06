"""Whether a completion is one JSON value that a JSON Schema accepts.

The completion is bare JSON or one fenced block and nothing else. Duplicate keys, NaN and Infinity
are refused: readers disagree about what they mean. `format` is checked, not only noted.
"""

import re

from jsonschema import SchemaError
from jsonschema.exceptions import best_match
from referencing.exceptions import Unresolvable

from filters.judgement import Judgement, accept, quarantine, reject
from filters.readable_text import drop_reasoning
from generators.records import JsonSchemaCheck
from generators.strict_json import AmbiguousJson, open_validator, parse_strictly

_FENCED = re.compile(r"```[ \t]*(?:json)?[ \t]*\n(.*?)\n?[ \t]*```", re.DOTALL | re.IGNORECASE)


def judge_json(check: JsonSchemaCheck, completion: str) -> Judgement:
    """Judge a completion against the schema."""
    try:
        validator = open_validator(check.schema_)
    except SchemaError as error:
        return quarantine("bad_check", error.message)
    except RecursionError as error:
        return quarantine("bad_check", f"the schema is nested too deeply: {error}")
    visible = drop_reasoning(completion)
    if visible is None:
        return quarantine("unfinished", completion)
    blocks = _FENCED.findall(visible)
    whole = _FENCED.fullmatch(visible.strip())
    if blocks and (len(blocks) > 1 or whole is None):
        reason = "several_answers" if len(blocks) > 1 else "text_around_json"
        return quarantine(reason, completion)
    try:
        value = parse_strictly(blocks[0] if blocks else visible)
    except AmbiguousJson as error:
        return reject(str(error), "ambiguous_json")
    except (ValueError, RecursionError) as error:
        return reject(str(error), "not_json")
    try:
        fault = best_match(validator.iter_errors(value))
    except (Unresolvable, re.error, RecursionError) as error:
        return quarantine("bad_check", f"{type(error).__name__}: {error}")
    except OverflowError as error:  # a whole number beyond every float, beside a fraction
        return reject(str(error), "ambiguous_json")
    if fault is not None:
        return reject(f"{fault.json_path}: {fault.message}", "schema_violation")
    return accept(completion)
