"""Pass rates of the student are sorted into a band, above it and below it."""

import pytest

from filters.difficulty import grade_difficulty


@pytest.mark.parametrize(
    ("rate", "band", "grade"),
    [
        (0.0, (0.0, 1.0), ("reject", "too_hard")),
        (0.25, (0.0, 1.0), ("accept", "in_band")),
        (1.0, (0.0, 1.0), ("reject", "too_easy")),
        (0.25, (0.25, 0.75), ("reject", "too_hard")),
        (0.75, (0.25, 0.75), ("reject", "too_easy")),
        (0.5, (0.25, 0.75), ("accept", "in_band")),
        (0.0, None, ("accept", "measured")),
    ],
)
def test_a_rate_is_in_the_band_or_not(
    rate: float, band: tuple[float, float] | None, grade: tuple[str, str]
) -> None:
    assert grade_difficulty(rate, band) == grade
