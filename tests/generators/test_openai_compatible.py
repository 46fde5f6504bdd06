import asyncio
import logging
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from pydantic import ValidationError

from generators.clients import (
    Failure,
    Request,
    Response,
    Sampling,
)
from generators.errors import ConfigError, EndpointError
from generators.journal import SqliteJournal
from generators.openai_compatible import OpenAICompatibleClient
from generators.records import FunctionCall, Message, ToolCall
from tests.generators.asking import (
    KEY,
    ask,
    ask_journalled,
    chat,
    error_body,
    expect,
    make_client,
)
from tests.generators.loopback import Fault, LoopbackServer


def test_chat_request_carries_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TINY_KEY", f"{KEY}\n")
    monkeypatch.setenv("OPENAI_ORG_ID", "org-of-somebody")
    call = ToolCall(id="c1", function=FunctionCall(name="look", arguments="{}"))
    tool = {"type": "function", "function": {"name": "look", "parameters": {}}}
    request = Request(
        messages=(
            Message(role="system", content="Be brief."),
            Message(role="assistant", content="", tool_calls=(call,), reasoning_content="hm"),
            Message(role="tool", content="found", tool_call_id="c1"),
            Message(role="user", content="And?"),
        ),
        tools=(tool,),
        sampling=Sampling(temperature=0.5, top_p=0.9, max_tokens=17, stop=("\n", "END")),
        seed=2**62 + 1,
    )
    with LoopbackServer() as server:
        client = make_client(server.url, api_key_env="TINY_KEY", extra_body={"min_p": 0.1})
        assert ask(client, request) == [expect("And?", 2**62 + 1)]

    (seen,) = server.calls
    assert seen.path == "/v1/chat/completions"
    assert seen.headers["authorization"] == f"Bearer {KEY}"
    assert "openai-organization" not in seen.headers
    assert seen.body == {
        "model": "tiny",
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "assistant", "content": "", "tool_calls": [call.model_dump()]},
            {"role": "tool", "content": "found", "tool_call_id": "c1"},
            {"role": "user", "content": "And?"},
        ],
        "tools": [tool],
        "temperature": 0.5,
        "top_p": 0.9,
        "max_tokens": 17,
        "stop": ["\n", "END"],
        "seed": 2**62 + 1,
        "min_p": 0.1,
    }


def test_text_is_a_raw_completion_without_key_and_without_what_null_takes_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    with LoopbackServer() as server:
        client = make_client(server.url, extra_body={"seed": None})
        request = Request(text="2 + 2 =", sampling=Sampling(max_tokens=4), seed=5)
        (outcome,) = ask(client, request)

    (seen,) = server.calls
    assert isinstance(outcome, Response)
    assert outcome.text == "2 + 2 = -> None"
    assert seen.path == "/v1/completions"
    assert "authorization" not in seen.headers
    assert seen.body == {
        "model": "tiny",
        "prompt": "2 + 2 =",
        "temperature": 0.7,
        "top_p": 1.0,
        "max_tokens": 4,
    }


def test_other_fields_make_another_id() -> None:
    plain = make_client("http://127.0.0.1:9/v1")
    thinking = make_client("http://127.0.0.1:9/v1", extra_body={"think": True})
    elsewhere = make_client("http://127.0.0.2:9/v1")

    assert plain.id == elsewhere.id == "tiny@1"
    assert thinking.id.startswith("tiny@1+")


@pytest.mark.parametrize(
    ("status", "body", "told"),
    [
        pytest.param(
            401,
            error_body(f"wrong key {KEY}"),
            "wrong key ***; check the key in the environment variable that api_key_env names",
            id="401",
        ),
        pytest.param(
            403,
            error_body(f"{KEY} may not"),
            "*** may not; the key may not use this model; check its permissions",
            id="403",
        ),
        pytest.param(
            404,
            error_body("no model tiny"),
            "no model tiny; check model (the server lists its own at /models) and base_url, which "
            "often ends in /v1",
            id="404",
        ),
        pytest.param(
            402,
            error_body("pay"),
            "pay; the account has no credit left; top it up and run again",
            id="402",
        ),
        pytest.param(
            429,
            error_body("over", "insufficient_quota"),
            "over; the account has no credit left; top it up and run again",
            id="quota",
        ),
    ],
)
def test_refused_endpoint_ends_the_run_with_a_remedy_and_without_the_key(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    status: int,
    body: str,
    told: str,
) -> None:
    monkeypatch.setenv("TINY_KEY", KEY)
    with LoopbackServer(lambda _: Fault(status, body)) as server, caplog.at_level(logging.DEBUG):
        client = make_client(server.url, api_key_env="TINY_KEY", concurrency=2)
        with pytest.raises(EndpointError) as raised:
            ask_journalled(client, [chat(f"q{i}") for i in range(9)], tmp_path / "j.sqlite")

    assert str(raised.value) == f"{server.url}: HTTP {status}: {told}"
    assert len(server.calls) <= 2
    with SqliteJournal(tmp_path / "j.sqlite") as journal:
        assert journal.stats().rows == 0
    assert KEY not in f"{raised.value!r} {client.settings!r} {client!r} {caplog.text}"


def test_key_that_a_server_repeats_is_hidden_in_failures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TINY_KEY", KEY)
    with LoopbackServer(lambda _: Fault(400, error_body(f"with {KEY} no"))) as server:
        (outcome,) = ask(make_client(server.url, api_key_env="TINY_KEY"), chat("q"))

    assert isinstance(outcome, Failure)
    assert outcome.message == "HTTP 400: with *** no"


def probe(client: OpenAICompatibleClient) -> None:
    async def run() -> None:
        try:
            await client.probe()
        finally:
            await client.close()

    asyncio.run(run())


def test_unreachable_at_first_contact_ends_the_run() -> None:
    with LoopbackServer() as server:
        url = server.url
    message = (
        f"{url}: cannot be reached ([Errno 111] Connect call failed ('127.0.0.1',"
        f" {urlsplit(url).port})); start it, or check base_url"
    )
    for ask_first in (lambda: ask(make_client(url), chat("q")), lambda: probe(make_client(url))):
        with pytest.raises(EndpointError) as caught:
            ask_first()
        assert str(caught.value) == message


def test_server_that_goes_away_later_is_a_failure_that_may_pass() -> None:
    with LoopbackServer() as server:
        client = make_client(server.url, max_attempts=2)
        assert ask(client, chat("q")) == [expect("q")]
    (outcome,) = ask(client, chat("r"))

    assert isinstance(outcome, Failure)
    assert (outcome.reason, outcome.permanent) == ("connection", False)


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        pytest.param(None, None, id="list of models"),
        pytest.param(Fault(404), None, id="no list"),
        pytest.param(
            Fault(401, error_body("who?")),
            "HTTP 401: who?; check the key in the environment variable that api_key_env names",
            id="401",
        ),
        pytest.param(Fault(503), "HTTP 503 at /models; wait until the server is ready", id="503"),
        pytest.param(
            Fault(body="<html>"),
            "no JSON at /models; check base_url, which often ends in /v1",
            id="HTML",
        ),
        pytest.param(Fault(reset=True), "Server disconnected; is the server well?", id="reset"),
    ],
)
def test_probe(fault: Fault | None, message: str | None) -> None:
    with LoopbackServer(lambda _: fault) as server:
        if message is None:
            probe(make_client(server.url))
        else:
            with pytest.raises(EndpointError) as caught:
                probe(make_client(server.url))
            assert str(caught.value) == f"{server.url}: {message}"
    assert {call.path for call in server.calls} == {"/v1/models"}


@pytest.mark.parametrize(
    ("key", "message"),
    [
        pytest.param(
            " ",
            "the environment variable TINY_KEY is not set; export it, or leave api_key_env empty "
            "for a server that wants no key",
            id="empty",
        ),
        pytest.param(
            "sk-\u2019x", "TINY_KEY holds characters that no key has; copy the key again", id="odd"
        ),
    ],
)
def test_key_that_cannot_be_one_is_an_error_of_the_configuration(
    monkeypatch: pytest.MonkeyPatch, key: str, message: str
) -> None:
    monkeypatch.setenv("TINY_KEY", key)
    with pytest.raises(ConfigError) as caught:
        make_client("http://127.0.0.1:9/v1", api_key_env="TINY_KEY")
    assert str(caught.value) == f"api_key_env: {message}"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        pytest.param(
            {"base_url": "127.0.0.1:8000"},
            "base_url: Value error, '127.0.0.1:8000' is not a URL like http://127.0.0.1:8000/v1",
            id="no scheme",
        ),
        pytest.param(
            {"base_url": "http://me:pw@host/v1"},
            "base_url: Value error, a URL must not hold a password; name its variable in "
            "api_key_env",
            id="password",
        ),
        pytest.param(
            {"extra_body": {"stream": True}},
            "extra_body: Value error, stream: set by the run itself, take it out",
            id="stream",
        ),
        pytest.param(
            {"concurrency": 0},
            "concurrency: Input should be greater than or equal to 1",
            id="concurrency",
        ),
        pytest.param(
            {"temperature": 1}, "temperature: Extra inputs are not permitted", id="unknown"
        ),
    ],
)
def test_settings_that_cannot_work_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError) as caught:
        make_client(**{"url": "http://127.0.0.1:9/v1", **settings})
    assert [f"{f['loc'][0]}: {f['msg']}" for f in caught.value.errors()] == [message]


def test_client_serves_one_loop_after_another_and_leaves_no_connection(
    caplog: pytest.LogCaptureFixture, recwarn: pytest.WarningsRecorder
) -> None:
    with LoopbackServer() as server:
        client = make_client(server.url)
        assert [ask(client, chat(text)) for text in "abc"] == [[expect(text)] for text in "abc"]

    assert client._connections == {}
    assert [record for record in caplog.records if record.name == "asyncio"] == []
    assert [str(w.message) for w in recwarn if issubclass(w.category, ResourceWarning)] == []


def test_importing_the_client_imports_no_http_library() -> None:
    program = (
        "import sys, generators.openai_compatible, generators.journal; "
        "print(sorted({'openai', 'aiohttp', 'httpx2', 'torch'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
