"""Asking a model whether two tasks are equal, and reading its word."""

import re

from generators.clients import Request, Sampling
from generators.prompting import Form, render_request

COMPARISON = "equality"
"""The name of the template."""
_SAMPLING = Sampling(temperature=0, max_tokens=4)
_VERDICTS = {"equal": True, "different": False}


def build_comparison(form: Form, first: str, second: str) -> Request:
    """The request that asks a model whether `second` asks for anything that `first` does not."""
    return render_request(form, COMPARISON, _SAMPLING, 0, first=first, second=second)


def read_judgement(text: str) -> bool | None:
    """Whether the answer calls two tasks equal, by its first word; None where it says neither."""
    match = re.match(r"\W*(\w+)", text)
    return _VERDICTS.get(match[1].casefold()) if match else None
