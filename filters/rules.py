"""Rules in order: each finds the span that it objects to, and the first objection counts."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

Rules = Mapping[str, Callable[..., str | None]]
"""By the reason that each gives: a function that returns the span it objects to, or None."""


class Objection(NamedTuple):
    """What the first rule that was broken says."""

    reason: str
    evidence: str


def find_objection(rules: Rules, *subject: Any) -> Objection | None:
    """The first objection of the rules to a subject, whose parts each rule takes; None where it
    breaks none."""
    for reason, find in rules.items():
        evidence = find(*subject)
        if evidence is not None:
            return Objection(reason, evidence)
    return None
