"""`follow_up`: what the model is shown of a conversation, and the child that carries it on."""

import hashlib
from typing import Any

import pytest

from generators.clients import Response
from generators.consensus import ConsensusSettings
from generators.constraints import state
from generators.operators import (
    Draw,
    EvolveSettings,
    build_rewrite,
    fitting_operators,
    read_rewrite,
)
from generators.prompting import Form
from generators.records import (
    Check,
    ConsensusCheck,
    ConstraintCheck,
    MathCheck,
    Message,
    Prompt,
    Usage,
)

SETTINGS = EvolveSettings(model="m")
DRAW = Draw(run_seed=7, cycle=1, round=1)
CONSTRAINED = ConstraintCheck(
    constraints=({"id": "punctuation:no_comma"}, {"id": "detectable_format:title"})
)


def make_prompt(text: str, check: Check | None = None) -> Prompt:
    fields: dict[str, Any] = {
        "domain": "maths",
        "licence": "CC0-1.0",
        "source": "s.jsonl:1",
        "author": "me",
    }
    return Prompt.seed([Message(role="user", content=text)], check=check, **fields)


def read(parent: Prompt, operator: str, text: str, **more: Any) -> Prompt:
    """The child that comes of what the model wrote."""
    said = Response(text=text, finish_reason="stop", usage=Usage())
    attempt = read_rewrite(
        parent, operator, said, form="chat", model="m@1", settings=SETTINGS, draw=DRAW, **more
    )
    assert attempt.child is not None
    return attempt.child


def read_request(parent: Prompt, form: Form, answer: str) -> str:
    """What the model is asked after an answer to the parent."""
    request = build_rewrite(parent, "follow_up", form, SETTINGS, DRAW, answer=answer)
    text = request.messages[0].content if form == "chat" else request.text
    assert text is not None
    return text


def test_a_follow_up_carries_the_conversation_on() -> None:
    parent = make_prompt("What is 2 + 3?", MathCheck(answer="5"))
    shown = read_request(parent, "chat", "It is 5.")
    assert shown.endswith("\n-----\nPerson: What is 2 + 3?\n\nAssistant: It is 5.\n-----")
    child = read(
        parent,
        "follow_up",
        " And doubled? ",
        consensus=ConsensusSettings(domains=("maths",)),
        answer="It is 5.",
    )
    assert [(m.role, m.content) for m in child.messages] == [
        ("user", "What is 2 + 3?"),
        ("assistant", "It is 5."),
        ("user", "And doubled?"),
    ]
    assert child.check == ConsensusCheck(votes={}, n=0, threshold=0.75)
    later = read(child, "deepen", "And doubled twice?")
    assert later.messages == (*child.messages[:2], Message(role="user", content=later.text))


@pytest.mark.parametrize(
    ("form", "shown"),
    [
        (
            "chat",
            "\n-----\nPerson: What is\n2 + 3?\n\nAssistant: It is\n5.\n\nPerson: And doubled?\n\n"
            "Assistant: 10\n-----",
        ),
        (
            "complete",
            "\n\nTask: What is 2 + 3?\nAnswer: It is 5.\nNext: And doubled?\nAnswer: 10\nNext:",
        ),
    ],
)
def test_the_model_that_asks_on_sees_the_whole_conversation(form: Form, shown: str) -> None:
    turns = (
        Message(role="system", content="Be brief."),
        Message(role="user", content="What is\n2 + 3?"),
        Message(role="assistant", content="It is\n5."),
        Message(role="user", content=f"And doubled?\n\n{state(CONSTRAINED.constraints)}"),
    )
    parent = make_prompt("", CONSTRAINED).model_copy(update={"messages": turns})
    assert read_request(parent, form, "10").endswith(shown)


@pytest.mark.parametrize(
    ("form", "hash"),
    [("chat", "7270c78dbb41ffad"), ("complete", "79239a0378393eef")],
    ids=["chat", "complete"],
)
def test_request_after_a_first_answer_is_the_one_already_paid_for(form: Form, hash: str) -> None:
    parent = make_prompt("What is 2 + 3?", MathCheck(answer="5"))
    text = read_request(parent, form, "It is\n5.")
    assert hashlib.sha256(text.encode()).hexdigest()[:16] == hash


@pytest.mark.parametrize(
    ("check", "fits"),
    [
        (None, False),
        (MathCheck(answer="5"), True),
        (CONSTRAINED, True),
        (ConsensusCheck(votes={}, n=0, threshold=0.75), False),
    ],
    ids=["unkeyed", "keyed", "constrained", "open vote"],
)
def test_only_what_can_be_verified_is_carried_on(check: Check | None, fits: bool) -> None:
    settings = SETTINGS.model_copy(update={"operators": ("follow_up", "deepen")})
    found = fitting_operators(make_prompt("What is 2 + 3?", check), settings)
    assert found == (["follow_up", "deepen"] if fits else ["deepen"])
