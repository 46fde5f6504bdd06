"""Sides of an equals sign, worked out exactly, and those that have no value here."""

from fractions import Fraction

import pytest

from filters.arithmetic import evaluate
from filters.calculations import read_calculations

HUNDREDTH = Fraction(1, 100)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0.1 + 0.2", Fraction(3, 10)),
        ("2 + 3 * 4", Fraction(14)),
        ("10 - 3 - 2", Fraction(5)),
        ("48 / 4 / 3", Fraction(4)),
        ("2 * (3 + (4 - 1))", Fraction(12)),
        ("2(3 + 4)", Fraction(14)),
        ("-2^2", Fraction(-4)),
        ("2^3^2", Fraction(512)),
        ("2^-2", Fraction(1, 4)),
        ("5 - -3", Fraction(8)),
        ("10 / 3", Fraction(10, 3)),
        ("20% * 1,500", Fraction(300)),
        ("2 1/2 * 2", Fraction(5)),
        ("1 / (2 - 2)", None),
        ("2^0.5", None),
        ("2^65 + 1", None),
        ("9^60^60", None),
        ("(" * 21 + "1 + 1" + ")" * 21, None),
        ("1" * 41 + " + 1", None),
    ],
)
def test_value_is_exact_or_not_there(text: str, value: Fraction | None) -> None:
    _, (calculation,) = read_calculations(f"{text} = 1")
    side = calculation.sides[0]
    assert side.clean
    assert evaluate(side, HUNDREDTH, {}) == value


def test_percent_and_rounded_numbers_may_stand_for_others() -> None:
    _, (calculation,) = read_calculations("20% * 3.33 = 1")
    side = calculation.sides[0]
    assert evaluate(side, Fraction(1), {}) == Fraction("66.6")
    assert evaluate(side, HUNDREDTH, {"3.33": Fraction(10, 3)}) == Fraction(2, 3)
