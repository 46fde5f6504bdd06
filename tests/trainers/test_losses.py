import math
from typing import get_args

import pytest
import torch
from torch import Tensor

from trainers.losses import DIVERGENCES, Divergence, cross_entropy, divergence

KINDS: tuple[Divergence, ...] = get_args(Divergence)


def draw_logits(seed: int, *, scale: float = 2.0, tokens: int = 6, vocabulary: int = 11) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(tokens, vocabulary, generator=generator, dtype=torch.float64) * scale


def grad_of(kind: Divergence, student: Tensor, teacher: Tensor, **options: float) -> Tensor:
    student = student.clone().requires_grad_(True)
    divergence(student, teacher, kind, **options).sum().backward()
    assert student.grad is not None
    return student.grad


@pytest.mark.parametrize("kind", KINDS)
def test_divergence_is_zero_with_zero_gradient_at_equality(kind: Divergence) -> None:
    logits = draw_logits(1)
    shifted = logits + 3.0  # the same distribution
    torch.testing.assert_close(
        divergence(logits, shifted, kind), torch.zeros(6, dtype=torch.float64), atol=1e-12, rtol=0
    )
    assert grad_of(kind, logits, shifted).abs().max() < 1e-12


@pytest.mark.parametrize("kind", KINDS)
def test_divergence_is_positive_elsewhere_and_keeps_the_dtype(kind: Divergence) -> None:
    student, teacher = draw_logits(1), draw_logits(2)
    values = divergence(student, teacher, kind)
    assert values.shape == (6,)
    assert values.dtype == torch.float64
    assert values.min() > 1e-3
    assert divergence(student.float(), teacher.float(), kind).dtype == torch.float32


def test_forward_is_the_sum_over_the_vocabulary() -> None:
    student, teacher = draw_logits(3, tokens=1), draw_logits(4, tokens=1)
    p, q = teacher.softmax(-1)[0].tolist(), student.softmax(-1)[0].tolist()
    by_hand = sum(a * (math.log(a) - math.log(b)) for a, b in zip(p, q, strict=True))
    assert divergence(student, teacher, "forward").item() == pytest.approx(by_hand, abs=1e-12)


def test_forward_gradient_is_q_minus_p() -> None:
    student, teacher = draw_logits(1), draw_logits(2)
    expected = student.softmax(-1) - teacher.softmax(-1)
    torch.testing.assert_close(grad_of("forward", student, teacher), expected, atol=1e-10, rtol=0)


def test_reverse_gradient_is_its_closed_form() -> None:
    student, teacher = draw_logits(1), draw_logits(2)
    q, difference = student.softmax(-1), student.log_softmax(-1) - teacher.log_softmax(-1)
    kl = (q * difference).sum(-1, keepdim=True)
    torch.testing.assert_close(
        grad_of("reverse", student, teacher), q * (difference - kl), atol=1e-10, rtol=0
    )


def test_temperature_softens_and_leaves_t_squared_out() -> None:
    student, teacher = draw_logits(1), draw_logits(2)
    torch.testing.assert_close(
        divergence(student, teacher, "forward", temperature=4.0),
        divergence(student / 4, teacher / 4, "forward"),
    )


@pytest.mark.parametrize(
    ("beta", "scale", "limit"),
    [(1e-6, 1e-6, "forward"), (1 - 1e-6, 1e-6, "reverse")],
    ids=["to_forward", "to_reverse"],
)
def test_jsd_tends_to_its_limits(beta: float, scale: float, limit: Divergence) -> None:
    student, teacher = draw_logits(1), draw_logits(2)
    torch.testing.assert_close(
        divergence(student, teacher, "jsd", beta=beta) / scale,
        divergence(student, teacher, limit),
        atol=1e-3,
        rtol=1e-3,
    )


def test_jsd_is_symmetric_at_one_half_and_at_most_ln_2() -> None:
    student, teacher = draw_logits(1, scale=30), draw_logits(2, scale=30)
    values = divergence(student, teacher, "jsd")
    torch.testing.assert_close(values, divergence(teacher, student, "jsd"))
    assert values.max() <= math.log(2)


@pytest.mark.parametrize(
    ("kind", "limit"), [("skew_forward", "forward"), ("skew_reverse", "reverse")]
)
def test_skew_is_its_kl_at_alpha_zero(kind: Divergence, limit: Divergence) -> None:
    student, teacher = draw_logits(1), draw_logits(2)
    exact = divergence(student, teacher, limit)
    torch.testing.assert_close(divergence(student, teacher, kind, alpha=0.0), exact)
    near = divergence(student, teacher, kind, alpha=1e-9)
    torch.testing.assert_close(near, exact, atol=1e-6, rtol=1e-6)
    assert bool((divergence(student, teacher, kind, alpha=0.3) < exact).all())


@pytest.mark.parametrize("kind", KINDS)
def test_huge_logits_stay_finite(kind: Divergence) -> None:
    student = torch.tensor([[1e4, -1e4, 0.0]])
    teacher = torch.tensor([[-1e4, 1e4, 0.0]])
    assert torch.isfinite(divergence(student, teacher, kind)).all()
    assert torch.isfinite(grad_of(kind, student, teacher)).all()


@pytest.mark.parametrize("beta", [1e-3, 0.3, 0.9, 1 - 1e-3])
def test_jsd_is_the_sum_of_its_two_divergences(beta: float) -> None:
    student, teacher = draw_logits(1), draw_logits(2)
    q, p = student.softmax(-1), teacher.softmax(-1)
    m = beta * p + (1 - beta) * q
    by_hand = beta * (p * (p / m).log()).sum(-1) + (1 - beta) * (q * (q / m).log()).sum(-1)
    torch.testing.assert_close(
        divergence(student, teacher, "jsd", beta=beta), by_hand, atol=1e-12, rtol=0
    )


def test_jsd_shrinks_towards_its_ends_without_a_jump() -> None:
    """So a beta of 0.001 is not nearly forward: it is a thousandth of it."""
    student, teacher = draw_logits(1), draw_logits(2)
    betas = [1e-4, 1e-3, 1e-2, 0.1, 0.5, 0.9, 0.99, 0.999, 0.9999]
    values = [divergence(student, teacher, "jsd", beta=beta).mean().item() for beta in betas]
    assert values[:5] == sorted(values[:5])
    assert values[5:] == sorted(values[5:], reverse=True)
    assert values[0] < 1e-4 * divergence(student, teacher, "forward").mean().item()
    assert values[-1] < 1e-4 * divergence(student, teacher, "reverse").mean().item()


def test_forward_on_any_tokens_is_not_reverse() -> None:
    """Whose tokens they are changes no gradient at a token: (student, forward) stays forward."""
    student, teacher = draw_logits(1), draw_logits(2)
    forward, reverse = (
        grad_of("forward", student, teacher),
        grad_of("reverse", student, teacher),
    )
    assert (forward - reverse).norm() > reverse.norm() / 3


def find_nearest_bell(kind: Divergence) -> tuple[float, float]:
    """Mean and deviation of the bell nearest to two modes, at -5 and at 5, both of deviation 1."""
    places_V = torch.arange(-15, 16, dtype=torch.float64)
    modes_2V = torch.stack([-((places_V - 5) ** 2) / 2, -((places_V + 5) ** 2) / 2 - 0.2])
    shapes_S2 = torch.cartesian_prod(
        torch.arange(-8, 8.1, 0.5, dtype=torch.float64),
        torch.arange(0.5, 8.1, 0.5, dtype=torch.float64),
    )
    bells_SV = -(((places_V - shapes_S2[:, :1]) / shapes_S2[:, 1:]) ** 2) / 2
    values_S = divergence(bells_SV, modes_2V.logsumexp(0), kind)
    mean, deviation = shapes_S2[values_S.argmin()].tolist()
    return mean, deviation


def test_forward_covers_two_modes_and_reverse_seeks_one() -> None:
    assert find_nearest_bell("forward") == (0.5, 5.0)
    assert find_nearest_bell("reverse") == (5.0, 1.0)


CHOICE = f"choose one of {', '.join(DIVERGENCES)}"
AT_THE_ENDS = (
    "at the ends it vanishes: choose the kind forward (beta → 0) or reverse (beta → 1) instead"
)


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        ("foward", {}, f"divergence 'foward': not a kind (did you mean forward?); {CHOICE}"),
        ("wasserstein", {}, f"divergence 'wasserstein': not a kind; {CHOICE}"),
        ("jsd", {"beta": 0.0}, f"beta 0.0: jsd needs 0 < beta < 1; {AT_THE_ENDS}"),
        ("jsd", {"beta": 1.0}, f"beta 1.0: jsd needs 0 < beta < 1; {AT_THE_ENDS}"),
        (
            "skew_forward",
            {"alpha": 1.0},
            "alpha 1.0: skew_forward needs 0 <= alpha < 1; at 1 it vanishes",
        ),
        (
            "skew_reverse",
            {"alpha": -0.1},
            "alpha -0.1: skew_reverse needs 0 <= alpha < 1; at 1 it vanishes",
        ),
        ("forward", {"temperature": 0.0}, "temperature 0.0: must be above 0 and finite"),
        ("forward", {"temperature": math.nan}, "temperature nan: must be above 0 and finite"),
    ],
)
def test_bad_parameters_are_refused(kind: str, options: dict[str, float], message: str) -> None:
    logits = draw_logits(1)
    with pytest.raises(ValueError) as caught:
        divergence(logits, logits, kind, **options)  # pyright: ignore[reportArgumentType]
    assert str(caught.value) == message


def test_cross_entropy_is_the_negative_log_likelihood_of_each_label() -> None:
    logits, labels = draw_logits(1, tokens=2), torch.tensor([3, 0])
    expected = -logits.log_softmax(-1)[[0, 1], labels]
    torch.testing.assert_close(cross_entropy(logits, labels), expected)
