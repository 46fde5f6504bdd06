"""Stage `labels`: soft labels are read, and some of the texts are held out.

`dataset/train.parquet` and `dataset/held-out.parquet` are what training and evaluation read.
"""

import hashlib
from functools import partial
from pathlib import Path
from typing import Any

from flows.classify_rows import RowFacts, gather_rows
from flows.store import FileEntry
from flows.work import ClassifierContext, Job, Tick

TRAIN, HELD_OUT, FACTS = "dataset/train.parquet", "dataset/held-out.parquet", "dataset/rows.json"
VERSION = "1"
"""Changed whenever the same files come to other rows."""


class LabelsStage:
    """Read the rows, choose among them, and split them by text."""

    name = "labels"

    def plan(self, context: ClassifierContext) -> list[Job]:
        data = context.config.data
        contents = [(file, hash_label_files(Path(file))) for file in (*data.train, *data.held_out)]
        settings = [data.model_dump(mode="json"), context.config.seed, contents, VERSION]
        key = context.key(self.name, settings, [])
        outputs = (TRAIN, HELD_OUT, FACTS)
        return [Job(stage=self.name, outputs=outputs, rows=len(contents), key=key)]

    def work(self, context: ClassifierContext, job: Job, tick: Tick) -> list[FileEntry]:
        train, held_out, facts = gather_rows(context.config.data, context.config.seed)
        tick(job.rows)
        return [
            *(
                context.write(job, path, partial(_write_rows, rows=rows))
                for path, rows in ((TRAIN, train), (HELD_OUT, held_out))
            ),
            context.write_text(job, FACTS, facts.model_dump_json(indent=1) + "\n"),
        ]


def hash_label_files(path: Path) -> str:
    """SHA-256 of a Parquet file, or of all those of a folder; of nothing where there are none, so
    that the stage tells what is missing."""
    files = sorted(path.glob("*.parquet")) if path.is_dir() else [path]
    whole = b"".join(file.read_bytes() for file in files if file.is_file())
    return hashlib.sha256(whole).hexdigest()


def read_row_facts(context: ClassifierContext) -> RowFacts:
    """What the stage told of the rows."""
    return RowFacts.model_validate_json(context.run.place(FACTS).read_bytes())


def _write_rows(path: Path, rows: list[Any]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.Table.from_pylist([row.model_dump(mode="json") for row in rows]), path)
