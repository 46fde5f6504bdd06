"""Expectations over all completions of a toy, as sums: estimators are exact, or off by so much."""

import itertools
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.trainers.enumeration import (
    ALL,
    draw_table,
    find_exact_gradient,
    find_gradient,
    find_one_step_gradient,
    read_log_probs,
    read_probs,
)
from trainers.sampled_losses import (
    align_completions,
    clip_gain,
    importance_weighted_reverse_kl,
    reinforce_reverse_kl,
    sum_ahead,
)

STUDENT, TEACHER, OLD = draw_table(1), draw_table(2), draw_table(3)
MASK = ALL.mask_YC


def expect_reinforce(**options: Any) -> Tensor:
    """E_q of the estimator's gradient, over single completions."""
    table = STUDENT.clone().requires_grad_(True)
    loss = reinforce_reverse_kl(read_log_probs(table), read_log_probs(TEACHER), MASK, **options)
    return find_gradient(read_probs(STUDENT) @ loss.surrogate.sum(1), table)


def expect_reinforce_of_pairs(**options: Any) -> Tensor:
    """The same over all batches of two independent completions, averaged over the batch."""
    table = STUDENT.clone().requires_grad_(True)
    log_q_YC, log_p_YC, probs_Y = (
        read_log_probs(table),
        read_log_probs(TEACHER),
        read_probs(STUDENT),
    )
    total = torch.zeros((), dtype=torch.float64)
    for pair in map(list, itertools.product(range(len(MASK)), repeat=2)):
        loss = reinforce_reverse_kl(log_q_YC[pair], log_p_YC[pair], MASK[pair], **options)
        total = total + probs_Y[pair].prod() * loss.surrogate.sum() / 2
    return find_gradient(total, table)


def measure_error(found: Tensor, exact: Tensor) -> float:
    """Relative to the exact gradient."""
    return ((found - exact).norm() / exact.norm()).item()


def test_the_toy_is_whole() -> None:
    assert len(MASK) == 15
    assert read_probs(STUDENT).sum().item() == pytest.approx(1.0, abs=1e-14)
    assert find_exact_gradient(STUDENT, TEACHER).norm() > 0.1
    assert find_exact_gradient(STUDENT, STUDENT).abs().max() < 1e-14


# REINFORCE


@pytest.mark.parametrize("reward_to_go", [True, False])
def test_reinforce_is_unbiased(reward_to_go: bool) -> None:
    found = expect_reinforce(reward_to_go=reward_to_go)
    exact = find_exact_gradient(STUDENT, TEACHER)
    torch.testing.assert_close(found, exact, atol=1e-12, rtol=0)


@pytest.mark.parametrize("reward_to_go", [True, False])
def test_reinforce_with_a_baseline_is_unbiased(reward_to_go: bool) -> None:
    found = expect_reinforce_of_pairs(reward_to_go=reward_to_go, baseline="mean")
    exact = find_exact_gradient(STUDENT, TEACHER)
    torch.testing.assert_close(found, exact, atol=1e-12, rtol=0)


def test_the_values_mean_is_the_reverse_kl() -> None:
    loss = reinforce_reverse_kl(read_log_probs(STUDENT), read_log_probs(TEACHER), MASK)
    q_Y, p_Y = read_probs(STUDENT), read_probs(TEACHER)
    kl = (q_Y * (q_Y.log() - p_Y.log())).sum()
    torch.testing.assert_close(q_Y @ loss.value.sum(1), kl, atol=1e-12, rtol=0)


def test_a_discount_biases_the_estimate_the_more_the_smaller_it_is() -> None:
    exact = find_exact_gradient(STUDENT, TEACHER)
    errors = [
        measure_error(expect_reinforce(discount=g), exact) for g in (1.0, 0.99, 0.9, 0.5, 0.0)
    ]
    assert errors == sorted(errors)
    assert errors == pytest.approx([0.0, 0.036, 0.356, 1.669, 3.064], abs=1e-3)


def test_without_reward_to_go_a_discount_is_another_objectives_exact_gradient() -> None:
    found = expect_reinforce(reward_to_go=False, discount=0.9)
    discounted = find_exact_gradient(STUDENT, TEACHER, discount=0.9)
    torch.testing.assert_close(found, discounted, atol=1e-12, rtol=0)
    exact = find_exact_gradient(STUDENT, TEACHER)
    assert measure_error(found, exact) == pytest.approx(0.367, abs=1e-3)


def test_at_discount_zero_each_token_answers_for_itself() -> None:
    found = expect_reinforce(discount=0.0)
    one_step = find_one_step_gradient(STUDENT, TEACHER)
    torch.testing.assert_close(found, one_step, atol=1e-12, rtol=0)


def test_differentiating_the_sampled_log_ratio_teaches_nothing() -> None:
    """The mistake that REINFORCE is there to avoid: its gradient's expectation is 0."""
    table = STUDENT.clone().requires_grad_(True)
    ratio_YC = torch.where(MASK, read_log_probs(table) - read_log_probs(TEACHER), 0)
    found = find_gradient(read_probs(STUDENT) @ ratio_YC.sum(1), table)
    assert found.abs().max() < 1e-12
    assert find_exact_gradient(STUDENT, TEACHER).abs().max() > 0.05


def test_a_baseline_is_the_mean_of_the_other_rows() -> None:
    f_BC = torch.tensor([[1.0, 2.0], [3.0, 0.0], [5.0, 6.0], [7.0, 0.0]])
    mask_BC = torch.tensor([[True, True], [True, False], [True, True], [True, False]])
    log_q_BC = f_BC.clone().requires_grad_(True)

    def weigh(rows: int, **options: Any) -> list[list[float]]:
        log_p_BC = log_q_BC.detach() - f_BC
        loss = reinforce_reverse_kl(
            log_q_BC[:rows], log_p_BC[:rows], mask_BC[:rows], baseline="mean", **options
        )
        return find_gradient(loss.surrogate.sum(), log_q_BC)[:rows].tolist()

    # returns to go: [3, 2], [3, 0], [11, 6], [7, 0]
    thirds = [[-12.0, 0.0], [-12.0, 0.0], [20.0, 16.0], [4.0, 0.0]]
    assert weigh(4) == [pytest.approx([x / 3 for x in row]) for row in thirds]
    assert weigh(2) == [[0.0, 2.0], [0.0, 0.0]]
    assert weigh(1) == [[3.0, 2.0]]  # it has no others
    assert weigh(3, reward_to_go=False) == [[-4.0, -4.0], [-4.0, 0.0], [8.0, 8.0]]


def test_the_loss_shows_the_value_and_has_the_surrogates_gradient() -> None:
    log_q_BC = torch.tensor([[-1.0, -2.0]], requires_grad=True)
    log_p_BC = torch.tensor([[-3.0, -1.0]], requires_grad=True)
    loss = reinforce_reverse_kl(log_q_BC, log_p_BC, torch.tensor([[True, True]]))
    assert loss.loss.tolist() == [[2.0, -1.0]]
    assert not loss.value.requires_grad
    assert find_gradient(loss.loss.sum(), log_q_BC).tolist() == [[1.0, -1.0]]
    assert torch.autograd.grad(loss.loss.sum(), log_p_BC, allow_unused=True) == (None,)


# On-policy with importance weights


def expect_importance_weighted(behaviour: Tensor, **options: Any) -> Tensor:
    table = STUDENT.clone().requires_grad_(True)
    loss = importance_weighted_reverse_kl(
        read_log_probs(table), read_log_probs(behaviour), read_log_probs(TEACHER), **options
    )
    surrogate_Y = torch.where(MASK, loss.surrogate, 0).sum(1)
    return find_gradient(read_probs(behaviour) @ surrogate_Y, table)


def test_on_its_own_samples_the_weighted_loss_is_reinforce_without_a_future() -> None:
    found = expect_importance_weighted(STUDENT)
    torch.testing.assert_close(found, expect_reinforce(discount=0.0), atol=1e-12, rtol=0)


def test_on_older_samples_the_weighted_loss_has_the_gradient_that_it_names() -> None:
    table = STUDENT.clone().requires_grad_(True)
    gap_PV = OLD.log_softmax(-1) - TEACHER.log_softmax(-1)
    value_P = (table.softmax(-1) * gap_PV).sum(-1)
    value_YC = torch.where(MASK, value_P[ALL.prefix_YC], 0)
    expected = find_gradient(read_probs(OLD) @ value_YC.sum(1), table)
    found = expect_importance_weighted(OLD)
    torch.testing.assert_close(found, expected, atol=1e-12, rtol=0)
    assert measure_error(expect_importance_weighted(OLD, clip=0.2), expected) > 0.1


def test_a_clipped_ratio_gives_no_gradient_in_the_direction_of_its_gain() -> None:
    ratio_N = torch.tensor([1.5, 1.5, 0.5, 0.5, 1.1], requires_grad=True)
    gain_N = torch.tensor([2.0, -2.0, 2.0, -2.0, 2.0])
    clipped_N = clip_gain(ratio_N, gain_N, 0.2)
    assert clipped_N.tolist() == pytest.approx([2.4, -3.0, 1.0, -1.6, 2.2])
    assert find_gradient(clipped_N.sum(), ratio_N).tolist() == [0.0, -2.0, 2.0, 0.0, 2.0]
    assert clip_gain(ratio_N, gain_N, None).tolist() == pytest.approx([3.0, -3.0, 1.0, -1.0, 2.2])


def test_the_weighted_loss_by_hand() -> None:
    """A token that the teacher likes better than the student did is made likelier."""
    log_q = torch.tensor([-1.0], requires_grad=True)
    loss = importance_weighted_reverse_kl(log_q, torch.tensor([-2.0]), torch.tensor([-0.5]))
    ratio = torch.tensor(1.0).exp().item()
    assert loss.value.tolist() == [-1.5]
    assert loss.surrogate.item() == pytest.approx(-ratio * 1.5)
    assert find_gradient(loss.surrogate.sum(), log_q).item() == pytest.approx(-ratio * 1.5)


# Rows


def test_flat_values_become_rows_and_flat_again() -> None:
    values_N = torch.tensor([1.0, 2.0, 3.0, 4.0, 5.0, 6.0], requires_grad=True)
    mask_BC = torch.arange(3) < torch.tensor([[2], [1], [3]])
    values_BC = align_completions(values_N, mask_BC)
    assert values_BC.tolist() == [[1.0, 2.0, 0.0], [3.0, 0.0, 0.0], [4.0, 5.0, 6.0]]
    assert values_BC[mask_BC].tolist() == values_N.tolist()
    weights_BC = torch.arange(9.0).view(3, 3)
    gradient_N = find_gradient((values_BC * weights_BC).sum(), values_N)
    assert gradient_N.tolist() == [0.0, 1.0, 3.0, 6.0, 7.0, 8.0]


@pytest.mark.parametrize(
    ("discount", "sums"), [(1.0, [7.0, 6.0, 4.0]), (0.5, [3.0, 4.0, 4.0]), (0.0, [1.0, 2.0, 4.0])]
)
def test_sums_ahead(discount: float, sums: list[float]) -> None:
    assert sum_ahead(torch.tensor([[1.0, 2.0, 4.0]]), discount).tolist() == [sums]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"baseline": "men"},
            "baseline 'men': not one (did you mean mean?); choose one of none, mean",
        ),
        ({"discount": 1.1}, "discount 1.1: must be from 0 to 1 (1: unbiased)"),
        ({"discount": -0.1}, "discount -0.1: must be from 0 to 1 (1: unbiased)"),
    ],
)
def test_bad_options_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError) as caught:
        expect_reinforce(**options)
    assert str(caught.value) == message


def test_a_clip_that_is_none_is_refused() -> None:
    ones = torch.ones(1)
    with pytest.raises(ValueError) as caught:
        importance_weighted_reverse_kl(ones, ones, ones, clip=1.0)
    assert str(caught.value) == "clip 1.0: must be above 0 and below 1, or left out"
