import itertools
import math
from typing import get_args

import pytest
import torch
from torch import Tensor

from generators.errors import ConfigError
from trainers.losses import Divergence, divergence
from trainers.sparse import (
    Tail,
    differentiate_sparse,
    draw_tokens,
    keep_top,
    merge_draws,
    sparse_divergence,
    truncate,
)
from trainers.targets import TopTokens

KINDS: tuple[Divergence, ...] = get_args(Divergence)
FINITE_WITHOUT_TAIL: tuple[Divergence, ...] = ("forward", "jsd", "skew_forward", "skew_reverse")


def draw_logits(seed: int, *, scale: float = 2.0, tokens: int = 6, vocabulary: int = 11) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(tokens, vocabulary, generator=generator, dtype=torch.float64) * scale


def value_and_gradient(
    student: Tensor, teacher: TopTokens, kind: Divergence, tail: Tail = "bucket", **options: float
) -> tuple[Tensor, Tensor]:
    student = student.clone().requires_grad_(True)
    value = sparse_divergence(student, teacher, kind, tail=tail, **options)
    (gradient,) = torch.autograd.grad(value.sum(), student)
    return value.detach(), gradient


def test_top_tokens_keep_their_raw_masses_and_ranks() -> None:
    logits = torch.tensor([[0.5, 0.1, 0.1, 0.3], [0.97, 0.01, 0.01, 0.01]]).log() + 7
    tokens = keep_top(logits, top_p=0.7, top_k=3)
    assert tokens.ids_NK.tolist() == [[0, 3], [0, 0]]
    torch.testing.assert_close(tokens.log_probs_NK.exp(), torch.tensor([[0.5, 0.3], [0.97, 0.0]]))
    assert tokens.log_probs_NK[1, 1] == -math.inf
    assert (tokens.kept, tokens.temperature) == ("top", 1.0)
    assert keep_top(logits, top_p=0.7, top_k=1).ids_NK.tolist() == [[0], [0]]
    assert keep_top(logits, top_k=50).ids_NK.shape == (2, 4)


def test_top_tokens_are_softened_first() -> None:
    logits = draw_logits(1)
    tokens = keep_top(logits, top_k=4, temperature=3.0)
    assert tokens.temperature == 3.0
    expected = (logits / 3).softmax(-1).gather(-1, tokens.ids_NK)
    torch.testing.assert_close(tokens.log_probs_NK.exp(), expected)


def test_masses_of_bfloat16_logits_are_taken_in_float32() -> None:
    logits = draw_logits(1).bfloat16()
    expected = keep_top(logits.float(), top_k=4).log_probs_NK
    assert expected.dtype == torch.float32
    assert torch.equal(keep_top(logits, top_k=4).log_probs_NK, expected)
    assert draw_tokens(logits, draws=3).log_probs_NK.dtype == torch.float32


@pytest.mark.parametrize(("top_p", "top_k"), [(0.9, 11), (0.9, 3), (0.5, 2), (1.0, 5)])
def test_truncating_raw_masses_again_changes_nothing(top_p: float, top_k: int) -> None:
    once = keep_top(draw_logits(1, tokens=200), top_p=top_p, top_k=top_k)
    twice = truncate(once, top_p=top_p, top_k=top_k)
    assert torch.equal(once.ids_NK, twice.ids_NK)
    assert torch.equal(once.log_probs_NK, twice.log_probs_NK)


def test_truncating_renormalised_masses_again_cuts_more() -> None:
    """Why masses are kept raw: 0.9 of what was 0.9 is less."""
    once = keep_top(draw_logits(1, tokens=200), top_p=0.9, top_k=11)
    renormalised = once._replace(log_probs_NK=once.log_probs_NK.log_softmax(-1))
    twice = truncate(renormalised, top_p=0.9, top_k=11)
    kept_once, kept_twice = ((tokens.log_probs_NK > -math.inf).sum(-1) for tokens in (once, twice))
    assert bool((kept_twice <= kept_once).all())
    assert (kept_twice < kept_once).sum() > 50


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        ({"top_p": 0.0}, "top_p 0.0: must be above 0 and at most 1"),
        ({"top_p": 1.1}, "top_p 1.1: must be above 0 and at most 1"),
        ({"top_k": 0}, "top_k 0: must be 1 or more"),
    ],
)
def test_limits_out_of_range_are_refused(limits: dict[str, float], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        keep_top(draw_logits(1), **{"top_k": 3, **limits})  # pyright: ignore[reportArgumentType]
    assert str(caught.value) == message


def test_drawn_tokens_have_no_ranks() -> None:
    with pytest.raises(ConfigError) as caught:
        truncate(draw_tokens(draw_logits(1), draws=4), top_k=2)
    assert str(caught.value) == "tokens that were drawn have no ranks to cut at: draw fewer instead"


def test_draws_of_an_id_are_counted() -> None:
    tokens = merge_draws(torch.tensor([[7, 3, 7, 7], [2, 9, 5, 4]]), torch.full((2, 4), 0.25))
    assert tokens.kept == "sampled"
    assert tokens.ids_NK.tolist() == [[3, 7, 0, 0], [2, 4, 5, 9]]
    assert tokens.log_probs_NK.exp().tolist() == [[0.25, 0.75, 0, 0], [0.25] * 4]


@pytest.mark.parametrize("proposal", [1.0, 0.5])
def test_masses_of_draws_estimate_the_distribution(proposal: float) -> None:
    logits = draw_logits(1, tokens=1)
    tokens = draw_tokens(
        logits.expand(200, -1),
        draws=500,
        temperature=2.0,
        proposal=proposal,
        generator=torch.Generator().manual_seed(0),
    )
    torch.testing.assert_close(
        tokens.log_probs_NK.exp().sum(-1), torch.ones(200, dtype=torch.float64)
    )
    estimate = torch.zeros(200, 11, dtype=torch.float64)
    estimate.scatter_add_(-1, tokens.ids_NK, tokens.log_probs_NK.exp())
    error = (estimate.mean(0) - (logits[0] / 2).softmax(-1)).abs().max()
    assert error < 4 * 0.5 / math.sqrt(200 * 500)


def test_draws_follow_their_generator() -> None:
    first, again, other = (
        draw_tokens(draw_logits(1), draws=20, generator=torch.Generator().manual_seed(seed))
        for seed in (1, 1, 2)
    )
    assert torch.equal(first.log_probs_NK, again.log_probs_NK)
    assert not torch.equal(first.log_probs_NK, other.log_probs_NK)


def lump(logits: Tensor, tokens: TopTokens) -> Tensor:
    """Log-masses of a row's kept tokens and of all others together, written out."""
    probs = logits.softmax(-1)
    rows = []
    for row, ids, logs in zip(probs, tokens.ids_NK, tokens.log_probs_NK, strict=True):
        kept = [int(id) for id, log in zip(ids, logs, strict=True) if log > -math.inf]
        rest = [id for id in range(len(row)) if id not in kept]
        rows.append(torch.stack([*row[kept], row[rest].sum()]).log())
    return torch.stack(rows)


@pytest.mark.parametrize("kind", KINDS)
def test_bucket_is_the_divergence_of_lumped_distributions(kind: Divergence) -> None:
    student, teacher = draw_logits(1).requires_grad_(True), draw_logits(2)
    tokens = keep_top(teacher, top_k=4)
    expected = divergence(lump(student, tokens), lump(teacher, tokens), kind)
    (expected_gradient,) = torch.autograd.grad(expected.sum(), student)
    value, gradient = value_and_gradient(student.detach(), tokens, kind)
    torch.testing.assert_close(value, expected.detach(), atol=1e-10, rtol=0)
    torch.testing.assert_close(gradient, expected_gradient, atol=1e-10, rtol=0)


@pytest.mark.parametrize("kind", KINDS)
def test_bucket_bounds_the_whole_from_below(kind: Divergence) -> None:
    student, teacher = draw_logits(1, tokens=50), draw_logits(2, tokens=50)
    whole = divergence(student, teacher, kind)
    earlier = torch.zeros(50, dtype=torch.float64)
    for k in (1, 3, 6, 9):
        value = sparse_divergence(student, keep_top(teacher, top_k=k), kind)
        assert bool((value >= earlier - 1e-12).all())  # the more is kept, the closer it is
        assert bool((value <= whole + 1e-12).all())
        earlier = value
    assert (whole - earlier).mean() > 1e-3


@pytest.mark.parametrize("kind", KINDS)
def test_bucket_is_zero_with_zero_gradient_at_equality(kind: Divergence) -> None:
    logits = draw_logits(1, vocabulary=40)
    value, gradient = value_and_gradient(logits + 3, keep_top(logits, top_p=0.8, top_k=5), kind)
    assert value.abs().max() < 1e-12
    assert gradient.abs().max() < 1e-12


@pytest.mark.parametrize("kind", FINITE_WITHOUT_TAIL)
def test_renormalising_the_teacher_pulls_an_equal_student_away(kind: Divergence) -> None:
    logits = draw_logits(1, scale=1.0, vocabulary=40)
    tokens = keep_top(logits, top_k=5)
    value, gradient = value_and_gradient(logits, tokens, kind, "renormalised")
    assert value.min() > 0.05
    assert gradient.norm(dim=-1).min() > 0.1 * (0.5 if kind == "jsd" else 1)


def test_renormalised_forward_gradient_is_q_minus_the_renormalised() -> None:
    student, teacher = draw_logits(1), draw_logits(2)
    tokens = keep_top(teacher, top_k=3)
    target = torch.zeros_like(teacher)
    target.scatter_(-1, tokens.ids_NK, tokens.log_probs_NK.softmax(-1))
    _, gradient = value_and_gradient(student, tokens, "forward", "renormalised")
    torch.testing.assert_close(gradient, student.softmax(-1) - target, atol=1e-12, rtol=0)


@pytest.mark.parametrize("draws", [1, 2, 3])
def test_mean_gradient_over_all_draws_is_that_of_the_whole(draws: int) -> None:
    student, teacher = (
        draw_logits(1, tokens=1, vocabulary=4),
        draw_logits(2, tokens=1, vocabulary=4),
    )
    p = teacher.softmax(-1)[0]
    mean_gradient, mean_value = torch.zeros_like(student), 0.0
    for ids in itertools.product(range(4), repeat=draws):
        chance = float(p[list(ids)].prod())
        weights = torch.full((1, draws), 1 / draws, dtype=torch.float64)
        tokens = merge_draws(torch.tensor([ids]), weights)
        value, gradient = value_and_gradient(student, tokens, "forward")
        mean_gradient += chance * gradient
        mean_value += chance * value.item()
    torch.testing.assert_close(
        mean_gradient, student.softmax(-1) - teacher.softmax(-1), atol=1e-12, rtol=0
    )
    # the value lacks no divergence, but the estimates lack entropy
    assert mean_value > divergence(student, teacher, "forward").item()


def test_mean_gradient_of_top_tokens_is_not_that_of_the_whole() -> None:
    """The bias of both: it is what sampling has not."""
    student, teacher = draw_logits(1), draw_logits(2)
    whole = student.softmax(-1) - teacher.softmax(-1)
    tails: tuple[Tail, ...] = ("bucket", "renormalised")
    for tail in tails:
        _, gradient = value_and_gradient(student, keep_top(teacher, top_k=2), "forward", tail)
        assert (gradient - whole).norm() > 0.05


@pytest.mark.parametrize("kind", ["jsd", "skew_forward", "skew_reverse"])
def test_other_kinds_are_biased_on_draws(kind: Divergence) -> None:
    student, teacher = (
        draw_logits(1, tokens=1, vocabulary=4),
        draw_logits(2, tokens=1, vocabulary=4),
    )
    p = teacher.softmax(-1)[0]
    one = torch.ones((1, 1), dtype=torch.float64)
    mean = sum(
        p[id] * value_and_gradient(student, merge_draws(torch.tensor([[id]]), one), kind)[1]
        for id in range(4)
    )
    student.requires_grad_(True)
    (whole,) = torch.autograd.grad(divergence(student, teacher, kind).sum(), student)
    assert (mean - whole).norm() > 0.02


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("temperature", [1.0, 2.0])
def test_all_tokens_kept_is_the_whole(kind: Divergence, temperature: float) -> None:
    student, teacher = draw_logits(1).requires_grad_(True), draw_logits(2)
    whole = divergence(student, teacher, kind, temperature=temperature)
    (expected,) = torch.autograd.grad(whole.sum(), student)
    tokens = keep_top(teacher, top_k=11, temperature=temperature)
    value, gradient = value_and_gradient(student.detach(), tokens, kind, temperature=temperature)
    torch.testing.assert_close(value, whole.detach(), atol=1e-10, rtol=0)
    torch.testing.assert_close(gradient, expected, atol=1e-10, rtol=0)


@pytest.mark.parametrize("kind", FINITE_WITHOUT_TAIL)
@pytest.mark.parametrize("tail", ["bucket", "renormalised"])
def test_gradient_is_the_slope_of_the_value(kind: Divergence, tail: Tail) -> None:
    student = draw_logits(1, tokens=3, vocabulary=6).requires_grad_(True)
    teacher = draw_logits(2, tokens=3, vocabulary=6)
    for tokens in (
        keep_top(teacher, top_p=0.8, top_k=4, temperature=1.5),
        draw_tokens(teacher, draws=3, temperature=1.5),
    ):
        assert torch.autograd.gradcheck(
            lambda logits, tokens=tokens: sparse_divergence(
                logits, tokens, kind, tail=tail, temperature=1.5
            ),
            student,
        )


def test_unused_places_hold_any_id() -> None:
    """Of a kept token, of one in the tail, or of none in particular."""
    student = draw_logits(1, tokens=1)
    short = TopTokens(torch.tensor([[4, 7]]), torch.tensor([[0.5, 0.2]]).log())
    expected = value_and_gradient(student, short, "reverse")
    for id in (0, 4, 10):
        padded = TopTokens(torch.tensor([[4, id, 7]]), torch.tensor([[0.5, 0.0, 0.2]]).log())
        torch.testing.assert_close(value_and_gradient(student, padded, "reverse"), expected)


@pytest.mark.parametrize("kind", KINDS)
def test_vanishing_tails_stay_finite_and_exact(kind: Divergence) -> None:
    """In float32 the masses of a sure teacher sum to 1, and so do those of a sure student."""
    sure = torch.tensor([[60.0, 58.0, 0.0, 0.0], [60.0, 20.0, 0.0, -60.0]])
    unsure = torch.tensor([[1.0, 0.0, 2.0, -1.0], [0.0, 1.0, 0.0, 0.0]])
    for student, teacher in ((sure, unsure), (unsure, sure), (sure, sure + 1)):
        tokens = keep_top(teacher, top_k=2)
        value, gradient = value_and_gradient(student, tokens, kind)
        wide = TopTokens(tokens.ids_NK, keep_top(teacher.double(), top_k=2).log_probs_NK)
        exact_value, exact_gradient = value_and_gradient(student.double(), wide, kind)
        assert torch.isfinite(value).all()
        if teacher is unsure or kind == "forward":  # the others see where a tail's mass ends
            torch.testing.assert_close(value.double(), exact_value, rtol=1e-4, atol=1e-4)
            torch.testing.assert_close(gradient.double(), exact_gradient, rtol=1e-4, atol=1e-4)
    equal_value, equal_gradient = value_and_gradient(sure, keep_top(sure, top_k=2), kind)
    assert equal_value.abs().max() < 1e-4
    assert equal_gradient.abs().max() < 1e-5


def test_half_precision_masses_above_one_teach_reverse() -> None:
    tokens = TopTokens(torch.tensor([[0, 1]]), torch.tensor([[0.9, 0.1005]]).log().half())
    value, gradient = value_and_gradient(torch.zeros(1, 4), tokens, "reverse")
    assert math.isfinite(value.item())
    assert value.item() > 1
    assert bool((gradient[0, 2:] > 0).all())  # the tail is to shrink


@pytest.mark.parametrize(
    ("tokens", "tail", "message"),
    [
        (
            draw_tokens(draw_logits(1), draws=3),
            "bucket",
            (
                "reverse is infinite against sampled tokens without a tail: the student gives "
                "mass to "
                "tokens of which the teacher says nothing.\n"
                "Either keep the top tokens with tail: bucket, or choose forward, jsd, or a skew "
                "kind "
                "with alpha above 0."
            ),
        ),
        (
            keep_top(draw_logits(1), top_k=3),
            "renormalised",
            (
                "reverse is infinite against top tokens without a tail: the student gives mass to "
                "tokens of which the teacher says nothing.\n"
                "Either set tail: bucket, or choose forward, jsd, or a skew kind with alpha above "
                "0."
            ),
        ),
    ],
    ids=["sampled", "renormalised"],
)
def test_kinds_that_want_a_tail_say_so(tokens: TopTokens, tail: Tail, message: str) -> None:
    student = draw_logits(2)
    with pytest.raises(ConfigError) as caught:
        sparse_divergence(student, tokens, "reverse", tail=tail)
    assert str(caught.value) == message
    with pytest.raises(ConfigError) as caught:
        sparse_divergence(student, tokens, "skew_reverse", tail=tail, alpha=0.0)
    assert str(caught.value) == f"skew_{message}"


def test_tokens_of_another_temperature_are_refused() -> None:
    tokens = keep_top(draw_logits(1), top_k=3, temperature=2.0)
    with pytest.raises(ConfigError) as caught:
        sparse_divergence(draw_logits(2), tokens, "forward")
    assert str(caught.value) == (
        "temperature 1.0: the teacher's tokens were taken at 2.0, and a few tokens cannot be "
        "brought to another.\n"
        "Set temperature: 2.0, or take the tokens again."
    )


def test_closed_form_leaves_the_logits_alone() -> None:
    student, tokens = draw_logits(1), keep_top(draw_logits(2), top_k=3)
    kept = student.clone()
    slope = differentiate_sparse(student, tokens, "jsd")
    assert torch.equal(student, kept)
    assert slope.gradient_NV.sum(-1).abs().max() < 1e-12
