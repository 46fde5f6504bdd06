"""Objectives between vocabularies: `aligned` compares chunks of bytes, `uld` sorted probabilities.

Both are losses of student tokens: a chunk's stands at the last token of the chunk, a pair's at the
student's token. They are computed without the student's logits over the whole vocabulary for all
tokens: `aligned` needs its targets' log-probabilities alone, so values are read first, the losses
are differentiated with respect to them, and the coefficients weigh one fused pass with gradient;
`uld` takes a few tokens' logits at a time, and again in the backward pass.
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from trainers.cross_tokenizer import chunk_divergence, sum_chunks, universal_logit_distance
from trainers.mixing import AlphaSchedule
from trainers.objectives import Reading, compute_cross_entropy, find_ce_share
from trainers.targets import ChunkTargets, HeadStates, PairTargets

CHUNK_TOKENS = 128
"""Tokens whose probabilities are sorted at once."""


class ChunkObjective(NamedTuple):
    """c·CE + (1-c)·τ·KL of the two chances of each chunk of bytes (`aligned`)."""

    temperature: float = 100.0
    """τ."""
    ce_weight: float = 0.0
    mixing: AlphaSchedule | None = None

    def compute_losses(self, reading: Reading, weights_N: Tensor, step: int) -> Tensor:
        """As `trainers.objectives.Objective`; the tokens of one row have one weight."""
        share = find_ce_share(self.ce_weight, self.mixing, step)
        with torch.no_grad():
            log_q_N = -compute_cross_entropy(reading)
        with torch.enable_grad():
            log_q_N.requires_grad_()
            loss_N = (1 - share) * self._compare(reading, log_q_N) - share * log_q_N
            (by_log_q_N,) = torch.autograd.grad(loss_N.sum(), log_q_N)
        live_N = -by_log_q_N * compute_cross_entropy(reading, by_log_q_N * weights_N)
        return loss_N.detach() + live_N - live_N.detach()

    def _compare(self, reading: Reading, log_q_N: Tensor) -> Tensor:
        chunks = reading.across
        assert isinstance(chunks, ChunkTargets)
        log_q_C = sum_chunks(log_q_N, chunks.chunk_N, len(chunks.last_C))
        loss_C = chunk_divergence(log_q_C, chunks.log_probs_C, temperature=self.temperature)
        return torch.zeros_like(log_q_N).index_add(0, chunks.last_C, loss_C.to(log_q_N.dtype))


class SortedObjective(NamedTuple):
    """c·CE + (1-c)·ULD of targets at equal places (`uld`)."""

    ce_weight: float
    mixing: AlphaSchedule | None = None
    temperature: float = 1.0

    def compute_losses(self, reading: Reading, weights_N: Tensor, step: int) -> Tensor:
        pairs = reading.across
        assert isinstance(pairs, PairTargets)
        share = find_ce_share(self.ce_weight, self.mixing, step)
        loss_N = share * compute_cross_entropy(reading, weights_N)
        if share == 1:
            return loss_N
        distance_P = torch.cat(
            [
                self._measure(reading, pairs, slice(start, start + CHUNK_TOKENS))
                for start in range(0, len(pairs.target_P), CHUNK_TOKENS)
            ]
        )
        return loss_N.index_add(0, pairs.target_P, (1 - share) * distance_P.to(loss_N.dtype))

    def _measure(self, reading: Reading, pairs: PairTargets, some: slice) -> Tensor:
        def measure(states_PX: Tensor, head_VD: Tensor | None) -> Tensor:
            student_PV = _multiply(states_PX, head_VD)[:, : reading.vocabulary_size]
            if isinstance(pairs.teacher, HeadStates):
                teacher_PW = _multiply(pairs.teacher.hidden_ND[some], pairs.teacher.weight_VD)
            else:
                teacher_PW = pairs.teacher[some]
            return universal_logit_distance(
                student_PV.float(), teacher_PW.float(), temperature=self.temperature
            )

        states_PX = reading.states_NX[pairs.target_P[some]]
        distance_P = checkpoint(
            measure, states_PX, reading.head_VD, use_reentrant=False, preserve_rng_state=False
        )
        assert isinstance(distance_P, Tensor)
        return distance_P


def _multiply(states_PX: Tensor, head_VD: Tensor | None) -> Tensor:
    """Logits; they are there already where there is no head."""
    if head_VD is None:
        return states_PX
    dtype = torch.promote_types(states_PX.dtype, head_VD.dtype)
    return states_PX.to(dtype) @ head_VD.to(dtype).T
