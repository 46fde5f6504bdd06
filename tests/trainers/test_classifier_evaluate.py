"""A classifier's scores against figures worked out by hand."""

import math

import pytest
import torch

from generators.errors import ConfigError
from trainers.classifier_evaluate import find_prior, score_classes
from trainers.label_losses import NO_LABEL

PROBS_NC = torch.tensor([[0.75, 0.25], [0.5, 0.5], [0.0, 1.0]])
LABELS = [0, NO_LABEL, 1]


def test_scores_are_their_formulas() -> None:
    q_NC = torch.tensor([[0.65, 0.35], [0.5, 0.5], [0.75, 0.25]])
    score = score_classes(q_NC.log(), PROBS_NC, LABELS)
    cross = [
        -0.75 * math.log(0.65) - 0.25 * math.log(0.35),
        math.log(2),
        -math.log(0.25),
    ]
    entropy = [-0.75 * math.log(0.75) - 0.25 * math.log(0.25), math.log(2), 0.0]
    assert score.cross_entropy == pytest.approx(sum(cross) / 3, abs=1e-6)
    assert score.entropy == pytest.approx(sum(entropy) / 3, abs=1e-6)
    assert score.kl.value == pytest.approx(score.cross_entropy - score.entropy, abs=1e-6)
    assert score.kl.low <= score.kl.value <= score.kl.high
    assert (score.rows, score.ties) == (3, 1)
    assert score.accuracy is not None
    assert score.accuracy.value == 0.5  # of the two rows that have a label
    assert score.brier == pytest.approx((2 * 0.35**2 + 2 * 0.75**2) / 2, abs=1e-6)
    assert score.ece == pytest.approx((0.35 + 0.75) / 2, abs=1e-6)


def test_the_annotators_own_distribution_has_no_divergence() -> None:
    score = score_classes(PROBS_NC.clamp(min=1e-9).log(), PROBS_NC, LABELS)
    assert score.kl.value == pytest.approx(0, abs=1e-6)
    assert score.cross_entropy == pytest.approx(score.entropy, abs=1e-6)
    assert score.accuracy is not None
    assert score.accuracy.value == 1.0


def test_rows_that_all_tie_have_no_accuracy() -> None:
    score = score_classes(torch.zeros(2, 2).log_softmax(-1), torch.full((2, 2), 0.5), [-1, -1])
    assert (score.ties, score.accuracy, score.brier, score.ece) == (2, None, None, None)
    assert score.kl.value == pytest.approx(0, abs=1e-7)


def test_predictions_and_rows_must_be_as_many() -> None:
    with pytest.raises(ConfigError) as caught:
        score_classes(PROBS_NC.log(), PROBS_NC, [0, 1])
    assert str(caught.value) == "3 predictions for 2 rows: give one each"


def test_ece_is_the_gap_of_each_of_ten_bins_by_its_share() -> None:
    confidence_N = torch.tensor([0.95, 0.95, 0.95, 0.95, 0.62, 0.68])
    right = [True, True, True, False, True, False]
    q_NC = torch.stack([confidence_N, 1 - confidence_N], dim=1)
    labels = [0 if one else 1 for one in right]
    expected = (abs(3 - 4 * 0.95) + abs(1 - (0.62 + 0.68))) / 6
    score = score_classes(q_NC.log(), torch.full((6, 2), 0.5), labels)
    assert score.ece == pytest.approx(expected, abs=1e-6)


def test_the_prior_is_the_weighted_mean_and_never_nothing() -> None:
    prior_C = find_prior(torch.tensor([[1.0, 0.0], [0.5, 0.5]]), torch.tensor([3.0, 1.0])).exp()
    assert prior_C.sum().item() == pytest.approx(1)
    assert prior_C[0].item() == pytest.approx((3.5 / 4 + 0.25) / 1.5)
    never_C = find_prior(torch.tensor([[1.0, 0.0]]), torch.tensor([1.0]))
    assert torch.isfinite(never_C).all()
