"""Broken chains made of sound ones, to measure how much the auditor of chains sees.

One step `a op b = c` is spoiled while the final answer stays right: its result, an operand or its
sign is changed, or the last step is made to come to another value than the answer. The steps are
found by a pattern of this file's own, and nothing here asks the auditor, so that what it finds of
them says something about it.
"""

import random
import re
from collections.abc import Iterator
from fractions import Fraction
from typing import NamedTuple

from filters.final_answer import extract_final_answer
from filters.plain_numbers import parse_number

_NUMBER = r"(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?"
_UNIT = r"(?:[ ]?[a-z]{2,12}){0,2}"
_STEP = re.compile(
    rf"(?<![\w.,/^*×÷+%(-])(?P<a>{_NUMBER})(?P<gap>{_UNIT}\s*)"  # noqa: RUF001
    rf"(?P<sign>[-+*/×÷−])(?P<gap2>\s*[$€£]?)(?P<b>{_NUMBER})(?P<gap3>{_UNIT}\s*=\s*\**[$€£]?)"  # noqa: RUF001
    rf"(?P<c>{_NUMBER})(?![\w%/^]|[.,]\d|\**\s*[-+/×÷−=^]|\s*\*\s?\d)"  # noqa: RUF001
)
_SIGN_BEFORE = re.compile(r"[^\n\s][ ]*[-+*/×÷=^(][ ]*\Z")  # noqa: RUF001
_PLAIN = {"×": "*", "÷": "/", "−": "-"}  # noqa: RUF001
_OTHER = {"+": "-", "-": "+", "*": "+", "/": "*"}
KINDS = ("result", "operand", "sign", "end")


class _Step(NamedTuple):
    match: re.Match[str]
    a: Fraction
    b: Fraction
    c: Fraction
    sign: str


def plant_faults(text: str, rng: random.Random) -> str | None:
    """The text with one step spoiled, and the same final answer; None where none can be."""
    answer = extract_final_answer(text).text
    steps = list(_find_steps(text))
    tries = [(kind, step) for step in steps for kind in KINDS[:3]]
    tries += [("end", step) for step in steps[-1:]]
    rng.shuffle(tries)
    for kind, step in tries:
        spoiled = _spoil(text, step, kind, rng)
        if spoiled is not None and answer is not None and _has_answer(spoiled, answer):
            return spoiled
    return None


def _find_steps(text: str) -> Iterator[_Step]:
    """The steps of two operands that hold exactly."""
    for match in _STEP.finditer(text):
        if _SIGN_BEFORE.search(text, max(0, match.start() - 20), match.start()):
            continue
        a, b, c = (_read(match[name]) for name in "abc")
        sign = _PLAIN.get(match["sign"], match["sign"])
        if _work_out(a, sign, b) == c:
            yield _Step(match, a, b, c, sign)


def _spoil(text: str, step: _Step, kind: str, rng: random.Random) -> str | None:
    """The text with this step changed in one way; None where the change would leave it true."""
    a, b, c, sign = step.a, step.b, step.c, step.sign
    shift = rng.choice([-1, 1]) * rng.randint(1, 9)
    if kind == "result":
        c += shift
    elif kind == "operand":
        a, b = (a + shift, b) if rng.random() < 0.5 else (a, b + shift)
    elif kind == "sign":
        sign = _OTHER[sign]
    elif sign in "+-":
        a, c = a + shift, c + shift
    else:
        return None
    if min(a, b, c) < 0 or (kind != "end" and _is_nearly(_work_out(a, sign, b), c)):
        return None
    match = step.match
    shown = sign if kind == "sign" else match["sign"]
    spoiled = f"{_show(a, step.a, match['a'])}{match['gap']}{shown}{match['gap2']}"
    spoiled += f"{_show(b, step.b, match['b'])}{match['gap3']}{_show(c, step.c, match['c'])}"
    return text[: match.start()] + spoiled + text[match.end() :]


def _has_answer(text: str, answer: str) -> bool:
    found = extract_final_answer(text).text
    one, other = parse_number(found or ""), parse_number(answer)
    return one is not None and other is not None and one.value == other.value


def _is_nearly(value: Fraction | None, stated: Fraction) -> bool:
    """Whether a stated result could still pass as a rounded one."""
    return value is not None and abs(value - stated) < 1


def _work_out(a: Fraction, sign: str, b: Fraction) -> Fraction | None:
    if sign == "/":
        return a / b if b else None
    return a + b if sign == "+" else a - b if sign == "-" else a * b


def _read(digits: str) -> Fraction:
    return Fraction(digits.replace(",", ""))


def _show(value: Fraction, before: Fraction, digits: str) -> str:
    """A number as it stood there, or a changed one with as many places."""
    if value == before:
        return digits
    return f"{float(value):.{len(digits.partition('.')[2])}f}"
