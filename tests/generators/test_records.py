"""Ids are content hashes that never drift, and records cannot be made otherwise than whole."""

import inspect
from typing import Any

import pytest
from pydantic import ValidationError

from generators.records import (
    CHECK,
    VERIFIED_BY,
    JsonSchemaCheck,
    MathCheck,
    Message,
    Prompt,
    canonical_json,
    digest,
)

TOOL = {"type": "function", "function": {"name": "add", "parameters": {"type": "object"}}}
CHECKS: list[dict[str, Any]] = [
    {"kind": "math", "answer": "18"},
    {"kind": "exact", "answer": "Rome"},
    {"kind": "choice", "answer": "B", "options": {"A": "2", "B": "3"}},
    {"kind": "json_schema", "schema": {"type": "object", "required": ["name"]}},
    {"kind": "constraint", "constraints": [{"id": "punctuation:no_comma"}]},
    {"kind": "code", "entry_point": "median", "cases": [{"args": [[3, 1, 2]], "expected": 2}]},
    {"kind": "procedural", "task": "gcd", "entry": {"question": "?", "answer": "2"}},
    {"kind": "consensus", "votes": {"7": 6, "8": 2}, "n": 8, "threshold": 0.75},
    {"kind": "judge", "rubric": "Is it kind?"},
]


def make_seed(text: str = "What is 2 + 3?", **fields: Any) -> Prompt:
    fields = {
        "check": MathCheck(answer="5"),
        "domain": "maths",
        "licence": "CC0-1.0",
        "source": "maths.jsonl:1",
        "author": "me",
        **fields,
    }
    return Prompt.seed([Message(role="user", content=text)], **fields)


@pytest.mark.parametrize(
    ("fields", "id"),
    [
        ({}, "e457948aa6efa4af"),
        ({"occurrence": 1}, "b74c62e726f87bf7"),
        ({"check": None}, "5c0d30cf641f0683"),
        (
            {"check": JsonSchemaCheck(schema={"type": "object"}), "tools": [TOOL]},
            "3f8a9f37b159a0a6",
        ),
    ],
    ids=["plain", "repeated", "unchecked", "with-tools"],
)
def test_seed_ids_are_what_they_always_were(fields: dict[str, Any], id: str) -> None:
    seed = make_seed(**fields)
    assert (seed.id, seed.root_id, seed.parent_id) == (id, id, None)
    assert (seed.round, seed.operator, seed.template_hash) == (0, "seed", None)


@pytest.mark.parametrize(
    "fields",
    [{"domain": "code"}, {"licence": "MIT"}, {"source": "b.jsonl:2"}, {"author": "you"}],
    ids=lambda fields: next(iter(fields)),
)
def test_a_seed_is_known_by_what_it_asks_not_by_where_it_lies(fields: dict[str, Any]) -> None:
    assert make_seed(**fields).id == make_seed().id


def test_a_child_points_at_its_parent_and_its_seed() -> None:
    seed = make_seed(tools=[TOOL])
    messages = [Message(role="user", content="What is 3 + 4?")]
    child = seed.child(messages, operator="breadth", round=1, check=None, author="m@1")
    grandchild = child.child(
        messages, operator="deepen", round=2, check=None, author="m@2", template_hash="abc"
    )
    assert child.model_dump() == {
        **seed.model_dump(),
        "id": child.id,
        "parent_id": seed.id,
        "round": 1,
        "operator": "breadth",
        "messages": tuple(m.model_dump() for m in messages),
        "tools": (),
        "check": None,
        "author": "m@1",
    }
    assert (grandchild.root_id, grandchild.parent_id) == (seed.id, child.id)
    assert (grandchild.round, grandchild.template_hash) == (2, "abc")


@pytest.mark.parametrize(
    "change",
    [{"operator": "deepen"}, {"round": 2}, {"check": MathCheck(answer="7")}, {"tools": [TOOL]}],
    ids=lambda change: next(iter(change)),
)
def test_a_child_made_otherwise_is_another(change: dict[str, Any]) -> None:
    seed, messages = make_seed(), [Message(role="user", content="What is 3 + 4?")]
    fields = {"operator": "breadth", "round": 1, "check": None, "author": "m@1"}
    assert seed.child(messages, **fields).id != seed.child(messages, **{**fields, **change}).id


def test_child_ids_are_what_they_always_were() -> None:
    messages = [Message(role="user", content="What is 3 + 4?")]
    child = make_seed().child(messages, operator="breadth", round=1, check=None, author="m@1")
    assert child.id == "2586c2c7854ea693"


def test_equal_children_of_two_parents_are_two() -> None:
    messages = [Message(role="user", content="What is 3 + 4?")]
    one, other = (
        make_seed(text).child(messages, operator="breadth", round=1, check=None, author="m")
        for text in ("What is 2 + 3?", "What is 3 + 2?")
    )
    assert one.id != other.id


def test_nobody_makes_a_child_without_saying_what_checks_it() -> None:
    parameter = inspect.signature(Prompt.child).parameters["check"]
    assert parameter.default is inspect.Parameter.empty
    assert parameter.kind is inspect.Parameter.KEYWORD_ONLY


def test_the_text_of_a_prompt_is_its_last_user_turn() -> None:
    turns = [
        Message(role="system", content="Be brief."),
        Message(role="user", content="Hello"),
        Message(role="assistant", content="Hello!"),
        Message(role="user", content="Who are you?"),
        Message(role="assistant", content="I"),
    ]
    assert make_seed().model_copy(update={"messages": tuple(turns)}).text == "Who are you?"


def test_canonical_json_is_the_same_text_for_the_same_value() -> None:
    check = JsonSchemaCheck(schema={"z": 1, "a": 2})
    value = {"b": [1, 2.5, None, True], "a": "ü\n", "c": check}
    text = '{"a":"ü\\n","b":[1,2.5,null,true],"c":{"kind":"json_schema","schema":{"a":2,"z":1}}}'
    assert canonical_json(value) == text
    assert canonical_json(dict(reversed(value.items()))) == text


def test_what_has_no_canonical_json_is_refused() -> None:
    with pytest.raises(TypeError) as caught:
        canonical_json({"a": {1, 2}})
    assert str(caught.value) == "set has no canonical JSON form"


def test_digests_are_what_they_always_were() -> None:
    assert digest("a", 1, None) == "0ae764bffd3a17b6"
    whole = "25430e7ac849b6925886cb691fdcc5b6dcc24bf6b64b1a80b08bf928eb1c2703"
    assert digest("ü", length=64) == whole
    assert digest("a", "b") != digest("ab")


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check["kind"])
def test_every_kind_of_check_is_read_and_written_as_it_stands(check: dict[str, Any]) -> None:
    read = CHECK.validate_python(check)
    assert read.model_dump(mode="json", by_alias=True) == check


def test_every_kind_of_check_counts_as_verified_in_some_way() -> None:
    assert list(VERIFIED_BY) == [check["kind"] for check in CHECKS]


@pytest.mark.parametrize(
    ("check", "fault"),
    [
        ({"kind": "maths", "answer": "1"}, "union_tag_invalid"),
        ({"answer": "1"}, "union_tag_not_found"),
        ({"kind": "math", "answer": "1", "unit": "m"}, "extra_forbidden"),
        ({"kind": "constraint", "constraints": []}, "too_short"),
        ({"kind": "code", "entry_point": "f", "cases": []}, "too_short"),
    ],
    ids=["unknown-kind", "no-kind", "unknown-field", "no-constraints", "no-cases"],
)
def test_what_is_no_check_is_refused(check: dict[str, Any], fault: str) -> None:
    with pytest.raises(ValidationError) as caught:
        CHECK.validate_python(check)
    assert [error["type"] for error in caught.value.errors()] == [fault]


def test_a_record_cannot_be_changed() -> None:
    with pytest.raises(ValidationError) as caught:
        make_seed().check = None  # pyright: ignore[reportAttributeAccessIssue]
    assert caught.value.errors()[0]["type"] == "frozen_instance"
