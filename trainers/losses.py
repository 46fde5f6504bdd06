"""How far a student is from its teacher, and from the text: pure functions of logits.

With p the teacher's and q the student's distribution over the vocabulary, both softened by a
temperature T:

    forward        KL(p ‖ q)                    Hinton et al. 2015; covers all of p
    reverse        KL(q ‖ p)                    MiniLLM (Gu et al. 2024); seeks a mode of p
    jsd            beta·KL(p ‖ m) + (1-beta)·KL(q ‖ m), where m = beta·p + (1-beta)·q
                                                GKD (Agarwal et al. 2024)
    skew_forward   KL(p ‖ alpha·p + (1-alpha)·q)        DistiLLM (Ko et al. 2024)
    skew_reverse   KL(q ‖ alpha·q + (1-alpha)·p)

All is done with log-probabilities, so that finite logits of any size give finite values. The
teacher's entropy is part of every value: it is 0 where student and teacher agree, never below.
The T² that keeps gradients of one order across temperatures is left to the caller. The same
gradients in closed form are in `trainers.gradients`.
"""

import difflib
import math
from typing import Literal, get_args

import torch
from torch import Tensor
from torch.nn import functional

from generators.errors import ConfigError

Divergence = Literal["forward", "reverse", "jsd", "skew_forward", "skew_reverse"]
DIVERGENCES: tuple[str, ...] = get_args(Divergence)


def divergence(
    student_logits: Tensor,
    teacher_logits: Tensor,
    kind: Divergence,
    *,
    beta: float = 0.5,
    alpha: float = 0.1,
    temperature: float = 1.0,
) -> Tensor:
    """Divergence of each token's two distributions: [..., V] and [..., V] to [...], in nats.

    `beta` is used by `jsd`, `alpha` by the skew kinds. As beta → 0, jsd/beta → forward, and as
    beta → 1, jsd/(1 - beta) → reverse; at 0 and 1 themselves jsd is 0 everywhere, so they are
    refused. Raises ConfigError (a ValueError) for an unknown kind or a parameter out of range.
    """
    check_parameters(kind, beta=beta, alpha=alpha, temperature=temperature)
    log_q = functional.log_softmax(student_logits / temperature, dim=-1)
    log_p = functional.log_softmax(teacher_logits / temperature, dim=-1)
    match kind:
        case "forward":
            return _kl(log_p, log_q)
        case "reverse":
            return _kl(log_q, log_p)
        case "jsd":
            log_m = _log_mix(log_p, log_q, beta)
            return beta * _kl(log_p, log_m) + (1 - beta) * _kl(log_q, log_m)
        case "skew_forward":
            return _kl(log_p, _log_mix(log_p, log_q, alpha))
        case "skew_reverse":
            return _kl(log_q, _log_mix(log_q, log_p, alpha))


def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """-ln q(label) of each token: [N, V] and [N] to [N], in nats."""
    return functional.cross_entropy(logits, labels, reduction="none")


def _kl(log_a: Tensor, log_b: Tensor) -> Tensor:
    return (log_a.exp() * (log_a - log_b)).sum(dim=-1)


def _log_mix(log_a: Tensor, log_b: Tensor, weight: float) -> Tensor:
    """ln(weight·a + (1-weight)·b)."""
    if weight == 0:
        return log_b
    return torch.logaddexp(log_a + math.log(weight), log_b + math.log1p(-weight))


def check_parameters(kind: str, *, beta: float, alpha: float, temperature: float) -> None:
    """Raise ConfigError (a ValueError) for an unknown kind or a parameter out of its range."""
    if kind not in DIVERGENCES:
        near = difflib.get_close_matches(kind, DIVERGENCES, n=1)
        hint = f" (did you mean {near[0]}?)" if near else ""
        raise ConfigError(
            f"divergence {kind!r}: not a kind{hint}; choose one of {', '.join(DIVERGENCES)}"
        )
    if kind == "jsd" and not 0 < beta < 1:
        raise ConfigError(
            f"beta {beta}: jsd needs 0 < beta < 1; at the ends it vanishes:"
            " choose the kind forward (beta → 0) or reverse (beta → 1) instead"
        )
    if kind.startswith("skew") and not 0 <= alpha < 1:
        raise ConfigError(f"alpha {alpha}: {kind} needs 0 <= alpha < 1; at 1 it vanishes")
    if not (0 < temperature < math.inf):
        raise ConfigError(f"temperature {temperature}: must be above 0 and finite")
