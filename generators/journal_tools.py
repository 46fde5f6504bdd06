"""Looking into a journal, copying it out, and taking rows away.

These may be used while runs write to the same file: SQLite's own locks keep them apart, and a row
that was taken away is asked again by whoever needs it.
"""

import json
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from generators.errors import RunError
from generators.journal import SqliteJournal, sum_up
from generators.records import Record


class Holding(Record):
    """What one run paid one model for."""

    model: str
    run: str
    """Empty for what was recorded before journals knew runs."""
    outcomes: int = 0
    failures: int = 0
    """How many of the outcomes are failures that last."""
    prompt_tokens: int = 0
    completion_tokens: int = 0


class Holdings(Record):
    """All of a journal."""

    path: str
    rows: int
    """The damaged ones included."""
    damaged: int
    """Rows whose checksum does not match; they count nowhere else."""
    holdings: tuple[Holding, ...]


class Exported(Record):
    path: str
    rows: int
    damaged: int
    """Damaged rows, which were left out."""


class Pruned(Record):
    rows: int
    deleted: bool
    """False if they were only counted."""


class _Row(NamedTuple):
    rowid: int
    key: str
    model: str
    run: str
    at: int
    outcome: dict[str, Any] | None
    """None where the row is damaged."""


def find_journal(path: Path) -> Path:
    """The journal of a folder of runs, or the file itself. Raises RunError if there is none."""
    file = path / "journal.sqlite" if path.is_dir() else path
    if not file.is_file():
        raise RunError(f"{file}: no such journal; name a folder of runs or a journal's file")
    return file


def count_holdings(journal: SqliteJournal) -> Holdings:
    """Count outcomes, failures and tokens by model and run, checking every row."""
    return journal.use(lambda connection: _count(connection, journal.path))


def _count(connection: sqlite3.Connection, path: Path) -> Holdings:
    rows = damaged = 0
    counts: dict[tuple[str, str], dict[str, int]] = {}
    for row in _read_rows(connection):
        rows += 1
        if row.outcome is None:
            damaged += 1
            continue
        fields = ("outcomes", "failures", "prompt_tokens", "completion_tokens")
        count = counts.setdefault((row.model, row.run), dict.fromkeys(fields, 0))
        usage = row.outcome.get("usage", {})
        count["outcomes"] += 1
        count["failures"] += row.outcome["kind"] == "failure"
        count["prompt_tokens"] += usage.get("prompt_tokens", 0)
        count["completion_tokens"] += usage.get("completion_tokens", 0)
    holdings = [Holding(model=m, run=r, **counts[m, r]) for m, r in sorted(counts)]
    return Holdings(path=str(path), rows=rows, damaged=damaged, holdings=tuple(holdings))


def export_rows(journal: SqliteJournal, to: Path) -> Exported:
    """Write every sound row as a line of JSON; the file is written beside its place and renamed."""
    beside = to.with_name(to.name + ".part")
    rows, damaged = journal.use(lambda connection: _write_lines(connection, beside))
    beside.replace(to)
    return Exported(path=str(to), rows=rows, damaged=damaged)


def _write_lines(connection: sqlite3.Connection, to: Path) -> tuple[int, int]:
    rows = damaged = 0
    with to.open("w", encoding="utf-8") as file:
        for row in _read_rows(connection):
            if row.outcome is None:
                damaged += 1
                continue
            rows += 1
            line = {name: getattr(row, name) for name in ("key", "model", "run", "at", "outcome")}
            file.write(json.dumps(line, ensure_ascii=False) + "\n")
        file.flush()
        os.fsync(file.fileno())
    return rows, damaged


def prune_rows(
    journal: SqliteJournal,
    *,
    run: str | None = None,
    model: str | None = None,
    damaged: bool = False,
    delete: bool,
) -> Pruned:
    """Delete the rows that meet all the conditions, or only count them."""

    def prune(connection: sqlite3.Connection) -> int:
        doomed = [
            (row.rowid,)
            for row in _read_rows(connection)
            if (run is None or row.run == run)
            and (model is None or row.model == model)
            and (not damaged or row.outcome is None)
        ]
        if delete:
            connection.executemany("DELETE FROM outcomes WHERE rowid = ?", doomed)
        return len(doomed)

    return Pruned(rows=journal.use(prune, writes=delete), deleted=delete)


def _read_rows(connection: sqlite3.Connection) -> Iterator[_Row]:
    rows = connection.execute(
        "SELECT rowid, key, model, outcome, checksum, run, at FROM outcomes ORDER BY rowid"
    )
    for rowid, key, model, text, checksum, run, at in rows:
        sound = checksum == sum_up(key, model, text)
        key, model, run = (part.decode(errors="replace") for part in (key, model, run))
        yield _Row(rowid, key, model, run, at, json.loads(text) if sound else None)
