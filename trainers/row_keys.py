"""Which row is which, told by its tokens alone.

A teacher signal is handed batches of token ids and nothing else, so whatever it knows of a row
(a cached distribution, a context, a domain) is looked up by the row's own tokens. A shuffled
dataset is therefore matched as it should be, and an edited row is matched with nothing.
"""

import hashlib
from typing import NamedTuple

import numpy as np
from torch import Tensor

from trainers.rows import TokenRow

PromptIds = tuple[int, ...]
"""A row's tokens before its first target; all completions of a prompt share them."""
KEY_BYTES = 16


class ReadRow(NamedTuple):
    """One row without its padding, and the positions at which its teacher is asked."""

    ids: list[int]
    positions: list[int]
    """Of the tokens after which a target stands, counted from 0."""

    @property
    def prompt(self) -> PromptIds:
        """The row must have a position."""
        return tuple(self.ids[: self.positions[0] + 1])


def strip_padding(
    input_ids_BT: Tensor, attention_mask_BT: Tensor, positions_BT: Tensor
) -> list[ReadRow]:
    """The B rows of a batch that is padded on the right."""
    return [
        ReadRow(ids[:length], [t for t, asked in enumerate(row) if asked])
        for ids, length, row in zip(
            input_ids_BT.tolist(),
            attention_mask_BT.sum(dim=1).tolist(),
            positions_BT.tolist(),
            strict=True,
        )
    ]


def read_row(row: TokenRow) -> ReadRow:
    """The row as it stands in a batch of `trainers.rows.collate`."""
    return ReadRow(
        row.input_ids, list(range(max(row.prompt_length, 1) - 1, len(row.input_ids) - 1))
    )


def hash_row(row: ReadRow, source: str) -> bytes:
    """A key of the row's tokens, its positions, and where its signal comes from."""
    hashed = hashlib.sha256(source.encode())
    for numbers in (row.ids, row.positions):
        hashed.update(len(numbers).to_bytes(8, "little"))
        hashed.update(np.asarray(numbers, dtype="<i8").tobytes())
    return hashed.digest()[:KEY_BYTES]
