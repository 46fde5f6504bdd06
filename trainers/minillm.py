"""MiniLLM (Gu et al. 2024): reverse KL of whole completions with less variance than REINFORCE.

With r_t = ln p(y_t) - ln q(y_t), the gradient of KL(q ‖ p) over completions falls into two parts:

    one-step    E_y[ Σ_t ∇ KL(q(· | y_<t) ‖ p(· | y_<t)) ]      exact, over the vocabulary
    long-range  E_y[ -Σ_t (Σ_{t' > t} r_t')·∇ ln q(y_t) ]       what a token does to later ones

The long-range sum leaves r_t out: its share, E[-r_t·∇ ln q(y_t)], *is* the one-step gradient, which
would count twice. Completions are drawn from p̃ = alpha·p + (1-alpha)·q (alpha = 0.2 in the paper),
which keeps the student from rewarding its own degenerate texts; importance weights
w_t = q(y_t) / p̃(y_t) undo that. Rows [B, C] and masks are those of `trainers.sampled_losses`.
"""

from typing import Literal, NamedTuple, get_args

import torch
from torch import Tensor

from generators.errors import ConfigError, nearest
from trainers.sampled_losses import clip_gain, sum_ahead

Weighting = Literal["per_token", "cumulative"]
"""How importance weights are made.

`per_token`: w_t alone, on both parts of token t (the paper's choice). It leaves out that the
prefix and the later tokens are p̃'s too, and so is biased, at little variance: at alpha = 0.2 by
1.3 times the gradient on the tests' toy, whose teacher is far from the student.
`cumulative`: Π_{s < t} w_s on the one-step part and Π_{s ≤ t'} w_s on each later r_t'. Unbiased,
without clip and length normalisation; its variance grows with the completion's length.
"""


class MiniLLMLoss(NamedTuple):
    """Both parts, importance weights included [B, C]; 0 outside the mask."""

    one_step_BC: Tensor
    """As a number too: its sum over a row is an estimate of the completion's KL(q ‖ p), in nats."""
    long_range_BC: Tensor
    """A surrogate: for its gradient only."""

    @property
    def loss_BC(self) -> Tensor:
        """The one-step part as a number, both parts' gradient when differentiated."""
        return self.one_step_BC + self.long_range_BC - self.long_range_BC.detach()


def minillm_loss(
    one_step_BC: Tensor,
    log_q_BC: Tensor,
    log_p_BC: Tensor,
    log_behaviour_BC: Tensor,
    mask_BC: Tensor,
    *,
    weighting: Weighting = "per_token",
    normalise_length: bool = True,
    clip: float | None = 0.2,
) -> MiniLLMLoss:
    """The two parts from each token's KL(q ‖ p) and the sampled tokens' log-probabilities.

    `one_step_BC` is `divergence(..., "reverse")` or its fused form; `log_behaviour_BC` is of what
    drew the tokens, the mixture p̃, or the student itself as it then was.

    `normalise_length` divides the sum of later r by their number, so that the early tokens of long
    completions do not outweigh all else. `clip` ε is PPO's, on w_t of the long-range part. Both
    are the paper's and both are biased. Raises ConfigError for an unknown weighting or clip.
    """
    _check_weighting(weighting)
    log_ratio_BC = torch.where(mask_BC, log_q_BC - log_behaviour_BC.detach(), 0)
    ratio_BC = log_ratio_BC.exp()
    reward_BC = torch.where(mask_BC, log_p_BC - log_q_BC, 0).detach()
    if weighting == "per_token":
        weight_BC = ratio_BC.detach()
        gain_BC = sum_after(reward_BC)
    else:
        own_BC = log_ratio_BC.detach()
        path_BC = own_BC.cumsum(dim=1)
        weight_BC = (path_BC - own_BC).exp()
        # w_t is divided out: the ratio below puts it back, with its gradient
        gain_BC = sum_after(path_BC.exp() * reward_BC) * (-own_BC).exp()
    if normalise_length:
        gain_BC = gain_BC / sum_after(mask_BC.to(gain_BC.dtype)).clamp(min=1)
    one_step_BC = weight_BC * torch.where(mask_BC, one_step_BC, 0)
    return MiniLLMLoss(one_step_BC, -clip_gain(ratio_BC, gain_BC, clip))


def sum_after(values_BC: Tensor) -> Tensor:
    """Σ_{t' > t} v_t' along each row: the token's own value is left out."""
    ahead_BC = sum_ahead(values_BC)
    return torch.cat([ahead_BC[:, 1:], torch.zeros_like(ahead_BC[:, :1])], dim=1)


def add_corpus_loss(
    loss: Tensor, corpus_loss_M: Tensor, *, weight: float = 1.0, corpus_tokens: Tensor | int
) -> Tensor:
    """MiniLLM's loss, a mean over tokens, with the cross-entropy of a corpus beside it.

        L + weight · Σ_m CE_m / corpus_tokens

    `corpus_loss_M` is `cross_entropy` of the corpus's tokens in this batch, and `corpus_tokens`
    counts those of the whole accumulation window. It keeps what the student knew before (the
    paper adds it with weight 1).
    """
    if weight < 0:
        raise ConfigError(f"corpus weight {weight}: must not be negative")
    return loss + weight * corpus_loss_M.sum() / corpus_tokens


def _check_weighting(weighting: str) -> None:
    choices = get_args(Weighting)
    if weighting not in choices:
        raise ConfigError(
            f"weighting {weighting!r}: not one{nearest(weighting, choices)};"
            f" choose one of {', '.join(choices)}"
        )
