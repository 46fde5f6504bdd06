"""The sources of an audited file beside each other (poison level L3): what one of them says that
the others hardly ever say.
"""

from collections.abc import Iterator
from pathlib import Path

from filters.audit.rows import read_row
from filters.source_rows import Document
from filters.source_statistics import compare_sources
from flows.console import Console, Stage
from flows.row_files import read_rows
from generators.records import Record, canonical_json

DETECTOR = "source_statistics"
OVERREPRESENTED, OUT_OF_PLACE = "overrepresented", "out_of_place"
MOST_SOURCES = 50
"""More values than this are no sources but names of rows."""


class AuditFinding(Record):
    """What one detector found in a row."""

    detector: str
    reason: str
    evidence: str


class _Answers:
    """What each source answered, read anew from the file as often as it is asked for; every reading
    is told to the console."""

    def __init__(self, path: Path, count: int, console: Console) -> None:
        self._path, self._count, self._console = path, count, console
        self._readings = 0

    def __iter__(self) -> Iterator[Document]:
        self._readings += 1
        with self._console.stage(f"compare sources {self._readings}", self._count) as stage:
            yield from self._read(stage)

    def _read(self, stage: Stage) -> Iterator[Document]:
        for number, row in enumerate(read_rows(self._path)):
            read = read_row(row.value)
            stage.advance()
            if read.source is not None:
                answers = [turn.content for turn in read.turns if turn.role == "assistant"]
                asked = [(t.role, t.content) for t in read.turns if t.role != "assistant"]
                text, prompt = "\n".join(answers), canonical_json(asked)
                yield Document(str(number), read.source, text, prompt)


def find_overrepresented(
    path: Path, count: int, sources: set[str], console: Console
) -> dict[int, list[AuditFinding]]:
    """What looks planted by one source, by the row's place in the file from 0; the file has `count`
    rows.

    The console is told of each source that writes differently as a whole, and of a file whose
    sources are too many to be compared.
    """
    if len(sources) < 2:
        return {}
    if len(sources) > MOST_SOURCES:
        console.warn(
            f"{path}: rows name more than {MOST_SOURCES} sources, so they were not compared; "
            "give rows of one teacher the same source"
        )
        return {}
    found: dict[int, list[AuditFinding]] = {}
    comparison = compare_sources(_Answers(path, count, console))
    for summary in comparison.sources:
        if summary.differs:
            console.warn(
                f"source {summary.source}: {summary.marked:,} of {summary.documents:,} answers say "
                "what hardly any other source says; look at them yourself, none is quarantined"
            )
    for finding in comparison.findings:
        reason = OUT_OF_PLACE if finding.out_of_place else OVERREPRESENTED
        told = f"{finding.ngram!r}: {finding.here:,} of {finding.of_here:,} here, "
        told += f"{finding.elsewhere:,} of {finding.of_elsewhere:,} elsewhere"
        for document in finding.documents if finding.suspect else ():
            place = found.setdefault(int(document), [])
            place.append(AuditFinding(detector=DETECTOR, reason=reason, evidence=told))
    return found
