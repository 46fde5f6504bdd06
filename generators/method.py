"""Auto-Evol: how tasks are evolved is a text of its own, a method, which a model improves.

Zeng et al. 2024 (arXiv:2406.00770): a universal method evolves a minibatch of tasks over some
rounds; an optimiser model reads these trajectories, says what goes wrong, and rewrites the method;
of several candidates the one with the fewest failures on a development set stays. `flows.optimise`
conducts this; here are its settings, its requests, and the method file that comes of it.

A method file is a Jinja template that extends the frame of all rewrites and holds the method's text
between `raw` marks, so that nothing which a model wrote is ever executed.
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import jinja2
from pydantic import Field

from generators.clients import Failure, Outcome, Request, Sampling
from generators.errors import InputError
from generators.operators import clean_rewrite
from generators.prompting import TEMPLATES, list_frames, render_request
from generators.records import Record

FRAME = "chat/rewrite.frame"
INITIAL = TEMPLATES / "chat" / "method_initial.jinja"
"""The method that every search begins with."""
MAX_CHARACTERS = 4_000
"""Longer diagnoses and methods are not used."""
_HEAD = '{% extends "chat/rewrite.frame" %}\n{% block how %}{% raw %}'
_TAIL = "{% endraw %}{% endblock %}\n"
_FAULTS = (
    jinja2.TemplateError,
    ArithmeticError,
    LookupError,
    RecursionError,
    TypeError,
    ValueError,
)
"""What a template may raise: expressions are evaluated, by whomever they were written."""
_SCAFFOLD = re.compile(
    r"^\s*-{5,}\s*$"  # the lines between which the frame sets the task
    r"|\{\{|\{%|\{\#|\bendraw\b"  # places to be filled in
    r"|\byou edit tasks that people give\b|\bthe task to edit stands\b|\ba method tells a language",
    re.IGNORECASE | re.MULTILINE,
)


class AutoEvolSettings(Record):
    """How `tutelage optimise` looks for a better method."""

    optimiser: str | None = None
    """The model that diagnoses and rewrites methods: a name under `models`; without it, the one
    that evolves."""
    minibatch: int = Field(default=8, ge=1)
    """Seeds that are evolved in each step for the optimiser to look at."""
    rounds: int = Field(default=3, ge=1)
    """How often each of them is evolved."""
    steps: int = Field(default=3, ge=1)
    """Steps of optimisation, at most."""
    candidates: int = Field(default=3, ge=1)
    """Methods that are written and tried in each step."""
    dev: int = Field(default=24, ge=1)
    """Seeds on which methods are compared; none of them is ever shown to the optimiser."""
    sampling: Sampling = Sampling(temperature=0.7, max_tokens=1024)
    """How diagnoses and methods are sampled."""


class Trajectory(Record):
    """How one seed fared under a method."""

    step: int
    prompt_id: str
    domain: str
    texts: tuple[str, ...]
    """The seed, then what each round made of it."""
    answer: str | None
    """What the first sampler answers to the last of them."""
    reason: str
    """The failure of its last round; `survived` where there is none."""
    evidence: str | None


class Reply(NamedTuple):
    """What the optimiser wrote, or why that cannot be used."""

    text: str | None
    reason: str | None = None


def draft_feedback(
    method: str, trajectories: Sequence[Trajectory], sampling: Sampling, seed: int
) -> Request:
    """The request that asks what goes wrong under a method."""
    slots = {"method": method, "trajectories": trajectories}
    return render_request("chat", "method_feedback", sampling, seed, **slots)


def draft_method(method: str, feedback: str, sampling: Sampling, seed: int) -> Request:
    """The request that asks for a better method, given what goes wrong under this one."""
    slots = {"method": method, "feedback": feedback}
    return render_request("chat", "method_rewrite", sampling, seed, **slots)


def read_reply(outcome: Outcome) -> Reply:
    """Read a diagnosis or a method, and refuse what is none: nothing, more than 4,000 characters,
    a text that breaks off, or one that carries parts of the templates."""
    if isinstance(outcome, Failure):
        return Reply(None, outcome.reason)
    if outcome.finish_reason == "length":
        return Reply(None, "unfinished")
    text = clean_rewrite("\n".join(outcome.text.splitlines()))
    if not re.search(r"[^\W_]", text):
        return Reply(None, "empty")
    if len(text) > MAX_CHARACTERS:
        return Reply(None, "method_too_long")
    if _SCAFFOLD.search(text):
        return Reply(None, "scaffold")
    return Reply(text)


def dump_method(text: str) -> str:
    """The method file of a text. Raises InputError where the text would end its own quotation."""
    if "endraw" in text.casefold():
        raise InputError(
            "a method with the word 'endraw' in it would be executed as a template; leave it out"
        )
    return f"{_HEAD}{text}{_TAIL}"


def load_method(file: Path) -> str:
    """The text in a file that `dump_method` made; raises InputError for any other."""
    source = file.read_text(encoding="utf-8")
    if not (source.startswith(_HEAD) and source.endswith(_TAIL)):
        remedy = "find one with: tutelage optimise CONFIG"
        raise InputError(f"{file}: not a method file that tutelage wrote; {remedy}")
    return source[len(_HEAD) : -len(_TAIL)]


def find_method_fault(file: Path) -> str | None:
    """Why a file, of whoever's hand, cannot be used as a method; None if it can."""
    try:
        frames = list_frames(file)
        if FRAME not in frames:
            return f'{file}: does not extend the frame: begin it with {{% extends "{FRAME}" %}}'
        if missing := next((f for f in frames if not (TEMPLATES / f).is_file()), None):
            return f"{file}: includes {missing!r}, and there is no such template; take it out"
        request = render_request("chat", file, Sampling(), 0, task="Name a tree.")
    except UnicodeDecodeError:
        return f"{file}: not UTF-8; write it anew in that encoding"
    except _FAULTS as error:
        return f"{file}: not a template that can be used: {error}"
    if "Name a tree." not in request.messages[0].content:
        return f"{file}: does not show the task: override the block `how` alone"
    return None
