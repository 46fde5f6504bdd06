"""The interval of a difference of shares of the same subjects."""

import math
import random

import pytest

from flows.intervals import Interval, compare_paired
from trainers.evaluate import wilson_interval

CELLS = ((True, True), (True, False), (False, True), (False, False))


def make_pairs(*counts: int) -> list[tuple[bool, bool]]:
    """So many that pass both ways, the first alone, the second alone, and neither."""
    return [pair for pair, count in zip(CELLS, counts, strict=True) for _ in range(count)]


def test_unrelated_pairs_have_the_interval_of_independent_shares() -> None:
    """Where the pairs say nothing of each other, the correlation is nought."""
    pairs = make_pairs(12, 12, 8, 8)
    one, other = (Interval.of(wilson_interval(n, 40)) for n in (24, 20))
    apart, found = one.minus(other), compare_paired(pairs)
    assert found.value == pytest.approx(0.1)
    assert (found.low, found.high) == pytest.approx((apart.low, apart.high))


def test_pairs_that_go_together_have_a_narrower_one_and_contrary_ones_a_wider() -> None:
    alike, contrary = make_pairs(50, 6, 4, 40), make_pairs(6, 50, 48, 6)
    for pairs, is_narrower in ((alike, True), (contrary, False)):
        counts = [sum(pair[i] for pair in pairs) for i in (0, 1)]
        one, other = (Interval.of(wilson_interval(n, len(pairs))) for n in counts)
        apart, found = one.minus(other), compare_paired(pairs)
        assert (found.high - found.low < apart.high - apart.low) is is_narrower


def test_a_worked_example() -> None:
    """36 pass both ways, 12 the first alone, 2 the second alone."""
    found = compare_paired(make_pairs(36, 12, 2, 0))
    assert (found.value, found.low, found.high) == pytest.approx((0.2, 0.0569, 0.3404), abs=5e-5)


def test_the_other_way_round_is_the_same_with_the_other_sign() -> None:
    one, other = compare_paired(make_pairs(9, 5, 1, 7)), compare_paired(make_pairs(9, 1, 5, 7))
    assert (other.low, other.value, other.high) == pytest.approx((-one.high, -one.value, -one.low))


def test_pairs_that_never_differ_leave_room_for_doubt() -> None:
    found = compare_paired(make_pairs(20, 0, 0, 0))
    assert found.low < found.value == 0 < found.high


def test_95_percent_of_intervals_hold_the_truth() -> None:
    draw, chances = random.Random(3), (0.5, 0.2, 0.1, 0.2)
    truth = 0.5 + 0.2 - (0.5 + 0.1)
    found = [compare_paired(draw.choices(CELLS, chances, k=60)) for _ in range(1000)]
    held = sum(interval.low <= truth <= interval.high for interval in found) / 1000
    assert abs(held - 0.95) < 3 * math.sqrt(0.95 * 0.05 / 1000)
