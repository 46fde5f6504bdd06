"""How good a classifier is: against hard labels, and against the annotators' distribution.

With q the classifier's and p̂ the annotators' distribution over C labels, y* their majority:

    soft cross-entropy   -Σ_c p̂_c ln q_c, at least the entropy of p̂
    divergence           KL(p̂ ‖ q), the same less that entropy: 0 at best
    accuracy             how often q's first label is y*, with Wilson's interval
    Brier score          Σ_c (q_c - [c = y*])², from 0 to 2 (Brier 1950)
    ECE                  Σ_bins share · |accuracy - mean confidence| of q's first label
                         (Guo et al. 2017)

A row that ties has no y*: it counts in the first two alone, and how many there are is told.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from generators.errors import ConfigError
from trainers.classifier_settings import ClassScore
from trainers.evaluate import bootstrap_interval, wilson_interval
from trainers.label_losses import soft_loss
from trainers.student_metrics import compute_ece

BINS = 10


def score_classes(log_probs_NC: Tensor, probs_NC: Tensor, labels: Sequence[int]) -> ClassScore:
    """Score ln q [N, C] against the soft labels p̂ [N, C] and the hard ones, where below 0 there is
    none."""
    if not len(log_probs_NC) == len(probs_NC) == len(labels) > 0:
        raise ConfigError(f"{len(log_probs_NC)} predictions for {len(labels)} rows: give one each")
    log_q_NC, p_NC = log_probs_NC.double(), probs_NC.double()
    kl_N = soft_loss(log_q_NC, p_NC)
    entropy_N = -torch.special.xlogy(p_NC, p_NC).sum(dim=-1)
    labels_N = torch.tensor(labels)
    labelled_N = labels_N >= 0
    q_MC, labels_M = log_q_NC[labelled_N].exp(), labels_N[labelled_N]
    accuracy = brier = ece = None
    if len(labels_M):
        right_M = q_MC.argmax(dim=-1) == labels_M
        accuracy = wilson_interval(int(right_M.sum()), len(labels_M))
        one_hot_MC = torch.nn.functional.one_hot(labels_M, q_MC.shape[-1])
        brier = (q_MC - one_hot_MC).square().sum(dim=-1).mean().item()
        ece = compute_ece(q_MC.max(dim=-1).values, right_M, bins=BINS)
    return ClassScore(
        rows=len(labels),
        ties=int((~labelled_N).sum()),
        accuracy=accuracy,
        cross_entropy=(kl_N + entropy_N).mean().item(),
        entropy=entropy_N.mean().item(),
        kl=bootstrap_interval(kl_N.tolist()),
        brier=brier,
        ece=ece,
    )


def find_prior(probs_NC: Tensor, weights_N: Tensor) -> Tensor:
    """ln of the weighted mean distribution [C] of the training rows: what is known of a text before
    it is read. Labels that never occur keep a little, so that no loss is without end."""
    mean_C = (probs_NC * weights_N[:, None]).sum(dim=0) / weights_N.sum()
    floor = 0.5 / len(probs_NC)
    return ((mean_C + floor) / (1 + floor * len(mean_C))).log()
