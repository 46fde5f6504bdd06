"""Soft-label data as it is read: every row is used or counted, and ties are told."""

from pathlib import Path

import pytest

from generators.errors import InputError
from tests.trainers.label_data import FAN, list_rows, make_row, write_rows
from trainers.label_rows import find_hard_label, read_label_rows


def test_an_annotations_rows_are_read_whole(tmp_path: Path) -> None:
    rows = [make_row("A.", 8), make_row("B.", 3, context=FAN, weight=2.5)]
    read = read_label_rows([write_rows(tmp_path / "a.parquet", rows)])
    assert read.labels == ("joy", "sadness")
    assert read.skipped == {}
    first, second = read.rows
    assert first.label_probs == pytest.approx({"joy": 0.8, "sadness": 0.2})
    assert (first.label, first.context, first.pooled, first.weight) == ("joy", None, True, 1.0)
    assert (second.label, second.context, second.weight) == ("sadness", FAN, 2.5)
    assert (second.teacher, second.licence, second.text_licence) == ("panel", "cc0-1.0", "CC0-1.0")


def test_a_tie_has_a_soft_label_and_no_hard_one(tmp_path: Path) -> None:
    """As it comes out of the quarantine of an annotation, with its reason."""
    file = write_rows(tmp_path / "a.parquet", [make_row("A.", 5, reason="tie"), make_row("B.", 9)])
    tied, clear = read_label_rows([file]).rows
    assert tied.label is None
    assert tied.label_probs == {"joy": 0.5, "sadness": 0.5}
    assert clear.label == "joy"
    assert find_hard_label({"a": 0.4, "b": 0.4 + 1e-12, "c": 0.2}) is None
    assert find_hard_label({"a": 0.4, "b": 0.35, "c": 0.25}) == "a"


def test_what_cannot_be_learned_from_is_counted_by_reason(tmp_path: Path) -> None:
    rows = [
        make_row("Kept.", 9),
        make_row("  ", 9),
        make_row("Few.", 9, reason="few_votes"),
        make_row("Half.", 9, label_probs={"joy": 0.5, "sadness": 0.2}),
        make_row("Below.", 9, label_probs={"joy": 1.2, "sadness": -0.2}),
        make_row("Nothing.", 9, label_probs=None, counts={"joy": 0, "sadness": 0}),
        make_row("Other.", 9, label="anger"),
    ]
    read = read_label_rows([write_rows(tmp_path / "a.parquet", rows)])
    assert [row.text for row in read.rows] == ["Kept."]
    assert read.skipped == {
        "bad_distribution": 2,
        "empty_text": 1,
        "few_votes": 1,
        "no_labels": 1,
        "unknown_label": 1,
    }


def test_votes_alone_and_labels_alone_are_enough(tmp_path: Path) -> None:
    votes = [{"text": "A.", "counts": {"yes": 3, "no": 1}}]
    (row,) = read_label_rows([write_rows(tmp_path / "votes.parquet", votes)]).rows
    assert (row.label_probs, row.label) == ({"yes": 0.75, "no": 0.25}, "yes")
    assert (row.teacher, row.licence) == ("not stated", "not stated")
    labels = [{"text": "A.", "label": 3}, {"text": "B.", "label": 1}, {"text": "C.", "label": None}]
    read = read_label_rows([write_rows(tmp_path / "labels.parquet", labels)])
    assert read.labels == ("3", "1")
    assert [row.label_probs for row in read.rows] == [{"3": 1.0, "1": 0.0}, {"3": 0.0, "1": 1.0}]
    assert read.skipped == {"no_labels": 1}


def test_a_folder_is_all_its_parquet_files(tmp_path: Path) -> None:
    write_rows(tmp_path / "dataset" / "soft-labels.parquet", list_rows())
    write_rows(tmp_path / "dataset" / "quarantine.parquet", [make_row("A.", 5, reason="tie")])
    read = read_label_rows([tmp_path / "dataset"])
    assert len(read.rows) == 25
    assert sum(row.label is None for row in read.rows) == 1


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (
            [{"words": "A."}],
            "has the columns words.\n"
            "A classifier learns from `text` and one of `label_probs`, `counts`, `label`.",
        ),
        (
            [make_row(" ", 9)],
            "no row to learn from (1 empty_text).\nGive texts with two labels or more.",
        ),
        (
            [{"text": "A.", "label": "joy"}],
            "one label alone (joy).\nGive texts with two labels or more.",
        ),
    ],
    ids=["columns", "nothing left", "one label"],
)
def test_files_that_cannot_be_used_are_told(
    rows: list[dict[str, str]], message: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError) as caught:
        read_label_rows([write_rows(tmp_path / "a.parquet", rows)])
    assert str(caught.value) == f"{tmp_path}/a.parquet: {message}"


def test_files_of_other_labels_and_damaged_ones_are_told(tmp_path: Path) -> None:
    one = write_rows(tmp_path / "one.parquet", [make_row("A.", 9)])
    other = [{"text": "B.", "counts": {"yes": 3, "no": 1}}]
    two = write_rows(tmp_path / "two.parquet", other)
    with pytest.raises(InputError) as caught:
        read_label_rows([one, two])
    assert str(caught.value) == (
        f"{two}: its labels are yes, no, and those before joy, sadness.\n"
        "Every file must have the same labels."
    )
    two.write_bytes(b"PAR1 no more")
    with pytest.raises(InputError) as caught:
        read_label_rows([two])
    assert str(caught.value) == (
        f"{two}: cannot be read as Parquet: Could not open Parquet input source '{two}': Parquet "
        "magic bytes not found in footer. Either the file is corrupted or this is not a parquet "
        "file."
    )
    with pytest.raises(InputError) as caught:
        read_label_rows([tmp_path / "none.parquet"])
    assert str(caught.value) == (
        f"{tmp_path}/none.parquet: no Parquet file there.\n"
        "Give a published dataset (dataset/train.parquet)."
    )
