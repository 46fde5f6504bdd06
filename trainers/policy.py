"""Objectives that learn from sampled tokens alone: importance-weighted, REINFORCE, MiniLLM.

Their estimates need the log-probability of each token before it is known how much each token
counts. So values are read first, without gradient; the estimate is differentiated with respect to
them; and its coefficients weigh one fused pass with gradient, in which nobody holds the logits.
"""

import math
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from trainers.fused import fused_cross_entropy
from trainers.minillm import minillm_loss
from trainers.objectives import Reading, TeacherDivergence, compute_cross_entropy
from trainers.sampled_losses import (
    align_completions,
    importance_weighted_reverse_kl,
    reinforce_reverse_kl,
)
from trainers.settings import PolicySettings
from trainers.targets import HeadStates, Targets, TopTokens

Kind = Literal["importance", "reinforce", "minillm"]
ONE_STEP = TeacherDivergence("reverse")


class PolicyGradient(NamedTuple):
    """An estimate of the gradient of the reverse KL of whole completions."""

    kind: Kind
    settings: PolicySettings

    def compute_losses(self, reading: Reading, weights_N: Tensor, step: int) -> Tensor:
        assert reading.teacher is not None
        with torch.no_grad():
            log_q_N = -compute_cross_entropy(reading)
            log_p_N = read_log_probs(reading.teacher, reading.labels_N, reading.vocabulary_size)
            step_N = torch.zeros_like(log_q_N)
            if self.kind == "minillm":
                step_N = ONE_STEP.compute_losses(reading, weights_N, step)
        with torch.enable_grad():
            leaves = (log_q_N.requires_grad_(), step_N.requires_grad_())
            loss_N = self._estimate(reading, log_q_N, log_p_N, step_N)
            by_log_q_N, by_step_N = torch.autograd.grad(
                loss_N.sum(), leaves, allow_unused=True, materialize_grads=True
            )
        live_N = -by_log_q_N * compute_cross_entropy(reading, by_log_q_N * weights_N)
        if self.kind == "minillm":
            steps_N = ONE_STEP.compute_losses(reading, by_step_N * weights_N, step)
            live_N = live_N + by_step_N * steps_N
        return loss_N.detach() + live_N - live_N.detach()

    def _estimate(
        self, reading: Reading, log_q_N: Tensor, log_p_N: Tensor, step_N: Tensor
    ) -> Tensor:
        """The loss of each token [N], a function of `log_q_N` and `step_N`."""
        settings, drawn_N = self.settings, reading.drawn_N
        assert drawn_N is not None
        if self.kind == "importance":
            return importance_weighted_reverse_kl(
                log_q_N, drawn_N, log_p_N, clip=settings.clip
            ).loss
        mask_BC = find_rows(reading.row_N)
        log_q_BC, log_p_BC, step_BC, drawn_BC = (
            align_completions(values_N, mask_BC) for values_N in (log_q_N, log_p_N, step_N, drawn_N)
        )
        if self.kind == "reinforce":
            loss_BC = reinforce_reverse_kl(
                log_q_BC,
                log_p_BC,
                mask_BC,
                reward_to_go=settings.reward_to_go,
                baseline=settings.baseline,
                discount=settings.discount,
            ).loss
        else:
            loss_BC = minillm_loss(
                step_BC,
                log_q_BC,
                log_p_BC,
                drawn_BC,
                mask_BC,
                weighting=settings.weights,
                normalise_length=settings.length_normalised,
                clip=settings.clip,
            ).loss_BC
        return loss_BC[mask_BC]


def find_rows(row_N: Tensor) -> Tensor:
    """The mask [B, C] of rows that hold the tokens of each row, from the left."""
    _, counts_B = row_N.unique_consecutive(return_counts=True)
    return torch.arange(int(counts_B.max()), device=row_N.device) < counts_B[:, None]


def read_log_probs(teacher: Targets, labels_N: Tensor, vocabulary_size: int) -> Tensor:
    """The teacher's ln p(label) [N]. Where only its top tokens are known, a token beyond them has
    an even share of the tail."""
    if isinstance(teacher, HeadStates):
        return -fused_cross_entropy(teacher.hidden_ND, teacher.weight_VD, labels_N)
    if isinstance(teacher, Tensor):
        return teacher.float().log_softmax(dim=-1).gather(1, labels_N[:, None])[:, 0]
    return _look_up(teacher, labels_N, vocabulary_size)


def _look_up(teacher: TopTokens, labels_N: Tensor, vocabulary_size: int) -> Tensor:
    kept_NK = teacher.log_probs_NK > -math.inf
    found_NK = (teacher.ids_NK == labels_N[:, None]) & kept_NK
    tail_N = (1 - teacher.log_probs_NK.exp().sum(dim=1)).clamp(min=1e-9)
    others_N = (vocabulary_size - kept_NK.sum(dim=1)).clamp(min=1)
    known_N = teacher.log_probs_NK.masked_fill(~found_NK, -math.inf).amax(dim=1)
    return torch.where(found_NK.any(dim=1), known_N, (tail_N / others_N).log())
