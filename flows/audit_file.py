"""Audit the conversations of anybody's file for poison: what `tutelage audit FILE` does.

Rows are `{"id", "messages", "tools"?, "finish_reason"?, "source"?, "check"?}`, or hold `prompt` and
`completion` instead of messages, as published datasets do; other columns are let be. The file is
read twice, or seven times where its rows name several sources, and only a batch of it is in memory
at a time.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

from filters.audit.detectors import audit_row
from filters.audit.rows import find_row_faults, read_row
from flows.audit_sources import MOST_SOURCES, AuditFinding, find_overrepresented
from flows.console import Console, Stage
from flows.row_faults import check_rows
from flows.row_files import Row, read_rows
from generators.lines import FieldFault
from generators.records import Decision, Record


class AuditLine(Record):
    """What is said about one row."""

    id: str | int
    decision: Decision
    findings: tuple[AuditFinding, ...]


def audit_file(path: Path, console: Console) -> Iterator[AuditLine]:
    """Judge every row, in the file's order; a row with findings is quarantined.

    Raises InputError, before anything is judged, where the file cannot be read or has rows that
    are none: they are listed, as `file:line: field: message`.
    """
    with console.stage("read") as stage:
        checker = _RowCheck(stage)
        count = check_rows(path, checker, holds="id and messages")
    planted = find_overrepresented(path, count, checker.sources, console)
    return _audit_rows(path, count, planted, console)


class _RowCheck:
    """Finds what is wrong with rows, counts them where a person looks on, and notes their sources,
    as far as they may be compared."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self.sources: set[str] = set()

    def __call__(self, row: Row) -> list[FieldFault]:
        self._stage.advance()
        faults = find_row_faults(row.value)
        if not faults and len(self.sources) <= MOST_SOURCES:
            source = read_row(row.value).source
            self.sources |= set() if source is None else {source}
        return faults


def _audit_rows(
    path: Path, count: int, planted: Mapping[int, list[AuditFinding]], console: Console
) -> Iterator[AuditLine]:
    with console.stage("audit", count) as stage:
        for number, row in enumerate(read_rows(path)):
            own = audit_row(read_row(row.value))
            found = [
                AuditFinding(detector=f.detector, reason=f.reason, evidence=f.evidence) for f in own
            ]
            found += planted.get(number, [])
            yield AuditLine(
                id=row.value["id"],
                decision="quarantine" if found else "accept",
                findings=tuple(found),
            )
            stage.advance()
