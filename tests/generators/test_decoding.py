"""Decoding gives what transformers gives, reads nothing twice, and draws what it should."""

import math
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from generators import decoding
from generators.clients import Sampling
from generators.decoding import Decoded, Mixture, decode_batch, read_prompts
from generators.embedded import LoadedModel, find_end_ids, load_model, render_chat
from generators.records import Message
from tests.tiny_model import make_tiny_model

HEAD = "Rome is in Italy.\nParis is in France.\n"
FEW_SHOT = [f"{HEAD}{task}" for task in ("Berlin is in", "Madrid is in", "Oslo is in")]
THAMES = f"{HEAD}The river that flows through London, the Thames,"
CHATS = [
    "Name a colour.",
    "What is the capital of France? Answer in one word and nothing else, please.",
    "Say hello.",
]
PROBS = [0.0, 0.4, 0.1, 0.3, 0.2, 0.0]
"""Of a toy vocabulary; what is impossible stands at both ends."""
DRAWS = 6000


@pytest.fixture(scope="module")
def small(small_model_dir: Path) -> LoadedModel:
    return load_model(str(small_model_dir), "float32")


@pytest.fixture
def shapes(small: LoadedModel) -> Iterator[list[tuple[int, ...]]]:
    """The shape of the tokens in each call of the model."""
    seen: list[tuple[int, ...]] = []
    hook = small.model.register_forward_pre_hook(
        lambda _, __, given: seen.append(tuple(given["input_ids"].shape)), with_kwargs=True
    )
    yield seen
    hook.remove()


def encode(small: LoadedModel, *texts: str) -> list[list[int]]:
    return [small.tokenizer(text, add_special_tokens=False)["input_ids"] for text in texts]


def encode_chats(small: LoadedModel, *texts: str) -> list[list[int]]:
    chats = [render_chat(small.tokenizer, [Message(role="user", content=text)]) for text in texts]
    return encode(small, *chats)


def decode(
    small: LoadedModel,
    prompts: Sequence[Sequence[int]],
    seeds: Sequence[int] | None = None,
    **sampling: Any,
) -> list[Decoded]:
    settings = Sampling(**{"temperature": 0, "max_tokens": 8, **sampling})
    end_ids = find_end_ids(*small)
    return decode_batch(*small, prompts, seeds or [0] * len(prompts), settings, end_ids)


def continue_greedily(small: LoadedModel, prompt: list[int], count: int) -> list[int]:
    """What `transformers.generate` makes of one prompt."""
    ids_1T = torch.tensor([prompt])
    mask_1T = torch.ones_like(ids_1T)
    written = small.model.generate(
        ids_1T, attention_mask=mask_1T, do_sample=False, max_new_tokens=count
    )
    return written[0, len(prompt) :].tolist()


def score_tokens(small: LoadedModel, prompt: list[int], tokens: list[int]) -> list[float]:
    """The tokens' log-probabilities behind the prompt, by one plain pass without a cache."""
    with torch.inference_mode():
        logits_TV = small.model(input_ids=torch.tensor([[*prompt, *tokens]])).logits[0]
    logprobs_TV = logits_TV[len(prompt) - 1 : -1].log_softmax(dim=-1)
    return [logprobs_TV[i, token].item() for i, token in enumerate(tokens)]


# The model's own text


def test_greedy_is_what_transformers_writes(small: LoadedModel) -> None:
    prompts = encode_chats(small, *CHATS)
    assert len({len(prompt) for prompt in prompts}) == 3
    expected = [continue_greedily(small, prompt, 10) for prompt in prompts]
    decoded = decode(small, prompts, max_tokens=10)
    end_id = small.tokenizer.eos_token_id
    assert [one.ended for one in decoded] == [ids[-1] == end_id for ids in expected]
    assert [one.ended for one in decoded] == [False, True, False]
    for one, ids, prompt in zip(decoded, expected, prompts, strict=True):
        assert one.tokens == len(ids)
        assert one.text == small.tokenizer.decode([id for id in ids if id != end_id])
        assert one.logprobs == pytest.approx(score_tokens(small, prompt, ids), abs=1e-4)


def test_sampled_tokens_are_scored_at_temperature_1(
    small: LoadedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    sampled: list[int] = []
    draw = decoding._draw

    def keep(*given: Any) -> torch.Tensor:
        tokens_B = draw(*given)
        sampled.extend(tokens_B.tolist())
        return tokens_B

    monkeypatch.setattr(decoding, "_draw", keep)
    (prompt,) = encode(small, THAMES)
    (one,) = decode(small, [prompt], [5], temperature=0.6, top_p=0.9)
    assert one.text == small.tokenizer.decode(sampled)
    assert one.logprobs == pytest.approx(score_tokens(small, prompt, sampled), abs=1e-4)


def test_what_is_shared_is_read_once_and_finished_rows_leave(
    small: LoadedModel, shapes: list[tuple[int, ...]]
) -> None:
    prompts = encode(small, *FEW_SHOT, THAMES, FEW_SHOT[0])
    assert [len(prompt) for prompt in prompts] == [16, 16, 16, 22, 16]
    decoded = decode(small, prompts, stop=("\n",))
    assert shapes == [
        (1, 12),  # the examples, once
        (4, 10),  # what is left of each distinct prompt
        *[(5, 1)] * 2,  # forked into five rows
        *[(1, 1)] * 3,  # four of them have ended
    ]
    texts = [" Germany.", " Spain.", " Norway.", " is also in England.", " Germany."]
    assert [one.text for one in decoded] == texts
    assert [one.tokens for one in decoded] == [3, 3, 3, 6, 3]


def test_a_batch_writes_what_each_prompt_gets_alone(small: LoadedModel) -> None:
    prompts = encode(small, *FEW_SHOT, THAMES, "Water boils at")
    together = decode(small, prompts, stop=("\n",), max_tokens=6)
    for prompt, one in zip(prompts, together, strict=True):
        (alone,) = decode(small, [prompt], stop=("\n",), max_tokens=6)
        assert (alone.text, alone.tokens, alone.ended) == (one.text, one.tokens, one.ended)
        assert alone.logprobs == pytest.approx(one.logprobs, abs=1e-4)


@pytest.mark.parametrize(
    ("prompts", "mask"),
    [
        ([[7, 8, 9]], [[1, 1, 1]]),
        ([[7, 8, 9], [7, 8, 4, 5]], [[1, 1, 0, 1], [1, 1, 1, 1]]),
        ([[7, 8], [7, 8, 9]], [[1, 0, 1], [1, 1, 1]]),
        ([[9, 8, 7, 6], [7]], [[1, 1, 1, 1], [0, 0, 0, 1]]),
        ([[7, 8], [7, 9], [7, 8]], [[1, 1], [1, 1], [1, 1]]),
        ([[7], [7]], [[1], [1]]),
    ],
    ids=["one", "fork", "one-begins-the-other", "nothing-shared", "repeated", "single-token"],
)
def test_prompts_are_read_as_by_a_plain_pass(
    prompts: list[list[int]], mask: list[list[int]], small: LoadedModel
) -> None:
    with torch.inference_mode():
        logits_BV, cache, mask_BT = read_prompts(small.model, prompts)
        plain_BV = torch.stack(
            [small.model(input_ids=torch.tensor([prompt])).logits[0, -1] for prompt in prompts]
        )
    assert mask_BT.tolist() == mask
    assert cache.get_seq_length() == len(mask[0])
    torch.testing.assert_close(logits_BV, plain_BV, atol=1e-3, rtol=0)


# Seeds and ends


def test_a_row_is_drawn_by_its_own_seed(small: LoadedModel) -> None:
    (prompt,) = encode(small, THAMES)
    seeds = [1, 2, 1, 3]
    texts = [one.text for one in decode(small, [prompt] * 4, seeds, temperature=1.3)]
    assert texts[0] == texts[2]
    assert len(set(texts)) == 3
    assert [decode(small, [prompt], [s], temperature=1.3)[0].text for s in seeds[1:3]] == texts[1:3]


def test_a_text_does_not_depend_on_its_place_in_the_batch(small: LoadedModel) -> None:
    prompts, seeds, order = encode(small, *FEW_SHOT, THAMES), [4, 5, 6, 7], [2, 0, 3, 1]
    decoded = decode(small, prompts, seeds, temperature=1.0)
    moved = decode(small, [prompts[i] for i in order], [seeds[i] for i in order], temperature=1.0)
    assert [one.text for one in moved] == [decoded[i].text for i in order]
    assert len({one.text for one in decoded}) == 4


@pytest.mark.parametrize(
    ("stop", "text", "tokens"),
    [
        ((" in",), " is also", 3),
        ((" England", " also"), " is", 2),
        (("also in",), " is ", 3),
        (("ngl",), " is also in E", 4),
        (("in", " also in"), " is", 3),
    ],
    ids=["token", "the-first-to-come", "across-tokens", "within-a-token", "the-earliest"],
)
def test_a_text_ends_before_a_stop(
    stop: tuple[str, ...], text: str, tokens: int, small: LoadedModel
) -> None:
    (one,) = decode(small, encode(small, THAMES), stop=stop)
    assert (one.text, one.tokens, one.ended) == (text, tokens, True)
    assert len(one.logprobs) == tokens


@pytest.mark.parametrize(
    ("max_tokens", "text", "ended"),
    [(1, " is", False), (2, " is also", False), (3, " is also", True)],
)
def test_max_tokens_cut_a_text_off_unless_it_ends_there(
    max_tokens: int, text: str, ended: bool, small: LoadedModel
) -> None:
    (one,) = decode(small, encode(small, THAMES), max_tokens=max_tokens, stop=(" in",))
    assert (one.text, one.tokens, one.ended) == (text, max_tokens, ended)


# Drawing from a toy distribution


def draw_often(**sampling: Any) -> list[int]:
    """The tokens that rows of many seeds draw."""
    rows = [decoding._Row(i, random.Random(i).randrange(2**63)) for i in range(DRAWS)]
    logits_BV = torch.tensor(PROBS).log().expand(DRAWS, -1) + 3.0
    tokens_B = decoding._sample(logits_BV, rows, Sampling(**sampling))
    assert [row.ids for row in rows] == [[token] for token in tokens_B.tolist()]
    scores = [row.logprobs[0] for row in rows]
    assert scores == pytest.approx([torch.tensor(PROBS[t]).log().item() for t in tokens_B.tolist()])
    return tokens_B.tolist()


@pytest.mark.parametrize(
    ("sampling", "expected"),
    [
        ({"temperature": 1.0}, {1: 0.4, 2: 0.1, 3: 0.3, 4: 0.2}),
        ({"temperature": 0.5}, {1: 16 / 30, 2: 1 / 30, 3: 9 / 30, 4: 4 / 30}),
        ({"temperature": 0}, {1: 1.0}),
        ({"temperature": 1.0, "top_p": 0.95}, {1: 0.4, 2: 0.1, 3: 0.3, 4: 0.2}),
        ({"temperature": 1.0, "top_p": 0.85}, {1: 4 / 9, 3: 3 / 9, 4: 2 / 9}),
        ({"temperature": 1.0, "top_p": 0.69}, {1: 4 / 7, 3: 3 / 7}),
        ({"temperature": 1.0, "top_p": 0.01}, {1: 1.0}),
        ({"temperature": 0.5, "top_p": 0.69}, {1: 16 / 25, 3: 9 / 25}),
    ],
    ids=["softmax", "cool", "greedy", "wide", "three", "two", "one", "cool-two"],
)
def test_tokens_are_drawn_as_often_as_they_are_likely(
    sampling: dict[str, float], expected: dict[int, float]
) -> None:
    counts = Counter(draw_often(**sampling))
    assert set(counts) == set(expected)
    for token, share in expected.items():
        assert counts[token] / DRAWS == pytest.approx(share, abs=0.03)


@pytest.mark.parametrize(
    ("number", "top_p", "token"),
    [
        (0.0, 1.0, 1),
        (0.39, 1.0, 1),
        (0.41, 1.0, 2),
        (0.51, 1.0, 3),
        (1 - 2**-53, 1.0, 4),
        (0.0, 0.85, 1),
        (1 - 2**-53, 0.85, 4),
        (1 - 2**-53, 0.69, 3),
    ],
)
def test_the_uniform_number_picks_the_token(number: float, top_p: float, token: int) -> None:
    scores_BV = torch.tensor([PROBS]).log()
    assert decoding._draw(scores_BV, [number], top_p).tolist() == [token]


def test_a_row_that_has_ended_takes_no_more_tokens() -> None:
    rows = [decoding._Row(i, i) for i in range(2)]
    rows[1].text = "done"
    decoding._sample(torch.tensor([PROBS, PROBS]).log(), rows, Sampling(temperature=0))
    assert [row.ids for row in rows] == [[1], []]
    assert [len(row.logprobs) for row in rows] == [1, 0]


# Two small models of one vocabulary: what is sampled token by token, and from both

ENDS = frozenset(range(0, 49_152, 4))
"""Every fourth token ends a text, so rows leave the batch at other times."""
SHORT = [[1, 300, 400], [1, 300, 500, 600, 700], [1, 300, 400], [9], [1, 7, 8, 9], [1, 300]]


@pytest.fixture(scope="module")
def pair(small: LoadedModel) -> tuple[LoadedModel, LoadedModel]:
    """The second's head has rows to spare."""
    models: list[Any] = [make_tiny_model(seed).eval() for seed in (3, 4)]
    models[1].resize_token_embeddings(49_216, mean_resizing=False)
    with torch.no_grad():
        for model in models:
            model.get_output_embeddings().weight.mul_(6)  # the input's too
    return LoadedModel(models[0], small.tokenizer), LoadedModel(models[1], small.tokenizer)


def decode_short(
    model: LoadedModel, mixture: Mixture | None = None, **options: Any
) -> list[Decoded]:
    sampling = Sampling(temperature=options.pop("temperature", 1.0), max_tokens=8)
    return decode_batch(*model, SHORT, range(20, 26), sampling, ENDS, mixture=mixture, **options)


def test_ids_hold_the_end_and_scores_are_not_rounded(
    pair: tuple[LoadedModel, LoadedModel],
) -> None:
    decoded = decode_short(pair[0])
    assert len({one.tokens for one in decoded}) > 3
    for prompt, one in zip(SHORT, decoded, strict=True):
        assert [id in ENDS for id in one.ids] == [False] * (one.tokens - 1) + [one.ended]
        text = one.ids[:-1] if one.ended else one.ids
        assert one.text == pair[0].tokenizer.decode(text)
        assert one.exact_logprobs == pytest.approx(
            score_tokens(pair[0], prompt, list(one.ids)), abs=1e-4
        )
        assert one.logprobs == tuple(round(p, 5) for p in one.exact_logprobs)
        assert one.logprobs != one.exact_logprobs
        assert (one.second_logprobs, one.mixture_logprobs) == ((), ())


def test_ids_past_the_vocabulary_are_neither_drawn_nor_counted(
    pair: tuple[LoadedModel, LoadedModel],
) -> None:
    mixture = Mixture(pair[1].model, 0.5)
    for prompt, one in zip(SHORT, decode_short(pair[0], mixture, vocabulary=300), strict=True):
        assert max(one.ids) < 300
        for loaded, scores in zip(pair, (one.exact_logprobs, one.second_logprobs), strict=True):
            with torch.inference_mode():
                logits_V = loaded.model(input_ids=torch.tensor([prompt])).logits[0, -1, :300]
            expected = logits_V.log_softmax(dim=-1)[one.ids[0]].item()
            assert scores[0] == pytest.approx(expected, abs=1e-4)


def test_all_three_scores_of_a_mixture_are_those_of_plain_passes(
    pair: tuple[LoadedModel, LoadedModel],
) -> None:
    """Both caches are compacted meanwhile."""
    own, second = pair
    decoded = decode_short(own, Mixture(second.model, 0.4), vocabulary=49_152)
    assert len({one.tokens for one in decoded}) > 3
    for prompt, one in zip(SHORT, decoded, strict=True):
        ids_1T = torch.tensor([[*prompt, *one.ids]])
        with torch.inference_mode():
            logits = [each.model(input_ids=ids_1T).logits[0, :, :49_152] for each in pair]
        own_TV, second_TV = (each[len(prompt) - 1 : -1].log_softmax(dim=-1) for each in logits)
        mixed_TV = (0.4 * second_TV.exp() + 0.6 * own_TV.exp()).log()
        found = (one.exact_logprobs, one.second_logprobs, one.mixture_logprobs)
        for scores, plain_TV in zip(found, (own_TV, second_TV, mixed_TV), strict=True):
            expected = [plain_TV[t, id].item() for t, id in enumerate(one.ids)]
            assert scores == pytest.approx(expected, abs=1e-4)


def test_at_its_ends_a_mixture_is_one_of_its_models(
    pair: tuple[LoadedModel, LoadedModel],
) -> None:
    own, second = pair
    none = decode_short(own, Mixture(second.model, 0.0))
    assert [one.ids for one in none] == [one.ids for one in decode_short(own)]
    assert none[0].mixture_logprobs == none[0].exact_logprobs
    whole = decode_short(own, Mixture(second.model, 1.0), vocabulary=49_152)
    alone = decode_short(second, vocabulary=49_152)
    assert [one.ids for one in whole] == [one.ids for one in alone]
    assert whole[0].mixture_logprobs == whole[0].second_logprobs == alone[0].exact_logprobs
    assert [one.ids for one in whole] != [one.ids for one in none]


def test_mixed_tokens_are_drawn_as_often_as_they_are_likely() -> None:
    rows = [decoding._Row(i, random.Random(i).randrange(2**63)) for i in range(DRAWS)]
    own_BV = torch.tensor(PROBS).log().expand(DRAWS, -1)
    second_BV = torch.tensor([0.5, 0, 0, 0.5, 0, 0, 0.0]).log().expand(DRAWS, -1) + 1.0
    tokens_B = decoding._sample_mixed(own_BV, second_BV, 0.2, rows, Sampling(temperature=1.0))
    counts = Counter(tokens_B.tolist())
    expected = {0: 0.1, 1: 0.32, 2: 0.08, 3: 0.34, 4: 0.16}
    assert set(counts) == set(expected)
    for token, share in expected.items():
        assert counts[token] / DRAWS == pytest.approx(share, abs=0.02)
    scores = [row.mixture_logprobs[0] for row in rows]
    assert scores == pytest.approx([math.log(expected[t]) for t in tokens_B.tolist()])


@pytest.mark.parametrize("weight", [-0.1, 1.1])
def test_a_weight_that_is_no_share_is_refused(
    weight: float, pair: tuple[LoadedModel, LoadedModel]
) -> None:
    with pytest.raises(ValueError) as caught:
        decode_short(pair[0], Mixture(pair[1].model, weight))
    assert str(caught.value) == (f"mixture weight {weight}: must be from 0 (the model alone) to 1")
