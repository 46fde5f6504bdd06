"""Whether the calculations of an answer hold, and lead to the answer that it gives.

A right answer behind a broken chain is a false positive (Bansal et al. 2024, arXiv:2408.16737,
section 4): it teaches a student to argue wrongly. Every calculation that can be read is worked out
anew in exact fractions. A stated result may be rounded within its last digit; a percentage may
stand for a hundredth or as a unit; `3 + 4 = 7 + 5 = 12` is taken as it is meant. What cannot be
read, may be a change of units, or is taken back, is never called broken.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from itertools import pairwise, product
from typing import Literal, NamedTuple

from filters.answer_statements import find_statements
from filters.arithmetic import Side, Token, evaluate
from filters.calculations import DASH, Calculation, read_calculations
from filters.hedges import retracts
from filters.plain_numbers import PlainNumber, parse_number

VERSION = "2"
State = Literal["sound", "broken", "unread"]


class Step(NamedTuple):
    """One calculation of an answer."""

    text: str
    state: State
    form: str
    """The calculation alone, spelled one way: `12+7=19`."""


class ChainAudit(NamedTuple):
    """An answer's calculations, and the first of them that does not hold."""

    steps: tuple[Step, ...]
    """Those that were read."""
    broken: str | None
    """The calculation that does not hold, or the last one and the answer it does not lead to."""
    unread: tuple[str, ...] = ()


class _Judged(NamedTuple):
    step: Step
    calculation: Calculation
    ends: frozenset[Fraction]
    """What the calculation comes to."""


_MEASURES = {
    name: kind
    for kind, names in {
        "money": "dollar usd cent penny pennie dime nickel quarter pound pence euro £ € p",
        "length": "m metre meter km kilometre kilometer cm centimetre centimeter mm millimetre "
        "millimeter inch inche in foot feet ft yard yd mile mi",
        "time": "s sec second min minute h hr hour day week month year decade century centurie ms",
        "weight": "g gram kg kilogram kilo mg lb pound ounce oz ton tonne",
        "volume": "l litre liter ml millilitre milliliter cup pint quart gallon",
        "angle": "° degree radian",
        "count": "dozen pair score",
        "share": "percent",
    }.items()
    for name in names.split()
}
_FACTORS = {Fraction(n) for n in (7, 12, 16, 24, 60, 100, 365, 1000, 3600)}
_FACTORS |= {1 / factor for factor in _FACTORS}
_OTHER_ARITHMETIC = re.compile(
    r"\bmod(?:ulo|ular)?\b|≡|\bbase[- ]\w+|\bbinary\b|\bhexadecimal\b|\boctal\b|\bo'?clock\b|"
    r"\b(?:xor|bitwise|roman)\b|[₀-₉]",
    re.IGNORECASE,
)
_DENIED = re.compile(r"[^.\n]{0,30}\b(?:wrong|false|incorrect|untrue|not (?:right|true|correct))\b")
_PERCENT_READINGS = (Fraction(1, 100), Fraction(1))


def audit_chain(completion: str, answer: str | None) -> ChainAudit:
    """Work out every calculation of a completion again, and compare its end with the answer.

    Without an answer, or with one that is no number, only the calculations are audited.
    """
    text, calculations = read_calculations(completion)
    rounded: dict[str, Fraction] = {}
    other = _uses_other_arithmetic(text)
    judged = [_judge(text, calculation, rounded, other) for calculation in calculations]
    judged = [one for one in judged if one is not None]
    steps = tuple(one.step for one in judged if one.step.state != "unread")
    unread = tuple(one.step.text for one in judged if one.step.state == "unread")
    broken = next((step.text for step in steps if step.state == "broken"), None)
    if broken is None and answer is not None and not other:
        broken = _find_loose_end(text, judged, answer)
    return ChainAudit(steps, broken, unread)


def _judge(
    text: str, calculation: Calculation, rounded: dict[str, Fraction], other_arithmetic: bool
) -> _Judged | None:
    """None where nothing is calculated: `x = 5`, `1 km = 1000 m`."""
    states = list(_judge_pairs(calculation, rounded))
    if not states:
        return None
    state: State = "unread"
    if "broken" in states:
        negative = _read_dash_as_minus(text, calculation)
        may_hold = negative and "broken" not in _judge_pairs(negative, rounded)
        is_meant = not (may_hold or other_arithmetic or _is_not_asserted(text, calculation))
        state = "broken" if is_meant else "unread"
    elif "sound" in states:
        state = "sound"
    sides = calculation.sides
    shown = " ".join(text[calculation.start : calculation.end].split())
    form = "=".join("".join(t.text + "%" * t.percent for t in side.tokens) for side in sides)
    ends = {v for s in sides if s.clean for v in _values(s, {}) | _values(s, rounded)}
    return _Judged(Step(shown, state, form), calculation, frozenset(ends))


def _read_dash_as_minus(text: str, calculation: Calculation) -> Calculation | None:
    """The calculation with a minus sign, where a dash before it was taken for a bullet."""
    place = calculation.start
    if not text[max(0, place - 5) : place].rstrip().endswith(DASH):
        return None
    first, *rest = calculation.sides
    minus = Token("sign", place, place, "-")
    return calculation._replace(sides=(Side((minus, *first.tokens), first.clean), *rest))


def _judge_pairs(calculation: Calculation, rounded: dict[str, Fraction]) -> Iterator[State]:
    sides, inexact = calculation.sides, calculation.inexact
    for i, (left, right) in enumerate(pairwise(sides)):
        if not (left.is_calculation or right.is_calculation):
            continue
        if not (left.clean and right.clean):
            yield "unread"
            continue
        goes_on = i + 2 < len(sides) and right.is_calculation
        agree = _agree(left, right, inexact[i], rounded)
        if agree is False and goes_on and _is_run_on(left, right, sides[i + 2], rounded):
            agree = True
        yield "unread" if agree is None else "sound" if agree else "broken"


def _agree(left: Side, right: Side, inexact: bool, rounded: dict[str, Fraction]) -> bool | None:
    """Whether two sides are equal, as exactly as they are stated; None where it cannot be told."""
    stated, worked = (right, left) if left.is_calculation else (left, right)
    said, exact = _values(stated, {}), _values(worked, {})
    if not (said and exact):
        return None
    last_digit = _find_last_digit(stated, inexact)
    for value, other in product(exact | _values(worked, rounded), said):
        if value == other:
            return True
        if last_digit and _is_rounded(value, other, last_digit):
            if not stated.is_calculation:
                rounded[stated.tokens[-1].text] = value
            return True
    is_vague = inexact and last_digit is None
    return None if is_vague or _may_mean_otherwise(left, right) else False


def _is_rounded(value: Fraction, said: Fraction, last_digit: Fraction) -> bool:
    """Whether a stated value is another one rounded, or cut off, at its last digit."""
    short = abs(value) - abs(said)
    return 2 * abs(value - said) <= last_digit or (value * said > 0 and 0 <= short < last_digit)


def _values(side: Side, instead: dict[str, Fraction]) -> set[Fraction]:
    """What a side may come to: a percent sign is a hundredth, or only a unit."""
    readings = _PERCENT_READINGS if any(t.percent for t in side.tokens) else _PERCENT_READINGS[:1]
    values = (evaluate(side, reading, instead) for reading in readings)
    return {value for value in values if value is not None}


def _find_last_digit(side: Side, inexact: bool) -> Fraction | None:
    """What one is worth in the last stated place of a number; None for a calculation, and for a
    whole number that is said to be exact."""
    tokens = [t for t in side.tokens if t.kind != "sign" or t.text != "-"]
    power = Fraction(1)
    if [t.text for t in tokens[1:-1]] == ["*", "10", "^"]:
        power = Fraction(10) ** int(tokens[-1].text) if tokens[-1].text.isdigit() else power
        tokens = tokens[:1]
    if len(tokens) != 1 or " " in tokens[0].text:
        return None
    digits = tokens[0].text
    places = len(digits.partition(".")[2])
    scale = Fraction(1, 100) if tokens[0].percent else Fraction(1)
    if places:
        return power * scale / 10**places
    zeros = len(digits) - len(digits.rstrip("0")) if inexact else 0
    return scale * power * 10**zeros if inexact or power > 1 or tokens[0].percent else None


def _may_mean_otherwise(left: Side, right: Side) -> bool:
    """Whether two sides that differ may be equal in a way that is not read here."""
    units, others = _list_measures(left.tokens), _list_measures(right.tokens)
    news = others - units if left.is_calculation else units - others
    if units and others and news:
        return True  # 2 x 1 km = 2000 m
    if _is_loose(left, right) or _is_loose(right, left):
        return True
    thousands = {
        token.text: Fraction(token.text) * 1000
        for token in (*left.tokens, *right.tokens)
        if re.fullmatch(r"\d{1,3}\.\d{3}", token.text)
    }
    return bool(_values(left, thousands) & _values(right, thousands))


def _is_loose(side: Side, other: Side) -> bool:
    """Whether a side is written as people write who mean something else by it."""
    numbers = [token for token in side.tokens if token.kind == "number"]
    signs = [token.text for token in side.tokens if token.kind == "sign"]
    if side.is_calculation and set(signs) & set("+-"):
        kinds = [_MEASURES[unit] for unit in _list_measures(side.tokens)]
        is_mixed = len(set(kinds)) < len(kinds)  # 2 hours + 30 minutes
        if is_mixed or len({number.percent for number in numbers}) == 2:  # 50 + 10%
            return True
    if signs[:1] == ["-"] and "^" in signs and side.tokens[0].text == "-":
        return True  # -3^2
    neighbours = {(a.kind, b.kind) for a, b in pairwise(side.tokens)}
    if "/" in signs and neighbours & {("number", "open"), ("close", "open")}:
        return True  # 8 / 2(2 + 2)
    is_share = signs == ["/"] and max(_values(side, {})) < 1 <= min(_values(other, {}))
    is_glued = all(a.end == b.start for a, b in pairwise(side.tokens))
    return is_share and is_glued and len(numbers) == 2  # 1/4 = 5 students


def _list_measures(tokens: Iterable[Token]) -> set[str]:
    """The units of measure at some numbers, in their singular."""
    words = {w for t in tokens for w in re.split(r"[\s/]+", t.unit.lower())}
    singular = {word if word in _MEASURES else word.removesuffix("s") for word in words}
    return {word for word in singular if word in _MEASURES}


def _is_run_on(left: Side, right: Side, after: Side, rounded: dict[str, Fraction]) -> bool:
    """`3 + 4 = 7 + 5 = 12`, where each equals sign tells only what was just worked out."""
    if right.tokens[0].kind != "number" or not after.clean:
        return False
    result = Side(right.tokens[:1], True)
    return _agree(left, result, False, rounded) is True and (
        _agree(right, after, False, rounded) is True
        or (after.is_calculation and after.tokens[0].kind == "number")
    )


def _is_not_asserted(text: str, calculation: Calculation) -> bool:
    """Whether a calculation is asked, denied or taken back where it stands."""
    after = text[calculation.end : calculation.end + 60]
    sentence = re.split(r"[.\n]", after, maxsplit=1)[0]
    return "?" in sentence or bool(_DENIED.match(after)) or retracts(after)


def _uses_other_arithmetic(text: str) -> bool:
    """Whether a text calculates otherwise than with ordinary numbers: modulo, in another base."""
    return _OTHER_ARITHMETIC.search(text) is not None


def _find_loose_end(text: str, judged: Sequence[_Judged], answer: str) -> str | None:
    """The calculation that should lead to the answer and does not."""
    number = parse_number(answer)
    statements = find_statements(text)
    last = statements[-1].end if statements else len(text)
    judged = [one for one in judged if one.calculation.start < last]
    if number is None or not judged or judged[-1].step.state == "unread":
        return None
    reached = [i for i, one in enumerate(judged) if _reaches(one, number, answer)]
    if not reached:
        return f"{judged[-1].step.text}, and the answer is {answer}"
    known: set[Fraction] = set()
    for i, one in enumerate(judged):
        used = {v for side in one.calculation.sides for v in _operands(side)}
        if i > reached[-1] and number.value in used and not one.ends & known:
            return f"{one.step.text}, and the answer is {answer}"
        known |= used | one.ends
    return None


def _reaches(one: _Judged, number: PlainNumber, answer: str) -> bool:
    """Whether a calculation comes to the answer: exactly, rounded, without its sign, or in another
    unit."""
    tokens = [token for side in one.calculation.sides for token in side.tokens]
    own = Token("number", 0, 0, "", number.unit, "%" in answer)
    has_measure = any(t.percent for t in (own, *tokens)) or bool(_list_measures([own, *tokens]))
    for end in one.ends:
        gap = abs(end - number.value)
        is_rounded = end.denominator > 1 and gap < (1 if number.value.denominator == 1 else 0.01)
        if abs(end) == abs(number.value) or is_rounded:
            return True
        if has_measure and end and number.value / end in _FACTORS:
            return True
    return False


def _operands(side: Side) -> Iterator[Fraction]:
    if side.is_calculation:
        for token in side.tokens:
            if token.kind == "number":
                yield from _values(Side((token,), True), {})
