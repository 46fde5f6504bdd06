"""Teachers of whom only a few tokens are known: how the tokens are chosen, and what they teach.

Of `top` tokens the masses are raw. What the rest of the teacher's distribution is, is a choice:

    bucket          the rest is one outcome more, the tail, on both sides. At student = teacher
                    value and gradient are 0; elsewhere the value bounds that over the whole
                    vocabulary from below (data processing), and nothing is said of the order
                    within the tail.
    renormalised    the teacher's tokens are made to sum to 1 and nothing else exists for it. Even
                    a student that equals the teacher is pulled away from it, by the tail's mass.

`sampled` tokens estimate the distribution without bias (random-sampling KD, Anshumann et al. 2025,
arXiv 2503.16870), and forward is linear in it, so the mean of its gradient over many draws is that
over the whole vocabulary. Its value is above the true one by what entropy an estimate lacks, which
no student changes. Other kinds are not linear in the teacher: of them sampled tokens give a biased
gradient.

Gradients are in closed form: over the kept tokens and the tail as outcomes, and from the tail to
its tokens by their shares of it. The tail's mass is summed from its own tokens, never had as
1 - Σ, so it is right however small it is.
"""

from typing import Any, Literal

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from generators.errors import ConfigError
from trainers.gradients import Slope, differentiate_log_probs
from trainers.losses import Divergence, check_parameters
from trainers.targets import TopTokens

Tail = Literal["bucket", "renormalised"]

_NOTHING = -1e4
"""The log of no mass at all, finite so that 0·ln 0 is 0."""


def keep_top(
    logits_NV: Tensor, *, top_p: float = 1.0, top_k: int, temperature: float = 1.0
) -> TopTokens:
    """The fewest tokens that hold `top_p` of the mass, and of them at most `top_k`.

    Most likely first, K as wide as the widest row. Masses are raw, so truncating again changes
    nothing.
    """
    _check_limits(top_p, top_k)
    logits_NV = _soften(logits_NV, temperature)
    total_N1 = logits_NV.logsumexp(dim=-1, keepdim=True)
    top = logits_NV.topk(min(top_k, logits_NV.shape[-1]), dim=-1)
    tokens = TopTokens(top.indices, top.values - total_N1, temperature=temperature)
    return truncate(tokens, top_p=top_p, top_k=top_k)


def truncate(tokens: TopTokens, *, top_p: float = 1.0, top_k: int) -> TopTokens:
    """Top-p, then top-k, of tokens that have their raw masses; most likely first.

    Both cut a row by rank, so their order is of no account as long as nobody renormalises in
    between. Raises ConfigError for a limit out of range, or for tokens that were drawn.
    """
    _check_limits(top_p, top_k)
    if tokens.kept != "top":
        raise ConfigError("tokens that were drawn have no ranks to cut at: draw fewer instead")
    log_probs_NK, order_NK = tokens.log_probs_NK.sort(dim=-1, descending=True, stable=True)
    probs_NK = log_probs_NK.exp()
    keep_NK = log_probs_NK > -torch.inf
    if top_p < 1:
        keep_NK &= probs_NK.cumsum(dim=-1) - probs_NK < top_p
    keep_NK[:, top_k:] = False
    width = int(keep_NK.sum(dim=-1).max()) if keep_NK.numel() else 0
    return tokens._replace(
        ids_NK=tokens.ids_NK.gather(-1, order_NK).where(keep_NK, 0)[:, :width],
        log_probs_NK=log_probs_NK.where(keep_NK, -torch.inf)[:, :width],
    )


def draw_tokens(
    logits_NV: Tensor,
    *,
    draws: int,
    temperature: float = 1.0,
    proposal: float = 1.0,
    generator: torch.Generator | None = None,
) -> TopTokens:
    """Draw `draws` tokens of each row with replacement; ids differ, and masses sum to 1.

    Drawn from p itself (`proposal` 1), an id's mass is its count over the draws: unbiased. From
    p^proposal, made to sum to 1, it is the sum of its draws' weights p^(1-proposal) over that of
    all draws: a flatter proposal sees more different ids, at a bias that shrinks as 1/draws.
    """
    if draws < 1:
        raise ConfigError(f"draws {draws}: must be 1 or more")
    if not 0 <= proposal <= 1:
        raise ConfigError(f"proposal {proposal}: an exponent between 0 (uniform) and 1 (p itself)")
    log_p_NV = _soften(logits_NV, temperature).log_softmax(dim=-1)
    proposed_NV = (proposal * log_p_NV).softmax(dim=-1)
    ids_ND = proposed_NV.multinomial(draws, replacement=True, generator=generator)
    weights_ND = ((1 - proposal) * log_p_NV.gather(-1, ids_ND)).softmax(dim=-1)
    return merge_draws(ids_ND, weights_ND, temperature=temperature)


def merge_draws(ids_ND: Tensor, weights_ND: Tensor, *, temperature: float = 1.0) -> TopTokens:
    """Add up the weights of equal ids; ids ascend, K is as wide as the widest row."""
    ids_ND, order_ND = ids_ND.sort(dim=-1)
    first_ND = torch.ones_like(ids_ND)
    first_ND[:, 1:] = ids_ND[:, 1:] != ids_ND[:, :-1]
    place_ND = first_ND.cumsum(dim=-1) - 1
    mass_ND = torch.zeros_like(weights_ND)
    mass_ND.scatter_add_(-1, place_ND, weights_ND.gather(-1, order_ND))
    unique_ND = torch.zeros_like(ids_ND).scatter_(-1, place_ND, ids_ND)
    width = int(place_ND.max()) + 1 if place_ND.numel() else 0
    return TopTokens(unique_ND[:, :width], mass_ND[:, :width].log(), "sampled", temperature)


def sparse_divergence(
    student_logits_NV: Tensor,
    teacher: TopTokens,
    kind: Divergence,
    *,
    tail: Tail = "bucket",
    beta: float = 0.5,
    alpha: float = 0.1,
    temperature: float = 1.0,
) -> Tensor:
    """Divergence [N] of a student's logits from a teacher's few tokens, in nats; T² not included.

    `tail` is about `top` tokens; drawn ones have none. Raises ConfigError where the value would
    be infinite, or the tokens were taken at another temperature.
    """

    def compute_slope(logits_NV: Tensor) -> Slope:
        return differentiate_sparse(
            logits_NV, teacher, kind, tail=tail, beta=beta, alpha=alpha, temperature=temperature
        )

    return _SparseDivergence.apply(student_logits_NV, compute_slope)


class _SparseDivergence(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, student_logits_NV: Tensor, compute_slope: Any) -> Tensor:
        slope = compute_slope(student_logits_NV)
        ctx.save_for_backward(slope.gradient_NV)
        return slope.value_N

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, upstream_N: Tensor
    ) -> tuple[Tensor, None]:
        (gradient_NV,) = ctx.saved_tensors
        return gradient_NV * upstream_N.unsqueeze(-1), None


def differentiate_sparse(
    student_logits_NV: Tensor,
    teacher: TopTokens,
    kind: Divergence,
    *,
    tail: Tail = "bucket",
    beta: float = 0.5,
    alpha: float = 0.1,
    temperature: float = 1.0,
) -> Slope:
    """`sparse_divergence` and its gradient. The ids of a row must differ; unused places may not."""
    check_parameters(kind, beta=beta, alpha=alpha, temperature=temperature)
    check_tokens(teacher, kind, tail=tail, alpha=alpha, temperature=temperature)
    ids_NK, used_NK = teacher.ids_NK.long(), teacher.log_probs_NK > -torch.inf
    tail_NV = student_logits_NV / temperature if temperature != 1 else student_logits_NV.clone()
    chosen_NK = tail_NV.gather(-1, ids_NK).where(used_NK, -torch.inf)
    rows_M, places_M = used_NK.nonzero(as_tuple=True)
    tail_NV[rows_M, ids_NK[rows_M, places_M]] = -torch.inf

    highest_N1 = tail_NV.amax(dim=-1, keepdim=True)
    highest_N1 = highest_N1.where(highest_N1 > -torch.inf, 0)  # where no token is left
    sum_N1 = tail_NV.sub_(highest_N1).exp_().sum(dim=-1, keepdim=True)
    log_q_NC = torch.cat([chosen_NK, highest_N1 + sum_N1.log()], dim=-1).log_softmax(dim=-1)
    log_p_NC = _complete(teacher, tail, sum_N1)
    slope = differentiate_log_probs(_fill(log_q_NC), _fill(log_p_NC), kind, beta=beta, alpha=alpha)
    slope_NC = slope.gradient_NV.div_(temperature)
    tail_NV.mul_(slope_NC[:, -1:] / sum_N1.clamp_min(1))  # it is 1 at least, or there is no tail
    tail_NV.scatter_add_(-1, ids_NK, slope_NC[:, :-1].where(used_NK, 0))
    return Slope(slope.value_N, tail_NV)


def check_tokens(
    teacher: TopTokens, kind: Divergence, *, tail: Tail, alpha: float, temperature: float
) -> None:
    """Raise ConfigError if such tokens cannot teach by this kind."""
    if teacher.temperature != temperature:
        raise ConfigError(
            f"temperature {temperature}: the teacher's tokens were taken at"
            f" {teacher.temperature}, and a few tokens cannot be brought to another.\n"
            f"Set temperature: {teacher.temperature}, or take the tokens again."
        )
    endless = kind == "reverse" or (kind == "skew_reverse" and alpha == 0)
    if endless and (teacher.kept == "sampled" or tail == "renormalised"):
        remedy = (
            "keep the top tokens with tail: bucket"
            if teacher.kept == "sampled"
            else "set tail: bucket"
        )
        raise ConfigError(
            f"{kind} is infinite against {teacher.kept} tokens without a tail: the student gives"
            " mass to tokens of which the teacher says nothing.\n"
            f"Either {remedy}, or choose forward, jsd, or a skew kind with alpha above 0."
        )


def _soften(logits_NV: Tensor, temperature: float) -> Tensor:
    """In float32 at least: a teacher in bfloat16 has only its logits in that."""
    return logits_NV.to(torch.promote_types(logits_NV.dtype, torch.float32)) / temperature


def _check_limits(top_p: float, top_k: int) -> None:
    if not 0 < top_p <= 1:
        raise ConfigError(f"top_p {top_p}: must be above 0 and at most 1")
    if top_k < 1:
        raise ConfigError(f"top_k {top_k}: must be 1 or more")


def _complete(teacher: TopTokens, tail: Tail, student_tail_N1: Tensor) -> Tensor:
    """The logs of the teacher's masses, of its tokens and the tail; they sum to 1.

    A tail that rounding has emptied gets the least mass that a sum near 1 can miss, so that no
    kind is infinite by rounding. There is none where every token of the vocabulary is kept.
    """
    log_probs_NK = teacher.log_probs_NK.to(student_tail_N1)
    rest_N1 = torch.full_like(student_tail_N1, -torch.inf)
    if teacher.kept == "top" and tail == "bucket":
        mass_N1 = -torch.expm1(log_probs_NK.logsumexp(dim=-1, keepdim=True))
        mass_N1.clamp_min_(torch.finfo(mass_N1.dtype).eps)
        rest_N1 = mass_N1.log_().where(student_tail_N1 > 0, rest_N1)
    return torch.cat([log_probs_NK, rest_N1], dim=-1).log_softmax(dim=-1)


def _fill(log_masses_NC: Tensor) -> Tensor:
    return log_masses_NC.masked_fill(log_masses_NC == -torch.inf, _NOTHING)
