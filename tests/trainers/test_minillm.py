"""MiniLLM's two parts, over all completions of a toy: exact where they claim to be."""

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
    mix_tables,
    read_log_probs,
    read_probs,
)
from trainers.losses import divergence
from trainers.minillm import MiniLLMLoss, add_corpus_loss, minillm_loss, sum_after
from trainers.sampled_losses import sum_ahead

STUDENT, TEACHER = draw_table(1), draw_table(2)
MIXED = mix_tables(TEACHER, STUDENT, 0.2)
MASK = ALL.mask_YC
UNBIASED: dict[str, Any] = {"weighting": "cumulative", "normalise_length": False, "clip": None}


def compute(table: Tensor, behaviour: Tensor, **options: Any) -> MiniLLMLoss:
    kl_YC = divergence(table, TEACHER, "reverse")[ALL.prefix_YC]
    return minillm_loss(
        torch.where(MASK, kl_YC, torch.nan),
        read_log_probs(table),
        read_log_probs(TEACHER),
        read_log_probs(behaviour),
        MASK,
        **(UNBIASED | options),
    )


def expect(behaviour: Tensor, part: str = "loss_BC", **options: Any) -> Tensor:
    """The expectation of a part's gradient, under what draws the completions."""
    table = STUDENT.clone().requires_grad_(True)
    part_YC = getattr(compute(table, behaviour, **options), part)
    return find_gradient(read_probs(behaviour) @ part_YC.sum(1), table)


def measure_error(found: Tensor) -> float:
    exact = find_exact_gradient(STUDENT, TEACHER)
    return ((found - exact).norm() / exact.norm()).item()


@pytest.mark.parametrize("weighting", ["per_token", "cumulative"])
def test_on_the_students_own_samples_the_parts_sum_to_the_exact_gradient(weighting: str) -> None:
    found = expect(STUDENT, weighting=weighting)
    exact = find_exact_gradient(STUDENT, TEACHER)
    torch.testing.assert_close(found, exact, atol=1e-12, rtol=0)
    one_step = expect(STUDENT, "one_step_BC", weighting=weighting)
    expected = find_one_step_gradient(STUDENT, TEACHER)
    torch.testing.assert_close(one_step, expected, atol=1e-12, rtol=0)


@pytest.mark.parametrize("share", [0.2, 0.5, 0.9])
def test_cumulative_weights_are_unbiased_on_samples_of_the_mixture(share: float) -> None:
    found = expect(mix_tables(TEACHER, STUDENT, share))
    exact = find_exact_gradient(STUDENT, TEACHER)
    torch.testing.assert_close(found, exact, atol=1e-12, rtol=0)
    old = expect(draw_table(3))  # or of any other model
    torch.testing.assert_close(old, exact, atol=1e-12, rtol=0)


def test_the_papers_weights_are_biased_by_so_much() -> None:
    errors = [
        measure_error(expect(mix_tables(TEACHER, STUDENT, share), weighting="per_token"))
        for share in (0.0, 0.2, 0.5)
    ]
    assert errors == pytest.approx([0.0, 1.275, 2.896], abs=1e-3)


def test_length_normalisation_and_clip_are_biased() -> None:
    assert measure_error(expect(MIXED, normalise_length=True)) == pytest.approx(1.579, abs=1e-3)
    assert measure_error(expect(MIXED, clip=0.2)) == pytest.approx(3.255, abs=1e-3)


def test_the_one_step_parts_mean_is_the_reverse_kl() -> None:
    q_Y, p_Y = read_probs(STUDENT), read_probs(TEACHER)
    kl = (q_Y * (q_Y.log() - p_Y.log())).sum()
    value_Y = compute(STUDENT, MIXED).loss_BC.sum(1)
    torch.testing.assert_close(read_probs(MIXED) @ value_Y, kl, atol=1e-12, rtol=0)


def test_a_tokens_own_reward_would_double_the_one_step_part() -> None:
    """Σ_{t' >= t} in place of Σ_{t' > t}: the difference is the one-step gradient again."""
    table = STUDENT.clone().requires_grad_(True)
    log_q_YC = torch.where(MASK, read_log_probs(table), 0)
    reward_YC = torch.where(MASK, read_log_probs(TEACHER) - read_log_probs(STUDENT), 0)
    wrong_YC = -sum_ahead(reward_YC) * log_q_YC
    with_own = find_gradient(read_probs(STUDENT) @ wrong_YC.sum(1), table)
    one_step, long_range = expect(STUDENT, "one_step_BC"), expect(STUDENT, "long_range_BC")
    exact = find_exact_gradient(STUDENT, TEACHER)
    torch.testing.assert_close(with_own + one_step, exact + one_step, atol=1e-12, rtol=0)
    torch.testing.assert_close(long_range, exact - one_step, atol=1e-12, rtol=0)
    assert one_step.norm() > 0.1
    assert long_range.norm() > 0.1


def test_a_last_token_has_no_long_range() -> None:
    loss = compute(STUDENT, MIXED)
    last_YC = MASK & ~torch.cat([MASK[:, 1:], torch.zeros_like(MASK[:, :1])], dim=1)
    assert (loss.long_range_BC[last_YC] == 0).all()
    assert (loss.long_range_BC[MASK & ~last_YC] != 0).all()
    assert sum_after(torch.tensor([[1.0, 2.0, 4.0]])).tolist() == [[6.0, 4.0, 0.0]]


def by_hand(**options: Any) -> tuple[list[float], list[float]]:
    """One completion of three tokens (a fourth place is padding): both parts' weights."""
    log_q_BC = torch.tensor([[0.5, 0.25, 0.5, 1.0]]).log().requires_grad_(True)
    log_behaviour_BC = torch.tensor([[0.25, 0.5, 0.5, 1.0]]).log()  # ratios 2, 1/2, 1
    log_p_BC = log_q_BC.detach() + torch.tensor([[1.0, 2.0, 4.0, 9.0]])  # these are the rewards
    one_step_BC = torch.ones(1, 4, requires_grad=True)
    mask_BC = torch.tensor([[True, True, True, False]])
    loss = minillm_loss(one_step_BC, log_q_BC, log_p_BC, log_behaviour_BC, mask_BC, **options)
    return (
        find_gradient(loss.one_step_BC.sum(), one_step_BC)[0].tolist(),
        find_gradient(loss.long_range_BC.sum(), log_q_BC)[0].tolist(),
    )


@pytest.mark.parametrize(
    ("options", "one_step", "long_range"),
    [
        (
            {"weighting": "per_token", "normalise_length": False, "clip": None},
            [2.0, 0.5, 1.0, 0.0],
            [-12.0, -2.0, 0.0, 0.0],
        ),
        ({"weighting": "per_token", "clip": None}, [2.0, 0.5, 1.0, 0.0], [-6.0, -2.0, 0.0, 0.0]),
        ({}, [2.0, 0.5, 1.0, 0.0], [0.0, -2.0, 0.0, 0.0]),
        (
            {"weighting": "cumulative", "normalise_length": False, "clip": None},
            [1.0, 2.0, 1.0, 0.0],
            [-6.0, -4.0, 0.0, 0.0],
        ),
    ],
    ids=["per-token", "normalised", "the-paper", "cumulative"],
)
def test_the_parts_by_hand(
    options: dict[str, Any], one_step: list[float], long_range: list[float]
) -> None:
    found_one_step, found_long_range = by_hand(**options)
    assert found_one_step == pytest.approx(one_step)
    assert found_long_range == pytest.approx(long_range)


def test_student_equal_to_teacher_has_no_gradient() -> None:
    table = TEACHER.clone().requires_grad_(True)
    loss_YC = compute(table, TEACHER).loss_BC
    assert loss_YC.abs().max() < 1e-14
    assert find_gradient(loss_YC.sum(), table).abs().max() < 1e-14


def test_a_corpus_stands_beside_the_loss() -> None:
    loss, corpus_M = torch.tensor(2.0), torch.tensor([1.0, 2.0, 3.0])
    assert add_corpus_loss(loss, corpus_M, corpus_tokens=3).item() == 4.0
    assert add_corpus_loss(loss, corpus_M, weight=0.5, corpus_tokens=6).item() == 2.5


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"weighting": "cumulativ"},
            (
                "weighting 'cumulativ': not one (did you mean cumulative?); choose one of "
                "per_token, "
                "cumulative"
            ),
        ),
        ({"clip": 0.0}, "clip 0.0: must be above 0 and below 1, or left out"),
    ],
)
def test_bad_options_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError) as caught:
        compute(STUDENT, MIXED, **options)
    assert str(caught.value) == message


def test_a_negative_corpus_weight_is_refused() -> None:
    with pytest.raises(ValueError) as caught:
        add_corpus_loss(torch.tensor(1.0), torch.ones(1), weight=-1.0, corpus_tokens=1)
    assert str(caught.value) == "corpus weight -1.0: must not be negative"
