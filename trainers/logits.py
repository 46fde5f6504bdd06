"""A model's logits, or the hidden states that its head reads, at chosen positions only.

A language model's head is the dearest part of a small model's step (a 135M model spends a fifth
of its weights on it, and its output is [tokens, vocabulary]), while a prompt's tokens need
neither loss nor head. The choice is made by a hook in front of the head, inside the model's own
forward pass: whatever wraps the model (data parallel, autocast, adapters) or follows the head
(soft-capping) stays in force.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule

from generators.errors import InputError

Layout = Literal["grouped", "packed"]
"""How a batch's rows go through a model."""
STRETCH = 1.5
"""How much longer than its shortest row a group's longest may be."""
LARGE_LOGIT = 1_000.0
"""Above any cap."""
BATCH_TOKENS = 4_096
"""Tokens that are read at once where nothing is learned, padding included."""


def compute_logits(
    model: Any,
    input_ids_BT: Tensor,
    attention_mask_BT: Tensor,
    positions_BT: Tensor,
    layout: Layout = "grouped",
) -> Tensor:
    """Logits [N, V] at the N positions that are True, in row-major order.

    Rows are padded on the right; InputError is raised for others. `grouped`: rows of like length
    go through the model together, so that one long row does not make fifteen short ones cost as
    much as itself. `packed`: all rows stand in one line without padding, and attention stays
    within each; for processors whose attention takes such lines at no extra cost. A model that is
    shared with other processes is called once, as they call it.
    """

    def read(inputs: dict[str, Tensor], chosen_BT: Tensor) -> Tensor:
        with _before_head(model, lambda states_BTD: states_BTD[chosen_BT]):
            return model(**inputs, use_cache=False).logits

    return _read(model, read, input_ids_BT, attention_mask_BT, positions_BT, layout)


def compute_hidden(
    model: Any,
    input_ids_BT: Tensor,
    attention_mask_BT: Tensor,
    positions_BT: Tensor,
    layout: Layout = "grouped",
) -> Tensor:
    """The hidden states [N, D] that the head would read at the N positions that are True; the head
    itself reads nothing. Rows, order and layout are as for `compute_logits`."""

    def read(inputs: dict[str, Tensor], chosen_BT: Tensor) -> Tensor:
        seen: list[Tensor] = []

        def keep(states_BTD: Tensor) -> Tensor:
            seen.append(states_BTD[chosen_BT])
            return states_BTD[:, :0]

        with _before_head(model, keep):
            model(**inputs, use_cache=False)
        return seen[0]

    return _read(model, read, input_ids_BT, attention_mask_BT, positions_BT, layout)


def find_head_weight(model: Any) -> Tensor | None:
    """The head's weight [V, D], if logits are nothing but `hidden @ weight.T`.

    None where the head has a bias or an adapter, or where something follows it (soft-capping, a
    scale): a probe of two tokens tells, with their hidden states as they are and stretched until
    their logits are large, as a cap does nothing to small ones.
    """
    head = getattr(model, "module", model).get_output_embeddings()
    if type(head) is not nn.Linear or head.bias is not None:
        return None
    expected: list[Tensor] = []

    def stretch(states_BTD: Tensor) -> Tensor:
        logits_BTV = states_BTD @ head.weight.T
        factor = LARGE_LOGIT / logits_BTV.abs().max().clamp(min=1e-6)
        expected.extend([logits_BTV, states_BTD * factor @ head.weight.T])
        return torch.cat([states_BTD, states_BTD * factor], dim=1)

    ids_BT = torch.tensor([[0, 1]], device=head.weight.device)
    was_training = model.training
    model.eval()
    with torch.no_grad(), _before_head(model, stretch):
        found = model(input_ids=ids_BT, use_cache=False).logits.split(2, dim=1)
    model.train(was_training)
    plain = all(
        torch.allclose(logits, wanted, rtol=1e-3, atol=1e-3 * size)
        for logits, wanted, size in zip(found, expected, (1.0, LARGE_LOGIT), strict=True)
    )
    return head.weight if plain else None


def _read(
    model: Any,
    read: Callable[[dict[str, Tensor], Tensor], Tensor],
    input_ids_BT: Tensor,
    attention_mask_BT: Tensor,
    positions_BT: Tensor,
    layout: Layout,
) -> Tensor:
    if (attention_mask_BT[:, 1:] > attention_mask_BT[:, :-1]).any():
        raise InputError(
            "attention_mask: a row's padding stands before its tokens; pad on the right, as"
            " trainers.rows.collate does."
        )
    if layout == "packed":
        real_BT = attention_mask_BT.bool()
        places_BT = attention_mask_BT.cumsum(dim=1) - 1
        inputs = {"input_ids": input_ids_BT[real_BT], "position_ids": places_BT[real_BT]}
        return read({k: v[None] for k, v in inputs.items()}, positions_BT[real_BT][None])
    parts = [list(range(len(input_ids_BT)))]
    if not is_shared(model):
        parts = group_by_length(attention_mask_BT.sum(dim=1).tolist())
    found = []
    for rows in parts:
        width = int(attention_mask_BT[rows].sum(dim=1).max())
        inputs = {"input_ids": input_ids_BT, "attention_mask": attention_mask_BT}
        inputs = {name: tensor[rows, :width] for name, tensor in inputs.items()}
        found.append(read(inputs, positions_BT[rows, :width]))
    counts_B = positions_BT.sum(dim=1)
    order_B = torch.tensor([row for rows in parts for row in rows], device=counts_B.device)
    rows_N = order_B.repeat_interleave(counts_B[order_B])
    return torch.cat(found)[rows_N.argsort(stable=True)]


def is_shared(model: Any) -> bool:
    """Whether other processes expect as many calls of the model as there are here."""
    return hasattr(model, "module") or isinstance(model, FSDPModule)


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
def _before_head(model: Any, change: Callable[[Tensor], Tensor]) -> Iterator[None]:
    """Let the head read something else in the place of the hidden states [B, T, D]."""

    def hook(head: nn.Module, args: tuple[Tensor, ...]) -> tuple[Tensor]:
        return (change(args[0]),)

    unwrapped = getattr(model, "module", model)
    handle = unwrapped.get_output_embeddings().register_forward_pre_hook(hook)
    try:
        yield
    finally:
        handle.remove()
