r"""Finding calculations in prose, and reading each side of their equals signs exactly.

`12 red apples + 7 = 19 apples`, `\frac{48}{2} = 24`, `20% of $50 = $10` are read; `2x + 3 = 7`, a
date, a version, a time, a range or code is not. A side holds numbers, signs and brackets only;
units are put aside. A side that leans on something unread (a variable, a function, `half of`,
`million`) is kept, but marked: nothing can be said about it.
"""

import re
from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple

from filters.arithmetic import Side, Token
from filters.hedges import is_operand
from filters.plain_numbers import changes_value, parse_number
from filters.readable_text import drop_reasoning, plain_characters

MAX_UNIT = 100


class Calculation(NamedTuple):
    """Sides that are said to be equal."""

    start: int
    end: int
    sides: tuple[Side, ...]
    inexact: tuple[bool, ...]
    """Of each equals sign: whether it says `about`."""


_FENCE = re.compile(r"```.*?(?:```|\Z)|~~~.*?(?:~~~|\Z)", re.DOTALL)
_INLINE_CODE = re.compile(r"`([^`\n]*)`")
_ARITHMETIC = re.compile(r"[\d\s.,+*/^()$%=×÷−-]+")  # noqa: RUF001
_NOTATION = [
    (re.compile(pattern), plain)
    for pattern, plain in (
        (r"<<[^<>\n]*>>", ""),  # the calculator's notes of GSM8K
        (r"\\(?:text|mathrm|textbf|mathbf|mbox|boxed)\s*\{([^{}]*)\}", r" \1 "),
        (r"\\[dt]?frac\s*\{([^{}]+)\}\s*\{([^{}]+)\}", r"((\1)/(\2))"),
        (r"\\[dt]?frac\s*\{([^{}]+)\}\s*\{([^{}]+)\}", r"((\1)/(\2))"),
        (r"\\(?:times|cdot|ast)(?![a-z])", "*"),
        (r"\\div(?![a-z])", "/"),
        (r"\\approx(?![a-z])", "≈"),
        (r"\\\\", "\n"),
        (r"\\(?:left|right|displaystyle)(?![a-z])|\\[,;:! ()\[\]]|&", " "),
        (r"\\([$%])", r"\1"),
        (r"\{,\}", ","),
        (  # 15 (seats) - 10 (taken) = 5
            r"(?<=\w)[ ]\((?!(?:[a-z]+[ ])*(?:dozen|hundred|thousand|million|billion|half|twice|"
            r"times|squared|cubed|mod)\b)[A-Za-z][A-Za-z' ,-]{2,60}\)",
            "",
        ),
        (r"\n\s*(?=[=≈])", " "),  # a calculation that goes on in the next line
        (r"(?<=[\d%])\s?/\s?(?=[A-Za-z]{2})|(?<=[A-Za-z])\s?/\s?(?=[A-Za-z])", " per "),
    )
]
_BULLET = re.compile(r"^[ \t]*(?:\d{1,2}[.)]|[-*•])[ \t]+", re.MULTILINE)
DASH = "‣"
"""Stands where a line begins with a dash: a bullet, or the sign of its first number."""
_TOKEN = re.compile(
    r"(?P<space>[^\S\n]+)|(?P<spaced>\d{1,3}(?: \d{3})+(?!\d))|"
    r"(?P<number>(?:US|A|C)?[$£€¥₹]?\s?(?:\d+ \d+/\d+(?![\d/])|"
    r"(?:\d{1,3}(?:[,\u00a0\u2009\u202f]\d{3})+(?![\d,])|\d+)(?:\.\d+)?|\.\d+))|"
    r"(?P<equals>(?:(?<![<>!:=~])=(?![=>])|≈|\b(?:equals|is equal to)\b)"
    r"\s*(?P<about>(?:about|approximately|roughly|around|nearly|almost)\b|[≈~])?)|"
    r"(?P<sign>\*\*|[-+*/^×÷·⋅–]|\b(?:plus|minus|times|multiplied by|divided by|of)\b|"  # noqa: RUF001
    r"(?<=[\d\s)])[xX](?=\s*[($£€.]?\d))|"
    r"(?P<open>[(\[{])|(?P<close>[)\]}])|(?P<other>[^\W\d]+|.)",
    re.DOTALL,
)
_SIGNS = {"**": "^", "×": "*", "·": "*", "⋅": "*", "x": "*", "X": "*", "÷": "/", "–": "-"}  # noqa: RUF001
_SIGNS |= {"plus": "+", "minus": "-", "times": "*", "multiplied by": "*", "divided by": "/"}
_SIGNS |= {"of": "*"}
_PERCENT = re.compile(r"\s*(?:%|per\s?cent\b)")
_SIGN_WORD = re.compile(r"\s+(?:plus|minus|times|multiplied by|divided by|of|equals|is equal)\b")
_WORDS = re.compile(r"(?:°[CF]?|[ \t]?[A-Za-z][A-Za-z'’-]*(?:\^\{?[23]\}?)?)")  # noqa: RUF001
_GOES_ON = re.compile(r"[ \t]*(?:[-+*/×÷·=≈)\]–]|(?:plus|minus|times|equals|is equal|of)\b)")  # noqa: RUF001
_REMAINDER = re.compile(
    r"\s*,?\s*(?:with\s+|and\s+)?(?:an?\s+)?(?:R|r|rem|remainder)\b|\s*,?\s*and\s+\d+\s+(?:left|remain)|\s*\(?\s*mod\b|"
    r"\s+with\b"
)
_ANOTHER = re.compile(r"\s+and\s+\d+\s*/\s*\d+\s*[-+*=×÷]")  # noqa: RUF001
_GLUED = re.compile(r"[A-Za-z_]+|[.,:]\d|!(?=\s*[-+*/^×÷=)])|[²³√π′″]")  # noqa: RUF001
_STICKY = frozenset("√∛∑∏∫_?□\\|<>≤≥≠~@#^!…")
_LEANS = re.compile(
    r"(?:\b(?:log|ln|sin|cos|tan|sqrt|max|min|gcd|lcm|(?:square|cube|sum|difference|product|"
    r"average|mean|median|total|rest|value|factorial|ratio|remainder|number)\s+of|square|cube|"
    r"day|week|month|year|case|option|row|level|round|no|number|page|version|v|exercise|q|"
    r"not|never|if|suppose|imagine|assume|assuming|pretend|claim(?:s|ed)?|cannot|whether|"
    r"(?:true|false|wrong|think|thinks|thought|believes?|says?|said|claim|claims|claimed)\s+that|"
    r"thousand|hundred|dozen)|n't|[√∛≠]|\d\s*(?:feet|foot|ft|yards?|hours?|minutes?|pounds?|lbs?|"
    r"dollars?|weeks?|days?|years?|[hm]|k[gm]),?(?:\s+and)?)[\s:$£€(]*$",
    re.IGNORECASE,
)


def read_calculations(completion: str) -> tuple[str, list[Calculation]]:
    """The text as it is read, and the calculations in it with their places there."""
    visible = drop_reasoning(completion)
    text = _tidy(visible) if visible is not None else ""
    found: list[Calculation] = []
    start = 0
    for line in text.split("\n"):
        found += _group(text, _lex(text, start, start + len(line)))
        start += len(line) + 1
    return text, found


def _tidy(text: str) -> str:
    text = _FENCE.sub(" ", text)
    text = _INLINE_CODE.sub(lambda m: m[1] if _ARITHMETIC.fullmatch(m[1]) else " … ", text)
    text = plain_characters(text)
    for pattern, plain in _NOTATION:
        text = pattern.sub(plain, text)
    return _BULLET.sub(lambda m: (DASH if "-" in m[0] else "").ljust(len(m[0])), text)


def _lex(text: str, at: int, stop: int) -> Iterator[Token]:
    before: list[Token] = []
    while at < stop:
        match = _TOKEN.match(text, at, stop)
        assert match is not None  # `other` takes any character
        kind, at = str(match.lastgroup), match.end()
        if kind == "space":
            continue
        if match["equals"]:
            kind = "equals"
        if kind == "spaced":  # 12 345: one number or two
            kind = "other"
        token = Token(kind, match.start(), at, match[0])
        if kind == "number":
            token = _read_number(text, match, stop)
        elif kind == "sign":
            token = _read_sign(token, before)
        elif kind == "equals":
            inexact = bool(match["about"]) or match[0].startswith("≈")
            token = token._replace(text="≈" if inexact else "=")
        at = token.end
        yield token
        before = [*before[-2:], token]


def _read_sign(token: Token, before: list[Token]) -> Token:
    """A word is a sign only behind a number, and `of` only behind a share of something."""
    is_word = token.text[0].isalpha()
    behind = bool(before) and before[-1].kind in ("number", "close")
    is_share = behind and (before[-1].percent or [t.text for t in before[-2:-1]] == ["/"])
    if is_word and not (behind and (token.text != "of" or is_share)):
        return token._replace(kind="other")
    return token._replace(text=_SIGNS.get(token.text, token.text))


def _read_number(text: str, match: re.Match[str], stop: int) -> Token:
    start, end = match.span()
    digits = re.sub(r"^\D*?(?=\.?\d)|[,\u00a0\u2009\u202f]", "", match[0])
    money = "dollar" if "$" in match[0] else re.sub(r"[\d\s.,/]", "", match[0])
    token = Token("number", start, end, digits, money)
    if re.search(r"[A-Za-z_\\#@]\Z|\d[:.,]\Z", text[max(0, start - 2) : start]):
        return token._replace(kind="other")
    if percent := _PERCENT.match(text, end, stop):
        return token._replace(percent=True, end=percent.end())
    if text[end : end + 1] in ("$", "€", "£") and not text[end + 1 : end + 2].isdigit():
        return token._replace(end=end + 1, unit=money or "dollar")
    after = text[end : min(stop, end + MAX_UNIT)]
    if _SIGN_WORD.match(after) or re.match(r"\s*[xX]\s*[($£€.]?\d", after):
        return token
    if (changes_value(after) and not _ANOTHER.match(after)) or _REMAINDER.match(after):
        return token._replace(kind="other")
    unit, length = _read_unit(digits, after)
    glued = _GLUED.match(after)
    if glued and not (length or (glued[0].isalpha() and parse_number(digits + glued[0]))):
        return token._replace(kind="other")
    return token._replace(unit=unit or money, end=end + length)


def _read_unit(digits: str, after: str) -> tuple[str, int]:
    """The words after a number that lead on to a sign, and their length; else a word alone."""
    length, first, best = 0, "", 0
    for _ in range(5):
        word = _WORDS.match(after, length)
        if word is None or _SIGN_WORD.match(after, length):
            break
        length = word.end()
        is_unit = after.startswith("°") or parse_number(digits + after[:length])
        if not is_unit:
            break
        first = first or after[:length].strip()
        if _GOES_ON.match(after, length):
            best = length
    return (after[:best].strip() if best else first), best


def _group(text: str, tokens: Iterator[Token]) -> Iterator[Calculation]:
    """Put tokens together as long as they can stand beside one another."""
    run: list[Token] = []
    before: Token | None = None
    depth = 0
    for token in tokens:
        ends = token.kind == "other" or (token.kind == "close" and depth == 0)
        if ends or (run and not _can_follow(run[-1], token)):
            yield from _make(text, run, before, token)
            before, run, depth = (token if ends else run[-1] if run else before), [], 0
        if not ends:
            depth = max(0, depth + (token.kind == "open") - (token.kind == "close"))
            depth = 0 if token.kind == "equals" else depth
            run.append(token)
    yield from _make(text, run, before, None)


def _can_follow(left: Token, right: Token) -> bool:
    if right.kind == "number":
        return left.kind not in ("number", "close")
    if right.kind == "open" and left.kind in ("number", "close"):
        return left.end == right.start  # 2(3 + 4) is a product, 12 (3 + 4) a remark
    return True


def _make(
    text: str, run: list[Token], before: Token | None, after: Token | None
) -> Iterator[Calculation]:
    while run and run[0].kind == "equals":
        before, run = run[0], run[1:]
    while run and run[-1].kind == "equals":
        after, run = run[-1], run[:-1]
    places = [i for i, token in enumerate(run) if token.kind == "equals"]
    if not places:
        return
    cuts = [-1, *places, len(run)]
    groups = [_drop_opened(run[a + 1 : b]) for a, b in pairwise(cuts)]
    last = len(groups) - 1
    sides = tuple(
        Side(
            tuple(group),
            bool(group)
            and group[-1].kind != "sign"
            and (i > 0 or _begins_cleanly(text, group, before))
            and (i < last or _ends_cleanly(group, after)),
        )
        for i, group in enumerate(groups)
    )
    inexact = tuple(run[i].text == "≈" for i in places)
    yield Calculation(run[0].start, run[-1].end, sides, inexact)


def _drop_opened(group: list[Token]) -> list[Token]:
    """A side without brackets that open before it and close only after the whole."""
    opened = sum((t.kind == "open") - (t.kind == "close") for t in group)
    first = next((i for i, token in enumerate(group) if token.kind != "open"), len(group))
    return group[max(0, min(opened, first)) :]


def _begins_cleanly(text: str, group: list[Token], before: Token | None) -> bool:
    line = text[max(0, group[0].start - 60) : group[0].start].rpartition("\n")[2]
    if is_operand(line) or _LEANS.search(line):
        return False
    if before is None:
        return True
    is_word = before.text[-1].isalnum() or before.kind in ("number", "close")
    if group[0].kind == "sign" and (group[0].text not in "+-" or is_word):
        return False
    if group[0].kind == "open" and before.end == group[0].start and is_word:
        return False
    return before.text not in _STICKY or (before.end < group[0].start and before.text in "?!|…>")


def _ends_cleanly(group: list[Token], after: Token | None) -> bool:
    if after is None:
        return True
    is_near = after.start == group[-1].end
    return not (is_near and after.text[0] in _STICKY - {"?", "!", "…"}) and after.text[0] != "√"
