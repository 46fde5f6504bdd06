"""The first token's alternatives, as servers tell them for chats and for raw completions."""

import json
import math
from pathlib import Path
from typing import Any

import pytest

from generators.clients import Failure, Request, Response, Sampling
from generators.errors import EndpointError
from tests.generators.asking import ask, ask_journalled, chat, make_client
from tests.generators.loopback import Call, Fault, LoopbackServer

pytestmark = pytest.mark.usefixtures("short_waits")
ALTERNATIVES = {"joy": -0.25, " sad": -2.0, "j": -3.5}
ONCE = Sampling(temperature=1, max_tokens=1)


def weigh(text: str, *, raw: bool = False, top: int = 5) -> Request:
    if raw:
        return Request(text=text, sampling=ONCE, seed=0, top_logprobs=top)
    return chat(text, 0, temperature=1, max_tokens=1).model_copy(update={"top_logprobs": top})


def tell(call: Call) -> dict[str, Any]:
    """Answer as OpenAI's API does, for either path."""
    if call.path.endswith("/models"):
        return {"data": []}
    if "prompt" in call.body:
        top = {"tokens": ["joy"], "token_logprobs": [-0.25], "top_logprobs": [ALTERNATIVES]}
        said: dict[str, Any] = {"text": "joy", "logprobs": top}
    else:
        listed = [{"token": t, "logprob": p, "bytes": []} for t, p in ALTERNATIVES.items()]
        first = {"token": "joy", "logprob": -0.25, "top_logprobs": listed}
        said = {"message": {"content": "joy"}, "logprobs": {"content": [first]}}
    return {"choices": [{"finish_reason": "length", **said}], "usage": {"completion_tokens": 1}}


@pytest.mark.parametrize("raw", [False, True], ids=["chat", "completion"])
@pytest.mark.parametrize("logprobs", [False, True], ids=["", "with logprobs kept"])
def test_alternatives_are_asked_for_and_read(raw: bool, logprobs: bool) -> None:
    with LoopbackServer(rule=tell) as server:
        (found,) = ask(make_client(server.url, logprobs=logprobs), weigh("q", raw=raw))
    assert isinstance(found, Response)
    assert found.text_logprobs == ALTERNATIVES
    assert found.logprobs == ((-0.25,) if logprobs else None)
    body = server.calls[0].body
    asked = {"logprobs": 5} if raw else {"logprobs": True, "top_logprobs": 5}
    assert {name: body.get(name) for name in asked} == asked
    assert (body["max_tokens"], body["temperature"]) == (1, 1)


def test_other_requests_ask_for_nothing_more() -> None:
    with LoopbackServer(rule=tell) as server:
        (found,) = ask(make_client(server.url), chat("q"))
    assert isinstance(found, Response)
    assert found.text_logprobs is None
    assert not {"logprobs", "top_logprobs"} & server.calls[0].body.keys()


def test_alternatives_survive_the_journal(tmp_path: Path) -> None:
    with LoopbackServer(rule=tell) as server:
        first = ask_journalled(make_client(server.url), [weigh("q")], tmp_path / "j.sqlite")
        again = ask_journalled(make_client(server.url), [weigh("q")], tmp_path / "j.sqlite")
        more = ask_journalled(make_client(server.url), [weigh("q", top=9)], tmp_path / "j.sqlite")
    assert first == again == more
    assert [call.body["top_logprobs"] for call in server.calls] == [5, 9]


def test_parts_of_characters_that_look_alike_are_one_text() -> None:
    listed = [{"token": "\ufffd", "logprob": p} for p in (-1.5, -0.5, -4.0)]
    said = {"message": {"content": "x"}, "logprobs": {"content": [{"logprob": 0, "token": "x"}]}}
    said["logprobs"]["content"][0]["top_logprobs"] = listed
    with LoopbackServer(lambda _: Fault(body=json.dumps({"choices": [said]}))) as server:
        (found,) = ask(make_client(server.url), weigh("q"))
    assert isinstance(found, Response)
    assert found.text_logprobs == {"\ufffd": -0.5}


@pytest.mark.parametrize(
    "logprobs",
    [
        {"content": []},
        {"top_logprobs": []},
        {"token_logprobs": [], "top_logprobs": None},
        {"content": [{"logprob": 0, "top_logprobs": []}]},
    ],
    ids=["chat", "completion", "completion without a list", "no alternatives"],
)
def test_answer_of_no_token_is_an_empty_reading(logprobs: dict[str, Any]) -> None:
    said = {"message": {"content": ""}, "finish_reason": "stop", "logprobs": logprobs}
    with LoopbackServer(lambda _: Fault(body=json.dumps({"choices": [said]}))) as server:
        (found,) = ask(make_client(server.url), weigh("q"))
    assert isinstance(found, Response)
    assert found.text_logprobs == {}


@pytest.mark.parametrize(
    "told",
    [
        {},
        {"logprobs": None},
        {"logprobs": {}},
        {"logprobs": {"content": None, "top_logprobs": None}},
        {"logprobs": {"content": [{"token": "joy", "logprob": -0.25}]}},
        {"logprobs": {"content": [{"token": "joy", "logprob": 0, "top_logprobs": None}]}},
        {"logprobs": {"token_logprobs": [-0.25], "top_logprobs": [None]}},
    ],
    ids=["absent", "null", "nothing", "nulls", "one token", "null of a token", "completion"],
)
def test_a_server_that_tells_none_stops_the_run(told: dict[str, Any]) -> None:
    """Every answer would be as silent, so none is paid for in vain."""
    said = {"message": {"content": "joy"}, "finish_reason": "length", **told}
    with (
        LoopbackServer(lambda _: Fault(body=json.dumps({"choices": [said]}))) as server,
        pytest.raises(EndpointError) as error,
    ):
        ask(make_client(server.url), weigh("q"))
    assert str(error.value) == (
        f"{server.url}: the answer came without log-probabilities; let this model give votes, or "
        "take one whose server tells top_logprobs"
    )


@pytest.mark.parametrize(
    ("first", "message"),
    [
        ({"top_logprobs": [{"token": 3, "logprob": 0}]}, "content.0.top_logprobs.0.token"),
        (
            {"top_logprobs": [{"token": "a", "logprob": math.inf}]},
            "Input should be a finite number",
        ),
        ({"top_logprobs": [{"token": "a"}]}, "content.0.top_logprobs.0.logprob: Field required"),
    ],
    ids=["number", "infinite", "missing"],
)
def test_malformed_alternatives_are_a_failure(first: dict[str, Any], message: str) -> None:
    said = {"message": {"content": "a"}, "logprobs": {"content": [{"logprob": 0, **first}]}}
    with LoopbackServer(lambda _: Fault(body=json.dumps({"choices": [said]}))) as server:
        (found,) = ask(make_client(server.url, max_attempts=1), weigh("q"))
    assert isinstance(found, Failure)
    assert not found.permanent
    assert message in found.message


def test_continuations_are_not_for_servers() -> None:
    request = Request(text="q", sampling=ONCE, seed=0, continuations=(" joy",))
    with (
        LoopbackServer(rule=tell) as server,
        pytest.raises(ValueError) as caught,
    ):
        ask(make_client(server.url), request)
    assert str(caught.value) == "a server is asked for top_logprobs, not for continuations"
    assert server.calls == []
