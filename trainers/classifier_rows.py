"""Texts and their labels as what a classifier reads, and what it must say of them.

A row's context, which says who reads, is written before the text, in the same form for training and
for use:

    Reader: a devoted fan
    Text: The drummer throws his sticks into the crowd.
    Label:

A text without a context has no first line. The last line is the same for all, so a causal model's
head always reads the state of the same token, which is never the padding's.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from generators.errors import InputError
from trainers.label_losses import NO_LABEL
from trainers.label_rows import TIE, LabelRow, LabelRows, check_labels


class ClassRow(NamedTuple):
    """One text as tokens, with its targets over the labels."""

    input_ids: list[int]
    probs: list[float]
    label: int
    """The hard label's number, or `NO_LABEL`."""
    weight: float = 1.0
    teacher_logits: list[float] | None = None


class ClassRows(NamedTuple):
    rows: list[ClassRow]
    sources: list[LabelRow]
    """What each of them was made of."""
    skipped: dict[str, int]


def encode_rows(
    data: LabelRows,
    tokenizer: Any,
    labels: Sequence[str],
    *,
    max_length: int,
    wants_label: bool,
) -> ClassRows:
    """Encode rows over the labels of a head, in its order.

    Rows are left out and counted as `longer_than_window`, and as `tie` where a hard label is wanted
    and the row has none. Raises InputError where labels differ or no row is left.
    """
    check_labels(data.labels, labels)
    rows: list[ClassRow] = []
    sources: list[LabelRow] = []
    skipped: Counter[str] = Counter()
    for row in data.rows:
        encoded = encode_row(row, tokenizer, labels)
        if len(encoded.input_ids) > max_length:
            skipped["longer_than_window"] += 1
        elif wants_label and encoded.label == NO_LABEL:
            skipped[TIE] += 1
        else:
            rows.append(encoded)
            sources.append(row)
    if not rows:
        reasons = ", ".join(f"{n} {reason}" for reason, n in skipped.items())
        raise InputError(
            f"no row is left ({reasons}).\nRaise max_length, or learn from the soft labels."
        )
    return ClassRows(rows, sources, dict(sorted(skipped.items())))


def encode_row(row: LabelRow, tokenizer: Any, labels: Sequence[str]) -> ClassRow:
    """One row over these labels, with the special tokens that the tokenizer adds by itself."""
    return ClassRow(
        input_ids=tokenizer(render_text(row.text, row.context))["input_ids"],
        probs=[row.label_probs[label] for label in labels],
        label=NO_LABEL if row.label is None else labels.index(row.label),
        weight=row.weight,
    )


def render_text(text: str, context: str | None) -> str:
    """What the model reads of a text and its context."""
    reader = f"Reader: {context}\n" if context is not None else ""
    return f"{reader}Text: {text}\nLabel:"


def collate_classes(rows: Sequence[ClassRow], *, pad_id: int) -> dict[str, Tensor]:
    """A batch padded on the right: input_ids, attention_mask [B, T]; labels (soft) [B, C];
    class_ids, weights [B]; teacher_logits [B, C] where the rows have them."""
    length = max(len(row.input_ids) for row in rows)
    input_ids_BT = torch.full((len(rows), length), pad_id)
    attention_mask_BT = torch.zeros((len(rows), length), dtype=torch.long)
    for b, row in enumerate(rows):
        input_ids_BT[b, : len(row.input_ids)] = torch.tensor(row.input_ids)
        attention_mask_BT[b, : len(row.input_ids)] = 1
    batch = {
        "input_ids": input_ids_BT,
        "attention_mask": attention_mask_BT,
        "labels": torch.tensor([row.probs for row in rows], dtype=torch.float32),
        "class_ids": torch.tensor([row.label for row in rows]),
        "weights": torch.tensor([row.weight for row in rows], dtype=torch.float32),
    }
    logits = [row.teacher_logits for row in rows if row.teacher_logits is not None]
    return batch | ({"teacher_logits": torch.tensor(logits)} if len(logits) == len(rows) else {})
