"""Rows of many forms become one; those that are none say what is wrong."""

from typing import Any

import pytest

from filters.audit.rows import AuditRow, Turn, find_row_faults, read_row
from generators.records import FunctionCall

USER = {"role": "user", "content": "Hi."}
ANSWER = {"role": "assistant", "content": "Hello."}
DEEP: list[Any] = []
for _ in range(5_000):
    DEEP = [DEEP]


def test_a_plain_row() -> None:
    row = {"id": 7, "messages": [USER, ANSWER], "finish_reason": "stop", "source": "a"}
    assert find_row_faults(row) == []
    assert read_row(row) == AuditRow(
        id=7,
        turns=(Turn(role="user", content="Hi."), Turn(role="assistant", content="Hello.")),
        finish_reason="stop",
        source="a",
    )


@pytest.mark.parametrize(
    "value",
    [
        pytest.param({"prompt": [USER], "completion": [ANSWER]}, id="columns"),
        pytest.param({"prompt": "Hi.", "completion": "Hello."}, id="texts"),
        pytest.param(
            {"messages": '[{"role":"user","content":"Hi."}, {"role":"gpt","value":"Hello."}]'},
            id="JSON-text",
        ),
        pytest.param(
            {
                "conversations": [
                    {"from": "human", "value": "Hi."},
                    {"from": "gpt", "value": "Hello."},
                ]
            },
            id="ShareGPT",
        ),
        pytest.param(
            {
                "messages": [
                    {"role": "user", "content": [{"type": "text", "text": "Hi."}]},
                    {"role": "model", "content": ["Hello."]},
                ]
            },
            id="parts",
        ),
    ],
)
def test_forms_of_one_conversation(value: dict[str, Any]) -> None:
    row = {"id": "a", "tools": None, "check": "", "finish_reason": "", **value}
    assert find_row_faults(row) == []
    turns = (Turn(role="user", content="Hi."), Turn(role="assistant", content="Hello."))
    assert read_row(row) == AuditRow(id="a", turns=turns)


def test_calls_reasoning_and_blocks() -> None:
    image = {"type": "image_url", "image_url": {"url": "x"}}
    messages = [
        {"role": "user", "content": [image, {"type": "input_text", "text": "What is it?"}]},
        {
            "role": "assistant",
            "content": None,
            "reasoning": "I look.",
            "tool_calls": [{"id": "c", "function": {"name": "look", "arguments": {"at": "it"}}}],
        },
        {"role": "function", "name": "look", "content": "a cat"},
    ]
    assert read_row({"id": 1, "messages": messages}).turns == (
        Turn(role="user", content="What is it?", blocks=(image,)),
        Turn(
            role="assistant",
            reasoning="I look.",
            tool_calls=(FunctionCall(name="look", arguments='{"at": "it"}'),),
        ),
        Turn(role="tool", content="a cat"),
    )


@pytest.mark.parametrize(
    ("value", "faults"),
    [
        ({}, [("messages", "is missing; give messages, or prompt and completion")]),
        (
            {"prompt": "Hi."},
            [("messages", "is missing; give messages, or prompt and completion")],
        ),
        ({"messages": []}, [("messages", "is empty")]),
        ({"messages": 3}, [("messages", "must be a list of messages")]),
        (
            {"messages": "[{"},
            [
                (
                    "messages",
                    "is not JSON: Expecting property name enclosed in double quotes: "
                    "line 1 column 3 (char 2)",
                )
            ],
        ),
        (
            {"messages": [USER, "Hello."]},
            [("messages[1]", "must be an object with role and content")],
        ),
        (
            {"messages": [{"content": "Hi."}, {"role": "user"}]},
            [("messages[0].role", "is missing"), ("messages[1].content", "is missing")],
        ),
        (
            {"messages": [{"role": "asistant", "content": "Hi."}]},
            [
                (
                    "messages[0].role",
                    "'asistant' is not known; choose from assistant, system, tool, user "
                    "(did you mean assistant?)",
                )
            ],
        ),
        (
            {"messages": [{"role": "user", "content": 5}]},
            [("messages[0].content", "must be a text, a list of parts, or null")],
        ),
        (
            {"messages": [{"role": "user", "content": [5]}]},
            [("messages[0].content[0]", "must be a text or an object with a type")],
        ),
        (
            {"messages": [{**ANSWER, "tool_calls": [{"function": {}}]}]},
            [("messages[0].tool_calls[0]", "must hold a function with a name")],
        ),
        (
            {"messages": [{**ANSWER, "tool_calls": {}}, {**ANSWER, "tool_calls": 5}]},
            [("messages[1].tool_calls", "must be a list")],
        ),
        ({"messages": [USER], "tools": 5}, [("tools", "must be a list of tools")]),
        (
            {"messages": [USER], "tools": [{"type": "function"}]},
            [("tools[0]", "must be an object with a function's name")],
        ),
        ({"messages": [USER], "finish_reason": 5}, [("finish_reason", "must be a text")]),
        ({"messages": [USER], "source": []}, [("source", "must be a text")]),
        ({"messages": [USER], "check": [5]}, [("check", "must be an object")]),
        (
            {"messages": [USER], "check": {"kind": "exact"}},
            [("check.answer", "Field required")],
        ),
        (
            {"messages": [USER], "check": {"kind": 5}},
            [("check.kind", "must be a text")],
        ),
        (
            {"messages": [{**ANSWER, "function_call": {"arguments": "{}"}}]},
            [("messages[0].function_call", "must hold a function with a name")],
        ),
        (
            {"messages": '[{"role":"user","role":"tool","content":"Hi."}]'},
            [("messages", "is not JSON: the key 'role' stands twice")],
        ),
        ({"messages": [USER], "tools": DEEP}, [("", "is nested too deeply to be read")]),
        (
            {"messages": [{"role": "user", "content": "\ud800"}]},
            [("", "escapes half of a surrogate pair, which is no character")],
        ),
    ],
)
def test_what_is_wrong_with_a_row(value: dict[str, Any], faults: list[tuple[str, str]]) -> None:
    assert find_row_faults({"id": 1, **value}) == faults


@pytest.mark.parametrize(
    "text",
    ['[{"name": "Ann"}, {"name": "Bo"}]', '[{"', "[{'role': 'user'}]", "[[1, 2], [3]]"],
    ids=["records", "cut off", "Python", "matrix"],
)
def test_a_side_that_merely_looks_like_messages_is_a_text(text: str) -> None:
    row = {"id": 1, "prompt": "Hi.", "completion": text}
    assert find_row_faults(row) == []
    assert read_row(row).turns[1] == Turn(role="assistant", content=text)


@pytest.mark.parametrize(
    "call",
    [{"name": "look", "arguments": "{}"}, '{"name": "look", "arguments": "{}"}'],
    ids=["object", "text"],
)
def test_a_call_of_the_older_form(call: Any) -> None:
    row = {"id": 1, "messages": [USER, {**ANSWER, "content": None, "function_call": call}]}
    assert find_row_faults(row) == []
    assert read_row(row).turns[1].tool_calls == (FunctionCall(name="look", arguments="{}"),)
