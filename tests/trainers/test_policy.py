import math
from typing import Any

import pytest
import torch
from torch import Tensor

from trainers.losses import divergence
from trainers.minillm import minillm_loss
from trainers.objectives import Reading, TeacherDivergence
from trainers.policy import PolicyGradient, find_rows, read_log_probs
from trainers.sampled_losses import (
    align_completions,
    importance_weighted_reverse_kl,
    reinforce_reverse_kl,
)
from trainers.settings import PolicySettings
from trainers.targets import HeadStates, TopTokens

V, D = 11, 5
ROW_N = torch.tensor([0, 0, 0, 2, 2])
WEIGHTS_N = torch.tensor([2.0, 2.0, 2.0, 0.5, 0.5], dtype=torch.float64)


def draw(*shape: int) -> Tensor:
    return torch.randn(shape, dtype=torch.float64)


@pytest.fixture
def reading() -> Reading:
    """Drawn by a student that was much as it is now, but for one token."""
    torch.manual_seed(0)
    states_ND, head_VD, labels_N = draw(5, D), draw(V, D), torch.tensor([1, 4, 0, 10, 3])
    log_q_N = (states_ND @ head_VD.T).log_softmax(-1).gather(1, labels_N[:, None])[:, 0]
    return Reading(
        states_NX=states_ND.requires_grad_(),
        head_VD=head_VD.requires_grad_(),
        labels_N=labels_N,
        row_N=ROW_N,
        vocabulary_size=V,
        teacher=HeadStates(draw(5, D), draw(V, D)),
        drawn_N=log_q_N + torch.tensor([0.1, -0.05, 0.02, 0.1, -2.0]),
    )


def estimate_densely(kind: str, reading: Reading, settings: PolicySettings) -> Tensor:
    """The loss of each token, differentiated through logits of the whole vocabulary."""
    assert reading.head_VD is not None
    assert isinstance(reading.teacher, HeadStates)
    assert reading.drawn_N is not None
    logits_NV = reading.states_NX @ reading.head_VD.T
    teacher_NV = reading.teacher.hidden_ND @ reading.teacher.weight_VD.T
    log_q_N, log_p_N = (
        each_NV.log_softmax(-1).gather(1, reading.labels_N[:, None])[:, 0]
        for each_NV in (logits_NV, teacher_NV)
    )
    if kind == "importance":
        return importance_weighted_reverse_kl(
            log_q_N, reading.drawn_N, log_p_N, clip=settings.clip
        ).loss
    mask_BC = torch.tensor([[True, True, True], [True, True, False]])
    log_q_BC, log_p_BC, drawn_BC = (
        align_completions(each_N, mask_BC) for each_N in (log_q_N, log_p_N, reading.drawn_N)
    )
    if kind == "reinforce":
        estimate = reinforce_reverse_kl(log_q_BC, log_p_BC, mask_BC, baseline=settings.baseline)
        return estimate.loss[mask_BC]
    step_BC = align_completions(divergence(logits_NV, teacher_NV, "reverse"), mask_BC)
    return minillm_loss(
        step_BC,
        log_q_BC,
        log_p_BC,
        drawn_BC,
        mask_BC,
        weighting=settings.weights,
        normalise_length=settings.length_normalised,
        clip=settings.clip,
    ).loss_BC[mask_BC]


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("importance", {}),
        ("importance", {"clip": 0.2}),
        ("reinforce", {"baseline": "none"}),
        ("reinforce", {"baseline": "mean"}),
        ("minillm", {}),
        ("minillm", {"weights": "cumulative"}),
        ("minillm", {"clip": 0.2, "length_normalised": True}),
    ],
)
def test_loss_and_gradients_are_those_of_the_dense_estimate(
    reading: Reading, kind: Any, options: dict[str, Any]
) -> None:
    settings = PolicySettings(**options)
    leaves = [each for each in (reading.states_NX, reading.head_VD) if each is not None]
    expected_N = estimate_densely(kind, reading, settings)
    found_N = PolicyGradient(kind, settings).compute_losses(reading, WEIGHTS_N, 0)
    torch.testing.assert_close(found_N, expected_N)
    wanted = torch.autograd.grad((expected_N * WEIGHTS_N).sum() / 7, leaves)
    found = torch.autograd.grad((found_N * WEIGHTS_N).sum() / 7, leaves)
    assert min(each.abs().max().item() for each in wanted) > 1e-3
    torch.testing.assert_close(found, wanted)


def test_a_dense_reading_of_a_divergence_equals_the_fused_one(reading: Reading) -> None:
    assert reading.head_VD is not None
    assert isinstance(reading.teacher, HeadStates)
    dense = reading._replace(
        states_NX=(reading.states_NX @ reading.head_VD.T).float(),
        head_VD=None,
        teacher=reading.teacher.hidden_ND @ reading.teacher.weight_VD.T,
    )
    objective = TeacherDivergence("jsd", beta=0.3, temperature=2.0, ce_weight=0.25)
    fused_N = objective.compute_losses(reading, WEIGHTS_N, 0)
    dense_N = objective.compute_losses(dense, WEIGHTS_N, 0)
    torch.testing.assert_close(dense_N.double(), fused_N, rtol=1e-5, atol=1e-5)


def test_rows_are_found_from_the_left() -> None:
    assert find_rows(ROW_N).tolist() == [[True, True, True], [True, True, False]]


def test_a_label_beyond_the_teachers_tokens_has_an_even_share_of_the_tail() -> None:
    tokens = TopTokens(
        torch.tensor([[3, 7], [3, 0]]),
        torch.tensor([[0.5, 0.3], [0.6, 0.0]]).log(),
    )
    log_probs_N = read_log_probs(tokens, torch.tensor([7, 5]), vocabulary_size=9)
    assert log_probs_N.tolist() == pytest.approx([math.log(0.3), math.log(0.4 / 8)])
