"""Our own reading of answers: expressions, and what holds several of them."""

import pytest

from filters.expressions import NotReadable
from filters.solution_sets import is_same, read_solution

EXPRESSIONS = [
    ("a+b", "b+a", True), ("ab", "ba", True), ("2x", "x^2", False), ("x", "x+10^{-20}", False),
    ("\\sqrt[3]{8}", "2", True), ("\\frac12x", "x/2", True), ("-x^2", "(-x)^2", False),
    ("\\log_2 8", "3", True), ("\\log_{10} 100", "2", True), ("x y z w", "1", False),
    ("x_1+x_2", "x_2+x_1", True), ("\\sqrt{257499}", "51\\sqrt{99}", True),
    ("|x-1|", "|1-x|", True), ("|x|", "x", False), ("||x|-3|", "|3-|x||", True),
    ("\\binom{n}{2}", "n(n-1)/2", True), ("\\dbinom52", "10", True),
    ("\\sin 2x", "2\\sin x\\cos x", True), ("\\sin x \\cos x", "\\cos x\\sin x", True),
    ("2\\theta", "\\theta+\\theta", True), ("\\theta", "\\phi", False),
    ("\\ln 2 + 1", "1+\\ln 2", True), ("\\sqrt{10^{40}+1}", "10^{20}", False),
    ("2^{100}", "2^{100}+1", False), ("\\sqrt2", "\\sqrt{2+10^{-40}}", False),
    ("e^{-66}", "e^{-66}+10^{-40}", False), ("100!", "99!", False), ("50!/2", "25*49!", True),
]  # fmt: skip
WHOLES = [
    ("1, 2", "\\{2, 1\\}", True), ("{1, 2}", "\\{2,1\\}", True), ("1 and 2", "2, 1", True),
    ("\\{1, 1\\}", "\\{1, 2\\}", False), ("\\{1\\}", "1", True), ("(1,2)", "1", False),
    ("\\emptyset", "\\{\\}", True), ("\\emptyset", "\\{0\\}", False), ("∅", "\\varnothing", True),
    ("\\pm 3", "3, -3", True), ("\\pm 3", "3", False), ("1\\pm\\sqrt2", "1-\\sqrt2", False),
    ("(1,2),(3,4)", "\\{(3,4),(1,2)\\}", True), ("\\{(1,2)\\}", "\\{(2,1)\\}", False),
    ("\\{100,200\\}", "\\{200, 100\\}", True), ("1,234", "1234", True),
    ("x=1 or x=2", "x=2, x=1", True), ("x=1 or x=2", "\\{1,2\\}", True),
    ("x=1, y=2", "y=2, x=1", True), ("x=1, y=2", "x=2, y=1", False),
    ("x_1=1, x_2=2", "\\{2,1\\}", True), ("x_1=1, x_2=2", "x_1=2, x_2=1", False),
    ("x=1, y=2", "\\{1,2\\}", False), ("x=1, x=2", "y=1, y=2", False),
    ("(3,4)", "(4,3)", False), ("(3,4)", "[3,4]", False), ("[0,1)", "[0, 1)", True),
    ("(2,\\infty)", "(2,+∞)", True), ("(2,\\infty)", "(-\\infty,2)", False),
    ("(2,\\infty)", "(2,3)", False), ("(-∞,1)\u222a(2,∞)", "(2,∞) U (-∞,1)", True),
    ("(-∞,1)\\cup(2,∞)", "(-∞,1]\\cup(2,∞)", False), ("x>3", "(3,\\infty)", True),
    ("x>3", "3<x", True), ("x>3", "y>3", False), ("x\\ge 3", "x>3", False),
    ("2\\le x<5", "5>x\\geq 2", True), ("2\\le x<5", "[2,5)", True), ("x<5", "x \\lt 5", True),
    ("x<1 or x>2", "(-∞,1)\\cup(2,∞)", True), ("x \\ne 2", "2 \\neq x", True),
    ("x \\ne 2", "x \\ne 3", False), ("x+y<1", "y+x<1", True), ("x+y<1", "1>x+y", True),
    ("y=2x+1", "2x-y+1=0", True), ("y=2x+1", "2x-y-1=0", False), ("3x+4y=12", "6x+8y=24", True),
    ("x^2+y^2=4", "x^2+y^2-4=0", True), ("x^2+y^2=4", "x^2+y^2=2", False), ("3:4", "3 : 4", True),
    ("3:4", "6:8", False), ("3:45", "1:15", False), ("3:4", "3/4", False),
    ("\\begin{pmatrix}1&2\\\\3&4\\end{pmatrix}", "\\begin{bmatrix} 1 & 2 \\\\ 3 & 4 \\end{bmatrix}",
     True),
    ("\\begin{pmatrix}1&2\\\\3&4\\end{pmatrix}", "\\begin{pmatrix}1&3\\\\2&4\\end{pmatrix}", False),
    ("\\begin{pmatrix}1&2\\end{pmatrix}", "\\begin{pmatrix}1\\\\2\\end{pmatrix}", False),
]  # fmt: skip
UNREADABLE = [
    ("", "has nothing where a value should be"),
    ("nineteen", "has the word 'nineteen' in it"),
    ("1 2", "has two numbers side by side"),
    ("2|x|", "has '|' where it should end"),
    ("100000!", "has a factorial that is too large"),
    ("(" * 40 + "1" + ")" * 40, "is nested too deeply"),
    ("\\{" * 9 + "1, 2" + "\\}" * 9, "is nested too deeply"),
    ("1," * 60 + "1", "has too many parts"),
    ("1 or 2", "leaves several values open"),
    ("x<1 or y>2", "leaves several values open"),
    ("x = 1 = 2", "has an equation in it that is not one of two sides"),
    ("x+y=1, x-y=2", "has several equations in it"),
    ("1 = 1", "has no unknown in it"),
    ("1 < x > 2", "has relations in it that point both ways"),
    ("1 \\pm 2 \\pm 3", "has more than one ± in a value"),
    ("\\{x | x > 3\\}", "has ' > 3' in it"),
    ("\\begin{pmatrix}1&2\\\\3\\end{pmatrix}", "has a matrix in it whose rows differ in length"),
]


@pytest.mark.parametrize(("a", "b", "same"), [*EXPRESSIONS, *WHOLES])
def test_what_is_the_same_and_what_is_not(a: str, b: str, same: bool) -> None:
    assert is_same(a, b) is same
    assert is_same(b, a) is same
    assert is_same(a, a)


@pytest.mark.parametrize(("text", "why"), UNREADABLE)
def test_what_cannot_be_read_says_why(text: str, why: str) -> None:
    with pytest.raises(NotReadable) as caught:
        is_same(text, text)
    assert str(caught.value) == why


def test_values_too_large_for_their_decimals_are_never_called_the_same() -> None:
    with pytest.raises(NotReadable) as caught:
        is_same("200!", "200!+1")
    assert str(caught.value) == "is too large to compare"


def test_a_part_that_cannot_be_read_is_never_merely_unequal() -> None:
    for one, other in (("1, 2", "1, 2, ducks"), ("(1, 2)", "1, ducks")):
        with pytest.raises(NotReadable) as caught:
            is_same(one, other)
        assert str(caught.value) == "has the word 'ducks' in it"


def test_a_solution_tells_its_shape() -> None:
    assert read_solution("x > 3") == ("sequence", ("3", "∞"), ("(", ")"), "x")
    assert read_solution("1\\pm\\sqrt2") == ("values", ("1+\\sqrt2", "1-\\sqrt2"), (), None)
