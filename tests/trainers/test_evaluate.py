import itertools
import math
import random
from pathlib import Path
from typing import Any

import pytest
import torch

from generators.clients import Response
from generators.embedded import load_model
from generators.records import Check, ExactCheck, Message, Prompt, Usage, Verdict
from trainers.evaluate import (
    bootstrap_interval,
    evaluate_pass,
    pass_at_k,
    perplexity_and_kl,
    wilson_interval,
)

TEXTS = [
    "The miller's daughter counted the sacks twice and found that one was missing.",
    "Rain fell on the tin roof all night, and by morning the path had become a brook.",
]


def make_prompt(answer: str, *, checked: bool = True) -> Prompt:
    return Prompt.seed(
        [Message(role="user", content=f"Say {answer}.")],
        check=ExactCheck(answer=answer) if checked else None,
        domain="general",
        licence="CC0-1.0",
        source="test",
        author="test",
    )


def answer(text: str, *, cut: bool = False) -> Response:
    reason = "length" if cut else "stop"
    return Response(text=text, finish_reason=reason, usage=Usage(completion_tokens=len(text)))


def verify(check: Check, completion: str) -> Verdict:
    assert isinstance(check, ExactCheck)
    right = completion == check.answer
    return Verdict(
        subject_id="",
        stage="verify",
        detector="exact",
        version="1",
        decision="accept" if right else "reject",
        reason="match" if right else "differs",
    )


@pytest.mark.parametrize(("n", "c"), [(n, c) for n in range(1, 7) for c in range(n + 1)])
def test_pass_at_k_is_the_share_of_subsets_with_a_correct_sample(n: int, c: int) -> None:
    samples = [True] * c + [False] * (n - c)
    for k in range(1, n + 1):
        subsets = list(itertools.combinations(samples, k))
        share = sum(any(subset) for subset in subsets) / len(subsets)
        assert pass_at_k(n, c, k) == pytest.approx(share, abs=1e-12)


@pytest.mark.parametrize(("n", "c", "k"), [(4, 5, 1), (4, -1, 1), (4, 2, 0), (4, 2, 5), (0, 0, 1)])
def test_pass_at_k_refuses_impossible_numbers(n: int, c: int, k: int) -> None:
    with pytest.raises(ValueError) as caught:
        pass_at_k(n, c, k)
    assert str(caught.value) == (
        f"pass@k of n={n}, c={c}, k={k}: needs 0 <= c <= n and 1 <= k <= n"
    )


@pytest.mark.parametrize(
    ("successes", "n", "low", "high"),
    [
        (5, 10, 0.2366, 0.7634),
        (0, 10, 0.0, 0.2775),
        (10, 10, 0.7225, 1.0),
        (81, 263, 0.2553, 0.3662),
    ],
)
def test_wilson_interval_has_its_published_values(
    successes: int, n: int, low: float, high: float
) -> None:
    interval = wilson_interval(successes, n)
    assert interval.value == successes / n
    assert (interval.low, interval.high) == pytest.approx((low, high), abs=1e-4)


def test_wilson_interval_refuses_impossible_numbers() -> None:
    with pytest.raises(ValueError) as caught:
        wilson_interval(3, 2)
    assert str(caught.value) == "3 successes of 2: needs 0 <= successes <= n and n >= 1"
    with pytest.raises(ValueError) as caught:
        wilson_interval(1, 2, confidence=95)
    assert str(caught.value) == "confidence 95: must lie between 0 and 1, as 0.95 does"


def test_bootstrap_is_seeded_and_near_the_normal_interval() -> None:
    rng = random.Random(3)
    values = [rng.random() for _ in range(400)]
    interval = bootstrap_interval(values, seed=1)
    assert interval == bootstrap_interval(values, seed=1)
    assert interval != bootstrap_interval(values, seed=2)
    half_width = 1.96 * math.sqrt(1 / 12 / 400)
    assert interval.high - interval.low == pytest.approx(2 * half_width, rel=0.1)
    assert interval.low < interval.value < interval.high


def test_bootstrap_covers_the_truth_as_often_as_it_says() -> None:
    rng, hits = random.Random(0), 0
    for trial in range(200):
        values = [float(rng.random() < 0.3) for _ in range(60)]
        interval = bootstrap_interval(values, draws=200, seed=trial)
        hits += interval.low <= 0.3 <= interval.high
    assert 0.88 <= hits / 200 <= 1.0


def test_evaluate_pass_counts_samples_prompts_and_reasons() -> None:
    prompts = [make_prompt("a"), make_prompt("b"), make_prompt("c")]
    completions = [
        [answer("a"), answer("a"), answer("x", cut=True)],
        [answer("x"), answer("b"), answer("x")],
        [answer("x"), answer("x"), answer("long answer", cut=True)],
    ]
    score = evaluate_pass(prompts, completions, verify, ks=(1, 2, 3))
    assert (score.prompts, score.samples) == (3, 3)
    assert list(score.correct.values()) == [2, 1, 0]
    assert score.pass_at[1].value == pytest.approx((2 / 3 + 1 / 3 + 0) / 3)
    assert score.pass_at[2].value == pytest.approx((1 + 2 / 3 + 0) / 3)
    assert score.pass_at[3].value == pytest.approx(2 / 3)
    assert score.reasons == {"differs": 6}
    assert score.truncated == pytest.approx(2 / 9)
    assert score.mean_tokens == pytest.approx(19 / 9)
    assert type(score).model_validate_json(score.model_dump_json()) == score


def test_one_sample_a_prompt_has_wilsons_interval() -> None:
    prompts = [make_prompt(letter) for letter in "abcdefghij"]
    completions = [[answer(letter)] for letter in "abcde"] + [[answer("x")]] * 5
    assert evaluate_pass(prompts, completions, verify).pass_at[1] == wilson_interval(5, 10)


def test_evaluate_pass_refuses_what_cannot_be_scored() -> None:
    checked, bare = make_prompt("a"), make_prompt("b", checked=False)
    with pytest.raises(ValueError) as caught:
        evaluate_pass([bare], [[answer("b")]], verify)
    assert str(caught.value) == "prompt fbd384e2a6b3c444 has no check: it cannot be scored"
    with pytest.raises(ValueError) as caught:
        evaluate_pass([checked, checked], [[answer("a")], [answer("a")] * 2], verify)
    assert str(caught.value) == (
        "2 prompts and 2 rows of completions, with [1, 2] samples each: give every prompt the same "
        "number, at least one"
    )
    with pytest.raises(ValueError) as caught:
        evaluate_pass([checked], [[answer("a")]], verify, ks=(2,))
    assert str(caught.value) == "pass@k of n=1, c=1, k=2: needs 0 <= c <= n and 1 <= k <= n"


def test_a_model_has_no_divergence_from_itself(small_model_dir: Path) -> None:
    model, tokenizer = load_model(str(small_model_dir), "float32")
    score = perplexity_and_kl(model, tokenizer, TEXTS, teacher=model)
    assert score.kl == pytest.approx(0.0, abs=1e-6)
    assert score.agreement == 1.0
    assert score.tokens == sum(len(tokenizer(text)["input_ids"]) - 1 for text in TEXTS)
    assert 5 < score.perplexity < 200


def test_perplexity_is_exp_of_the_models_own_loss(
    tiny_model: Any, tokenizer: Any, small_model_dir: Path
) -> None:
    ids = torch.tensor([tokenizer(TEXTS[0])["input_ids"]])
    with torch.no_grad():
        expected = tiny_model(input_ids=ids, labels=ids).loss.exp().item()
    score = perplexity_and_kl(tiny_model, tokenizer, TEXTS[:1])
    assert score.perplexity == pytest.approx(expected, rel=1e-4)
    assert score.kl is None
    assert score.agreement is None
    teacher, _ = load_model(str(small_model_dir), "float32")
    other = perplexity_and_kl(tiny_model, tokenizer, TEXTS[:1], teacher=teacher)
    assert other.kl is not None
    assert other.kl > 1.0
    assert other.perplexity == score.perplexity


def test_long_texts_are_read_in_windows(tiny_model: Any, tokenizer: Any) -> None:
    length = len(tokenizer(TEXTS[0])["input_ids"])
    score = perplexity_and_kl(tiny_model, tokenizer, TEXTS[:1], max_length=5)
    windows = math.ceil(length / 5)
    assert score.tokens == length - windows
    with pytest.raises(ValueError) as caught:
        perplexity_and_kl(tiny_model, tokenizer, ["a", ""])
    assert str(caught.value) == "no text to read: every text is shorter than two tokens"
