"""Asking a model whether an answer meets a rubric, in both orders, and reading its word.

The judge never sees the answer alone. Beside it stands a counterpart of which we know what it is:
the reference, which is satisfactory, or, where there is none, a passage that has nothing to do with
the task, which is not. A judge that is wrong about the counterpart is not believed about the answer
either. The two are shown in both orders, and only what comes out the same in both counts: judges
tend to prefer a place (Zheng et al. 2023, arXiv:2306.05685).

Task, rubric and texts lie between lines with a mark that is a digest of them all, so that no
answer can close its own quotation. That stops forged quotation marks, and not persuasion: a judge
may still do what an answer asks of it.
"""

import re
from typing import Literal, NamedTuple

from generators.clients import Failure, Outcome, Request, Sampling
from generators.prompting import Form, render_request
from generators.records import JudgeCheck, digest

TEMPLATE = "judge"
VERSION = "1"
OFF_TOPIC = (
    "Before the chain is oiled it is wiped with a dry cloth, link by link, while the pedals are "
    "turned backwards. One drop on each roller is enough; what is left over only gathers dust."
)
"""The counterpart where no reference is given."""
_SAMPLING = Sampling(temperature=0, max_tokens=8)
_WORD = re.compile(r"""["'*`]*(?:(A|B)|((?i:both|neither)))["'*`.]*""")
_SATISFACTORY = {"both": "AB", "A": "A", "B": "B", "neither": ""}

Opinion = Literal["right", "wrong", "abstains"]


class Case(NamedTuple):
    """An answer that is put before the judge."""

    task: str
    check: JudgeCheck
    answer: str

    @property
    def counterpart(self) -> str:
        """What stands beside the answer."""
        return OFF_TOPIC if self.check.reference is None else self.check.reference


class Ruling(NamedTuple):
    """What came of both orders."""

    opinion: Opinion
    said: str
    """The judge's word in each order."""


def build_requests(form: Form, case: Case) -> tuple[Request, Request]:
    """The two requests for one answer: it stands first in the first and second in the other."""
    texts = (case.answer, case.counterpart)
    return _render(form, case, *texts), _render(form, case, *reversed(texts))


def _render(form: Form, case: Case, first: str, second: str) -> Request:
    task, rubric = case.task, case.check.rubric
    mark = digest("judge", task, rubric, first, second)[:16]
    slots = {"mark": mark, "task": task, "rubric": rubric, "first": first, "second": second}
    return render_request(form, TEMPLATE, _SAMPLING, 0, **slots)


def read_word(text: str) -> str | None:
    """`both`, `A`, `B` or `neither`, if the first line is that word alone; else None."""
    line = text.strip().partition("\n")[0].strip()
    match = _WORD.fullmatch(line)
    return (match[1] or match[2].casefold()) if match else None


def read_opinion(text: str, place: Literal["A", "B"], *, has_reference: bool) -> Opinion:
    """What a judge says of the answer at this place; it abstains where its word cannot be read, or
    is wrong about the counterpart."""
    word = read_word(text)
    if word is None:
        return "abstains"
    counterpart = "B" if place == "A" else "A"
    if (counterpart in _SATISFACTORY[word]) != has_reference:
        return "abstains"
    return "right" if place in _SATISFACTORY[word] else "wrong"


def weigh_orders(case: Case, first: Outcome, second: Outcome) -> Ruling | Failure:
    """Put both orders together: they must say the same, or the judge abstains."""
    if isinstance(first, Failure):
        return first
    if isinstance(second, Failure):
        return second
    has_reference = case.check.reference is not None
    as_first = read_opinion(first.text, "A", has_reference=has_reference)
    as_second = read_opinion(second.text, "B", has_reference=has_reference)
    said = [outcome.text.strip()[:60] for outcome in (first, second)]
    told = f"answer as A: {said[0]!r}; answer as B: {said[1]!r}"
    return Ruling(as_first if as_first == as_second else "abstains", told)
