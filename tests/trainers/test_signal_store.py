from pathlib import Path
from typing import Any

import numpy as np
import pytest

from generators.errors import InputError, RunError
from trainers.signal_store import (
    RowSignal,
    SampledCut,
    SignalHeader,
    SignalStore,
    Source,
    TopCut,
    identify_source,
    open_for_writing,
    write_shard,
)

SOURCE = Source(teacher="t@1", template="a", vocabulary="b", vocabulary_size=100)
HEADER = SignalHeader(source=SOURCE)
ONE = RowSignal(
    np.array([2, 1]), np.array([7, 9, 3]), np.log([0.5, 0.25, 0.5]).astype(np.float16), 0.75
)
TWO = RowSignal(np.array([1]), np.array([70]), np.log([0.125]).astype(np.float16), 0.875)


def key(number: int) -> bytes:
    return number.to_bytes(16, "big")


def check_equal(found: RowSignal | None, expected: RowSignal) -> None:
    assert found is not None
    assert found.tail == expected.tail
    for got, wanted in zip(found[:3], expected[:3], strict=True):
        assert got.tolist() == wanted.tolist()


def test_rows_come_back_from_every_shard(tmp_path: Path) -> None:
    open_for_writing(tmp_path, HEADER)
    write_shard(tmp_path, {key(1): ONE, key(2): TWO}, 100)
    write_shard(tmp_path, {key(3): TWO, key(4): ONE}, 100)
    store = SignalStore(tmp_path)
    assert store.header == HEADER
    for number, signal in enumerate((ONE, TWO, TWO, ONE), start=1):
        check_equal(store.find(key(number)), signal)
    assert store.find(key(5)) is None
    assert (len(store), key(4) in store, key(5) in store) == (4, True, False)


def test_size_is_that_of_the_files(tmp_path: Path) -> None:
    open_for_writing(tmp_path, HEADER)
    write_shard(tmp_path, {key(1): ONE, key(2): TWO}, 100)
    size = SignalStore(tmp_path).measure()
    on_disk = sum(file.stat().st_size for file in (tmp_path / "shard-00000").iterdir())
    assert size == (2, 3, 4, 1.625, on_disk)


@pytest.mark.parametrize(("vocabulary", "dtype"), [(1 << 16, np.uint16), ((1 << 16) + 1, np.int32)])
def test_ids_take_two_bytes_where_they_fit(tmp_path: Path, vocabulary: int, dtype: Any) -> None:
    last = TWO._replace(ids_M=np.array([vocabulary - 1]))
    open_for_writing(tmp_path, HEADER)
    write_shard(tmp_path, {key(1): last}, vocabulary)
    found = SignalStore(tmp_path).find(key(1))
    assert found is not None
    assert (found.ids_M.dtype, found.ids_M.tolist()) == (dtype, [vocabulary - 1])
    assert found.log_probs_M.dtype == np.float16


def test_what_a_kill_left_is_removed_and_not_read(tmp_path: Path) -> None:
    open_for_writing(tmp_path, HEADER)
    write_shard(tmp_path, {key(1): ONE}, 100)
    half = tmp_path / "shard-00001.partial"
    half.mkdir()
    (half / "ids.npy").write_bytes(b"half")
    assert len(SignalStore(tmp_path)) == 1
    open_for_writing(tmp_path, HEADER)
    assert not half.exists()
    write_shard(tmp_path, {key(2): TWO}, 100)
    check_equal(SignalStore(tmp_path).find(key(2)), TWO)


def test_going_on_with_another_header_names_the_difference(tmp_path: Path) -> None:
    open_for_writing(tmp_path, HEADER)
    with pytest.raises(RunError) as caught:
        open_for_writing(tmp_path, SignalHeader(source=SOURCE, cut=TopCut(top_p=0.9, top_k=8)))
    assert str(caught.value) == (
        f"{tmp_path}: holds the signal of something else (cut.top_p 0.95 → 0.9; cut.top_k 100 → "
        "8).\n"
        "Go back to what it was written with, or write the signal into another folder."
    )
    with pytest.raises(RunError) as caught:
        open_for_writing(tmp_path, SignalHeader(source=SOURCE, cut=SampledCut()))
    assert str(caught.value) == (
        f"{tmp_path}: holds the signal of something else (cut.kept top → sampled; cut.top_p 0.95 → "
        "None; cut.top_k 100 → None; cut.draws None → 50; cut.proposal None → 1.0; cut.seed None → "
        "0).\n"
        "Go back to what it was written with, or write the signal into another folder."
    )


def test_a_folder_without_a_signal_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        SignalStore(tmp_path)
    assert str(caught.value) == (
        f"{tmp_path}: no teacher's signal there.\n"
        "Write one first (trainers.cached_teacher.write_signal), or correct the path."
    )


def test_another_format_is_refused(tmp_path: Path) -> None:
    open_for_writing(tmp_path, HEADER)
    file = tmp_path / "header.json"
    file.write_text(file.read_text().replace('"format": 1', '"format": 2'))
    with pytest.raises(InputError) as caught:
        SignalStore(tmp_path)
    assert str(caught.value) == (
        f"{file}: format: Input should be 1.\n"
        "The signal is of another version, or damaged: write it again into another folder."
    )


@pytest.mark.parametrize("name", ["index.npz", "ids.npy"])
def test_a_damaged_shard_is_named(tmp_path: Path, name: str) -> None:
    open_for_writing(tmp_path, HEADER)
    write_shard(tmp_path, {key(1): ONE}, 100)
    (tmp_path / "shard-00000" / name).write_bytes(b"PK\x03\x04 damaged")
    with pytest.raises(InputError) as caught:
        SignalStore(tmp_path).find(key(1))
    assert str(caught.value) == (
        f"{tmp_path}/shard-00000: cannot be read: File is not a zip file.\n"
        "Delete this folder and write the signal again; only its rows are asked anew."
    )


def test_a_deleted_shard_leaves_room_for_its_rows(tmp_path: Path) -> None:
    open_for_writing(tmp_path, HEADER)
    for number in (1, 2):
        write_shard(tmp_path, {key(number): ONE}, 100)
    for file in (tmp_path / "shard-00000").iterdir():
        file.unlink()
    (tmp_path / "shard-00000").rmdir()
    write_shard(tmp_path, {key(1): TWO}, 100)
    check_equal(SignalStore(tmp_path).find(key(1)), TWO)
    check_equal(SignalStore(tmp_path).find(key(2)), ONE)


def test_a_source_tells_vocabularies_and_templates_apart(
    tokenizer: Any, permuted_tokenizer: Any
) -> None:
    own = identify_source("t@1", tokenizer)
    other = identify_source("t@1", permuted_tokenizer)
    assert own.vocabulary_size == other.vocabulary_size == 49152
    assert own.template == other.template
    assert own.vocabulary != other.vocabulary
    permuted_tokenizer.chat_template += "\n"
    assert identify_source("t@1", permuted_tokenizer).template != own.template
