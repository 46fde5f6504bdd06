"""How every verb of the command prints: `--json`, and the console that goes with it."""

import json as json_text
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

if TYPE_CHECKING:
    from flows.console import Console

Json = Annotated[
    bool, Parameter(name="--json", help="Print one JSON document on stdout and no progress.")
]


def open_console(json: bool) -> "Console":
    """The console of a verb; silent where JSON is asked for."""
    from flows.console import Console

    return Console(json=json)


def print_result(result: Any, as_json: bool) -> None:
    """Print the result as one JSON document; a person has seen it by now."""
    if as_json:
        print(json_text.dumps(make_plain(result), ensure_ascii=False))


def make_plain(result: Any) -> Any:
    """Records as what JSON has."""
    from pydantic import BaseModel

    if isinstance(result, BaseModel):
        return result.model_dump(mode="json", by_alias=True)
    return [make_plain(item) for item in result] if isinstance(result, list | tuple) else result
