"""The classifier's losses against their formulas, in float64."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from generators.errors import ConfigError
from trainers.label_losses import NO_LABEL, hard_loss, hinton_loss, soft_loss

PROBS_NC = torch.tensor([[0.7, 0.2, 0.1], [0.5, 0.5, 0.0], [1.0, 0.0, 0.0]], dtype=torch.float64)


def draw(*shape: int, seed: int = 0, scale: float = 2.0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return scale * torch.randn(*shape, generator=generator, dtype=torch.float64)


def find_gradient(loss: Callable[[Tensor], Tensor], logits_NC: Tensor) -> Tensor:
    logits_NC = logits_NC.clone().requires_grad_()
    loss(logits_NC).sum().backward()
    assert logits_NC.grad is not None
    return logits_NC.grad


def descend(loss: Callable[[Tensor], Tensor], steps: int) -> Tensor:
    """The distributions q [N, C] at which plain gradient descent arrives."""
    logits_NC = draw(3, 3)
    for _ in range(steps):
        logits_NC = logits_NC - 2.0 * find_gradient(loss, logits_NC)
    return logits_NC.softmax(dim=-1)


def test_the_soft_loss_is_the_divergence_from_the_annotators() -> None:
    logits_NC = draw(3, 3)
    q_NC = logits_NC.softmax(dim=-1)
    expected = [
        sum(p * math.log(p / float(q_NC[n, c])) for c, p in enumerate(row) if p > 0)
        for n, row in enumerate(PROBS_NC.tolist())
    ]
    assert soft_loss(logits_NC, PROBS_NC).tolist() == pytest.approx(expected, abs=1e-12)


def test_the_soft_loss_is_nothing_at_equality_and_more_elsewhere() -> None:
    inner_NC = draw(50, 4).softmax(dim=-1)
    at_N = soft_loss(inner_NC.log() + 3.0, inner_NC)
    assert at_N.abs().max() < 1e-12
    assert (soft_loss(inner_NC.log() + draw(50, 4, seed=1, scale=0.3), inner_NC) > 1e-6).all()


def test_gradients_are_q_minus_the_target() -> None:
    logits_NC, labels_N = draw(3, 3), torch.tensor([2, 0, 1])
    q_NC = logits_NC.softmax(dim=-1)
    soft_NC = find_gradient(lambda z: soft_loss(z, PROBS_NC), logits_NC)
    torch.testing.assert_close(soft_NC, q_NC - PROBS_NC)
    hard_NC = find_gradient(lambda z: hard_loss(z, labels_N), logits_NC)
    torch.testing.assert_close(hard_NC, q_NC - torch.eye(3, dtype=torch.float64)[labels_N])


def test_the_soft_loss_is_smallest_at_the_soft_label_and_the_hard_one_at_the_one_hot() -> None:
    labels_N = torch.tensor([0, 1, 0])
    soft_NC = descend(lambda z: soft_loss(z, PROBS_NC), steps=3000)
    torch.testing.assert_close(soft_NC, PROBS_NC, atol=1e-3, rtol=0)
    hard_NC = descend(lambda z: hard_loss(z, labels_N), steps=3000)
    one_hot_NC = torch.eye(3, dtype=torch.float64)[labels_N]
    torch.testing.assert_close(hard_NC, one_hot_NC, atol=1e-3, rtol=0)
    assert (hard_NC[0] - PROBS_NC[0]).abs().max() > 0.29  # the annotators' doubts are gone


def test_a_text_without_a_label_is_refused_where_one_is_wanted() -> None:
    logits_NC, labels_N = draw(3, 3), torch.tensor([0, NO_LABEL, 0])
    with pytest.raises(ConfigError) as caught:
        hard_loss(logits_NC, labels_N)
    assert str(caught.value) == (
        "1 of 3 texts have no label: their first labels tie.\n"
        "Leave them out, or learn from the soft labels (objective: soft)."
    )
    with pytest.raises(ConfigError) as caught:
        hinton_loss(logits_NC, draw(3, 3, seed=1), labels_N, temperature=2.0, alpha=0.9)
    assert str(caught.value) == (
        "1 of 3 texts have no label: their first labels tie.\n"
        "Leave them out, or learn from the soft labels (objective: soft)."
    )
    whole_N = hinton_loss(logits_NC, draw(3, 3, seed=1), labels_N, temperature=2.0, alpha=1.0)
    assert (whole_N > 0).all()  # a teacher's distribution alone wants no label


@pytest.mark.parametrize("alpha", [0.0, 0.3, 1.0])
def test_hintons_loss_is_its_formula(alpha: float) -> None:
    student_NC, teacher_NC, labels_N = draw(4, 5), draw(4, 5, seed=1), torch.tensor([0, 4, 2, 2])
    temperature = 3.0
    p_NC = (teacher_NC / temperature).softmax(dim=-1)
    q_NC = (student_NC / temperature).softmax(dim=-1)
    kl_N = (p_NC * (p_NC / q_NC).log()).sum(dim=-1)
    ce_N = -student_NC.softmax(dim=-1)[torch.arange(4), labels_N].log()
    expected_N = alpha * temperature**2 * kl_N + (1 - alpha) * ce_N
    loss_N = hinton_loss(student_NC, teacher_NC, labels_N, temperature=temperature, alpha=alpha)
    torch.testing.assert_close(loss_N, expected_N)


def find_teacher_gradient(temperature: float, student_NC: Tensor, teacher_NC: Tensor) -> Tensor:
    """Of T²·KL(p_T ‖ q_T) alone."""
    labels_N = torch.full((len(student_NC),), NO_LABEL)
    return find_gradient(
        lambda z: hinton_loss(z, teacher_NC, labels_N, temperature=temperature, alpha=1.0),
        student_NC,
    )


@pytest.mark.parametrize("classes", [2, 4, 10])
def test_the_square_keeps_the_gradient_of_one_order_at_every_temperature(classes: int) -> None:
    """Unscaled it falls with T², by four orders from 1 to 100."""
    student_NC, teacher_NC = draw(200, classes), draw(200, classes, seed=1)
    temperatures = [1.0, 2.0, 5.0, 10.0, 30.0, 100.0]
    norms = [
        find_teacher_gradient(t, student_NC, teacher_NC).norm(dim=-1).mean().item()
        for t in temperatures
    ]
    assert max(norms) / min(norms) < 10
    unscaled = [norm / t**2 for norm, t in zip(norms, temperatures, strict=True)]
    assert unscaled[0] / unscaled[-1] > 1_000


def test_at_high_temperature_the_gradient_is_the_difference_of_centred_logits() -> None:
    student_NC, teacher_NC = draw(6, 5), draw(6, 5, seed=1) + 40.0
    limit_NC = (
        student_NC
        - student_NC.mean(dim=-1, keepdim=True)
        - (teacher_NC - teacher_NC.mean(dim=-1, keepdim=True))
    ) / 5
    distances = [
        (find_teacher_gradient(t, student_NC, teacher_NC) - limit_NC).abs().max().item()
        for t in (10.0, 100.0, 1_000.0)
    ]
    assert distances[1] < distances[0] / 5
    assert distances[2] < distances[1] / 5  # it comes nearer as 1/T
    assert distances[2] < 0.005


@pytest.mark.parametrize(
    ("temperature", "alpha", "message"),
    [
        (0.0, 0.5, "temperature 0.0: must be above 0 and finite"),
        (math.inf, 0.5, "temperature inf: must be above 0 and finite"),
        (1.0, 1.5, "alpha 1.5: must lie between 0 and 1; it is the teacher's share"),
    ],
    ids=["cold", "boundless", "more than all"],
)
def test_parameters_out_of_range_are_refused(
    temperature: float, alpha: float, message: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        hinton_loss(draw(1, 2), draw(1, 2), torch.tensor([0]), temperature=temperature, alpha=alpha)
    assert str(caught.value) == message


def test_the_dtype_is_kept_and_huge_logits_stay_finite() -> None:
    logits_NC = torch.tensor([[1e4, -1e4]])
    probs_NC = torch.tensor([[0.0, 1.0]])
    assert soft_loss(logits_NC, probs_NC).tolist() == [2e4]
    assert soft_loss(logits_NC.double(), probs_NC.double()).dtype == torch.float64
