"""The embedded model as a client: fixed batches, and what it answers."""

import asyncio
import random
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from generators import embedded
from generators.clients import Failure, Request, Response, Sampling, Stopped
from generators.embedded import EmbeddedClient, EmbeddedSettings, find_end_ids, render_chat
from generators.records import FunctionCall, Message, ToolCall

GREEDY = Sampling(temperature=0, max_tokens=4, stop=("\n",))
WARM = Sampling(temperature=0.7, max_tokens=4)
SHOTS = " ".join(f"{i} + {i} = {2 * i};" for i in range(1, 9))
"""More tokens than a head has."""


@pytest.fixture(scope="module")
def client(small_model_dir: Path) -> EmbeddedClient:
    settings = EmbeddedSettings(model=str(small_model_dir), precision="float32", batch_size=3)
    return EmbeddedClient(settings)


def complete(text: str, seed: int = 0, sampling: Sampling = WARM) -> Request:
    return Request(text=text, sampling=sampling, seed=seed)


def chat(text: str, seed: int = 0, sampling: Sampling = WARM) -> Request:
    return Request(messages=(Message(role="user", content=text),), sampling=sampling, seed=seed)


def plan_texts(client: EmbeddedClient, requests: list[Request]) -> list[list[str | None]]:
    return [[requests[i].text for i in batch] for batch in client.plan(requests)]


# Batches


def test_a_batch_holds_requests_of_one_sampling_and_no_more_than_its_size(
    client: EmbeddedClient,
) -> None:
    requests = [complete(f"{word} 1", sampling=s) for s in (WARM, GREEDY) for word in "abcd"]
    batches = client.plan(requests)
    assert sorted(i for batch in batches for i in batch) == list(range(8))
    assert [len(batch) for batch in batches] == [3, 1, 3, 1]
    assert [[requests[i].sampling for i in batch] for batch in batches] == [
        [GREEDY] * 3,
        [GREEDY],
        [WARM] * 3,
        [WARM],
    ]


def test_equal_prompts_stand_together_in_the_order_of_their_seeds(client: EmbeddedClient) -> None:
    requests = [complete(text, seed) for seed in (5, 3, 4) for text in ("one two", "one six")]
    batches = [[(requests[i].text, requests[i].seed) for i in b] for b in client.plan(requests)]
    assert sorted(batches) == [
        [("one six", 3), ("one six", 4), ("one six", 5)],
        [("one two", 3), ("one two", 4), ("one two", 5)],
    ]


def test_prompts_of_like_length_stand_together(client: EmbeddedClient) -> None:
    requests = [complete("go " * n) for n in (9, 1, 8, 2, 7, 3)]
    assert plan_texts(client, requests) == [
        ["go " * n for n in (1, 2, 3)],
        ["go " * n for n in (7, 8, 9)],
    ]


def test_what_begins_alike_is_batched_among_itself(client: EmbeddedClient) -> None:
    behind = [f"{SHOTS} {n} + 1 =" for n in (11, 12, 13, 14)]
    longer = "go " * 90
    lengths = [len(client.encode(complete(text))) for text in (behind[0], longer)]
    assert embedded.HEAD_TOKENS < lengths[0] < lengths[1]
    batches = plan_texts(client, [complete(text) for text in (*behind, longer, "Hi")])
    assert [len(batch) for batch in batches] == [2, 3, 1]
    assert batches[0] == ["Hi", longer]
    few = plan_texts(client, [complete(text) for text in (*behind[:3], longer, "Hi")])
    assert few == [["Hi", *behind[:2]], [behind[2], longer]], "three do not make a head"


def test_the_same_requests_make_the_same_batches_in_whatever_order_they_come(
    client: EmbeddedClient,
) -> None:
    requests = [
        *(complete(f"{SHOTS} {n} + 1 =", seed) for n in range(4) for seed in range(2)),
        *(chat("Name a colour.", seed) for seed in range(3)),
        *(complete("go " * n, sampling=GREEDY) for n in range(1, 5)),
    ]
    shuffled = random.Random(1).sample(requests, len(requests))
    batches = [[requests[i] for i in batch] for batch in client.plan(requests)]
    assert [[shuffled[i] for i in batch] for batch in client.plan(shuffled)] == batches
    assert client.plan(requests) == client.plan(requests)


def test_no_requests_make_no_batches(client: EmbeddedClient) -> None:
    assert client.plan([]) == []


# Answers


def test_a_chat_and_a_completion_are_answered_with_their_usage(client: EmbeddedClient) -> None:
    asked = "What is the capital of France? Answer in one word and nothing else, please."
    long = GREEDY.model_copy(update={"max_tokens": 10})
    (said,) = client.generate_now([chat(asked, sampling=long)])
    (went_on,) = asyncio.run(client.generate([complete("Rome is in Italy. Paris is", 0, GREEDY)]))
    assert isinstance(said, Response)
    assert isinstance(went_on, Response)
    assert (said.text, said.finish_reason) == ("The capital of France is Paris.", "stop")
    assert (went_on.text, went_on.finish_reason) == (" the capital of France", "length")
    assert said.usage.model_dump() == {"prompt_tokens": 47, "completion_tokens": 8}
    assert went_on.usage.model_dump() == {"prompt_tokens": 7, "completion_tokens": 4}
    assert [len(r.logprobs or ()) for r in (said, went_on)] == [8, 4]


def test_what_cannot_be_asked_fails_for_good_and_alone(
    client: EmbeddedClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client.loaded.model.config, "max_position_embeddings", 12)
    requests = [complete(text, 0, GREEDY) for text in (" go" * 9, " go" * 8, "")]
    too_long, fitting, empty = client.generate_now(requests)
    assert too_long == Failure(
        reason="context_length",
        message="the prompt has 9 tokens; with the answer's room 8 fit",
        permanent=True,
    )
    assert isinstance(fitting, Response)
    assert (fitting.usage.prompt_tokens, fitting.usage.completion_tokens) == (8, 4)
    assert empty == Failure(
        reason="empty_prompt", message="the prompt has no tokens", permanent=True
    )
    assert client.generate_now([requests[1]]) == [fitting]
    assert client.generate_now([requests[0], requests[2]]) == [too_long, empty]


def test_a_chat_is_put_in_the_models_own_words(client: EmbeddedClient) -> None:
    call = ToolCall(id="c1", function=FunctionCall(name="add", arguments="{}"))
    turns = [
        Message(role="system", content="Be brief."),
        Message(role="user", content="Hi"),
        Message(role="assistant", content="Hello!", tool_calls=(call,)),
        Message(role="user", content="Who?"),
    ]
    text = (
        "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n"
        "<|im_start|>assistant\nHello!<|im_end|>\n<|im_start|>user\nWho?<|im_end|>\n"
        "<|im_start|>assistant\n"
    )
    assert render_chat(client.loaded.tokenizer, turns) == text
    request = Request(messages=tuple(turns), sampling=WARM, seed=0)
    ids = client.encode(request)
    assert client.loaded.tokenizer.decode(ids) == text
    assert ids == client.encode(complete(text))


def test_a_text_ends_at_the_chats_end_and_at_the_end_of_text(client: EmbeddedClient) -> None:
    ends = client.loaded.tokenizer.convert_tokens_to_ids(["<|im_end|>", "<|endoftext|>"])
    assert find_end_ids(*client.loaded) == frozenset(ends) == {0, 2}


def test_a_schema_is_refused_as_nothing_would_hold_the_answer_to_it(
    tiny_model_dir: Path,
) -> None:
    client = EmbeddedClient(EmbeddedSettings(model=str(tiny_model_dir), precision="float32"))
    request = complete("one").model_copy(update={"json_schema": {"type": "array"}})
    with pytest.raises(ValueError) as caught:
        client.generate_now([request])
    assert str(caught.value) == "a model in this process cannot be held to a json_schema"


# Being stopped


def test_a_stopped_client_breaks_off_its_batch_and_answers_nothing_more(
    tiny_model_dir: Path,
) -> None:
    client = EmbeddedClient(EmbeddedSettings(model=str(tiny_model_dir), precision="float32"))
    endless = Sampling(temperature=0, max_tokens=1500)
    decoded: list[int] = []
    hook = client.loaded.model.register_forward_hook(lambda *_: decoded.append(1))
    with ThreadPoolExecutor(1) as thread:
        batch = thread.submit(client.generate_now, [complete("one two three", sampling=endless)])
        while len(decoded) < 5:
            assert not batch.done()
        client.stop()
        with pytest.raises(Stopped) as caught:
            batch.result(60)
        assert str(caught.value) == "decoding was broken off"
    hook.remove()
    assert len(decoded) < 1000
    with pytest.raises(Stopped) as caught:
        client.generate_now([complete("one")])
    assert str(caught.value) == "decoding was broken off"
    assert len(decoded) < 1000


def test_a_cancelled_request_stops_the_client(tiny_model_dir: Path) -> None:
    client = EmbeddedClient(EmbeddedSettings(model=str(tiny_model_dir), precision="float32"))
    endless = Sampling(temperature=0, max_tokens=1500)

    async def cancel_soon() -> None:
        async with asyncio.timeout(1):
            await client.generate([complete("one two three", sampling=endless)])

    with pytest.raises(TimeoutError):
        asyncio.run(cancel_soon())
    with pytest.raises(Stopped) as caught:
        client.generate_now([complete("one")])
    assert str(caught.value) == "decoding was broken off"
