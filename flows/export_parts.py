"""Reads a published file of rows in batches: held to its provenance, chosen by how it was verified,
and parted into splits.

No family is in two splits, and which side it is on hangs on its seed's id alone: so it stays there
when the next version of the dataset has more rows.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from flows.console import Console
from flows.export_forms import NEEDED
from flows.export_settings import ExportSettings
from generators.errors import InputError

if TYPE_CHECKING:
    import pyarrow as pa

BATCH = 1_000
"""Rows in memory at once."""

Parts = Iterator[tuple[str, "pa.RecordBatch"]]
"""Rows, a batch at a time, with the split they belong to."""


class Aside:
    """Names the rows that are left out, and counts why."""

    def __init__(self, lines: TextIO) -> None:
        self.counts: Counter[str] = Counter()
        self._lines = lines

    def note(self, id: str, reason: str) -> None:
        self.counts[reason] += 1
        self._lines.write(json.dumps({"id": id, "reason": reason}, ensure_ascii=False) + "\n")


def read_parts(file: Path, settings: ExportSettings, aside: Aside, console: Console) -> Parts:
    """The rows that the settings accept. Raises InputError where the file cannot be read, or a row
    does not know where it is from."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(file, pre_buffer=False) as table:
            missing = [name for name in NEEDED if name not in table.schema_arrow.names]
            if missing:
                raise _no_provenance(f"{file}: has no column {' and no column '.join(missing)}")
            with console.stage("export", table.metadata.num_rows) as stage:
                for batch in table.iter_batches(BATCH):
                    _check_provenance(batch, file)
                    yield from _divide(_accept(batch, settings, aside), settings)
                    stage.advance(batch.num_rows)
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"{file}: cannot be read as Parquet: {error}") from error


def is_test(root_id: str, settings: ExportSettings) -> bool:
    """Whether the family of a seed is of the test split."""
    if settings.split is None:
        return False
    drawn = hashlib.sha256(f"{settings.seed}/{root_id}".encode()).digest()[:8]
    return int.from_bytes(drawn) < settings.split * 2**64


def _check_provenance(batch: "pa.RecordBatch", file: Path) -> None:
    columns = {name: batch.column(name).to_pylist() for name in NEEDED}
    for i, id in enumerate(columns["id"]):
        lacking = [name for name, values in columns.items() if not values[i]]
        if lacking:
            row = f"row {id}" if id else "a row"
            raise _no_provenance(f"{file}: {row} has no {' and no '.join(lacking)}")


def _no_provenance(fault: str) -> InputError:
    return InputError(
        f"{fault}.\nNo row is exported that does not say who made it and by what right it is there."
        " Publish the dataset anew: tutelage run CONFIG --update"
    )


def _accept(batch: "pa.RecordBatch", settings: ExportSettings, aside: Aside) -> "pa.RecordBatch":
    if settings.accept is None:
        return batch
    import pyarrow as pa

    ways = batch.column("verified_by").to_pylist()
    wanted = [way in settings.accept for way in ways]
    for id, way, is_wanted in zip(batch.column("id").to_pylist(), ways, wanted, strict=True):
        if not is_wanted:
            aside.note(id, f"verified_by_{way}")
    return batch.filter(pa.array(wanted, pa.bool_()))


def _divide(batch: "pa.RecordBatch", settings: ExportSettings) -> Parts:
    import pyarrow as pa

    drawn = [is_test(root, settings) for root in batch.column("root_id").to_pylist()]
    for split, mask in (("train", [not test for test in drawn]), ("test", drawn)):
        if any(mask):
            yield split, batch.filter(pa.array(mask, pa.bool_()))
