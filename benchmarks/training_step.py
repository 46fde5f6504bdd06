"""A training step's forward and backward pass: grouped rows and a head at the answers only.

Three ways through one batch of twelve rows of a demo's lengths, same loss and same gradients:

- `padded, full head`: all rows padded to the longest, logits at every position;
- `padded, head at answers`: logits only where a completion token is predicted;
- `grouped, head at answers`: the same, with rows of like length together (`trainers.logits`).

    python benchmarks/training_step.py [--rounds 5]
"""

import argparse
from functools import partial
from typing import Any

import torch
from paired import describe_machine, take_turns, write_result
from torch import Tensor

from generators.embedded import BUNDLED, load_model, locate_model
from trainers.logits import compute_logits, find_predicting_positions
from trainers.losses import cross_entropy

LENGTHS = ((32, 8), (34, 8), (35, 9), (36, 8), (38, 9), (40, 9), (41, 8), (44, 12))
LONG = ((90, 50), (120, 70), (160, 90), (210, 110))
"""Tokens of a row, and how many of them are its completion's."""


def make_batch() -> tuple[Tensor, Tensor, Tensor]:
    """Token ids, attention mask and labels [12, 210] of rows padded on the right."""
    rows = [*LENGTHS, *LONG]
    width = max(total for total, _ in rows)
    generator = torch.Generator().manual_seed(0)
    ids_BT = torch.randint(100, 40_000, (len(rows), width), generator=generator)
    labels_BT = ids_BT.clone()
    mask_BT = torch.ones_like(ids_BT)
    for row, (total, completion) in enumerate(rows):
        mask_BT[row, total:] = 0
        labels_BT[row, : total - completion] = -100
        labels_BT[row, total:] = -100
    return ids_BT, mask_BT, labels_BT


def step_fully(model: Any, ids_BT: Tensor, mask_BT: Tensor, labels_BT: Tensor) -> float:
    """Logits everywhere, as `Trainer` does it by default."""
    logits_BTV = model(input_ids=ids_BT, attention_mask=mask_BT, use_cache=False).logits
    positions_BT = find_predicting_positions(labels_BT)
    return learn(model, logits_BTV[positions_BT], labels_BT, positions_BT)


def step_at_answers(model: Any, ids_BT: Tensor, mask_BT: Tensor, labels_BT: Tensor) -> float:
    """Logits at the answers, all rows through the model at once."""
    positions_BT = find_predicting_positions(labels_BT)
    hidden_BTD = model.model(input_ids=ids_BT, attention_mask=mask_BT, use_cache=False)[0]
    return learn(model, model.lm_head(hidden_BTD[positions_BT]), labels_BT, positions_BT)


def step_grouped(model: Any, ids_BT: Tensor, mask_BT: Tensor, labels_BT: Tensor) -> float:
    """As the trainer goes."""
    positions_BT = find_predicting_positions(labels_BT)
    logits_NV = compute_logits(model, ids_BT, mask_BT, positions_BT)
    return learn(model, logits_NV, labels_BT, positions_BT)


def learn(model: Any, logits_NV: Tensor, labels_BT: Tensor, positions_BT: Tensor) -> float:
    """Go backwards; return the gradient's norm, for comparison."""
    model.zero_grad()
    cross_entropy(logits_NV, labels_BT[:, 1:][positions_BT[:, :-1]]).mean().backward()
    return float(torch.nn.utils.get_total_norm(p.grad for p in model.parameters()))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    model, _ = load_model(locate_model(BUNDLED), "float32")
    batch = make_batch()
    rivals = {
        "padded, full head": partial(step_fully, model, *batch),
        "padded, head at answers": partial(step_at_answers, model, *batch),
        "grouped, head at answers": partial(step_grouped, model, *batch),
    }
    norms = [step() for step in rivals.values()]
    spread = (max(norms) - min(norms)) / max(norms)
    assert spread < 1e-3, norms
    lines = [
        "# A training step",
        "",
        f"Forward and backward of {BUNDLED} in float32 over twelve rows of 32 to 210 tokens; "
        f"the gradients' norms agree to {spread:.1e}; median of {rounds} rounds.",
        f"Measured on {describe_machine('torch', 'transformers')}.",
        "",
        "| method | seconds | ratio |",
        "|---|--:|--:|",
    ]
    for name, timing in take_turns(rivals, rounds).items():
        lines.append(f"| {name} | {timing.median_s:.2f} | {timing.ratio:.2f} |")
    write_result("training-step", lines)


if __name__ == "__main__":
    main()
