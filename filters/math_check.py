r"""Whether a completion's final answer is the reference answer of a mathematical task.

Two plain numbers (`filters.plain_numbers`) are compared as exact fractions, here and at once. That
is safe without a second opinion: the grammar consumes either text to its last character, so
nothing can be dropped in reading, and fractions are equal or they are not (50 is not 50 %, 1e-7
is not 2e-7, 2^-99 is not 2^-98). Everything else is judged twice, by math-verify in a killable
worker and by our own reading (`filters.solution_sets`), which share no code. Only where both agree
is there a verdict; a text that is the reference itself needs neither.

An answer that merely restates a calculation (`5 + 3` for 8, `16/2`) is quarantined: it may be the
question given back. So is one that is right only if its comma is a decimal point (`3,5`), and one
in another unit than the reference's: units are compared, never converted.
"""

import re

from filters.answer_statements import canonical_text, right_side, tidy
from filters.exact_check import normal_text
from filters.final_answer import extract_final_answer
from filters.judgement import Judgement, accept, quarantine, reject
from filters.plain_numbers import PlainNumber, parse_number, split_unit
from filters.readable_text import plain_characters
from filters.worker import SHARED, Reply, Worker, WorkerPool
from generators.records import MathCheck

_POWER = re.compile(r"\^\s*([+-]?\d{2,}|[+-]\d)")
_ROOT = re.compile(r"√\s*\(?(\w+)\)?|(?<![\\a-z])sqrt\s*\(([^()]*)\)")
_COMMANDS = (
    (r"\*\*", "^"),
    (r"(?<![\\a-zA-Z])pi(?![a-zA-Z])|π", r"\\pi "),
    (r"\*", r"\\cdot "),
    (r"\\varnothing(?![a-zA-Z])|∅|\\\{\s*\\\}", r"\\emptyset "),
    (r"^\s*\{([^{}]*,[^{}]*)\}\s*$", r"\\{\1\\}"),
    (r"∞", r"\\infty "),
    (r"±", r"\\pm "),
    (r"∪|(?<=[)\]])\s*U\s*(?=[(\[])", r"\\cup "),  # noqa: RUF001
    (r"≤", r"\\leq "),
    (r"≥", r"\\geq "),
    (r"≠", r"\\neq "),
)
_WORDS = re.compile(r"[^\W\d_]{2,}(?:[ '-][^\W\d_]+)*")
_SWAPPED = str.maketrans(",.", ".,")


def judge_math(check: MathCheck, completion: str) -> Judgement:
    """Judge the final answer of a completion."""
    gold = read_gold(check.answer)
    if not gold:
        return quarantine("bad_check", "the reference answer is empty")
    reading = extract_final_answer(completion)
    if reading.text is None:
        return quarantine(reading.problem or "no_answer", completion)
    if "=" in reading.text:  # an equation is compared with all of one
        gold = _drop_delimiters(check.answer)
    return compare_answers(gold, reading.text)


def read_gold(answer: str) -> str:
    """A reference answer without delimiters, boxes or `x =`."""
    return right_side(_drop_delimiters(answer))


def _drop_delimiters(answer: str) -> str:
    text = tidy(plain_characters(answer).removeprefix("####"), closing=".,;:")
    box = re.fullmatch(r"\\boxed\s*\{(.*)\}", text, re.DOTALL)
    return tidy(box[1], closing=".,;:") if box else text


def compare_answers(gold: str, answer: str, worker: Worker | WorkerPool = SHARED) -> Judgement:
    """Judge one answer's text against the reference's."""
    gold_number, number = parse_number(gold), parse_number(answer)
    if gold_number is not None and _is_swapped(gold_number, answer):
        return quarantine("decimal_comma", answer)
    if gold_number is not None and number is not None:
        return _compare_numbers(gold_number, number, answer)
    (gold, gold_unit), (answer, unit) = split_unit(gold), split_unit(answer)
    if unit and gold_unit and unit != gold_unit:
        return quarantine("other_unit", f"{answer} {unit}")
    same_text = _are_same_text(gold, answer)
    from filters.expressions import NotReadable  # mpmath takes .2 s to import
    from filters.solution_sets import is_same

    try:
        ours = is_same(gold, answer)
    except NotReadable as error:
        if not same_text:
            return _explain_unreadable(gold, answer, str(error))
        ours = True
    else:
        if same_text:
            return accept(answer) if ours else quarantine("disagreement", answer)
    reply = worker.call("math_verify", to_latex(gold), to_latex(answer))
    if reply.state != "done" or reply.value is None:
        return _explain_silence(reply, answer, gold_number, worker, gold)
    if bool(reply.value) != ours:
        return quarantine("disagreement", answer)
    if not ours:
        return reject(answer)
    return accept(answer) if gold_number is None else quarantine("unevaluated", answer)


def to_latex(text: str) -> str:
    """Plain notation in the LaTeX that math-verify reads."""
    for pattern, command in _COMMANDS:
        text = re.sub(pattern, command, text)
    text = _ROOT.sub(lambda match: "\\sqrt{" + (match[1] or match[2]) + "}", text)
    return _POWER.sub(r"^{\1}", text)


def _are_same_text(gold: str, answer: str) -> bool:
    """Whether two texts are the same but for spaces, and words but for their case."""
    if _WORDS.fullmatch(gold) and _WORDS.fullmatch(answer):
        return normal_text(gold) == normal_text(answer)
    return canonical_text(gold) == canonical_text(answer)


def _is_swapped(gold: PlainNumber, answer: str) -> bool:
    """Whether an answer is right only where commas are decimal points, and points group digits."""
    if "," not in answer and "." not in answer:
        return False
    as_read, swapped = parse_number(answer), parse_number(answer.translate(_SWAPPED))
    if swapped is None or swapped.value != gold.value:
        return False
    return as_read is None or as_read.value != gold.value


def _compare_numbers(gold: PlainNumber, number: PlainNumber, answer: str) -> Judgement:
    if gold.unit and number.unit and gold.unit != number.unit:
        return quarantine("other_unit", answer)
    if gold.value != number.value:
        return reject(answer)
    if gold.evaluated and not number.evaluated:
        return quarantine("unevaluated", answer)
    return accept(answer)


def _explain_unreadable(gold: str, answer: str, why: str) -> Judgement:
    from filters.expressions import NotReadable
    from filters.solution_sets import is_same

    try:
        is_same(gold, gold)
    except NotReadable as error:
        if not _WORDS.fullmatch(gold):
            return quarantine("bad_check", f"the reference answer {gold!r} {error}")
    return quarantine("unparsable", f"{answer} ({why})")


def _explain_silence(
    reply: Reply,
    answer: str,
    gold_number: PlainNumber | None,
    worker: Worker | WorkerPool,
    gold: str,
) -> Judgement:
    """Why math-verify gave no opinion: the reference's fault, or the answer's."""
    if gold_number is None:
        itself = worker.call("math_verify", to_latex(gold), to_latex(gold))
        if itself.state != "done" or itself.value is not True:
            return quarantine("bad_check", f"the reference answer {gold!r} cannot be read")
    if reply.state == "timeout":
        return quarantine("timeout", f"{answer} ({reply.detail})")
    return quarantine("unparsable", answer)
