"""Parity with TRL's GKD.

Its beta is the teacher's weight in the mixture, as ours, but its ends are the plain divergences,
where the mathematics has 0: 0 is forward, 1 is reverse. Values come per token and id (reduction
`none`); ours are their sums over the vocabulary. `batchmean` divides by rows, or by the tokens
that labels leave.
"""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from trainers.fused import fused_divergence
from trainers.losses import Divergence, divergence
from trainers.targets import HeadStates

CASES: list[tuple[Divergence, float]] = [
    ("forward", 0),
    ("reverse", 1),
    ("jsd", 0.1),
    ("jsd", 0.5),
    ("jsd", 0.9),
]


@pytest.fixture(scope="module")
def their_loss() -> Callable[..., Tensor]:
    from trl.experimental.gkd.gkd_trainer import GKDTrainer

    return GKDTrainer.generalized_jsd_loss


def draw_logits(seed: int, *, scale: float = 2.0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(4, 3, 17, generator=generator, dtype=torch.float64) * scale


def options_of(kind: Divergence, beta: float) -> dict[str, Any]:
    return {"beta": beta} if kind == "jsd" else {}


@pytest.mark.parametrize(("kind", "beta"), CASES)
@pytest.mark.parametrize("temperature", [1.0, 2.5])
def test_values_and_gradients_are_those_of_trl(
    their_loss: Callable[..., Tensor], kind: Divergence, beta: float, temperature: float
) -> None:
    student, teacher = draw_logits(5).requires_grad_(True), draw_logits(6)
    theirs = their_loss(student, teacher, beta=beta, temperature=temperature, reduction="none")
    (their_gradient,) = torch.autograd.grad(theirs.sum(), student)
    ours = divergence(student, teacher, kind, **options_of(kind, beta), temperature=temperature)
    (our_gradient,) = torch.autograd.grad(ours.sum(), student)
    torch.testing.assert_close(ours, theirs.sum(-1), atol=1e-12, rtol=0)
    torch.testing.assert_close(our_gradient, their_gradient, atol=1e-12, rtol=0)


@pytest.mark.parametrize(("kind", "beta"), CASES)
def test_fused_mean_over_targets_is_that_of_trl(
    their_loss: Callable[..., Tensor], kind: Divergence, beta: float
) -> None:
    """Its logits of all positions and labels against our hidden states of the targets alone."""
    states = torch.Generator().manual_seed(7)
    hidden, taught = torch.randn(2, 4, 3, 5, generator=states, dtype=torch.float64)
    head, teacher_head = torch.randn(2, 17, 5, generator=states, dtype=torch.float64)
    labels = torch.tensor([[1, -100, 2], [-100, -100, 3], [4, 5, 6], [-100, 7, -100]])
    hidden.requires_grad_(True)
    head.requires_grad_(True)
    theirs = their_loss(hidden @ head.T, taught @ teacher_head.T, labels=labels, beta=beta)
    their_gradients = torch.autograd.grad(theirs, (hidden, head))
    counted = labels != -100
    teacher = HeadStates(taught[counted], teacher_head)
    ours = fused_divergence(hidden[counted], head, teacher, kind, **options_of(kind, beta)).mean()
    our_gradients = torch.autograd.grad(ours, (hidden, head))
    torch.testing.assert_close(ours, theirs, atol=1e-12, rtol=0)
    torch.testing.assert_close(our_gradients, their_gradients, atol=1e-12, rtol=0)
