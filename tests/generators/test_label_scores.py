"""Probabilities of texts read off a model: the same as whole forward passes give."""

import asyncio
import math
from pathlib import Path

import pytest
import torch

from generators.clients import Failure, Request, Response, Sampling, Stopped, request_key
from generators.embedded import EmbeddedClient, EmbeddedSettings, LoadedModel, load_model
from generators.errors import ConfigError
from generators.label_scores import score_texts

LABELS = (" joy", " deep sadness", " anger", " so surprised that nothing is said")
"""Of one, two, one and several tokens."""
PROMPTS = (
    "Text: The singer cries.\nLabel:",
    "Text: The singer cries and the whole stadium sings along with her.\nLabel:",
    "Text: He slams the door.\nLabel:",
    "Label:",
)
ONCE = Sampling(temperature=1, max_tokens=1)


@pytest.fixture(scope="module")
def loaded(tiny_model_dir: Path) -> LoadedModel:
    return load_model(str(tiny_model_dir), "float32")


def encode(loaded: LoadedModel, text: str) -> list[int]:
    return loaded.tokenizer(text, add_special_tokens=False)["input_ids"]


def score_by_force(loaded: LoadedModel, prompt: list[int], text: list[int]) -> float:
    """One unbatched forward pass over prompt and text, without any cache."""
    with torch.inference_mode():
        logits_1TV = loaded.model(input_ids=torch.tensor([prompt + text])).logits
    logprobs_TV = logits_1TV[0].double().log_softmax(dim=-1)
    places = range(len(prompt) - 1, len(prompt) + len(text) - 1)
    return math.fsum(float(logprobs_TV[at, token]) for at, token in zip(places, text, strict=True))


def test_scores_equal_a_whole_forward_pass(loaded: LoadedModel) -> None:
    prompts = [encode(loaded, prompt) for prompt in PROMPTS]
    lengths = [len(encode(loaded, label)) for label in LABELS]
    assert min(lengths) == 1
    assert max(lengths) > 2
    scores = score_texts(*loaded, prompts, LABELS)
    for prompt, found in zip(prompts, scores, strict=True):
        expected = {t: score_by_force(loaded, prompt, encode(loaded, t)) for t in LABELS}
        assert found == pytest.approx(expected, abs=1e-5)


def test_scores_do_not_depend_on_the_batch(loaded: LoadedModel) -> None:
    prompts = [encode(loaded, prompt) for prompt in PROMPTS]
    whole = score_texts(*loaded, prompts, LABELS)
    for i, prompt in enumerate(prompts):
        assert score_texts(*loaded, [prompt], LABELS)[0] == pytest.approx(whole[i], abs=1e-5)
    doubled = score_texts(*loaded, [prompts[2], prompts[0], prompts[2]], LABELS)
    assert doubled[0] == doubled[2] == pytest.approx(whole[2], abs=1e-5)


def test_one_label_more_changes_no_score(loaded: LoadedModel) -> None:
    prompts = [encode(loaded, prompt) for prompt in PROMPTS]
    few = score_texts(*loaded, prompts, LABELS[:2])
    many = score_texts(*loaded, prompts, LABELS)
    assert few == [{text: row[text] for text in LABELS[:2]} for row in many]


def test_a_label_that_begins_another_is_refused(loaded: LoadedModel) -> None:
    with pytest.raises(ConfigError) as error:
        score_texts(*loaded, [encode(loaded, "Label:")], (" very", " joy", " very good"))
    assert str(error.value) == (
        "labels: to the model 'very' is the beginning of 'very good', so their probabilities "
        "cannot be told apart: rename one, or choose method votes"
    )


def test_scoring_is_broken_off_when_it_is_stopped(loaded: LoadedModel) -> None:
    asked: list[int] = []

    def is_stopped() -> bool:
        asked.append(1)
        return len(asked) == 3

    with pytest.raises(Stopped) as caught:
        score_texts(*loaded, [encode(loaded, "Label:")], LABELS, is_stopped)
    assert str(caught.value) == "scoring was broken off"
    assert len(asked) == 3


# As requests to the client


@pytest.fixture
def client(tiny_model_dir: Path) -> EmbeddedClient:
    settings = EmbeddedSettings(model=str(tiny_model_dir), precision="float32", batch_size=3)
    return EmbeddedClient(settings)


def weigh(prompt: str, texts: tuple[str, ...] = LABELS) -> Request:
    return Request(text=prompt, sampling=ONCE, seed=0, continuations=texts)


def test_the_client_answers_with_the_scores(client: EmbeddedClient, loaded: LoadedModel) -> None:
    outcomes = asyncio.run(client.generate([weigh(prompt) for prompt in PROMPTS]))
    for prompt, outcome in zip(PROMPTS, outcomes, strict=True):
        ids = encode(loaded, prompt)
        assert isinstance(outcome, Response)
        assert (outcome.text, outcome.usage.prompt_tokens) == ("", len(ids))
        assert outcome.usage.completion_tokens == 0
        expected = {t: score_by_force(loaded, ids, encode(loaded, t)) for t in LABELS}
        assert outcome.text_logprobs == pytest.approx(expected, abs=1e-5)


def test_a_batch_has_one_set_of_labels(client: EmbeddedClient) -> None:
    votes = Request(text=PROMPTS[0], sampling=ONCE, seed=0)
    requests = [weigh("a"), votes, weigh("b", LABELS[:2]), weigh("c"), weigh("d"), weigh("e")]
    batches = client.plan(requests)
    assert sorted(sorted(batch) for batch in batches) == [[0, 3, 4], [1], [2], [5]]


def test_a_prompt_that_leaves_no_room_is_a_failure_of_its_own(client: EmbeddedClient) -> None:
    window = client.loaded.model.config.max_position_embeddings
    short, long = asyncio.run(client.generate([weigh("a"), weigh("a" + " b" * window)]))
    assert isinstance(short, Response)
    assert isinstance(long, Failure)
    assert (long.reason, long.permanent) == ("context_length", True)
    (empty,) = asyncio.run(client.generate([weigh("")]))
    assert isinstance(empty, Failure)
    assert empty.reason == "empty_prompt"


def test_what_is_asked_for_is_part_of_the_key() -> None:
    plain = Request(text="a", sampling=ONCE, seed=0)
    keys = [
        request_key("m", plain.model_copy(update=change))
        for change in (
            {},
            {"continuations": LABELS},
            {"continuations": LABELS[:2]},
            {"top_logprobs": 20},
            {"top_logprobs": 5},
        )
    ]
    assert len(set(keys)) == 5
    assert keys[0] == "51e812c9666ba802e954b66519f5882b82d05a2a26a614c2e3fa23cfcf6f609a"
