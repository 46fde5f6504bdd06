"""What the real server offers, through the client: answers, schemas, choices, scores, its end."""

import asyncio
import json
from collections.abc import Coroutine
from typing import Any, TypeVar

import psutil
import pytest
import torch

from generators.clients import Failure, Request, Response
from generators.embedded import BUNDLED, load_model
from generators.openai_compatible import OpenAICompatibleClient
from generators.vllm_client import ManagedVllmClient, VllmClient
from generators.vllm_scores import TokenScores
from tests.generators.asking import ask, chat
from tests.vllm.conftest import connect

T = TypeVar("T")
SCHEMA = {
    "type": "object",
    "properties": {"city": {"enum": ["Oslo", "Bergen"]}, "warm": {"type": "boolean"}},
    "required": ["city", "warm"],
    "additionalProperties": False,
}
TEXT = (
    "The harbour was quiet early in the morning. A few boats lay at the pier, and an old man was "
    "mending his nets. 12 + 7 = 19, he said, and 19 + 4 = 23; the numbers did not interest anyone."
)


def run(client: OpenAICompatibleClient, work: Coroutine[Any, Any, T]) -> T:
    async def run_and_close() -> T:
        try:
            return await work
        finally:
            await client.close()

    return asyncio.run(run_and_close())


def answer(client: OpenAICompatibleClient, *requests: Request) -> list[Response]:
    outcomes = ask(client, *requests)
    assert [o for o in outcomes if isinstance(o, Failure)] == []
    return [o for o in outcomes if isinstance(o, Response)]


def score(client: VllmClient, text: str | list[int], top: int) -> TokenScores:
    found = run(client, client.score_tokens(text, top=top))
    assert isinstance(found, TokenScores), found
    return found


def test_chats_are_answered_and_seeds_repeat(by_url: VllmClient) -> None:
    requests = [
        chat(f"Tell me about the number {i}.", seed=2**62 + i, temperature=0.7, max_tokens=24)
        for i in range(8)
    ]
    first, second = answer(by_url, *requests), answer(by_url, *requests)
    assert [r.text for r in first] == [r.text for r in second]
    assert len({r.text for r in first}) == 8
    other = requests[0].model_copy(update={"seed": 5})
    assert answer(by_url, other)[0].text != first[0].text
    assert all(0 < r.usage.completion_tokens <= 24 and r.usage.prompt_tokens > 8 for r in first)


def test_raw_completion_is_continued_as_far_as_the_stop(by_url: VllmClient) -> None:
    sampling = chat("", temperature=0, max_tokens=8, stop=("\n",)).sampling
    request = Request(text="2 + 2 = 4\n3 + 3 = 6\n4 + 4 =", sampling=sampling, seed=1)
    (response,) = answer(by_url, request)
    assert (response.text, response.finish_reason) == (" 8", "stop")


def test_answer_keeps_to_its_schema(by_url: VllmClient) -> None:
    request = chat("Which city, and is it warm? Answer in JSON.", max_tokens=64, temperature=0)
    (response,) = answer(by_url, request.model_copy(update={"json_schema": SCHEMA}))
    said = json.loads(response.text)
    assert said.keys() == {"city", "warm"}
    assert said["city"] in ("Oslo", "Bergen")


def test_answer_is_one_of_the_choices(by_url: VllmClient) -> None:
    choices = ("spring", "winter", "noon")
    asked = chat("Tell me a long story.", temperature=1.0, max_tokens=16)
    requests = [asked.model_copy(update={"choices": choices, "seed": i}) for i in range(12)]
    texts = {response.text for response in answer(by_url, *requests)}
    assert texts <= set(choices)
    assert len(texts) > 1


def test_samples_come_in_one_request_with_their_logprobs(managed: ManagedVllmClient) -> None:
    client = connect(managed, samples_per_request=4, logprobs=True)
    requests = [chat("Name a colour.", seed=i, temperature=1.0, max_tokens=6) for i in range(4)]
    assert client.plan(requests) == [[0, 1, 2, 3]]
    outcomes = run(client, client.generate(requests))
    assert len({o.text for o in outcomes if isinstance(o, Response)}) > 1
    for outcome in outcomes:
        assert isinstance(outcome, Response)
        assert outcome.logprobs is not None
        assert 0 < len(outcome.logprobs) <= 6
        assert max(outcome.logprobs) <= 0


def test_prompt_that_is_too_long_is_a_failure_of_its_own(by_url: VllmClient) -> None:
    (outcome,) = ask(by_url, chat("word " * 3000))
    assert isinstance(outcome, Failure)
    assert (outcome.reason, outcome.permanent) == ("context_length", True)


def test_scores_agree_with_transformers(by_url: VllmClient) -> None:
    model, tokenizer = load_model(BUNDLED, "float32")
    ids = tokenizer(TEXT)["input_ids"]
    with torch.no_grad():
        expected_TV = model(torch.tensor([ids])).logits[0, :-1].log_softmax(-1)
    scores = score(by_url, TEXT, 20)

    assert list(scores.token_ids) == ids
    own_T = expected_TV.gather(1, torch.tensor(ids[1:])[:, None])[:, 0]
    differences_T = (torch.tensor(scores.logprobs) - own_T).abs()
    top_TK = torch.tensor(scores.top_logprobs)
    differences_TK = (top_TK - expected_TV.gather(1, torch.tensor(scores.top_ids))).abs()
    print(f"at most {differences_T.max():.4f} and {differences_TK.max():.4f} nats apart")
    assert top_TK.shape == (len(ids) - 1, 20)
    assert differences_T.max() < 0.001
    assert differences_TK.max() < 0.001
    assert (top_TK.diff(dim=1) <= 0).all()
    best = [ranked[0] for ranked in scores.top_ids]
    assert (torch.tensor(best) == expected_TV.argmax(-1)).float().mean() > 0.95


def test_scores_of_token_ids_are_those_of_their_text(by_url: VllmClient) -> None:
    scores = score(by_url, TEXT, 5)
    again = score(by_url, list(scores.token_ids), 5)
    assert again.token_ids == scores.token_ids
    assert again.logprobs == pytest.approx(scores.logprobs, abs=0.01)


def test_more_alternatives_than_the_server_tells_are_refused(by_url: VllmClient) -> None:
    found = run(by_url, by_url.score_tokens("A text.", top=101))
    assert isinstance(found, Failure)
    assert (found.reason, found.permanent) == ("http_400", True)


def test_stopped_server_leaves_nothing_behind(managed: ManagedVllmClient) -> None:
    """Last of all: it ends the module's server."""
    processes = psutil.Process().children(recursive=True)
    assert len(processes) >= 3  # the guard, the server, its engine
    managed.server.stop()
    assert [p for p in processes if p.is_running()] == []
