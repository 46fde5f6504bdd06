"""Draws of token ids, asked for and read, on a loopback server."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest

from generators.clients import Failure, Sampling
from generators.openai_answers import Reply
from generators.records import Usage
from generators.vllm_client import VllmClient, VllmSettings
from generators.vllm_samples import Draw, SampledTokens, read_sample
from tests.generators.loopback import LoopbackServer

END = frozenset({2, 0})
CHOICE = {
    "text": "x",
    "token_ids": [5, 6, 2],
    "logprobs": {"token_logprobs": [-0.5, -1.25, -3.0], "top_logprobs": [None, None, None]},
    "finish_reason": "stop",
}
SAID = {"choices": [CHOICE], "usage": {"prompt_tokens": 2, "completion_tokens": 3}}
DRAW = Draw(
    prompt=(1, 504),
    seed=2**62 + 1,
    sampling=Sampling(temperature=0.5, top_p=0.9, max_tokens=3),
    end_ids=END,
    barred_ids=(7, 8),
)


def read(choice: dict[str, Any]) -> Any:
    reply = Reply(200, {}, json.dumps(SAID | {"choices": [choice]}).encode())
    return read_sample(reply, max_tokens=3, end_ids=END)


def test_a_draw_is_asked_for_and_read() -> None:
    with LoopbackServer(rule=lambda _: SAID) as server:
        settings = VllmSettings(base_url=server.url, model="tiny", deadline_s=20)
        client = VllmClient(settings, model_id="tiny@1")

        async def sample() -> SampledTokens | Failure:
            try:
                return await client.sample_tokens(DRAW)
            finally:
                await client.close()

        found = asyncio.run(sample())
    assert found == SampledTokens(
        token_ids=(5, 6, 2),
        logprobs=(-0.5, -1.25, -3.0),
        ended=True,
        usage=Usage(prompt_tokens=2, completion_tokens=3),
    )
    assert (server.calls[0].path, server.calls[0].body) == (
        "/v1/completions",
        {
            "model": "tiny",
            "prompt": [1, 504],
            "max_tokens": 3,
            "temperature": 0.5,
            "top_p": 0.9,
            "seed": 2**62 + 1,
            "stop_token_ids": [0, 2],
            "logprobs": 0,
            "return_token_ids": True,
            "logit_bias": {"7": -100, "8": -100},
        },
    )


def test_what_was_cut_off_has_not_ended() -> None:
    (found,) = read(CHOICE | {"token_ids": [5, 6, 7], "finish_reason": "length"})
    assert (found.ended, found.token_ids) == (False, (5, 6, 7))


def drop(name: str) -> Callable[[dict[str, Any]], dict[str, Any]]:
    return lambda choice: {key: value for key, value in choice.items() if key != name}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param(drop("token_ids"), "token_ids", id="no token ids"),
        pytest.param(drop("logprobs"), "logprobs", id="no log-probabilities"),
        pytest.param(
            lambda c: c | {"logprobs": {"token_logprobs": [-0.5]}},
            "3 tokens and 1 log-probabilities came",
            id="one too few",
        ),
        pytest.param(
            lambda c: c | {"token_ids": [5, 6, 7]}, "'stop' at token 7", id="no end token"
        ),
        pytest.param(
            lambda c: c | {"finish_reason": "length"}, "'length' at token 2", id="cut at its end"
        ),
    ],
)
def test_a_reply_that_lacks_something_is_a_failure(
    change: Callable[[dict[str, Any]], dict[str, Any]], message: str
) -> None:
    failure = read(change(CHOICE))
    assert isinstance(failure, Failure)
    assert (failure.reason, failure.permanent) == ("no_token_ids", False)
    assert message in failure.message


def test_a_refusal_is_the_servers_own() -> None:
    body = b'{"error": {"message": "maximum context length is 8"}}'
    failure = read_sample(Reply(400, {}, body), max_tokens=3, end_ids=END)
    assert isinstance(failure, Failure)
    assert (failure.reason, failure.permanent) == ("context_length", True)
