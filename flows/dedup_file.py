"""Find the duplicates in anybody's file: what `tutelage dedup FILE` does.

Rows are `{"id", "text"}`; other columns are let be. The file is read twice and never held: what is
compared of its texts lies in a temporary folder, and memory holds the ids and about a kilobyte a
row. With an index, the file is also compared with what earlier calls put there, and added to it.
"""

import json
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from filters.band_index import BandIndex
from filters.dedup import Kind, check_threshold, find_repeats
from filters.sketch_file import SketchFile
from filters.sketches import sketch_texts
from flows.console import Console, Stage
from flows.row_faults import MAX_TOLD, check_rows
from flows.row_files import Row, read_rows
from generators.errors import InputError
from generators.lines import Fault, FieldFault, raise_faults
from generators.records import Record


class DedupFileSettings(Record):
    """What counts as a duplicate, and what a file is compared with."""

    threshold: float = 0.7
    """Jaccard similarity of word 3-grams from which on a text is a near duplicate."""
    numbers_must_agree: bool = False
    """Texts whose numbers differ are never near duplicates."""
    index: Path | None = None
    """The texts of earlier calls; without one the file is compared with itself alone."""


class DedupLine(Record):
    """What is said about one row."""

    id: str | int
    duplicate_of: str | int | None = None
    """The id of the row that is kept in its place; none for one that is kept itself."""
    kind: Kind | None = None
    similarity: float | None = None
    """Jaccard similarity to that row; 1 for an exact duplicate."""


def dedup_file(path: Path, settings: DedupFileSettings, console: Console) -> Iterator[DedupLine]:
    """Say of every row, in the file's order, what it repeats. All is decided, and in the index,
    before the first line comes.

    Rows are kept in the order of their ids, as texts. Raises InputError where the file cannot be
    read or has rows that are none (an id that occurs twice, or stands in the index with another
    text, is such a fault), ConfigError for an index of other settings, RunError for one that
    cannot serve.
    """
    check_threshold(settings.threshold)
    with console.stage("read") as stage:
        count = check_rows(path, _RowCheck(stage), holds="id and text")
    with tempfile.TemporaryDirectory(prefix="tutelage-dedup-") as folder:
        file = SketchFile(Path(folder))
        with console.stage("sketch", count) as stage:
            ids = _sketch_rows(path, file, settings, stage)
        if len(ids) != count:
            raise InputError(
                f"{path}: had {count:,} rows when they were checked and {len(ids):,} afterwards; "
                "give a file that can be read twice and stays as it is"
            )
        with console.stage("compare", count) as stage:
            order = sorted(
                range(len(ids)), key=lambda place: (str(ids[place]), isinstance(ids[place], str))
            )
            if settings.index is None:
                found = _compare(ids, file, order, settings.threshold)
            else:
                found = _compare_with_index(path, ids, file, order, settings, settings.index)
            stage.advance(len(ids))
    return (found.get(place) or DedupLine(id=id) for place, id in enumerate(ids))


class _RowCheck:
    """Finds what is wrong with rows; knows the ids of those before."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._seen: dict[str, dict[str | int, int]] = {}

    def __call__(self, row: Row) -> Iterator[FieldFault]:
        self._stage.advance()
        text = row.value.get("text")
        if not isinstance(text, str):
            yield "text", "is missing" if text is None else "must be a text"
        id = row.value.get("id")
        if isinstance(id, str | int) and not isinstance(id, bool):  # `true` equals 1
            yield from self._find_id_fault(id, row)

    def _find_id_fault(self, id: str | int, row: Row) -> Iterator[FieldFault]:
        try:
            str(id).encode()
        except UnicodeEncodeError:
            yield "id", "escapes half of a surrogate pair, which is no character"
            return
        for place, numbers in self._seen.items():
            if id in numbers:
                told = f"{_write_id(id)} stands already in {place}:{numbers[id]}"
                yield "id", f"{told}; give each row its own"
        self._seen.setdefault(row.place, {}).setdefault(id, row.number)


def _sketch_rows(
    path: Path, file: SketchFile, settings: DedupFileSettings, stage: Stage
) -> list[str | int]:
    """Put what is compared of each row into the file; the ids, in order."""
    ids: list[str | int] = []

    def read_texts() -> Iterator[str]:
        for row in read_rows(path):
            ids.append(row.value["id"])
            yield row.value["text"]

    for sketches in sketch_texts(read_texts(), numbers_must_agree=settings.numbers_must_agree):
        file.append(sketches)
        stage.advance(len(sketches.sizes))
    return ids


def _compare(
    ids: Sequence[str | int], file: SketchFile, order: Sequence[int], threshold: float
) -> dict[int, DedupLine]:
    """What is said about the rows of a file that repeat another one there, by place."""
    repeats = find_repeats(file.read().take(np.array(order, np.int64)), threshold)
    return {
        order[row]: DedupLine(
            id=ids[order[row]],
            duplicate_of=ids[order[repeat.of]],
            kind=repeat.kind,
            similarity=repeat.similarity,
        )
        for row, repeat in repeats.items()
    }


def _compare_with_index(
    path: Path,
    ids: Sequence[str | int],
    file: SketchFile,
    order: Sequence[int],
    settings: DedupFileSettings,
    index: Path,
) -> dict[int, DedupLine]:
    """What is said about the rows that repeat another one there or in an index, by place; the
    file is added to it."""
    names = [_write_id(id) for id in ids]
    with BandIndex(
        index, threshold=settings.threshold, numbers_must_agree=settings.numbers_must_agree
    ) as opened:
        if clashes := opened.find_clashes(names, file.read().digests):
            _refuse_clashes(path, set(clashes[:MAX_TOLD]), index)
        found = opened.add(names, file, order)
    return {
        place: DedupLine(
            id=ids[place],
            duplicate_of=json.loads(duplicate.of),
            kind=duplicate.kind,
            similarity=duplicate.similarity,
        )
        for place, duplicate in found.items()
    }


def _refuse_clashes(path: Path, clashes: set[int], index: Path) -> None:
    raise_faults(
        Fault(
            row.place,
            row.number,
            "id",
            f"{_write_id(row.value['id'])} stands in {index} with another text; "
            "give each text an id of its own in all files, or name another index",
        )
        for place, row in enumerate(read_rows(path))
        if place in clashes
    )


def _write_id(id: str | int) -> str:
    """An id as JSON text, which tells 1 from "1"."""
    return json.dumps(id, ensure_ascii=False)
