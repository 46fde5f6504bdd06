"""Which rows teach a classifier, and which are held out: no text is on both sides."""

from pathlib import Path
from typing import Any

import pytest

from flows.classify_rows import check_apart, gather_rows, hold_out
from flows.classify_settings import LabelData
from generators.errors import HeldOutError, InputError
from tests.trainers.label_data import FAN, list_rows, make_row, write_rows
from trainers.label_rows import read_label_rows

STRANGER = "a stranger"


def write_contexts(file: Path, texts: int = 12) -> Path:
    """Each text as two personas read it, and over both; some ties among them."""
    rows: list[dict[str, Any]] = []
    for i in range(texts):
        text = f"Scene {i}."
        rows += [make_row(text, c, context=who) for who, c in ((FAN, 9), (STRANGER, 1 + i % 9))]
        rows.append(make_row(text, 5, reason="tie"))
    return write_rows(file, rows)


def test_all_rows_of_a_text_go_the_same_way(tmp_path: Path) -> None:
    data = LabelData(train=(str(write_contexts(tmp_path / "a.parquet")),), held_out_share=0.25)
    train, held_out, facts = gather_rows(data, seed=1)
    assert {row.root_id for row in train} & {row.root_id for row in held_out} == set()
    assert (facts.train, facts.held_out) == (len(train), len(held_out)) == (18, 6)
    assert (facts.train_texts, facts.held_out_texts) == (9, 3)
    assert facts.contexts == (FAN, STRANGER)
    assert facts.annotators == {"panel": 24}
    assert facts.licences == {"cc0-1.0": 24}
    assert facts.text_licences == {"CC0-1.0": 24}
    assert facts.ties == sum(row.label is None for row in [*train, *held_out]) == 1
    again = gather_rows(data, seed=1)
    assert (again.train, again.held_out) == (train, held_out)
    assert gather_rows(data, seed=2).held_out != held_out


def test_pooled_rows_are_taken_instead(tmp_path: Path) -> None:
    file = str(write_contexts(tmp_path / "a.parquet"))
    train, held_out, facts = gather_rows(LabelData(train=(file,), rows="pooled"), seed=1)
    assert {row.context for row in [*train, *held_out]} == {None}
    assert len(train) + len(held_out) == 12
    assert facts.ties == 12


def test_texts_read_by_one_context_alone_are_taken_either_way(tmp_path: Path) -> None:
    file = str(write_rows(tmp_path / "a.parquet", list_rows()))
    for rows in ("contexts", "pooled"):
        split = gather_rows(LabelData(train=(file,), rows=rows), seed=1)
        assert split.facts.train + split.facts.held_out == 24


def test_texts_that_are_equal_but_for_case_and_space_are_one(tmp_path: Path) -> None:
    rows = [make_row(text, 8) for text in ("One two.", "one  TWO.", "Three.", "Four.")]
    read = read_label_rows([write_rows(tmp_path / "a.parquet", rows)])
    for seed in range(6):
        train, held_out = hold_out(read.rows, 0.34, seed)
        assert len(held_out) in (1, 2)
        assert {row.text.casefold()[:3] for row in train}.isdisjoint(
            {row.text.casefold()[:3] for row in held_out}
        )


def test_rows_go_together_also_by_way_of_others(tmp_path: Path) -> None:
    """One root has two texts, and one of these another root: all of it is one text."""
    linked = [
        make_row("One.", 8, root_id="a"),
        make_row("Three.", 8, root_id="c"),
        make_row("Two.", 8, root_id="a"),
        make_row("two.", 2, root_id="b"),
        make_row("Three.", 2, root_id="b", context=FAN),
    ]
    read = read_label_rows([write_rows(tmp_path / "a.parquet", [*linked, make_row("Four.", 8)])])
    for seed in range(6):
        train, held_out = hold_out(read.rows, 0.5, seed)
        check_apart(train, held_out)
        assert {len(train), len(held_out)} == {1, 5}
    several = [make_row(f"Text {i}.", 8) for i in range(4)]
    read = read_label_rows([write_rows(tmp_path / "b.parquet", several)])
    assert len(hold_out(read.rows, 0.5, 0)[1]) == 2


def test_named_held_out_files_must_have_other_texts(tmp_path: Path) -> None:
    one = write_rows(tmp_path / "one.parquet", [make_row("A.", 8), make_row("B.", 2)])
    two = write_rows(tmp_path / "two.parquet", [make_row("C.", 8), make_row(" a.", 2)])
    data = LabelData(train=(str(one),), held_out=(str(two),))
    with pytest.raises(HeldOutError) as caught:
        gather_rows(data, seed=0)
    assert str(caught.value) == (
        "1 held-out rows have a text that is also trained on, such as ' a.'.\n"
        "Keep other texts for evaluation."
    )
    write_rows(two, [make_row("C.", 8), make_row("D.", 2, reason="few_votes")])
    train, held_out, facts = gather_rows(data, seed=0)
    assert ([r.text for r in train], [r.text for r in held_out]) == (["A.", "B."], ["C."])
    assert facts.skipped == {"few_votes": 1}


def test_what_cannot_be_used_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        gather_rows(LabelData(train=(str(tmp_path / "none"),)), seed=0)
    assert str(caught.value) == (
        f"{tmp_path}/none: no such file or folder.\n"
        "If an annotation makes it, run that first: tutelage annotate CONFIG"
    )
    one = write_rows(tmp_path / "one.parquet", [make_row("A.", 8)])
    with pytest.raises(InputError) as caught:
        gather_rows(LabelData(train=(str(one),)), seed=0)
    assert str(caught.value) == ("one text alone: there is none to hold out.\nGive more texts.")
    other = [{"text": "B.", "counts": {"yes": 1, "no": 0}}]
    two = write_rows(tmp_path / "two.parquet", other)
    with pytest.raises(InputError) as caught:
        gather_rows(LabelData(train=(str(one),), held_out=(str(two),)), seed=0)
    assert str(caught.value) == (
        "data.held_out: its labels are yes, no, and those of data.train joy, sadness.\n"
        "Give files with the same labels."
    )
