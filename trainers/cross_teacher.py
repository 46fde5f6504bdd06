"""A teacher with a vocabulary of its own, for the objectives `uld` and `aligned`.

It reads the student's rows as its own tokenizer and chat template write them. These encodings are
made beforehand (`trainers.cross_tokenizer`), and a row's is found by the student's tokens.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from generators.embedded import LoadedModel, Precision, load_model, load_tokenizer
from generators.errors import ConfigError, InputError
from trainers.cross_tokenizer import (
    AlignedRow,
    align_rows,
    index_chunks,
    pair_targets,
    sum_chunks,
)
from trainers.logits import find_predicting_positions
from trainers.policy import read_log_probs
from trainers.row_keys import ReadRow, hash_row, read_row, strip_padding
from trainers.rows import TokenRows, collate, read_parquet
from trainers.targets import ChunkTargets, HeadStates, PairTargets, Targets
from trainers.teachers import LocalTeacher, check_width, count_ids, share_vocabulary

Form = Literal["chunks", "pairs"]
"""`chunks` of the same bytes, for `aligned`; `pairs` of equal places, for `uld`."""


class AlignedData(NamedTuple):
    """Rows for the student, and for each the teacher's reading of it."""

    data: TokenRows
    aligned: list[AlignedRow]


class CrossTeacher:
    """What a teacher of another vocabulary thinks of the student's rows."""

    def __init__(self, teacher: LocalTeacher, aligned: Iterable[AlignedRow], form: Form) -> None:
        """`teacher` knows the ids of its own tokenizer."""
        self.teacher, self.form = teacher, form
        self._aligned = {_make_key(read_row(row.student)): row for row in aligned}

    @torch.no_grad()
    def read(
        self, input_ids_BT: Tensor, attention_mask_BT: Tensor, positions_BT: Tensor
    ) -> ChunkTargets | PairTargets:
        """What it says of the rows' answers, whose targets are the N positions that are True, in
        row-major order. Raises InputError for a row that was not aligned."""
        asked = strip_padding(input_ids_BT, attention_mask_BT, positions_BT)
        rows = [self._find(row) for row in asked if row.positions]
        batch = collate([row.teacher for row in rows], pad_id=0)
        batch = {name: tensor.to(input_ids_BT.device) for name, tensor in batch.items()}
        positions_BS = find_predicting_positions(batch["labels"])
        said = self.teacher.read(batch["input_ids"], batch["attention_mask"], positions_BS)
        if self.form == "pairs":
            return _pair(rows, said)
        labels_M = batch["labels"][:, 1:][positions_BS[:, :-1]]
        return _chunk(rows, read_log_probs(said, labels_M, self.teacher.vocabulary_size))

    def _find(self, row: ReadRow) -> AlignedRow:
        found = self._aligned.get(_make_key(row))
        if found is None:
            raise InputError(
                f"a row of {len(row.ids)} tokens is not aligned with its teacher's reading.\n"
                "Train on the rows that were aligned (load_aligned_rows)."
            )
        return found


def load_aligned_rows(
    dataset: Path, tokenizer: Any, teacher: str, *, max_length: int
) -> AlignedData:
    """Read a dataset for a student and a teacher of another vocabulary.

    Rows that cannot be aligned are left out and counted by reason. Raises ConfigError where both
    have one vocabulary, and what `align_rows` and `read_parquet` raise.
    """
    teacher_tokenizer = load_tokenizer(teacher)
    if share_vocabulary(teacher_tokenizer, tokenizer):
        raise ConfigError(
            "teacher and student share a vocabulary, in which distributions can be compared token"
            " by token.\nChoose objective forward, reverse, jsd or a skew divergence: they are"
            " exact there."
        )
    rows = read_parquet(dataset, ["prompt", "completion"])
    try:
        found = align_rows(rows, tokenizer, teacher_tokenizer, max_length=max_length)
    except InputError as error:
        raise InputError(f"{dataset}: {error}") from error
    student = TokenRows([row.student for row in found.rows], found.skipped, found.checks)
    return AlignedData(student, found.rows)


def load_cross_teacher(
    name: str, student: LoadedModel, aligned: Iterable[AlignedRow], form: Form, precision: Precision
) -> CrossTeacher:
    """Load a teacher for these rows. Raises ConfigError where model and tokenizer do not fit."""
    model, tokenizer = load_model(name, precision)
    size = count_ids(tokenizer)
    check_width(model, size, "teacher")
    check_width(student.model, count_ids(student.tokenizer), "student")
    return CrossTeacher(LocalTeacher(model.to(student.model.device), size), aligned, form)


def _chunk(rows: Sequence[AlignedRow], log_probs_M: Tensor) -> ChunkTargets:
    index = index_chunks([row.alignment for row in rows])
    device, count = log_probs_M.device, len(index.row_C)
    sizes_C = index.student_N.bincount(minlength=count)
    return ChunkTargets(
        chunk_N=index.student_N.to(device),
        last_C=(sizes_C.cumsum(dim=0) - 1).to(device),
        log_probs_C=sum_chunks(log_probs_M, index.teacher_M, count),
    )


def _pair(rows: Sequence[AlignedRow], said: Targets) -> PairTargets:
    pairs = pair_targets([row.alignment for row in rows])
    if isinstance(said, HeadStates):
        chosen = said._replace(hidden_ND=said.hidden_ND[pairs.teacher_P.to(said.hidden_ND.device)])
        return PairTargets(pairs.student_P.to(said.hidden_ND.device), chosen)
    assert isinstance(said, Tensor)  # a teacher in this process knows all tokens
    return PairTargets(pairs.student_P.to(said.device), said[pairs.teacher_P.to(said.device)])


def _make_key(row: ReadRow) -> bytes:
    return hash_row(row, "aligned")
