"""Gradients of the losses with respect to the student's logits, in closed form.

With q = softmax(z) the student's distribution, p the teacher's, and m the mixture that the kind
compares with, d value / dz is

    forward        q - p
    reverse        q·(ln q - ln p - KL(q ‖ p))
    jsd            (1-beta)·q·(ln q - ln m - KL(q ‖ m))           m = beta·p + (1-beta)·q
    skew_forward   q·Σ p·r - p·r,   r = (1-alpha)·q/m             m = alpha·p + (1-alpha)·q
    skew_reverse   q·(g - Σ q·g),   g = ln q - ln m - alpha·q/m   m = alpha·q + (1-alpha)·p
    cross-entropy  q - onehot(label)

where the last three divergences and the reverse one all say q·(u - Σ q·u) with u = d value / dq.
Values are those of `trainers.losses`, to rounding. Nothing is kept for a backward pass, and what
is overwritten is our own, so a block of tokens that fits the processor's cache costs little more
than its exponentials.
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from trainers.losses import Divergence, check_parameters

IGNORED = -100
"""A label that costs nothing, as in `torch.nn.functional.cross_entropy`."""


class Slope(NamedTuple):
    """A loss of N tokens, and its gradient with respect to their logits."""

    value_N: Tensor
    gradient_NV: Tensor


def differentiate(
    student_logits_NV: Tensor,
    teacher_logits_NV: Tensor,
    kind: Divergence,
    *,
    beta: float = 0.5,
    alpha: float = 0.1,
    temperature: float = 1.0,
) -> Slope:
    """`losses.divergence` and its gradient; T² is not included. The logits are left alone.

    Raises ConfigError as `losses.divergence` does.
    """
    check_parameters(kind, beta=beta, alpha=alpha, temperature=temperature)
    log_q_NV = _soften(student_logits_NV, temperature)
    log_p_NV = _soften(teacher_logits_NV, temperature)
    slope = differentiate_log_probs(log_q_NV, log_p_NV, kind, beta=beta, alpha=alpha)
    if temperature != 1:
        slope.gradient_NV.div_(temperature)
    return slope


def differentiate_log_probs(
    log_q_NV: Tensor, log_p_NV: Tensor, kind: Divergence, *, beta: float, alpha: float
) -> Slope:
    """The divergence of two distributions over the same outcomes, given their natural logs.

    The gradient is the one with respect to logits of which `log_q_NV` is the log-softmax. Both
    arguments are overwritten. Parameters are taken as checked.
    """
    match kind:
        case "forward":
            return _differentiate_forward(log_q_NV, log_p_NV)
        case "reverse":
            return _differentiate_reverse(log_q_NV, log_p_NV)
        case "jsd":
            return _differentiate_jsd(log_q_NV, log_p_NV, beta)
        case "skew_forward":
            return _differentiate_skew_forward(log_q_NV, log_p_NV, alpha)
        case "skew_reverse":
            return _differentiate_skew_reverse(log_q_NV, log_p_NV, alpha)


def differentiate_cross_entropy(logits_NV: Tensor, labels_N: Tensor) -> Slope:
    """`losses.cross_entropy` and its gradient; both are 0 where the label is -100."""
    counts_N1 = (labels_N != IGNORED).unsqueeze(-1)
    labels_N1 = labels_N.unsqueeze(-1).where(counts_N1, 0)
    log_q_NV = functional.log_softmax(logits_NV, dim=-1)
    value_N = -log_q_NV.gather(-1, labels_N1).where(counts_N1, 0).squeeze(-1)
    gradient_NV = log_q_NV.exp_().masked_fill_(~counts_N1, 0)
    gradient_NV.scatter_add_(-1, labels_N1, -counts_N1.to(gradient_NV.dtype))
    return Slope(value_N, gradient_NV)


def _soften(logits_NV: Tensor, temperature: float) -> Tensor:
    if temperature != 1:
        logits_NV = logits_NV / temperature
    return functional.log_softmax(logits_NV, dim=-1)


def _differentiate_forward(log_q_NV: Tensor, log_p_NV: Tensor) -> Slope:
    p_NV = log_p_NV.exp()
    value_N = log_p_NV.sub_(log_q_NV).mul_(p_NV).sum(dim=-1)
    return Slope(value_N, log_q_NV.exp_().sub_(p_NV))


def _differentiate_reverse(log_q_NV: Tensor, log_p_NV: Tensor) -> Slope:
    return _weigh_by_student(log_p_NV.neg_().add_(log_q_NV), log_q_NV.exp_())


def _differentiate_jsd(log_q_NV: Tensor, log_p_NV: Tensor, beta: float) -> Slope:
    p_NV, q_NV = log_p_NV.exp(), log_q_NV.exp()
    log_m_NV = _mix(p_NV, q_NV, beta).log_()
    to_teacher_N = log_p_NV.sub_(log_m_NV).mul_(p_NV).sum(dim=-1)
    to_student = _weigh_by_student(log_q_NV.sub_(log_m_NV), q_NV)
    return Slope(
        beta * to_teacher_N + (1 - beta) * to_student.value_N,
        to_student.gradient_NV.mul_(1 - beta),
    )


def _differentiate_skew_forward(log_q_NV: Tensor, log_p_NV: Tensor, alpha: float) -> Slope:
    if alpha == 0:
        return _differentiate_forward(log_q_NV, log_p_NV)
    p_NV, q_NV = log_p_NV.exp(), log_q_NV.exp_()
    m_NV = _mix(p_NV, q_NV, alpha)
    pr_NV = torch.div(q_NV, m_NV).mul_(p_NV).mul_(1 - alpha)
    value_N = log_p_NV.sub_(m_NV.log_()).mul_(p_NV).sum(dim=-1)
    return Slope(value_N, q_NV.mul_(pr_NV.sum(dim=-1, keepdim=True)).sub_(pr_NV))


def _differentiate_skew_reverse(log_q_NV: Tensor, log_p_NV: Tensor, alpha: float) -> Slope:
    if alpha == 0:
        return _differentiate_reverse(log_q_NV, log_p_NV)
    p_NV, q_NV = log_p_NV.exp_(), log_q_NV.exp()
    m_NV = _mix(q_NV, p_NV, alpha)
    share_NV = torch.div(q_NV, m_NV).mul_(alpha)
    qg_NV = log_q_NV.sub_(m_NV.log_()).mul_(q_NV)
    value_N = qg_NV.sum(dim=-1)
    qg_NV.addcmul_(q_NV, share_NV, value=-1)
    return Slope(value_N, qg_NV.addcmul_(q_NV, qg_NV.sum(dim=-1, keepdim=True), value=-1))


def _weigh_by_student(u_NV: Tensor, q_NV: Tensor) -> Slope:
    """Σ q·u and q·(u - Σ q·u); u is overwritten."""
    qu_NV = u_NV.mul_(q_NV)
    value_N1 = qu_NV.sum(dim=-1, keepdim=True)
    return Slope(value_N1.squeeze(-1), qu_NV.addcmul_(q_NV, value_N1, value=-1))


def _mix(a_NV: Tensor, b_NV: Tensor, weight: float) -> Tensor:
    """weight·a + (1-weight)·b, above 0: where both vanish, what is made of its log does too."""
    return torch.lerp(b_NV, a_NV, weight).clamp_min_(torch.finfo(b_NV.dtype).tiny)
