"""All that a run knows of one row: its prompt, every answer to it with its verdicts, its lineage
and what a person did about it."""

import json
import sqlite3
from typing import Any, NamedTuple

from flows.gather import describe_check
from flows.overrides import REJECTED_BY_PERSON
from flows.viewer.browsing import Choice, count_rows, find_numbers
from flows.viewer.lineage import Lineage, read_lineage
from generators.records import CHECK

MOST_ANSWERS = 60
"""Answers to one prompt that a page shows."""


class Told(NamedTuple):
    """One answer and all that was decided about it."""

    answer: sqlite3.Row
    verdicts: list[sqlite3.Row]
    acts: list[sqlite3.Row]
    row: sqlite3.Row | None
    """Its line in the dataset as it stands now, or beside it; None where it lies in neither."""
    repeats: sqlite3.Row | None


class Subject(NamedTuple):
    """A row of the list, or any prompt or answer of the run."""

    id: str
    kind: str
    """`answer`, `prompt`, or `attempt` for one that brought nothing."""
    row: sqlite3.Row | None
    prompt: sqlite3.Row | None
    """The prompt itself, or the one that an answer or a failed attempt belongs to."""
    turns: list[dict[str, Any]]
    check: str | None
    """In words."""
    verdicts: list[sqlite3.Row]
    answers: list[Told]
    """To the prompt; the one that is asked for comes first."""
    hidden: int
    """Answers beyond those."""
    lineage: Lineage
    acts: list[sqlite3.Row]
    repeated_by: list[sqlite3.Row]

    @property
    def may_release(self) -> bool:
        """Whether a person may let it into the dataset."""
        if self.row is None or self.kind != "answer":
            return False
        by_person = self.row["reason"] == REJECTED_BY_PERSON
        return self.row["decision"] == "quarantine" or by_person

    @property
    def may_reject(self) -> bool:
        """Whether a person may take it out of the dataset."""
        return self.row is not None and self.row["decision"] == "accept"


class Neighbours(NamedTuple):
    """A row's place in the list that it was opened from."""

    position: int
    """From 0 on."""
    total: int
    before: str | None
    after: str | None


def read_subject(connection: sqlite3.Connection, id: str) -> Subject | None:
    """What there is to tell of a row, a prompt or an answer; None where nothing has this id."""
    row = _find_row(connection, id)
    answer = _find(connection, "answers", id)
    prompt = _find(connection, "prompts", id)
    if row is None and answer is None and prompt is None:
        return None
    asked = prompt
    if answer is not None:
        asked = _find(connection, "prompts", answer["prompt_id"])
    elif asked is None:
        known = row["prompt_id"] if row is not None else None
        asked = _find(connection, "prompts", known or id.partition(":")[0])
    is_attempt = ":" in id and answer is None
    told, hidden = _read_answers(connection, asked["id"] if asked else "", id)
    return Subject(
        id=id,
        kind="answer" if answer is not None else "attempt" if is_attempt else "prompt",
        row=row,
        prompt=asked,
        turns=json.loads(asked["messages"]) if asked and asked["messages"] else [],
        check=_tell_check(asked["check"]) if asked else None,
        verdicts=_read_verdicts(connection, id),
        answers=told,
        hidden=hidden,
        lineage=read_lineage(connection, asked["id"] if asked else id),
        acts=_read_acts(connection, id),
        repeated_by=connection.execute(
            "select subject_id, kind, score from duplicates where original in (?, ?) limit 50",
            (id, asked["id"] if asked else id),
        ).fetchall(),
    )


def find_neighbours(
    connection: sqlite3.Connection, choice: Choice, position: int, id: str
) -> Neighbours | None:
    """The rows before and after one in a list; None where it does not lie there in it."""
    start = max(0, position - 1)
    numbers = find_numbers(connection, choice, start, 3)
    marks = ", ".join("?" for _ in numbers)
    found = connection.execute(f"select n, id from rows where n in ({marks})", numbers)
    names = {row["n"]: row["id"] for row in found}
    ids = [names[number] for number in numbers]
    place = position - start
    if position < 0 or place >= len(ids) or ids[place] != id:
        return None
    return Neighbours(
        position=position,
        total=count_rows(connection, choice),
        before=ids[place - 1] if place > 0 else None,
        after=ids[place + 1] if place + 1 < len(ids) else None,
    )


def _find(connection: sqlite3.Connection, table: str, id: str) -> sqlite3.Row | None:
    return connection.execute(f"select * from {table} where id = ?", (id,)).fetchone()


def _find_row(connection: sqlite3.Connection, id: str) -> sqlite3.Row | None:
    return connection.execute(
        "select * from rows where id = ? order by cycle desc limit 1", (id,)
    ).fetchone()


def _tell_check(check: str | None) -> str | None:
    return describe_check(CHECK.validate_json(check)) if check else None


def _read_verdicts(connection: sqlite3.Connection, id: str) -> list[sqlite3.Row]:
    return connection.execute(
        "select * from verdicts where subject_id = ? order by place", (id,)
    ).fetchall()


def _read_acts(connection: sqlite3.Connection, id: str) -> list[sqlite3.Row]:
    return connection.execute(
        "select * from acts where row = ? order by at, rowid", (id,)
    ).fetchall()


def _read_answers(
    connection: sqlite3.Connection, prompt_id: str, first: str
) -> tuple[list[Told], int]:
    """The answers to a prompt, the accepted ones first, and how many more there are."""
    found = connection.execute(
        "select * from answers where prompt_id = ? order by id != ?, decision != 'accept', "
        "sampler, sample_index, id limit ?",
        (prompt_id, first, MOST_ANSWERS),
    ).fetchall()
    number = connection.execute(
        "select count(*) from answers where prompt_id = ?", (prompt_id,)
    ).fetchone()[0]
    told = [
        Told(
            answer=answer,
            verdicts=_read_verdicts(connection, answer["id"]),
            acts=_read_acts(connection, answer["id"]),
            row=_find_row(connection, answer["id"]),
            repeats=connection.execute(
                "select original, kind, score from duplicates where subject_id = ?",
                (answer["id"],),
            ).fetchone(),
        )
        for answer in found
    ]
    return told, number - len(found)
