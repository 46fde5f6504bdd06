"""How far a judge's word agrees with people's, and whether that is enough to go by it.

Balanced accuracy is the mean of the recall on each label (Brodersen et al. 2010): a judge that
always gives one answer has 0.5, however the labels are mixed. Cohen's kappa (1960) is the
agreement beyond what the two would have by chance with the answers they tend to give. A judgement
that could not be read is wrong in both: it is an answer that no person gave.
"""

from collections import Counter
from collections.abc import Sequence
from fractions import Fraction

from generators.errors import InputError
from generators.records import Record

CHANCE = Fraction(1, 2)
MARGIN = Fraction(1, 5)
"""A judge is trusted whose balanced accuracy is better than chance by more than this."""


class Confusion(Record):
    """How the pairs of each label were judged."""

    equal_as_equal: int
    equal_as_different: int
    equal_unread: int
    different_as_equal: int
    different_as_different: int
    different_unread: int


class Agreement(Record):
    """A judge's judgements beside the labels of the same pairs."""

    pairs: int
    answered: int
    """Judgements that could be read."""
    agreed: int
    confusion: Confusion
    balanced_accuracy: float
    chance: float
    """The balanced accuracy of a judge that knows nothing."""
    kappa: float
    trusted: bool
    """Whether balanced accuracy is better than `chance` + 0.2."""


def measure_agreement(judgements: Sequence[bool | None], labels: Sequence[bool]) -> Agreement:
    """Compare judgements with labels, pair by pair; True is equal, None could not be read.

    Raises InputError unless both labels occur: recall on a label that is not there has no value.
    """
    if len({*labels}) < 2:
        raise InputError("labels of one kind cannot measure a judge: give equal and different ones")
    counts = Counter(zip(labels, judgements, strict=True))
    confusion = Confusion(
        equal_as_equal=counts[True, True],
        equal_as_different=counts[True, False],
        equal_unread=counts[True, None],
        different_as_equal=counts[False, True],
        different_as_different=counts[False, False],
        different_unread=counts[False, None],
    )
    recalls = [Fraction(counts[label, label], labels.count(label)) for label in (True, False)]
    balanced = sum(recalls) / 2
    agreed = counts[True, True] + counts[False, False]
    # The shares are exact, so a judge just at the limit is not let in by rounding.
    return Agreement(
        pairs=len(labels),
        answered=len(labels) - judgements.count(None),
        agreed=agreed,
        confusion=confusion,
        balanced_accuracy=float(balanced),
        chance=float(CHANCE),
        kappa=float(_find_kappa(judgements, labels, agreed)),
        trusted=balanced > CHANCE + MARGIN,
    )


def _find_kappa(judgements: Sequence[bool | None], labels: Sequence[bool], agreed: int) -> Fraction:
    """Cohen's kappa, (p_o - p_e) / (1 - p_e), with p_e from both sides' own shares."""
    n = len(labels)
    observed = Fraction(agreed, n)
    by_chance = sum(
        Fraction(labels.count(label), n) * Fraction(judgements.count(label), n)
        for label in (True, False)
    )
    return (observed - by_chance) / (1 - by_chance)
