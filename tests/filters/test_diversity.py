"""Rows that lie near a kept one fall; chosen ones cover the others."""

import itertools
import math

import numpy as np
import pytest

from filters.diversity import Near, centre, choose_centres, find_near


def around(*degrees: float) -> np.ndarray:
    """Points of the unit circle."""
    return np.array([[math.cos(math.radians(d)), math.sin(math.radians(d))] for d in degrees])


def test_the_mean_is_taken_away_and_lengths_are_one() -> None:
    unit = centre(np.array([[5.0, 1.0], [5.0, 3.0], [8.0, 2.0], [6.0, 2.0]]))
    assert np.allclose(unit[:3], around(225, 135, 0))
    assert np.array_equal(unit[3], [0.0, 0.0])


def test_what_is_near_an_earlier_kept_row_falls() -> None:
    """From 0 to 60 degrees it is 1 - cos 60 = 0.5, to 90 it is 1."""
    unit = around(0, 60, 90, 180)
    assert find_near(unit, [0, 1, 2, 3], 0.5) == {2: Near(1, 0.133975)}
    assert find_near(unit, [0, 1, 2, 3], 0.6) == {1: Near(0, 0.5)}
    assert find_near(unit, [2, 1, 0, 3], 0.6) == {1: Near(2, 0.133975)}


def test_a_row_that_fell_makes_no_other_fall() -> None:
    assert find_near(around(0, 40, 80), [0, 1, 2], 0.3) == {1: Near(0, 0.233956)}


def test_the_farthest_row_is_chosen_next() -> None:
    unit = around(0, 10, 20, 100, 190)
    chosen, nearest = choose_centres(unit, 3)
    assert chosen == [2, 4, 3]  # 20 degrees lies in the middle; 190 is 170 from it; 100 is 80
    expected = [1 - math.cos(math.radians(d)) for d in (20, 10, 0, 0, 0)]
    assert nearest == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(("count", "chosen"), [(0, 0), (1, 1), (5, 5), (9, 5)])
def test_no_more_than_there_are(count: int, chosen: int) -> None:
    order, nearest = choose_centres(around(0, 50, 100, 200, 300), count)
    assert len(set(order)) == len(order) == chosen
    assert (nearest[order] == 0).all()


def test_equal_rows_are_chosen_once_and_then_in_order() -> None:
    order, nearest = choose_centres(around(0, 0, 0, 90), 3)
    assert order == [0, 3, 1]
    assert list(nearest) == [0, 0, 0, 0]


def test_the_radius_is_at_most_twice_the_smallest() -> None:
    """Gonzalez's bound, for angles, by trying all choices of 3 out of 12."""
    unit = centre(np.random.default_rng(0).normal(size=(12, 3)))
    _, nearest = choose_centres(unit, 3)
    angles = np.arccos(np.clip(unit @ unit.T, -1, 1))
    smallest = min(
        angles[:, list(some)].min(axis=1).max() for some in itertools.combinations(range(12), 3)
    )
    assert math.acos(1 - nearest.max()) <= 2 * smallest + 1e-6


def test_no_row_is_no_trouble() -> None:
    order, nearest = choose_centres(np.zeros((0, 3)), 2)
    assert (order, len(nearest)) == ([], 0)
    assert find_near(np.zeros((0, 3)), [], 0.5) == {}
