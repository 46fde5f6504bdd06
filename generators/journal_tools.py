"""Looking into a journal, copying it out, and taking rows away.

These may be used while runs write to the same journal: the database's own locks keep them apart,
and a row that was taken away is asked again by whoever needs it.
"""

import json
import os
from pathlib import Path

from generators.database_journal import DatabaseJournal, Table
from generators.journal_rows import decode
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


def count_holdings(journal: DatabaseJournal) -> Holdings:
    """Count outcomes, failures and tokens by model and run, checking every row."""
    return journal.use(lambda table: _count(table, journal.place), "scan")


def _count(table: Table, place: str) -> Holdings:
    rows = damaged = 0
    counts: dict[tuple[str, str], dict[str, int]] = {}
    for row in table.scan():
        rows += 1
        if not row.is_sound:
            damaged += 1
            continue
        fields = ("outcomes", "failures", "prompt_tokens", "completion_tokens")
        count = counts.setdefault((decode(row.model), decode(row.run)), dict.fromkeys(fields, 0))
        outcome = json.loads(row.outcome)
        usage = outcome.get("usage", {})
        count["outcomes"] += 1
        count["failures"] += outcome["kind"] == "failure"
        count["prompt_tokens"] += usage.get("prompt_tokens", 0)
        count["completion_tokens"] += usage.get("completion_tokens", 0)
    holdings = [Holding(model=m, run=r, **counts[m, r]) for m, r in sorted(counts)]
    return Holdings(path=place, rows=rows, damaged=damaged, holdings=tuple(holdings))


def export_rows(journal: DatabaseJournal, to: Path) -> Exported:
    """Write every sound row as a line of JSON; the file is written beside its place and renamed."""
    beside = to.with_name(to.name + ".part")
    rows, damaged = journal.use(lambda table: _write_lines(table, beside), "scan")
    beside.replace(to)
    return Exported(path=str(to), rows=rows, damaged=damaged)


def _write_lines(table: Table, to: Path) -> tuple[int, int]:
    rows = damaged = 0
    with to.open("w", encoding="utf-8") as file:
        for row in table.scan():
            if not row.is_sound:
                damaged += 1
                continue
            rows += 1
            line = {name: decode(getattr(row, name)) for name in ("key", "model", "run")}
            line |= {"at": row.at, "outcome": json.loads(row.outcome)}
            file.write(json.dumps(line, ensure_ascii=False) + "\n")
        file.flush()
        os.fsync(file.fileno())
    return rows, damaged


def prune_rows(
    journal: DatabaseJournal,
    *,
    run: str | None = None,
    model: str | None = None,
    damaged: bool = False,
    delete: bool,
) -> Pruned:
    """Delete the rows that meet all the conditions, or only count them."""

    def prune(table: Table) -> int:
        doomed = [
            row.id
            for row in table.scan()
            if (run is None or decode(row.run) == run)
            and (model is None or decode(row.model) == model)
            and not (damaged and row.is_sound)
        ]
        if delete:
            table.delete(doomed)
        return len(doomed)

    return Pruned(rows=journal.use(prune, "change" if delete else "scan"), deleted=delete)
