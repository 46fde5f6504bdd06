"""What each page shows: questions to the database, answered as the names that a template uses."""

import sqlite3
from collections.abc import Iterable
from typing import Any

from markupsafe import Markup

from flows import charts, wording
from flows.facts import Facts
from flows.facts_learning import EvaluationFacts
from flows.store import RunDirectory
from flows.versions import compare_versions
from flows.viewer.board_facts import Board
from flows.viewer.browsing import Choice, list_rows, write_pattern
from flows.viewer.curves import draw_curves
from flows.viewer.subjects import find_neighbours, read_subject

MOST_CHANGES = 200
"""Rows of a version's difference that are listed on either side."""


def read_dashboard(connection: sqlite3.Connection) -> dict[str, Any]:
    """The run as a whole."""
    (text,) = connection.execute("select value from about where key = 'board'").fetchone()
    board = Board.model_validate_json(text)
    facts = board.facts
    decided = {"accept": 0, "quarantine": 0, "reject": 0}
    decided |= dict(
        connection.execute("select decision, sum(rows) from heaps group by 1").fetchall()
    )
    return {
        "board": board,
        "facts": facts,
        "decided": decided,
        "ways": connection.execute(
            "select verified_by, sum(rows) from heaps where decision = 'accept' group by 1 "
            "order by 2 desc"
        ).fetchall(),
        "funnel": charts.draw_funnel(facts) if facts.counts else None,
        "tallest": _find_tallest(facts),
        "curves": draw_curves(connection),
        "scores": facts.evaluation and _draw_scores(facts.evaluation),
        "learned": facts.evaluation and wording.tell_learning(facts.evaluation),
        "versions": _list_versions(connection),
        "acts": connection.execute("select count(*) from acts").fetchone()[0],
    }


def _find_tallest(facts: Facts) -> float:
    return max((max(row.histogram) / row.prompts for row in facts.difficulty), default=1.0)


def _draw_scores(evaluation: EvaluationFacts) -> Markup:
    rows = [charts.ScoreRow(arm.name, arm.pass_at_1, arm.when) for arm in evaluation.every_arm]
    title = f"pass@1, {wording.count_noun(evaluation.arms[0].prompts, 'held-out prompt')}"
    return charts.draw_scores([charts.ScoreGroup(title, rows)])


def read_list(connection: sqlite3.Connection, choice: Choice, page: int) -> dict[str, Any]:
    """A page of rows; or the one whose id was typed."""
    if choice.words and not choice.facets:
        found = connection.execute("select id from rows where id = ?", (choice.words,)).fetchone()
        if found is not None:
            return {"is_id": choice.words}
    listed = list_rows(connection, choice, page)
    holds_any = connection.execute("select exists(select 1 from rows)").fetchone()[0]
    pattern = write_pattern(choice.words)
    return {"choice": choice, "listed": listed, "pattern": pattern, "holds_any": bool(holds_any)}


def read_row(
    connection: sqlite3.Connection, id: str, choice: Choice, position: int
) -> dict[str, Any] | None:
    """A row's page; None where nothing has this id."""
    subject = read_subject(connection, id)
    if subject is None:
        return None
    return {
        "subject": subject,
        "choice": choice,
        "neighbours": find_neighbours(connection, choice, position, id),
        "was_taught": connection.execute("select exists(select 1 from metrics)").fetchone()[0],
    }


def read_versions(
    connection: sqlite3.Connection, run: RunDirectory, older: int, newer: int
) -> dict[str, Any]:
    """The versions of the dataset, and what changed between two of them: by default between the
    last two."""
    versions = _list_versions(connection)
    numbers = [version["number"] for version in versions]
    if older not in numbers or newer not in numbers:
        older, newer = sorted(numbers)[-2:] if len(numbers) > 1 else (0, 0)
    changes = compare_versions(run, older, newer) if older and newer else None
    return {
        "versions": versions,
        "older": older,
        "newer": newer,
        "changes": changes,
        "added": _describe(connection, changes.added) if changes else [],
        "removed": _describe(connection, changes.removed) if changes else [],
    }


def _list_versions(connection: sqlite3.Connection) -> list[sqlite3.Row]:
    return connection.execute("select * from versions order by number desc").fetchall()


def _describe(connection: sqlite3.Connection, ids: Iterable[str]) -> list[sqlite3.Row]:
    """Answers that came or went, with their prompts and what holds of them now."""
    shown = [*ids][:MOST_CHANGES]
    marks = ", ".join("?" for _ in shown)
    return connection.execute(
        "select a.id, a.decision, a.reason, p.operator, p.round, p.domain, "
        "substr(p.text, 1, 300) as text, length(p.text) as length, "
        "substr(a.completion, 1, 200) as completion, length(a.completion) as completion_length "
        f"from answers a join prompts p on p.id = a.prompt_id where a.id in ({marks}) "
        "order by p.domain, a.id",
        shown,
    ).fetchall()
