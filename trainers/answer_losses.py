"""How surprised a model is by an answer: its loss behind the prompt, and without one.

The ratio of the two is the instruction-following difficulty of Li et al., "From Quantity to
Quality" (2024): near 1 the prompt tells the model nothing about the answer, far below 1 the answer
follows from the prompt. "Without" is an empty user's turn, so both losses are over the same tokens,
each of them predicted, the end-of-turn token included.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from generators.embedded import render_chat
from generators.records import Message
from trainers.logits import batch_by_length, compute_logits, find_predicting_positions
from trainers.losses import cross_entropy
from trainers.rows import TokenRow, collate
from trainers.teachers import count_ids


class AnswerLoss(NamedTuple):
    """Of one answer, in nats a token."""

    tokens: int
    loss: float
    """Mean of -ln p(y_t | x, y_<t)."""
    loss_alone: float
    """The same behind an empty prompt."""


def measure_answer_losses(
    model: Any,
    tokenizer: Any,
    rows: Sequence[TokenRow],
    on_progress: Callable[[int], None] = lambda rows: None,
) -> list[AnswerLoss]:
    """The losses of the rows' targets, in order; `on_progress` hears of each row that is done."""
    empty = render_chat(tokenizer, (Message(role="user", content=""),))
    head = tokenizer(empty, add_special_tokens=False)["input_ids"]
    alone = [TokenRow(head + row.input_ids[row.prompt_length :], len(head)) for row in rows]
    sums, alone_sums = [0.0] * len(rows), [0.0] * len(rows)
    size = count_ids(tokenizer)
    for batch in batch_by_length([len(row.input_ids) for row in rows]):
        for source, target in ((rows, sums), (alone, alone_sums)):
            losses_B = _sum_losses(model, [source[i] for i in batch], size).tolist()
            for i, loss in zip(batch, losses_B, strict=True):
                target[i] = loss
        on_progress(len(batch))
    counts = [len(row.input_ids) - row.prompt_length for row in rows]
    return [
        AnswerLoss(count, one / count, other / count)
        for count, one, other in zip(counts, sums, alone_sums, strict=True)
    ]


def _sum_losses(model: Any, rows: Sequence[TokenRow], vocabulary: int) -> Tensor:
    """The summed loss of each row's targets [B], in nats."""
    batch = collate(rows, pad_id=0)
    labels_BT = batch["labels"].to(model.device)
    positions_BT = find_predicting_positions(labels_BT)
    with torch.inference_mode():
        logits_NV = compute_logits(
            model,
            batch["input_ids"].to(model.device),
            batch["attention_mask"].to(model.device),
            positions_BT,
        )[:, :vocabulary].float()
        targets_N = labels_BT[:, 1:][positions_BT[:, :-1]]
        losses_N = cross_entropy(logits_NV, targets_N)
    rows_N = positions_BT.nonzero()[:, 0]
    return losses_N.new_zeros(len(rows)).index_add(0, rows_N, losses_N)
