"""The exact value of a calculation: a small arithmetic over numbers, signs and brackets.

Values are fractions, so `0.1 + 0.2` is 0.3. Every value on the way is bounded, and so are powers,
digits and depth: the work grows with a text's length only, and no text fills the memory.
"""

from fractions import Fraction
from typing import NamedTuple

MAX_POWER, MAX_DIGITS, MAX_DEPTH = 64, 40, 20
MAX_BITS = 4_096
"""No value has a numerator or denominator of more."""


class Token(NamedTuple):
    """A number, a sign, a bracket, an equals sign, or what ends a calculation (`other`)."""

    kind: str
    start: int
    end: int
    text: str
    """Digits without separators; a sign as one of `+-*/^`."""
    unit: str = ""
    percent: bool = False


class Side(NamedTuple):
    """One side of an equals sign."""

    tokens: tuple[Token, ...]
    clean: bool
    """Whether nothing unread belongs to it."""

    @property
    def is_calculation(self) -> bool:
        """Whether something is left to be worked out."""
        return sum(token.kind == "number" for token in self.tokens) > 1


def evaluate(side: Side, percent: Fraction, instead: dict[str, Fraction]) -> Fraction | None:
    """The exact value of a side; None where it has none, or is too large to work out.

    `percent` is what a percent sign multiplies by; numbers in `instead` stand for other values.
    """
    try:
        return _Evaluation(side.tokens, percent, instead).value()
    except (ArithmeticError, ValueError, IndexError):
        return None


class _Evaluation:
    """One pass over a side's tokens; precedence from sums down to numbers."""

    def __init__(
        self, tokens: tuple[Token, ...], percent: Fraction, instead: dict[str, Fraction]
    ) -> None:
        self.tokens, self.percent, self.instead = tokens, percent, instead
        self.place = self.depth = 0

    def value(self) -> Fraction:
        value = self._sum()
        if self.place < len(self.tokens):
            raise ValueError("something is left over")
        return value

    def _peek(self) -> Token | None:
        return self.tokens[self.place] if self.place < len(self.tokens) else None

    def _take(self, signs: str) -> str:
        token = self._peek()
        if token is not None and token.kind == "sign" and token.text in signs:
            self.place += 1
            return token.text
        return ""

    def _sum(self) -> Fraction:
        value = self._product()
        while sign := self._take("+-"):
            other = self._product()
            value = _bounded(value + other if sign == "+" else value - other)
        return value

    def _product(self) -> Fraction:
        value = self._signed()
        while True:
            token = self._peek()
            if sign := self._take("*/"):
                other = self._signed()
                value = _bounded(value * other if sign == "*" else value / other)
            elif token is not None and token.kind == "open":
                value = _bounded(value * self._power())
            else:
                return value

    def _signed(self) -> Fraction:
        negative = False
        while sign := self._take("+-"):
            negative ^= sign == "-"
        return -self._power() if negative else self._power()

    def _power(self) -> Fraction:
        base = self._atom()
        if not self._take("^"):
            return base
        self._descend()
        exponent, size = self._signed(), max(abs(base.numerator), base.denominator)
        self.depth -= 1
        if exponent.denominator != 1 or abs(exponent) > MAX_POWER or size > 10**MAX_DIGITS:
            raise ValueError("a power that is too large, or a root")
        return _bounded(base ** int(exponent))

    def _descend(self) -> None:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise ValueError("nested too deeply")

    def _atom(self) -> Fraction:
        token = self.tokens[self.place]
        self.place += 1
        if token.kind == "open":
            self._descend()
            value = self._sum()
            if self.tokens[self.place].kind != "close":
                raise ValueError("a bracket is not closed")
            self.place, self.depth = self.place + 1, self.depth - 1
            return value
        if token.kind != "number" or len(token.text) > MAX_DIGITS:
            raise ValueError("no number where one should be")
        value = self.instead.get(token.text) or _read_digits(token.text)
        return value * self.percent if token.percent else value


def _bounded(value: Fraction) -> Fraction:
    """The value itself, unless it is longer than anybody calculates with.

    Raises ValueError then.
    """
    if max(value.numerator.bit_length(), value.denominator.bit_length()) > MAX_BITS:
        raise ValueError("a value that is too long")
    return value


def _read_digits(text: str) -> Fraction:
    whole, _, part = text.partition(" ")
    return Fraction(whole) + Fraction(part) if part else Fraction(whole)
