"""vLLM's extras on a loopback server, and a server of our own that dies under its requests."""

import asyncio
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from generators.clients import Failure, answer_requests, request_key
from generators.embedded import BUNDLED
from generators.errors import ConfigError, EndpointError
from generators.journal import SqliteJournal
from generators.openai_answers import Reply
from generators.records import Usage
from generators.vllm_client import ManagedVllmClient, VllmClient, VllmSettings, identify_vllm
from generators.vllm_scores import TokenScores, read_scores
from generators.vllm_server import ServeSettings
from tests.generators.asking import ask, chat, expect, make_client
from tests.generators.loopback import LoopbackServer
from tests.generators.vllm_stand_in import list_running, make_environment, read_starts

SCORED = {
    "choices": [
        {
            "text": "x",
            "prompt_token_ids": [5, 6, 7],
            "prompt_logprobs": [
                None,
                {"6": {"logprob": -4.0, "rank": 9}, "1": {"logprob": -0.5, "rank": 1}},
                {"7": {"logprob": -0.25, "rank": 1}, "2": {"logprob": -3.0, "rank": 2}},
            ],
        }
    ],
    "usage": {"prompt_tokens": 3, "completion_tokens": 1},
}


def by_url(url: str, **settings: Any) -> VllmClient:
    settings = {"base_url": url, "model": "tiny", "deadline_s": 20, **settings}
    return VllmClient(VllmSettings(**settings), model_id="tiny@1")


def manage(folder: Path, options: dict[str, Any], **settings: Any) -> ManagedVllmClient:
    """A client of the bundled model's name, with the stand-in as its server."""
    serve = ServeSettings(python=make_environment(folder), options=options, max_restarts=2)
    settings = {"model": BUNDLED, "concurrency": 6, "max_attempts": 2, **settings}
    return ManagedVllmClient(VllmSettings(serve=serve, **settings), log=folder / "log")


def test_choices_are_sent_as_vllm_takes_them() -> None:
    request = chat("Which?").model_copy(update={"choices": ("A", "B")})
    with LoopbackServer() as server:
        client = by_url(server.url)
        assert ask(client, request, chat("How?")) == [expect("Which?"), expect("How?")]
        with pytest.raises(ValueError) as caught:
            ask(make_client(server.url), request)
        assert str(caught.value) == "only vLLM can be held to choices; ask with its own client"
    guided = {call.asked: call.body.get("structured_outputs") for call in server.calls}
    assert guided == {"Which?": {"choice": ["A", "B"]}, "How?": None}


def test_choices_are_part_of_the_key() -> None:
    request = chat("Which?")
    keys = [
        request_key("m", request.model_copy(update={"choices": choices}))
        for choices in ((), ("A", "B"), ("B", "A"))
    ]
    assert keys[0] == request_key("m", request)
    assert len(set(keys)) == 3


@pytest.mark.parametrize("text", ["A text", [5, 6, 7]], ids=["text", "token ids"])
def test_scores_are_asked_for_and_read(text: str | list[int]) -> None:
    with LoopbackServer(rule=lambda _: SCORED) as server:
        client = by_url(server.url, tokens_per_minute=1000)

        async def score() -> TokenScores | Failure:
            try:
                return await client.score_tokens(text, top=1)
            finally:
                await client.close()

        scores = asyncio.run(score())
    assert scores == TokenScores(
        token_ids=(5, 6, 7),
        logprobs=(-4.0, -0.25),
        top_ids=((1,), (7,)),
        top_logprobs=((-0.5,), (-0.25,)),
        usage=Usage(prompt_tokens=3, completion_tokens=1),
    )
    assert (server.calls[0].path, server.calls[0].body) == (
        "/v1/completions",
        {
            "model": "tiny",
            "prompt": text,
            "max_tokens": 1,
            "temperature": 0,
            "prompt_logprobs": 1,
            "return_token_ids": True,
        },
    )


@pytest.mark.parametrize(
    ("status", "body", "reason"),
    [
        pytest.param(200, b'{"choices": [{"text": "x"}]}', "no_prompt_logprobs", id="not vLLM"),
        pytest.param(200, b'{"choices": [{"text"', "invalid_json", id="cut"),
        pytest.param(400, b'{"error": "context length"}', "context_length", id="too long"),
        pytest.param(503, b"", "http_503", id="busy"),
    ],
)
def test_scores_that_do_not_come_are_a_failure(status: int, body: bytes, reason: str) -> None:
    failure = read_scores(Reply(status, {}, body), top=1)
    assert isinstance(failure, Failure)
    assert failure.reason == reason


def test_names_tell_model_and_options_and_no_place() -> None:
    there = VllmSettings(base_url="http://127.0.0.1:8000/v1", model="org/model", revision="r1")
    assert identify_vllm(there) == "org/model@r1"
    ours = VllmSettings(model=BUNDLED, serve=ServeSettings(python="a/python", max_restarts=1))
    name = identify_vllm(ours)
    assert name.startswith(f"{BUNDLED}@")
    assert name.endswith("+vllm")
    paced = VllmSettings(model=BUNDLED, serve=ServeSettings(env={"A": "1"}, start_timeout_s=9))
    assert identify_vllm(paced) == name
    other = VllmSettings(model=BUNDLED, serve=ServeSettings(options={"dtype": "float32"}))
    assert identify_vllm(other).startswith(f"{name}-")


@pytest.mark.parametrize("place", [{}, {"base_url": "http://127.0.0.1:1/v1", "serve": {}}])
def test_either_a_url_or_a_server_of_our_own_is_named(place: dict[str, Any]) -> None:
    with pytest.raises(ValidationError) as caught:
        VllmSettings(model="m", **place)
    assert caught.value.errors()[0]["msg"] == (
        "Value error, name either base_url (a server that is there) or serve (one to be started; "
        "`serve: {}` starts it from .venv-vllm)"
    )
    there = VllmSettings(base_url="http://127.0.0.1:1/v1", model="m")
    ours = VllmSettings(serve=ServeSettings(), model="m")
    for settings in (there, ours):
        assert VllmSettings.model_validate(settings.model_dump()) == settings


def test_requests_outlive_their_server(tmp_path: Path) -> None:
    client = manage(tmp_path, {"die-at": 15})
    requests = [chat(f"question {i}", seed=i) for i in range(40)]

    async def run(journal: SqliteJournal) -> list[Any]:
        try:
            return await answer_requests(client, requests, journal)
        finally:
            await client.close()

    with SqliteJournal(tmp_path / "journal.sqlite") as journal:
        outcomes = asyncio.run(run(journal))
        found = asyncio.run(journal.find([request_key(client.id, r) for r in requests]))

    assert outcomes == [expect(f"question {i}", seed=i) for i in range(40)]
    assert len(found) == 40
    log = tmp_path / "log"
    assert len(read_starts(log)) == 2
    assert list_running(log) == []
    told = Counter(line for line in log.read_text().splitlines() if line.startswith("tutelage"))
    assert told == {"tutelage: the server ended with exit code 137; start 2": 1}


def test_server_that_dies_of_every_request_ends_the_run(tmp_path: Path) -> None:
    client = manage(tmp_path, {"die-at": 1, "deaths": 9})
    with pytest.raises(EndpointError) as caught:
        ask(client, chat("deadly"))
    assert str(caught.value).splitlines()[0] == (
        f"vllm serve {BUNDLED}: ended with exit code 137; it was started again 2 times already "
        f"(max_restarts); see the log for what kills it. The last lines of {tmp_path}/log:"
    )
    assert len(read_starts(tmp_path / "log")) == 3
    assert list_running(tmp_path / "log") == []


def test_failure_of_a_living_server_is_returned(tmp_path: Path) -> None:
    client = manage(tmp_path, {"status": 500}, max_attempts=1)
    (outcome,) = ask(client, chat("question"))
    assert isinstance(outcome, Failure)
    assert (outcome.reason, outcome.permanent) == ("http_500", False)
    assert len(read_starts(tmp_path / "log")) == 1


def test_client_that_was_asked_nothing_starts_nothing(tmp_path: Path) -> None:
    client = manage(tmp_path, {})

    async def probe_and_close() -> None:
        await client.probe()
        await client.close()

    asyncio.run(probe_and_close())
    assert client.plan([chat("a"), chat("b")]) == [[0], [1]]
    assert not (tmp_path / "log").exists()


def test_closed_client_serves_again_with_its_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OWN_KEY", "sk-own")
    client = manage(tmp_path, {}, api_key_env="OWN_KEY")
    assert ask(client, chat("one")) == [expect("one")]
    assert ask(client, chat("two")) == [expect("two")]
    starts = read_starts(tmp_path / "log")
    assert [start["env"]["VLLM_API_KEY"] for start in starts] == ["sk-own", "sk-own"]
    monkeypatch.delenv("OWN_KEY")
    with pytest.raises(ConfigError) as caught:
        ManagedVllmClient(
            VllmSettings(model=BUNDLED, serve=ServeSettings(), api_key_env="OWN_KEY"),
            log=tmp_path / "log",
        )
    assert str(caught.value) == (
        "api_key_env: the environment variable OWN_KEY is not set; export it, or leave api_key_env "
        "empty for a server that wants no key"
    )
