import json
from pathlib import Path

import pytest

from generators.clients import (
    Failure,
    Response,
)
from generators.records import FunctionCall, ToolCall, Usage
from tests.generators.asking import (
    ask,
    ask_journalled,
    chat,
    choice,
    error_body,
    expect,
    make_client,
)
from tests.generators.loopback import Call, Fault, LoopbackServer

pytestmark = pytest.mark.usefixtures("short_waits")


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        pytest.param(Fault(body='{"choices": [{"mess'), "invalid_json", id="truncated JSON"),
        pytest.param(Fault(body=b"\xff\xfe\x00"), "invalid_json", id="bytes"),
        pytest.param(Fault(body=b""), "invalid_json", id="nothing"),
        pytest.param(Fault(body="[" * 100_000), "invalid_json", id="deep nesting"),
        pytest.param(Fault(body="<!doctype html><p>Hi"), "html", id="HTML"),
        pytest.param(Fault(body='{"choices": []}'), "empty_choices", id="empty choices"),
        pytest.param(Fault(body="{}"), "empty_choices", id="no choices"),
        pytest.param(Fault(body="null"), "malformed", id="null"),
        pytest.param(Fault(body='{"choices": "many"}'), "malformed", id="choices a text"),
        pytest.param(Fault(body=choice(message={"content": 7})), "malformed", id="content 7"),
        pytest.param(
            Fault(body=choice(message={"content": "", "tool_calls": [{"function": {}}]})),
            "malformed",
            id="tool call without a name",
        ),
        pytest.param(Fault(body=choice(message={"content": None})), "null_content", id="null text"),
        pytest.param(Fault(body=choice()), "null_content", id="no message"),
        pytest.param(
            Fault(body=choice(message={"content": "par"}, finish_reason="abort")),
            "broken_off",
            id="aborted",
        ),
        pytest.param(Fault(body='{"error": "overloaded"}'), "error_in_answer", id="error text"),
        pytest.param(
            Fault(body=b'{"choices": [{"message": {"content": "caf\xe9"}}]}'),
            "invalid_json",
            id="Latin-1 inside JSON",
        ),
        pytest.param(Fault(429), "http_429", id="429"),
        pytest.param(Fault(500), "http_500", id="500"),
        pytest.param(Fault(503, body="<html>busy</html>"), "http_503", id="503 in HTML"),
        pytest.param(Fault(cut=True), "connection", id="cut body"),
        pytest.param(Fault(reset=True), "connection", id="reset"),
        pytest.param(Fault(delay_s=3), "timeout", id="silence"),
    ],
)
def test_fault_that_stays_is_a_failure_that_may_pass(fault: Fault, reason: str) -> None:
    with LoopbackServer(lambda _: fault) as server:
        (outcome,) = ask(make_client(server.url, timeout_s=0.3, max_attempts=2), chat("q"))

    assert isinstance(outcome, Failure)
    assert (outcome.reason, outcome.permanent) == (reason, False)
    assert len(server.calls) == 2


@pytest.mark.parametrize(
    ("fault", "reason", "says"),
    [
        pytest.param(Fault(400, error_body("bad role")), "http_400", "bad role", id="400"),
        pytest.param(Fault(422, '{"detail": [{"msg": "no"}]}'), "http_422", "no", id="422"),
        pytest.param(Fault(413, "too large"), "http_413", "too large", id="413"),
        pytest.param(Fault(400, b"\xff"), "http_400", "HTTP 400", id="400 in bytes"),
        pytest.param(
            Fault(400, error_body("This model's maximum context length is 9 tokens")),
            "context_length",
            "9 tokens",
            id="context length",
        ),
        pytest.param(
            Fault(400, error_body("flagged", "content_filter")),
            "content_filter",
            "flagged",
            id="content filter",
        ),
        pytest.param(
            Fault(body=choice(message={"content": None}, finish_reason="content_filter")),
            "content_filter",
            "withheld",
            id="filtered answer",
        ),
    ],
)
def test_permanent_failure_is_asked_once_and_remembered(
    tmp_path: Path, fault: Fault, reason: str, says: str
) -> None:
    def fault_bad(call: Call) -> Fault | None:
        return fault if call.asked == "bad" else None

    requests = [chat("good"), chat("bad"), chat("fine")]
    with LoopbackServer(fault_bad) as server:
        first = ask_journalled(make_client(server.url), requests, tmp_path / "j.sqlite")
        again = ask_journalled(make_client(server.url), requests, tmp_path / "j.sqlite")

    assert [first[0], first[2]] == [expect("good"), expect("fine")]
    assert isinstance(first[1], Failure)
    assert (first[1].reason, first[1].permanent) == (reason, True)
    assert says in first[1].message
    assert again == first
    assert len(server.calls) == 3


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        pytest.param(
            choice(message={"content": "4", "reasoning_content": "2 and 2"}),
            Response(text="4", reasoning="2 and 2", finish_reason="stop", usage=Usage()),
            id="reasoning_content",
        ),
        pytest.param(
            choice(message={"content": None, "reasoning": "long"}, finish_reason="length"),
            Response(text="", reasoning="long", finish_reason="length", usage=Usage()),
            id="reasoning cut before the answer",
        ),
        pytest.param(
            choice(
                message={
                    "content": None,
                    "tool_calls": [
                        {
                            "id": "a",
                            "type": "function",
                            "function": {"name": "f", "arguments": "{"},
                        },
                        {"function": {"name": "g", "arguments": {"x": 1}}},
                    ],
                }
            ),
            Response(
                text="",
                tool_calls=(
                    ToolCall(id="a", function=FunctionCall(name="f", arguments="{")),
                    ToolCall(id="call_1", function=FunctionCall(name="g", arguments='{"x":1}')),
                ),
                finish_reason="tool_calls",
                usage=Usage(),
            ),
            id="tool calls",
        ),
        pytest.param(
            choice(message={"content": None, "refusal": "I will not."}),
            Response(text="I will not.", finish_reason="stop", usage=Usage()),
            id="refusal",
        ),
        pytest.param(
            choice(message={"content": "some"}, finish_reason="content_filter"),
            Response(text="some", finish_reason="content_filter", usage=Usage()),
            id="filtered after a while",
        ),
        pytest.param(
            choice(message={"content": "cut \ud83d"}, finish_reason="eos"),
            Response(text="cut ?", finish_reason="stop", usage=Usage()),
            id="half a character and an unknown finish reason",
        ),
        pytest.param(
            json.dumps(
                {
                    "choices": [{"message": {"content": "x"}, "finish_reason": None}],
                    "usage": {"completion_tokens": 256, "prompt_tokens": None},
                }
            ),
            Response(text="x", finish_reason="length", usage=Usage(completion_tokens=256)),
            id="no finish reason at the limit",
        ),
        pytest.param(
            choice(message={"content": ""}),
            Response(text="", finish_reason="stop", usage=Usage()),
            id="empty text",
        ),
    ],
)
def test_odd_answers_are_understood(body: str, expected: Response) -> None:
    with LoopbackServer(lambda _: Fault(body=body)) as server:
        assert ask(make_client(server.url), chat("q")) == [expected]
