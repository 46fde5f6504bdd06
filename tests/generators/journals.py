"""How the tests fill journals, read them back, and go behind their backs."""

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg

from generators.clients import Failure, Outcome, Response
from generators.journal_place import is_postgres, make_journal
from generators.records import FunctionCall, ToolCall, Usage

RICH = Response(
    text='line\n"quoted" \x00 é 🙂',
    reasoning="because",
    tool_calls=(ToolCall(id="a", function=FunctionCall(name="f", arguments='{"x": 1}')),),
    finish_reason="tool_calls",
    usage=Usage(prompt_tokens=3, completion_tokens=4),
    logprobs=(-0.1, -1e-17, float("-inf")),
)
FILTERED = Failure(reason="content_filter", message="no", permanent=True)


def respond(text: str) -> Response:
    return Response(text=text, finish_reason="stop", usage=Usage())


def store(place: str, outcomes: dict[str, Outcome], model: str = "m", run: str = "") -> None:
    with make_journal(place, run=run) as journal:
        asyncio.run(journal.record(outcomes, model=model))


def load(place: str, *keys: str) -> dict[str, Outcome]:
    with make_journal(place) as journal:
        return asyncio.run(journal.find(keys))


def alter(place: str, statement: str, *values: object) -> list[tuple[Any, ...]]:
    """Have the database itself carry out a statement; values stand at its question marks."""
    if is_postgres(place):
        with psycopg.connect(place, options="-c search_path=tutelage") as connection:
            query: Any = statement.replace("?", "%s")
            cursor = connection.execute(query, values)
            return cursor.fetchall() if cursor.description else []
    with closing(sqlite3.connect(place)) as connection, connection:
        return connection.execute(statement, values).fetchall()


def forget(place: str) -> None:
    """Make a place as if there had never been a journal."""
    if is_postgres(place):
        alter(place, "DROP SCHEMA tutelage CASCADE")
    else:
        Path(place).unlink()


def list_keys(place: str) -> list[str]:
    return [key for (key,) in alter(place, "SELECT key FROM outcomes ORDER BY key")]
