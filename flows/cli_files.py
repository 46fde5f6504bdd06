"""The verbs that serve on anybody's files, no run needed: `audit`, `dedup`, `verify`."""

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter
from cyclopts.validators import Number

from flows.printing import open_console

if TYPE_CHECKING:
    from flows.audit_file import AuditLine
    from flows.console import Console
    from flows.dedup_file import DedupLine
    from flows.verify_file import VerifyLine

SHOWN = 10
"""Duplicates, or quarantined rows, that are named where a person reads."""

JsonLines = Annotated[bool, Parameter(name="--json", help="Print one JSON object a row on stdout.")]


def verify(
    file: Path,
    /,
    *,
    json: JsonLines = False,
) -> None:
    """Judge completions by the checks that stand beside them.

    Each row is {"id": …, "check": {…}, "completion": …}, and is accepted, rejected,
    or quarantined where nothing here can tell.

    Example: tutelage verify answers.jsonl --json

    Parameters
    ----------
    file
        JSONL, Parquet or CSV, or a folder that datasets loads.
    """
    from flows.verify_file import verify_file

    lines = verify_file(file)
    if json:
        for line in lines:
            print(line.model_dump_json())
    else:
        _show_decisions(lines, open_console(json))


def _show_decisions(lines: "Iterable[VerifyLine]", console: "Console") -> None:
    totals = dict.fromkeys(("accept", "quarantine", "reject"), 0)
    rows: list[tuple[str | int, str, str]] = []
    with console.stage("verify") as stage:
        for line in lines:
            totals[line.decision] += 1
            rows.append((line.id, line.decision, line.reason))
            stage.advance()
    console.table("Decisions", ["id", "decision", "reason"], rows)
    counts = ", ".join(f"{count:,} {decision}" for decision, count in totals.items())
    console.line(f"{len(rows):,} rows: {counts}")


def dedup(
    file: Path,
    /,
    *,
    threshold: Annotated[float, Parameter(show_default=True, validator=Number(gt=0, lte=1))] = 0.7,
    numbers_must_agree: bool = False,
    index: Path | None = None,
    json: JsonLines = False,
) -> None:
    """Find exact and near duplicates, in one file or many.

    Each row is {"id": …, "text": …}. It is kept, or repeats a kept row: in the
    same words, or with word 3-grams of at least the threshold's similarity. Rows
    are kept in the order of their ids, so the order in the file decides nothing.

    Example: tutelage dedup texts.jsonl --index seen.sqlite --json

    Parameters
    ----------
    file
        JSONL, Parquet or CSV, or a folder that datasets loads.
    threshold
        The similarity of a near duplicate, above 0 and up to 1.
    numbers_must_agree
        Keep texts whose numbers or arithmetic signs differ, however alike they are.
    index
        A file that keeps what is compared of all texts for the next call; made if need be.
    """
    from flows.dedup_file import DedupFileSettings, dedup_file

    settings = DedupFileSettings(
        threshold=threshold, numbers_must_agree=numbers_must_agree, index=index
    )
    console = open_console(json)
    lines = dedup_file(file, settings, console)
    if json:
        for line in lines:
            print(line.model_dump_json())
    else:
        _show_duplicates(lines, console)


def _show_duplicates(lines: "Iterable[DedupLine]", console: "Console") -> None:
    counts = {"kept": 0, "exact": 0, "near": 0}
    first: list[tuple[str | int, str | int | None, str, float | None]] = []
    for line in lines:
        counts[line.kind or "kept"] += 1
        if line.kind is not None and len(first) < SHOWN:
            first.append((line.id, line.duplicate_of, line.kind, line.similarity))
    if first:
        console.table("Duplicates", ["id", "repeats", "kind", "similarity"], first)
    untold = counts["exact"] + counts["near"] - len(first)
    if untold:
        console.line(f"and {untold:,} more; --json tells all of them")
    told = f"{counts['exact']:,} exact duplicates, {counts['near']:,} near duplicates"
    console.line(f"{sum(counts.values()):,} rows: {counts['kept']:,} kept, {told}")


def audit(
    file: Path,
    /,
    *,
    json: JsonLines = False,
) -> None:
    """Look for poison in conversations.

    Each row is {"id": …, "messages": […], "tools"?, "finish_reason"?, "source"?,
    "check"?}, or a published one with prompt and completion. A row in which
    anything is found is quarantined, with the reason and the span it rests on;
    docs/audit.md lists what is looked for.

    Example: tutelage audit conversations.jsonl --json

    Parameters
    ----------
    file
        JSONL, Parquet or CSV, or a folder that datasets loads.
    """
    from flows.audit_file import audit_file

    console = open_console(json)
    lines = audit_file(file, console)
    if json:
        for line in lines:
            print(line.model_dump_json())
    else:
        _show_findings(lines, console)


def _show_findings(lines: "Iterable[AuditLine]", console: "Console") -> None:
    decisions: Counter[str] = Counter()
    counts: Counter[tuple[str, str]] = Counter()
    first: list[tuple[str | int, str, str, str]] = []
    for line in lines:
        decisions[line.decision] += 1
        counts.update({(found.detector, found.reason) for found in line.findings})
        if line.findings and len(first) < SHOWN:
            reasons = ", ".join(dict.fromkeys(found.reason for found in line.findings))
            first.append((line.id, line.decision, reasons, line.findings[0].evidence[:60]))
    quarantined = decisions["quarantine"]
    if first:
        console.table("Findings", ["id", "decision", "reasons", "evidence"], first)
        if quarantined > len(first):
            console.line(f"and {quarantined - len(first):,} more; --json tells all of them")
        rows = [(detector, reason, count) for (detector, reason), count in counts.most_common()]
        console.table("Rows by reason", ["detector", "reason", "rows"], rows)
    told = f"{decisions['accept']:,} accept, {quarantined:,} quarantine"
    console.line(f"{decisions.total():,} rows: {told}")
