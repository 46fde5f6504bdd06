"""A model's logits at chosen positions only.

A language model's head is the dearest part of a small model's step (a 135M model spends a fifth
of its weights on it, and its output is [tokens, vocabulary]), while a prompt's tokens need
neither loss nor head. The choice is made by a hook in front of the head, inside the model's own
forward pass: whatever wraps the model (data parallel, autocast, adapters) or follows the head
(soft-capping) stays in force.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

STRETCH = 1.5
"""How much longer than its shortest row a group's longest may be."""
BATCH_TOKENS = 4_096
"""Tokens that are read at once where nothing is learned, padding included."""


def compute_logits(
    model: Any, input_ids_BT: Tensor, attention_mask_BT: Tensor, positions_BT: Tensor
) -> Tensor:
    """Logits [N, V] at the N positions that are True, in row-major order.

    Rows are padded on the right. Rows of like length go through the model together, so that one
    long row does not make fifteen short ones cost as much as itself; a wrapped model (data
    parallel) is called once, as such wrappers expect.
    """
    parts = [list(range(len(input_ids_BT)))]
    if not hasattr(model, "module"):
        parts = group_by_length(attention_mask_BT.sum(dim=1).tolist())
    logits = []
    for rows in parts:
        width = int(attention_mask_BT[rows].sum(dim=1).max())
        ids_BT, mask_BT = input_ids_BT[rows, :width], attention_mask_BT[rows, :width]
        with _only_at(model, positions_BT[rows, :width]):
            logits.append(model(input_ids=ids_BT, attention_mask=mask_BT, use_cache=False).logits)
    counts_B = positions_BT.sum(dim=1)
    order_B = torch.tensor([row for rows in parts for row in rows], device=counts_B.device)
    rows_N = order_B.repeat_interleave(counts_B[order_B])
    return torch.cat(logits)[rows_N.argsort(stable=True)]


def group_by_length(lengths: Sequence[int]) -> list[list[int]]:
    """Sort rows into groups in which the longest is at most half as long again as the shortest."""
    groups: list[list[int]] = []
    for row in sorted(range(len(lengths)), key=lambda row: (lengths[row], row)):
        if not groups or lengths[row] > STRETCH * lengths[groups[-1][0]]:
            groups.append([])
        groups[-1].append(row)
    return groups


def batch_by_length(lengths: Sequence[int]) -> list[list[int]]:
    """Groups of rows of like length, cut so that no batch has more than `BATCH_TOKENS`."""
    batches = []
    for group in group_by_length(lengths):
        size = max(1, BATCH_TOKENS // max(lengths[i] for i in group))
        batches += [group[i : i + size] for i in range(0, len(group), size)]
    return batches


def find_predicting_positions(labels_BT: Tensor) -> Tensor:
    """True where the next token is a target: the label at t is predicted from t - 1."""
    positions_BT = labels_BT.new_zeros(labels_BT.shape).bool()
    positions_BT[:, :-1] = labels_BT[:, 1:] != -100
    return positions_BT


@contextmanager
def _only_at(model: Any, positions_BT: Tensor) -> Iterator[None]:
    def select(head: nn.Module, args: tuple[Tensor, ...]) -> tuple[Tensor]:
        return (args[0][positions_BT],)

    unwrapped = getattr(model, "module", model)
    hook = unwrapped.get_output_embeddings().register_forward_pre_hook(select)
    try:
        yield
    finally:
        hook.remove()
