"""A teacher small enough to be written down: what it says depends on the last token alone."""

import torch
from torch import Tensor

from trainers.logits import find_predicting_positions
from trainers.rows import TokenRow, collate


class BigramTeacher:
    """Its logits are a table; `asked` counts the rows that it has read."""

    def __init__(self, vocabulary: int, seed: int = 0, spread: float = 2.0) -> None:
        generator = torch.Generator().manual_seed(seed)
        self.table_VV = spread * torch.randn(vocabulary, vocabulary, generator=generator)
        self.asked = 0

    def read(self, input_ids_BT: Tensor, attention_mask_BT: Tensor, positions_BT: Tensor) -> Tensor:
        self.asked += len(input_ids_BT)
        return self.table_VV[input_ids_BT[positions_BT]]


def draw_rows(count: int, vocabulary: int, seed: int = 0) -> list[TokenRow]:
    """Distinct rows of unlike lengths."""
    generator = torch.Generator().manual_seed(seed)
    lengths = torch.randint(4, 12, (count,), generator=generator).tolist()
    return [
        TokenRow(torch.randint(vocabulary, (n,), generator=generator).tolist(), 1 + i % 3)
        for i, n in enumerate(lengths)
    ]


def make_batch(rows: list[TokenRow]) -> tuple[Tensor, Tensor, Tensor]:
    """Ids, mask and predicting positions; the padding is token 1."""
    batch = collate(rows, pad_id=1)
    return batch["input_ids"], batch["attention_mask"], find_predicting_positions(batch["labels"])
