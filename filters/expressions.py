r"""Our own reading of mathematics, which shares nothing with math-verify: notation to a value.

A small recursive-descent parser knows sums, products, quotients, powers, roots, a few functions,
factorials, binomials, constants and variables of one letter, Latin or Greek; anything else raises
`NotReadable`. Two expressions are the same when they agree to 50 digits, and to 50 decimals, at
fixed sample points, and not the same when they differ at one of them. Nothing is evaluated by
`eval`, and powers and factorials are bounded, so that no answer can hang it. What holds several
expressions (sets, intervals, equations) is read by `filters.solution_sets`.
"""

import re
import threading
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

from mpmath.ctx_mp import MPContext

mp = MPContext()
"""A context of our own: the precision of anybody else's is not touched."""
mp.dps = 170
TOLERANCE = mp.mpf(10) ** -50
LARGEST = mp.mpf(10) ** 100
"""Of larger values the decimals are not known well enough to call them the same."""
MAX_LENGTH = 400
MAX_DEPTH = 30
MAX_EXPONENT = 10_000
MAX_FACTORIAL = 1_000
_SEEDS = (0.7310585786300049, 1.6487212707001282, -0.5671432904097838, 2.6651441426902252)
_FUNCTIONS = {
    "sqrt": mp.sqrt, "sin": mp.sin, "cos": mp.cos, "tan": mp.tan, "cot": mp.cot, "sec": mp.sec,
    "csc": mp.csc, "arcsin": mp.asin, "arccos": mp.acos, "arctan": mp.atan, "sinh": mp.sinh,
    "cosh": mp.cosh, "tanh": mp.tanh, "ln": mp.log, "log": mp.log10, "exp": mp.exp,
}  # fmt: skip
_STEADY = frozenset({abs, mp.sqrt, mp.log, mp.log10, mp.atan, mp.tanh})
"""Functions whose values are never much larger than what they are given."""
_GREEK = frozenset({
    "alpha", "beta", "gamma", "delta", "epsilon", "varepsilon", "zeta", "eta", "theta", "kappa",
    "lambda", "mu", "nu", "xi", "rho", "sigma", "tau", "phi", "varphi", "chi", "psi", "omega",
})  # fmt: skip
_CONSTANTS = {"pi": mp.pi, "e": mp.e, "i": mp.mpc(0, 1)}
_TOKEN = re.compile(
    r"\s*(?:(?P<number>\d+(?:\.\d+)?|\.\d+)|(?P<log>\\log_(?:\d|\{\d+\}))|\\(?P<command>[a-zA-Z]+)|"
    r"(?P<name>" + "|".join([*sorted(_FUNCTIONS, key=len, reverse=True), "pi"]) + r")(?![a-zA-Z])|"
    r"(?P<letter>[a-zA-Z])(?P<subscript>_(?:\w|\{\w+\}))?|(?P<sign>\*\*|[-+*/^!(){}\[\]|]))"
)
_RENAMED = (
    (r"\\(?:left|right|displaystyle|bigl|bigr|big|q?quad)(?![a-zA-Z])|(?<!\\)\\[,;:! ]|[$~]", " "),
    (r"\\[dt]frac(?![a-zA-Z])", r"\\frac"),
    (r"\\[dt]binom(?![a-zA-Z])", r"\\binom"),
    (r"\\[lr]?vert(?![a-zA-Z])|\\mid(?![a-zA-Z])", "|"),
    (r"\\(?:cdot|times|ast)(?![a-zA-Z])|×|·|⋅", "*"),  # noqa: RUF001
    (r"\\div(?![a-zA-Z])|÷", "/"),
    ("π", r"\\pi "),
    (r"√\s*(\d+|[a-zA-Z])", r"\\sqrt{\1}"),
    ("√", r"\\sqrt"),
    (r"(?<=\d)\{,\}(?=\d{3}(?!\d))", ""),
)
_LOCK = threading.Lock()  # mpmath's functions change the precision of their context for a moment
_WORD = re.compile(
    r"(?<![\\a-zA-Z])(?!(?:" + "|".join(_FUNCTIONS) + r"|pi)(?![a-zA-Z]))[a-zA-Z]{3,}"
)

Point = dict[str, Any]
Node = Callable[[Point], Any]


class NotReadable(ValueError):
    """The text is no expression of the kind known here, or too large to evaluate."""


def plain_notation(text: str) -> str:
    """A text without commands that only set its look, and with one sign for each operation."""
    for pattern, plain in _RENAMED:
        text = re.sub(pattern, plain, text)
    return text.strip()


def is_same_value(a: str, b: str) -> bool:
    """Whether two expressions have the same value. Raises NotReadable where that cannot be told."""
    tree_a = _Parser(a).parse()
    tree_b = tree_a if a == b else _Parser(b).parse()
    names = sorted(tree_a.names | tree_b.names)
    with _LOCK:
        verdicts = {
            _agree_at(point, tree_a, tree_b)
            for point in _sample_points(names, len(_SEEDS) if names else 1)
        }
    if verdicts == {None}:
        raise NotReadable("has no value at any sample point")
    return False not in verdicts


def is_proportional(a: str, b: str) -> bool:
    """Whether two expressions are the same but for a constant factor, as the two sides' difference
    of one equation and of another are. Raises NotReadable where that cannot be told."""
    tree_a, tree_b = _Parser(a).parse(), _Parser(b).parse()
    names = sorted(tree_a.names | tree_b.names)
    if not names:
        raise NotReadable("has no unknown in it")
    points = _sample_points(names, len(_SEEDS))
    with _LOCK:
        try:
            factors = [tree_a.evaluate(point) / tree_b.evaluate(point) for point in points]
        except (ZeroDivisionError, OverflowError) as error:
            raise NotReadable("has no value at a sample point") from error
        return abs(factors[0]) > TOLERANCE and all(
            abs(factor - factors[0]) <= TOLERANCE * abs(factors[0]) for factor in factors
        )


def names_of(text: str) -> frozenset[str]:
    """The variables of an expression. Raises NotReadable where it is none."""
    return _Parser(text).parse().names


def _sample_points(names: list[str], count: int) -> list[Point]:
    return [
        {name: mp.mpf(seed) * (1 + mp.mpf(k) / 7) for k, name in enumerate(names)}
        for seed in _SEEDS[:count]
    ]


def _agree_at(point: Point, a: "_Tree", b: "_Tree") -> bool | None:
    """Whether two expressions agree at one point; None where one of them has no value."""
    try:
        value_a, value_b = a.evaluate(point), b.evaluate(point)
    except NotReadable:
        raise
    except (ZeroDivisionError, OverflowError, ValueError):
        return None
    scale = max(abs(value_a), abs(value_b))
    if value_a != value_b and scale < TOLERANCE:
        raise NotReadable("is too small to compare")
    if abs(value_a - value_b) > TOLERANCE * min(1, scale):
        return False
    if scale > LARGEST and a is not b:
        raise NotReadable("is too large to compare")
    return True


class _Tree(NamedTuple):
    evaluate: Node
    names: frozenset[str]


class _Parser:
    """One expression; precedence from sums down to atoms."""

    def __init__(self, text: str) -> None:
        if len(text) > MAX_LENGTH:
            raise NotReadable("is too long")
        if word := _WORD.search(text):
            raise NotReadable(f"has the word {word[0]!r} in it")
        self.names: set[str] = set()
        self.tokens: list[tuple[str, str]] = []
        self.place = self.depth = 0
        at, text = 0, text.strip()
        while at < len(text):
            match = _TOKEN.match(text, at)
            if match is None:
                raise NotReadable(f"has {text[at : at + 12]!r} in it")
            kind = str(match.lastgroup if match.lastgroup != "subscript" else "letter")
            self.tokens.append((kind, match[kind] + (match["subscript"] or "")))
            at = match.end()

    def parse(self) -> _Tree:
        node = self._sum()
        if self.place < len(self.tokens):
            raise NotReadable(f"has {self.tokens[self.place][1]!r} where it should end")
        return _Tree(node, frozenset(self.names))

    def _peek(self) -> tuple[str, str]:
        return self.tokens[self.place] if self.place < len(self.tokens) else ("end", "")

    def _take(self, text: str) -> bool:
        if self._peek() == ("sign", text):
            self.place += 1
            return True
        return False

    def _sum(self) -> Node:
        node = self._product()
        while True:
            if self._take("+"):
                node = partial(_add, node, self._product())
            elif self._take("-"):
                node = partial(_subtract, node, self._product())
            else:
                return node

    def _product(self) -> Node:
        node = self._signed()
        while True:
            kind, text = self._peek()
            if self._take("*"):
                node = partial(_multiply, node, self._signed())
            elif self._take("/"):
                node = partial(_divide, node, self._signed())
            elif kind in ("letter", "command", "name", "log") or (kind == "sign" and text in "({"):
                node = partial(_multiply, node, self._power())
            elif kind == "number":
                raise NotReadable("has two numbers side by side")
            else:
                return node

    def _signed(self) -> Node:
        if self._take("-"):
            return partial(_negate, self._signed())
        return self._signed() if self._take("+") else self._power()

    def _power(self) -> Node:
        node = self._atom()
        while self._take("!"):
            node = partial(_factorial, node)
        if self._take("^") or self._take("**"):
            node = partial(_raise, node, self._exponent())
        return node

    def _exponent(self) -> Node:
        if self._take("{"):
            return self._until("}")
        if self._take("-"):
            return partial(_negate, self._exponent())
        return self._power()

    def _until(self, closing: str) -> Node:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise NotReadable("is nested too deeply")
        node = self._sum()
        if not self._take(closing):
            raise NotReadable(f"lacks {closing!r}")
        self.depth -= 1
        return node

    def _atom(self) -> Node:
        kind, text = self._peek()
        self.place += 1
        match kind, text:
            case "number", _:
                return partial(_constant, text)
            case "command", "frac":
                return partial(_divide, self._argument(), self._argument())
            case "command", "binom":
                return partial(_choose, self._argument(), self._argument())
            case "log", command:
                base = partial(_constant, command.strip("\\log_{}"))
                logarithms = [partial(_call, mp.log, node) for node in (self._power(), base)]
                return partial(_divide, *logarithms)
            case ("command" | "name", name) if name in _FUNCTIONS:
                return self._function(name)
            case ("command" | "name", "pi") | ("letter", "e" | "i"):
                return partial(_named, _CONSTANTS[text])
            case ("letter", name) | ("command", name) if kind == "letter" or name in _GREEK:
                self.names.add(name)
                return partial(_variable, name)
            case "sign", "(":
                return self._until(")")
            case "sign", "|":
                return partial(_call, abs, self._until("|"))
            case "sign", "{":
                return self._until("}")
        raise NotReadable(f"has {repr(text) if text else 'nothing'} where a value should be")

    def _argument(self) -> Node:
        r"""A braced group, or one digit or letter, as in `\frac12`."""
        if self._take("{"):
            return self._until("}")
        kind, text = self._peek()
        if kind == "number" and text.isdigit():
            self.tokens[self.place] = ("number", text[1:])
            self.place += len(text) == 1
            return partial(_constant, text[0])
        return self._atom()

    def _bare_argument(self) -> Node:
        r"""What a function is of: in `\sin 2x` all of `2x`, in `\sin x \cos x` only the `x`."""
        is_number = self._peek()[0] == "number"
        node = self._power()
        while is_number and (self._peek()[0] == "letter" or self._peek()[1] in _GREEK | {"pi"}):
            node = partial(_multiply, node, self._power())
        return node

    def _function(self, name: str) -> Node:
        degree: Node | None = None
        if name == "sqrt" and self._take("["):
            degree = self._until("]")
        power = self._exponent() if self._take("^") else None
        node = self._argument() if name == "sqrt" else self._bare_argument()
        if degree is not None:
            return partial(_raise, node, partial(_divide, partial(_constant, "1"), degree))
        node = partial(_call, _FUNCTIONS[name], node)
        return node if power is None else partial(_raise, node, power)


def _constant(text: str, _: Point) -> Any:
    return mp.mpf(text)


def _named(value: Any, _: Point) -> Any:
    return +value


def _variable(name: str, point: Point) -> Any:
    return point[name]


def _add(a: Node, b: Node, point: Point) -> Any:
    return a(point) + b(point)


def _subtract(a: Node, b: Node, point: Point) -> Any:
    return a(point) - b(point)


def _multiply(a: Node, b: Node, point: Point) -> Any:
    return a(point) * b(point)


def _divide(a: Node, b: Node, point: Point) -> Any:
    return a(point) / b(point)


def _negate(a: Node, point: Point) -> Any:
    return -a(point)


def _call(function: Callable[[Any], Any], a: Node, point: Point) -> Any:
    value = a(point)
    return function(value if function in _STEADY else _bounded(value))


def _choose(a: Node, b: Node, point: Point) -> Any:
    return mp.binomial(_bounded(a(point)), _bounded(b(point)))


def _factorial(a: Node, point: Point) -> Any:
    value = a(point)
    if value != mp.floor(value.real) or not 0 <= value.real <= MAX_FACTORIAL:
        raise NotReadable("has a factorial that is too large")
    return mp.factorial(value)


def _raise(a: Node, b: Node, point: Point) -> Any:
    return a(point) ** _bounded(b(point))


def _bounded(value: Any) -> Any:
    if abs(value) > MAX_EXPONENT:
        raise NotReadable("is too large to evaluate")
    return value
