"""Losses of a classifier: pure functions of its logits [N, C] for N texts and C labels.

    soft      KL(p̂ ‖ q)                          p̂(c|x) = counts / n, the annotators' distribution
    hard      -ln q(y*)                          y*, their majority
    hinton    a·T²·KL(p_T ‖ q_T) + (1-a)·CE(y*, q)       a = `alpha`; Hinton et al. 2015

q = softmax(z) of the student's logits z. Over q the soft loss is smallest at p̂, where it is 0 (the
entropy of p̂ is part of it), and the hard loss at the one-hot of y*; the gradients by z are q - p̂
and q - onehot(y*). In `hinton` p_T and q_T are softmax(v/T) and softmax(z/T) of the teacher's and
the student's logits. The T² keeps the first term's gradient of one order at every temperature; at
high T it tends to ((z - mean z) - (v - mean v)) / C, which is matching centred logits.

A text whose first labels tie has no y*: it is marked `NO_LABEL`, and the losses that want one
refuse it, so that no tie is ever broken in silence.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional

from generators.errors import ConfigError
from trainers.losses import cross_entropy, divergence

NO_LABEL = -1
"""In the place of a label's number: the text has none."""


def soft_loss(logits_NC: Tensor, probs_NC: Tensor) -> Tensor:
    """KL(p̂ ‖ q) of each text [N], in nats; `probs_NC` are the soft labels p̂."""
    log_q_NC = functional.log_softmax(logits_NC, dim=-1)
    return (torch.special.xlogy(probs_NC, probs_NC) - probs_NC * log_q_NC).sum(dim=-1)


def hard_loss(logits_NC: Tensor, labels_N: Tensor) -> Tensor:
    """-ln q(y*) of each text [N], in nats. Raises ConfigError for a text without a label."""
    if (labels_N < 0).any():
        count = int((labels_N < 0).sum())
        raise ConfigError(
            f"{count} of {len(labels_N)} texts have no label: their first labels tie.\n"
            "Leave them out, or learn from the soft labels (objective: soft)."
        )
    return cross_entropy(logits_NC, labels_N)


def hinton_loss(
    student_logits_NC: Tensor,
    teacher_logits_NC: Tensor,
    labels_N: Tensor,
    *,
    temperature: float,
    alpha: float,
) -> Tensor:
    """alpha·T²·KL(p_T ‖ q_T) + (1-alpha)·CE(y*, q) of each text [N], in nats.

    At `alpha` 1 the labels are not looked at. Raises ConfigError for a parameter out of range, and
    otherwise for a text without a label.
    """
    if not 0 <= alpha <= 1:
        raise ConfigError(f"alpha {alpha}: must lie between 0 and 1; it is the teacher's share")
    if not 0 < temperature < math.inf:
        raise ConfigError(f"temperature {temperature}: must be above 0 and finite")
    loss_N = student_logits_NC.new_zeros(len(student_logits_NC))
    if alpha > 0:
        kl_N = divergence(student_logits_NC, teacher_logits_NC, "forward", temperature=temperature)
        loss_N = alpha * temperature**2 * kl_N
    return loss_N if alpha == 1 else loss_N + (1 - alpha) * hard_loss(student_logits_NC, labels_N)
