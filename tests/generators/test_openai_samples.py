import json
from pathlib import Path
from typing import Any

import pytest

from generators.clients import Failure, Request, Response, Sampling
from generators.records import Usage
from tests.generators.asking import ask, ask_journalled, chat, choice, make_client
from tests.generators.loopback import Call, Fault, LoopbackServer, expected_text

pytestmark = pytest.mark.usefixtures("short_waits")


def complete(text: str, seed: int) -> Request:
    return Request(text=text, sampling=Sampling(), seed=seed)


def test_requests_that_differ_in_the_seed_alone_are_planned_together() -> None:
    schema = {"type": "object"}
    requests = [
        *(chat("a", 1), chat("b", 1), chat("a", 2), chat("a", 3), chat("a", 4, max_tokens=9)),
        *(complete("a", 5), chat("b", 6)),
        *(chat("a", seed).model_copy(update={"json_schema": schema}) for seed in (7, 8)),
    ]
    client = make_client("http://127.0.0.1:9/v1", samples_per_request=2)

    assert client.plan(requests) == [[0, 2], [3], [1, 6], [4], [5], [7], [8]]
    assert make_client("http://127.0.0.1:9/v1").plan(requests) == [[i] for i in range(9)]


def test_samples_of_one_request_are_dealt_out_and_tokens_are_counted_once(tmp_path: Path) -> None:
    def shuffle(call: Call) -> dict[str, Any]:
        choices = [
            {"index": i, "finish_reason": "stop", "message": {"content": f"{call.asked}{i}"}}
            for i in (2, 0, 1)
        ]
        return {"choices": choices, "usage": {"prompt_tokens": 7, "completion_tokens": 11}}

    requests = [chat("q", seed) for seed in (5, 6, 7)]
    with LoopbackServer(rule=shuffle) as server:
        client = make_client(server.url, samples_per_request=3)
        outcomes = ask_journalled(client, requests, tmp_path / "j.sqlite")

    (call,) = server.calls
    assert (call.body["n"], call.body["seed"]) == (3, 5)
    usages = [Usage(prompt_tokens=7, completion_tokens=5), *[Usage(completion_tokens=3)] * 2]
    assert outcomes == [
        Response(text=f"q{i}", finish_reason="stop", usage=usages[i]) for i in range(3)
    ]


def test_only_the_missing_samples_are_asked_again(tmp_path: Path) -> None:
    def give_two(call: Call) -> Fault | None:
        said = [{"index": i, "message": {"content": f"sample {i}"}} for i in (0, 2)]
        return Fault(body=json.dumps({"choices": said})) if call.number == 0 else None

    requests = [chat("q", seed) for seed in (5, 6, 7, 8)]
    with LoopbackServer(give_two) as server:
        client = make_client(server.url, samples_per_request=4)
        first = ask_journalled(client, requests, tmp_path / "j.sqlite")
        second = ask_journalled(client, requests, tmp_path / "j.sqlite")

    message = (
        "the server sent 2 of 4 samples; if it never sends more than one, "
        "set samples_per_request to 1"
    )
    missing = Failure(reason="missing_choice", message=message, permanent=False)
    assert [first[1], first[3]] == [missing, missing]
    assert [(call.body["n"], call.body["seed"]) for call in server.calls] == [(4, 5), (2, 6)]
    assert [o.text for o in second if isinstance(o, Response)] == [
        *("sample 0", expected_text("q", 6), "sample 2", expected_text("q", "6+1")),
    ]


def test_failing_request_fails_for_all_its_samples() -> None:
    def none(call: Call) -> Fault:
        return Fault(body=json.dumps({"choices": [{"index": 0}, {"index": 1}]}))

    requests = [chat("q", seed) for seed in (1, 2)]
    with LoopbackServer(none) as server:
        client = make_client(server.url, samples_per_request=2, max_attempts=3)
        outcomes = ask_all(client, requests)
    assert [o.reason for o in outcomes if isinstance(o, Failure)] == ["null_content"] * 2
    assert len(server.calls) == 3


def ask_all(client: Any, requests: list[Request]) -> list[Any]:
    import asyncio

    async def run() -> list[Any]:
        try:
            return await client.generate(requests)
        finally:
            await client.close()

    return asyncio.run(run())


def test_unlike_requests_are_never_answered_as_one() -> None:
    with LoopbackServer() as server:
        client = make_client(server.url, samples_per_request=4)
        outcomes = ask_all(client, [chat("a", 1), chat("b", 2), chat("a", 3)])

    assert [o.text for o in outcomes] == [
        *(expected_text("a", 1), expected_text("b", 2), expected_text("a", "1+1")),
    ]
    assert [call.body.get("n") for call in server.calls] == [2, None]


@pytest.mark.parametrize(
    ("request_", "sent", "body"),
    [
        pytest.param(
            chat("q"),
            True,
            choice(
                message={"content": "a b"},
                logprobs={"content": [{"token": "a", "logprob": -0.5}, {"logprob": -2}]},
            ),
            id="chat",
        ),
        pytest.param(
            complete("q", 1),
            1,
            choice(text="a b", logprobs={"tokens": ["a"], "token_logprobs": [-0.5, -2.0]}),
            id="raw completion",
        ),
    ],
)
def test_logprobs_of_sampled_tokens_are_kept(request_: Request, sent: object, body: str) -> None:
    with LoopbackServer(lambda _: Fault(body=body)) as server:
        (outcome,) = ask(make_client(server.url, logprobs=True), request_)
        (without,) = ask(make_client(server.url), request_)

    assert isinstance(outcome, Response)
    assert isinstance(without, Response)
    assert (outcome.text, outcome.logprobs, without.logprobs) == ("a b", (-0.5, -2.0), None)
    assert [call.body.get("logprobs") for call in server.calls] == [sent, None]


@pytest.mark.parametrize(
    ("logprobs", "message"),
    [
        ("many", "logprobs: Input should be a valid dictionary or instance of _Logprobs"),
        ({"token_logprobs": [None]}, "logprobs.token_logprobs.0: Input should be a valid number"),
        (
            {"content": [{"logprob": float("-inf")}]},
            "logprobs.content.0.logprob: Input should be a finite number",
        ),
    ],
)
def test_logprobs_that_are_none_are_malformed_where_they_were_asked_for(
    logprobs: object, message: str
) -> None:
    body = choice(message={"content": "a"}, logprobs=logprobs)
    with LoopbackServer(lambda _: Fault(body=body)) as server:
        (outcome,) = ask(make_client(server.url, logprobs=True, max_attempts=1), chat("q"))
        (without,) = ask(make_client(server.url), chat("q"))

    assert outcome == Failure(reason="malformed", message=message, permanent=False)
    assert isinstance(without, Response)


def test_logprobs_make_another_id_and_paces_do_not() -> None:
    url = "http://127.0.0.1:9/v1"
    paced = make_client(
        url,
        **{"requests_per_minute": 9, "tokens_per_minute": 9, "samples_per_request": 9},
        **{"breaker_failures": 9, "breaker_pause_s": 9},
    )
    ids = [
        make_client(url, **settings).id
        for settings in (
            {"logprobs": True},
            {"extra_body": {"logprobs": True}},
            {"logprobs": True, "extra_body": {"logprobs": True}},
        )
    ]

    assert paced.id == "tiny@1"
    assert len({*ids, "tiny@1"}) == 4
