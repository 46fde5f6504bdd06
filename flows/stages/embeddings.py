"""Stage `embeddings`: what the student, as it is before its training, makes of every wanted answer:
a vector a row, by which `flows.stages.selection` keeps answers that lie apart.
"""

import functools
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from filters.selection import SelectSettings
from flows.stages.losses import encode_answers, plan_reading
from flows.store import FileEntry
from flows.work import Context, Job, Tick

EMBEDDINGS = "embeddings"
VERSION = "1"


class EmbeddingsStage:
    """One vector for each wanted answer that fits the student's window."""

    name = EMBEDDINGS

    def __init__(self, settings: SelectSettings) -> None:
        self.settings = settings

    def plan(self, context: Context) -> list[Job]:
        return plan_reading(context, self.name, self.settings, VERSION)

    def work(self, context: Context, job: Job, tick: Tick) -> list[FileEntry]:
        from trainers.embeddings import embed_rows

        student = encode_answers(context, self.settings, job)
        tick(job.rows - len(student.rows))
        vectors_ND = embed_rows(student.model, student.rows, tick)
        write = functools.partial(write_vectors, ids=student.ids, vectors_ND=vectors_ND)
        return [context.write(job, job.outputs[0], write)]


def write_vectors(path: Path, ids: Sequence[str], vectors_ND: NDArray[np.float32]) -> None:
    """Write one vector an id."""
    width = vectors_ND.shape[1]
    vectors = pa.FixedSizeListArray.from_arrays(pa.array(vectors_ND.reshape(-1)), width)
    pq.write_table(pa.table({"answer_id": pa.array(ids, pa.string()), "vector": vectors}), path)


def read_vectors(context: Context) -> Mapping[str, NDArray[np.float32]]:
    """What the student made of each answer that it read, by the answer's id."""
    vectors: dict[str, NDArray[np.float32]] = {}
    for path in context.run.files(EMBEDDINGS):
        table = pq.read_table(path)
        column = table["vector"].combine_chunks()
        flat = column.flatten().to_numpy(zero_copy_only=False)
        rows = flat.reshape(len(table), -1) if len(table) else flat
        vectors |= dict(zip(table["answer_id"].to_pylist(), rows, strict=True))
    return vectors
