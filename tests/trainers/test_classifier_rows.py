"""Texts as a classifier reads them: context first, padding last, ties never taken for a label."""

from pathlib import Path
from typing import Any

import pytest
import torch

from generators.errors import InputError
from tests.trainers.label_data import FAN, make_row, write_rows
from trainers.classifier_rows import collate_classes, encode_row, encode_rows, render_text
from trainers.label_losses import NO_LABEL
from trainers.label_rows import LabelRows, read_label_rows

LABELS = ("joy", "sadness")


@pytest.fixture
def read(tmp_path: Path) -> LabelRows:
    rows = [
        make_row("The band plays on.", 8),
        make_row("She waves.", 5),
        make_row("He cries and cries and cries because of all that has happened.", 1, context=FAN),
    ]
    return read_label_rows([write_rows(tmp_path / "a.parquet", rows)])


def test_the_context_stands_before_the_text() -> None:
    assert render_text("She waves.", None) == "Text: She waves.\nLabel:"
    assert render_text("She waves.", FAN) == f"Reader: {FAN}\nText: She waves.\nLabel:"


def test_targets_follow_the_heads_order(read: LabelRows, tokenizer: Any) -> None:
    row = encode_row(read.rows[0], tokenizer, ("sadness", "joy"))
    assert row.probs == pytest.approx([0.2, 0.8])
    assert row.label == 1
    assert tokenizer.decode(row.input_ids) == render_text("The band plays on.", None)


def test_ties_are_kept_for_soft_labels_and_counted_where_a_label_is_wanted(
    read: LabelRows, tokenizer: Any
) -> None:
    soft = encode_rows(read, tokenizer, LABELS, max_length=64, wants_label=False)
    assert [row.label for row in soft.rows] == [0, NO_LABEL, 1]
    assert soft.skipped == {}
    hard = encode_rows(read, tokenizer, LABELS, max_length=64, wants_label=True)
    assert [source.text for source in hard.sources] == [read.rows[0].text, read.rows[2].text]
    assert hard.skipped == {"tie": 1}


def test_long_texts_are_left_out_and_counted(read: LabelRows, tokenizer: Any) -> None:
    short = encode_rows(read, tokenizer, LABELS, max_length=12, wants_label=False)
    assert (len(short.rows), short.skipped) == (2, {"longer_than_window": 1})
    with pytest.raises(InputError) as caught:
        encode_rows(read, tokenizer, LABELS, max_length=3, wants_label=False)
    assert str(caught.value) == (
        "no row is left (3 longer_than_window).\nRaise max_length, or learn from the soft labels."
    )


def test_other_labels_are_refused(read: LabelRows, tokenizer: Any) -> None:
    with pytest.raises(InputError) as caught:
        encode_rows(read, tokenizer, ("joy", "anger"), max_length=64, wants_label=False)
    assert str(caught.value) == (
        "the labels differ: joy, sadness and anger, joy.\n"
        "Teacher, student and every file must have the same labels."
    )


def test_a_batch_is_padded_on_the_right(read: LabelRows, tokenizer: Any) -> None:
    rows = encode_rows(read, tokenizer, LABELS, max_length=64, wants_label=False).rows
    batch = collate_classes(rows, pad_id=tokenizer.pad_token_id)
    lengths = [len(row.input_ids) for row in rows]
    assert batch["attention_mask"].sum(dim=1).tolist() == lengths
    assert batch["input_ids"].shape == (3, max(lengths))
    torch.testing.assert_close(
        batch["labels"], torch.tensor([[0.8, 0.2], [0.5, 0.5], [0.1, 0.9]]), atol=1e-6, rtol=0
    )
    assert batch["class_ids"].tolist() == [0, NO_LABEL, 1]
    assert "teacher_logits" not in batch
    taught = [row._replace(teacher_logits=[1.0, float(i)]) for i, row in enumerate(rows)]
    assert collate_classes(taught, pad_id=0)["teacher_logits"].tolist() == [[1, 0], [1, 1], [1, 2]]
