import torch

from tests.trainers.bigram_teacher import make_batch
from trainers.row_keys import ReadRow, hash_row, read_row, strip_padding
from trainers.rows import TokenRow

ROW = ReadRow([5, 6, 7, 8], [1, 2])


def test_rows_lose_their_padding_and_keep_their_positions() -> None:
    rows = strip_padding(*make_batch([TokenRow([5, 6, 7, 8], 2), TokenRow([9, 1], 1)]))
    assert rows == [ROW, ReadRow([9, 1], [0])]
    assert [row.prompt for row in rows] == [(5, 6), (9,)]


def test_a_row_is_the_same_alone_and_in_a_batch() -> None:
    rows = [TokenRow([5, 6, 7, 8], 2), TokenRow([9, 1], 1), TokenRow([4, 3, 2], 0)]
    assert [read_row(row) for row in rows] == strip_padding(*make_batch(rows))


def test_a_row_without_targets_has_no_positions() -> None:
    assert read_row(TokenRow([5, 6], 2)) == ReadRow([5, 6], [])
    ids_BT = torch.tensor([[5, 6, 0]])
    mask_BT = torch.tensor([[1, 1, 0]])
    assert strip_padding(ids_BT, mask_BT, mask_BT < 0) == [ReadRow([5, 6], [])]


def test_a_key_is_of_tokens_positions_and_source() -> None:
    others = [
        hash_row(ReadRow([5, 6, 7, 9], [1, 2]), "a"),
        hash_row(ReadRow([5, 6, 7, 8], [0, 1, 2]), "a"),
        hash_row(ReadRow([5, 6, 7, 8, 1], [2]), "a"),
        hash_row(ROW, "b"),
    ]
    assert len({hash_row(ROW, "a"), *others}) == 5
    assert hash_row(ReadRow(list(ROW.ids), list(ROW.positions)), "a") == hash_row(ROW, "a")
