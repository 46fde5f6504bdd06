import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from generators.errors import ConfigError, InputError
from trainers.logits import find_predicting_positions
from trainers.rows import TokenRow, collate
from trainers.text_rows import cut_windows, load_text_rows

TEXTS = ["The river bends.", "Swifts sleep in the air.", "Sand."]


class Letters:
    """A tokenizer of one token a letter; 0 is the end."""

    eos_token_id = 0

    def __call__(self, text: str, *, add_special_tokens: bool) -> dict[str, list[int]]:
        assert not add_special_tokens
        return {"input_ids": [ord(letter) for letter in text]}


def join(texts: list[str]) -> list[int]:
    return [token for text in texts for token in [*map(ord, text), 0]]


@pytest.mark.parametrize("window", range(3, 50))
def test_windows_hold_every_token_once_and_in_order(window: int) -> None:
    rows = cut_windows(TEXTS, Letters(), window=window)
    assert [token for row in rows for token in row.input_ids] == join(TEXTS)
    lengths = [len(row.input_ids) for row in rows]
    assert max(lengths) <= window
    assert min(lengths) >= 2
    whole = lengths[:-1] if len(join(TEXTS)) % window != 1 else lengths[:-2]
    assert set(whole) <= {window}


def test_every_token_but_a_windows_first_is_a_target() -> None:
    rows = cut_windows(TEXTS, Letters(), window=16)
    labels_BT = collate(rows, pad_id=0)["labels"]
    lengths = [len(row.input_ids) for row in rows]
    assert labels_BT[:, 0].tolist() == [-100] * len(rows)
    assert (labels_BT != -100).sum(dim=1).tolist() == [length - 1 for length in lengths]
    counts = find_predicting_positions(labels_BT).sum(dim=1).tolist()
    assert counts == [length - 1 for length in lengths]


def test_a_single_token_left_over_gets_company() -> None:
    assert cut_windows(["abcdef"], Letters(), window=3) == [
        TokenRow([97, 98, 99], 1),
        TokenRow([100, 101], 1),
        TokenRow([102, 0], 1),
    ]


def test_documents_end_with_the_end_token(tokenizer: Any) -> None:
    (row,) = cut_windows(TEXTS, tokenizer, window=512)
    assert tokenizer.decode(row.input_ids) == "".join(f"{text}<|im_end|>" for text in TEXTS)


def test_a_window_must_hold_three_tokens() -> None:
    with pytest.raises(ConfigError) as caught:
        cut_windows(TEXTS, Letters(), window=2)
    assert str(caught.value) == "window 2: must be at least 3 tokens"


def test_parquet_texts_are_read_and_blank_ones_counted(tmp_path: Path) -> None:
    texts = [TEXTS[0], None, "  \n", TEXTS[1]]
    pq.write_table(pa.table({"text": texts, "id": [1, 2, 3, 4]}), tmp_path / "a.parquet")
    pq.write_table(pa.table({"text": TEXTS[2:]}), tmp_path / "b.parquet")
    loaded = load_text_rows(tmp_path, Letters(), window=10)
    assert loaded.skipped == {"empty_text": 2}
    assert loaded.rows == cut_windows(TEXTS, Letters(), window=10)


@pytest.mark.parametrize("place", ["texts.jsonl", ""], ids=["file", "folder"])
def test_jsonl_texts_are_read(tmp_path: Path, place: str) -> None:
    lines = [{"text": t, "domain": "d", "licence": "CC0-1.0", "author": "us"} for t in TEXTS]
    (tmp_path / "texts.jsonl").write_text("\n".join(map(json.dumps, lines)))
    loaded = load_text_rows(tmp_path / place, Letters(), window=10)
    assert (loaded.rows, loaded.skipped) == (cut_windows(TEXTS, Letters(), window=10), {})


def test_what_holds_no_texts_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        load_text_rows(tmp_path, Letters(), window=10)
    assert str(caught.value) == (
        f"{tmp_path}: no Parquet file there.\nGive a published dataset (dataset/train.parquet)."
    )
    pq.write_table(pa.table({"content": TEXTS}), tmp_path / "a.parquet")
    with pytest.raises(InputError) as caught:
        load_text_rows(tmp_path, Letters(), window=10)
    assert str(caught.value) == (
        f"{tmp_path}/a.parquet: has no column text.\nGive plain texts, one a row."
    )
    pq.write_table(pa.table({"text": [" ", ""]}), tmp_path / "a.parquet")
    with pytest.raises(InputError) as caught:
        load_text_rows(tmp_path, Letters(), window=10)
    assert str(caught.value) == (f"{tmp_path}: every text in it is blank.\nGive texts to train on.")
    (tmp_path / "a.parquet").write_text("no table")
    with pytest.raises(InputError) as caught:
        load_text_rows(tmp_path, Letters(), window=10)
    assert str(caught.value) == (
        f"{tmp_path}/a.parquet: cannot be read as Parquet: Parquet magic bytes not found in "
        "footer. Either the file is corrupted or this is not a parquet file."
    )
