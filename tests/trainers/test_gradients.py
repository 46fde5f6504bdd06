from typing import get_args

import pytest
import torch
from torch import Tensor

from trainers.gradients import differentiate, differentiate_cross_entropy
from trainers.losses import Divergence, cross_entropy, divergence

KINDS: tuple[Divergence, ...] = get_args(Divergence)


def draw_logits(seed: int, *, scale: float = 2.0, tokens: int = 6, vocabulary: int = 11) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(tokens, vocabulary, generator=generator, dtype=torch.float64) * scale


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"temperature": 3.0},
        {"beta": 0.1, "alpha": 0.0},
        {"beta": 0.9, "alpha": 0.7, "temperature": 0.5},
    ],
    ids=["defaults", "warm", "low_weights", "high_weights_cold"],
)
def test_value_and_gradient_are_those_of_autograd(
    kind: Divergence, options: dict[str, float]
) -> None:
    student, teacher = draw_logits(1).requires_grad_(True), draw_logits(2)
    value = divergence(student, teacher, kind, **options)
    (gradient,) = torch.autograd.grad(value.sum(), student)
    slope = differentiate(student.detach(), teacher, kind, **options)
    torch.testing.assert_close(slope.value_N, value.detach(), atol=1e-10, rtol=0)
    torch.testing.assert_close(slope.gradient_NV, gradient, atol=1e-10, rtol=0)


@pytest.mark.parametrize("kind", KINDS)
def test_gradient_is_the_slope_of_the_value(kind: Divergence) -> None:
    student, teacher, step = draw_logits(3, tokens=1), draw_logits(4, tokens=1), 1e-5
    shifts = torch.eye(11, dtype=torch.float64) * step
    teachers = teacher.expand(11, -1)
    above = differentiate(student + shifts, teachers, kind, temperature=2.0).value_N
    below = differentiate(student - shifts, teachers, kind, temperature=2.0).value_N
    gradient = differentiate(student, teacher, kind, temperature=2.0).gradient_NV[0]
    torch.testing.assert_close(gradient, (above - below) / (2 * step), atol=1e-8, rtol=1e-6)


def test_forward_is_q_minus_p() -> None:
    student, teacher = draw_logits(1), draw_logits(2)
    gradient = differentiate(student, teacher, "forward").gradient_NV
    torch.testing.assert_close(
        gradient, student.softmax(-1) - teacher.softmax(-1), atol=1e-10, rtol=0
    )


def test_reverse_is_q_times_the_excess_over_its_mean() -> None:
    student, teacher = draw_logits(1), draw_logits(2)
    q, ratio = student.softmax(-1), student.log_softmax(-1) - teacher.log_softmax(-1)
    kl = (q * ratio).sum(-1, keepdim=True)
    gradient = differentiate(student, teacher, "reverse").gradient_NV
    torch.testing.assert_close(gradient, q * (ratio - kl), atol=1e-10, rtol=0)


@pytest.mark.parametrize("kind", KINDS)
def test_logits_are_left_alone_and_gradients_sum_to_zero(kind: Divergence) -> None:
    student, teacher = draw_logits(1), draw_logits(2)
    kept = student.clone(), teacher.clone()
    gradient = differentiate(student, teacher, kind).gradient_NV
    assert torch.equal(student, kept[0])
    assert torch.equal(teacher, kept[1])
    assert gradient.sum(-1).abs().max() < 1e-12
    assert gradient.abs().max() > 1e-2


@pytest.mark.parametrize("kind", KINDS)
def test_equal_distributions_have_neither_value_nor_gradient(kind: Divergence) -> None:
    logits = draw_logits(1)
    slope = differentiate(logits, logits + 5, kind)
    assert slope.value_N.abs().max() < 1e-12
    assert slope.gradient_NV.abs().max() < 1e-12


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("alpha", [0.0, 0.1])
def test_vanishing_masses_are_as_dense_has_them(kind: Divergence, alpha: float) -> None:
    """In float32 exp(-104) is 0, but its log is not minus infinity."""
    student = torch.tensor([[300.0, -300.0, 0.0, 1.0], [0.0, 400.0, 1.0, 0.0]])
    teacher = torch.tensor([[-300.0, 300.0, 0.0, 2.0], [1e4, 0.0, -1e4, 0.0]])
    slope = differentiate(student, teacher, kind, alpha=alpha)
    exact = student.double().requires_grad_(True)
    value = divergence(exact, teacher.double(), kind, alpha=alpha)
    (gradient,) = torch.autograd.grad(value.sum(), exact)
    torch.testing.assert_close(slope.value_N.double(), value.detach(), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(slope.gradient_NV.double(), gradient, rtol=1e-5, atol=1e-5)


def test_cross_entropy_is_that_of_autograd_and_ignores_what_it_ignores() -> None:
    logits, labels = draw_logits(1).requires_grad_(True), torch.tensor([3, 0, 10, -100, 5, 5])
    value = cross_entropy(logits, labels)
    (gradient,) = torch.autograd.grad(value.sum(), logits)
    slope = differentiate_cross_entropy(logits.detach(), labels)
    torch.testing.assert_close(slope.value_N, value.detach(), atol=1e-12, rtol=0)
    torch.testing.assert_close(slope.gradient_NV, gradient, atol=1e-12, rtol=0)
    assert slope.value_N[3] == 0
    assert slope.gradient_NV[3].abs().max() == 0


def test_parameters_are_checked_as_for_the_losses() -> None:
    logits = draw_logits(1)
    with pytest.raises(ValueError) as caught:
        differentiate(logits, logits, "jsd", beta=1.0)
    assert str(caught.value) == (
        "beta 1.0: jsd needs 0 < beta < 1; at the ends it vanishes: choose the kind forward (beta "
        "→ 0) or reverse (beta → 1) instead"
    )
