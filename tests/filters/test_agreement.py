"""A judge is trusted by its recall on both labels, and every figure follows from the counts."""

import pytest

from filters.agreement import Agreement, Confusion, measure_agreement
from generators.errors import InputError


def measure(equal: tuple[int, int, int], different: tuple[int, int, int]) -> Agreement:
    """Pairs of each label by what they were judged to be: equal, different, nothing readable."""
    words = (True, False, None)
    judged = [
        (label, word)
        for label, counts in ((True, equal), (False, different))
        for word, count in zip(words, counts, strict=True)
        for _ in range(count)
    ]
    return measure_agreement([word for _, word in judged], [label for label, _ in judged])


def test_figures_of_a_hand_made_confusion() -> None:
    """Recall 8/10 and 24/30; p_o = 32/40, p_e = (10 · 13 + 30 · 25) / 40² = 0.55."""
    assert measure((8, 1, 1), (5, 24, 1)) == Agreement(
        pairs=40,
        answered=38,
        agreed=32,
        confusion=Confusion(
            equal_as_equal=8,
            equal_as_different=1,
            equal_unread=1,
            different_as_equal=5,
            different_as_different=24,
            different_unread=1,
        ),
        balanced_accuracy=0.8,
        chance=0.5,
        kappa=0.25 / 0.45,
        trusted=True,
    )


@pytest.mark.parametrize(
    ("equal", "different", "balanced", "kappa", "trusted"),
    [
        pytest.param((50, 0, 0), (0, 50, 0), 1.0, 1.0, True, id="always right"),
        pytest.param((0, 50, 0), (50, 0, 0), 0.0, -1.0, False, id="always wrong"),
        pytest.param((50, 0, 0), (50, 0, 0), 0.5, 0.0, False, id="always equal"),
        pytest.param((0, 10, 0), (0, 90, 0), 0.5, 0.0, False, id="always different, few equal"),
        pytest.param((0, 0, 50), (0, 0, 50), 0.0, 0.0, False, id="never readable"),
        pytest.param((80, 20, 0), (40, 60, 0), 0.7, 0.4, False, id="just at the limit"),
        pytest.param((30, 20, 0), (10, 40, 0), 0.7, 0.4, False, id="at the limit, other way"),
        pytest.param((81, 19, 0), (40, 60, 0), 0.705, 0.41, True, id="just above the limit"),
        pytest.param((80, 0, 20), (0, 60, 40), 0.7, 0.35 / 0.65, False, id="silence is wrong"),
    ],
)
def test_judges_of_all_kinds(
    equal: tuple[int, int, int],
    different: tuple[int, int, int],
    balanced: float,
    kappa: float,
    trusted: bool,
) -> None:
    agreement = measure(equal, different)
    assert agreement.balanced_accuracy == pytest.approx(balanced, abs=1e-12)
    assert agreement.kappa == pytest.approx(kappa, abs=1e-12)
    assert agreement.trusted is trusted


@pytest.mark.parametrize("label", [True, False], ids=["equal", "different"])
def test_labels_of_one_kind_measure_nothing(label: bool) -> None:
    with pytest.raises(InputError) as refused:
        measure_agreement([True, False, None], [label] * 3)
    assert str(refused.value) == (
        "labels of one kind cannot measure a judge: give equal and different ones"
    )


def test_record_can_be_read_again() -> None:
    agreement = measure((40, 10, 0), (3, 46, 1))
    assert Agreement.model_validate_json(agreement.model_dump_json(indent=1)) == agreement
