import json
from pathlib import Path
from typing import Any

import pytest

from generators.clients import Failure, Request, Response, Sampling, request_key
from generators.records import Message, Usage
from generators.structured import find_answer_faults
from tests.generators.asking import ask, ask_journalled, chat, choice, error_body, make_client
from tests.generators.loopback import Call, Fault, LoopbackServer

pytestmark = pytest.mark.usefixtures("short_waits")

SCHEMA = {
    "type": "object",
    "properties": {"n": {"type": ["integer", "null"]}},
    "required": ["n"],
    "additionalProperties": False,
}


def ask_for_json(text: str, schema: dict[str, Any] = SCHEMA) -> Request:
    return chat(text).model_copy(update={"json_schema": schema})


def say(*texts: str) -> LoopbackServer:
    """A server that says these one after another, for 10 and 4 tokens each."""

    def rule(call: Call) -> dict[str, Any]:
        said = {"message": {"content": texts[call.number]}, "finish_reason": "stop"}
        return {"choices": [said], "usage": {"prompt_tokens": 10, "completion_tokens": 4}}

    return LoopbackServer(rule=rule)


@pytest.mark.parametrize(
    ("request_", "key"),
    [
        pytest.param(
            Request(
                messages=(Message(role="user", content="2 + 2?"),), sampling=Sampling(), seed=5
            ),
            "23aec8698d53ccaa38fcda993959ed2a54dfd0a5f1bcf4efc40ebdf9da3331d0",
            id="chat",
        ),
        pytest.param(
            Request(
                text="2 + 2 =",
                sampling=Sampling(temperature=0, max_tokens=8, stop=("\n",)),
                tools=({"type": "function"},),
                seed=7,
            ),
            "23967a76f2690d8e559f64b41edfa3214dc20899b41617aee29ec40ebea6f1c3",
            id="raw completion",
        ),
    ],
)
def test_request_without_schema_keeps_the_key_it_always_had(request_: Request, key: str) -> None:
    assert request_key("tiny@1", request_) == key
    asked = {
        request_key("tiny@1", request_.model_copy(update={"json_schema": s})) for s in ({}, SCHEMA)
    }
    assert len(asked | {key}) == 3


def test_answer_of_the_schema_is_taken_as_it_is() -> None:
    with say('{"n": 4}') as server:
        outcomes = ask(make_client(server.url), ask_for_json("q"))

    usage = Usage(prompt_tokens=10, completion_tokens=4)
    assert outcomes == [Response(text='{"n": 4}', finish_reason="stop", usage=usage)]
    (call,) = server.calls
    assert call.body["response_format"] == {
        "type": "json_schema",
        "json_schema": {"name": "answer", "schema": SCHEMA, "strict": True},
    }


def test_broken_answer_is_sent_back_once_with_its_faults() -> None:
    with say('{"n": "4", "m": 1}', '{"n": 4}') as server:
        outcomes = ask(make_client(server.url), ask_for_json("q"))

    usage = Usage(prompt_tokens=20, completion_tokens=8)
    assert outcomes == [Response(text='{"n": 4}', finish_reason="stop", usage=usage)]
    first, second = (call.body for call in server.calls)
    assert second["messages"] == [
        *first["messages"],
        {"role": "assistant", "content": '{"n": "4", "m": 1}'},
        {
            "role": "user",
            "content": "This answer does not follow the required JSON schema:\n"
            "- $: Additional properties are not allowed ('m' was unexpected)\n"
            "- $.n: '4' is not of type 'integer', 'null'\n"
            "Answer again with the corrected JSON alone.",
        },
    ]
    assert {**second, "messages": first["messages"]} == first


def test_answer_that_stays_broken_is_a_failure_that_may_pass(tmp_path: Path) -> None:
    with say("four", "{}", '{"n": 4}') as server:
        client, path = make_client(server.url), tmp_path / "j.sqlite"
        first = ask_journalled(client, [ask_for_json("q")], path)
        assert len(server.calls) == 2
        (second,) = ask_journalled(client, [ask_for_json("q")], path)

    message = "the answer broke its schema twice: $: 'n' is a required property"
    usage = Usage(prompt_tokens=20, completion_tokens=8)
    assert first == [Failure(reason="schema", message=message, permanent=False, usage=usage)]
    assert isinstance(second, Response)


def test_server_that_refuses_the_format_fails_that_request_for_good() -> None:
    with LoopbackServer(lambda _: Fault(400, error_body("no response_format"))) as server:
        (outcome,) = ask(make_client(server.url), ask_for_json("q"))
    assert outcome == Failure(
        reason="http_400", message="HTTP 400: no response_format", permanent=True
    )


def test_format_can_be_taken_out_and_the_answer_is_held_to_the_schema_all_the_same() -> None:
    with say("four", '{"n": 4}') as server:
        client = make_client(server.url, extra_body={"response_format": None})
        (outcome,) = ask(client, ask_for_json("q"))
    assert isinstance(outcome, Response)
    assert outcome.text == '{"n": 4}'
    assert not any("response_format" in call.body for call in server.calls)


def test_repair_round_that_fails_is_that_failure() -> None:
    def fault(call: Call) -> Fault:
        usage = {"prompt_tokens": 10, "completion_tokens": 4}
        first = json.loads(choice(message={"content": "four"})) | {"usage": usage}
        return Fault(body=json.dumps(first)) if call.number == 0 else Fault(500)

    with LoopbackServer(fault) as server:
        (outcome,) = ask(make_client(server.url, max_attempts=2), ask_for_json("q"))
    assert isinstance(outcome, Failure)
    assert (outcome.reason, outcome.permanent) == ("http_500", False)
    assert outcome.usage == Usage(prompt_tokens=10, completion_tokens=4)
    assert len(server.calls) == 3


def test_tool_call_is_no_answer_to_hold_to_the_schema() -> None:
    call = {"id": "a", "function": {"name": "f", "arguments": "{}"}}
    body = choice(message={"content": None, "tool_calls": [call]})
    with LoopbackServer(lambda _: Fault(body=body)) as server:
        (outcome,) = ask(make_client(server.url), ask_for_json("q"))
    assert isinstance(outcome, Response)
    assert outcome.finish_reason == "tool_calls"
    assert len(server.calls) == 1


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        pytest.param(
            Request(text="q", sampling=Sampling(), seed=1, json_schema=SCHEMA),
            "a raw completion cannot be held to a json_schema; ask as a chat",
            id="raw completion",
        ),
        pytest.param(
            ask_for_json("q", {"type": "number!"}),
            "json_schema: is not a JSON Schema: type: 'number!' is not valid under any of the "
            "given schemas",
            id="no schema",
        ),
    ],
)
def test_schema_that_cannot_be_followed_is_refused(request_: Request, message: str) -> None:
    with pytest.raises(ValueError) as caught:
        ask(make_client("http://127.0.0.1:9/v1"), request_)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("text", "schema", "fault"),
    [
        pytest.param("", {}, "is not JSON: Expecting value", id="nothing"),
        pytest.param('```json\n{"n": 1}\n```', {}, "is not JSON: Expecting value", id="fenced"),
        pytest.param('{"n": 1} ok', {}, "is not JSON: Extra data", id="text behind"),
        pytest.param("NaN", {}, "is not JSON: NaN is not a JSON number", id="NaN"),
        pytest.param('{"n": 1, "n": 2}', {}, "is not JSON: the key 'n' stands twice", id="twice"),
        pytest.param("[" * 100_000, {}, "is not JSON: maximum recursion depth", id="deep nesting"),
        pytest.param("7", {"maximum": 6}, "$: 7 is greater than the maximum of 6", id="maximum"),
        pytest.param('"x"', {"pattern": "("}, "cannot be held to the schema: ", id="bad pattern"),
    ],
)
def test_answers_are_read_strictly(text: str, schema: dict[str, Any], fault: str) -> None:
    faults = find_answer_faults(text, schema)
    assert len(faults) == 1
    assert faults[0].startswith(fault)


def test_references_of_a_schema_are_never_fetched() -> None:
    with LoopbackServer() as server:
        (fault,) = find_answer_faults("1", {"$ref": f"{server.url}/schema"})
    assert fault.startswith("cannot be held to the schema: ")
    assert server.calls == []


def test_long_faults_are_cut() -> None:
    (fault,) = find_answer_faults(json.dumps("x" * 9999), {"type": "integer"})
    assert len(fault) == 300
