"""A model's word on whether two tasks are equal."""

import re

_VERDICTS = {"equal": True, "different": False}


def read_judgement(text: str) -> bool | None:
    """Whether the answer calls two tasks equal, by its first word; None where it says neither."""
    match = re.match(r"\W*(\w+)", text)
    return _VERDICTS.get(match[1].casefold()) if match else None
