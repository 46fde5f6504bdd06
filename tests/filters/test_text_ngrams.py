"""Texts of any script fall into words, and an n-gram has one number wherever it stands."""

import numpy as np
import pytest

from filters.ngram_counts import ExactCounts, Sketch
from filters.text_ngrams import hash_ngrams, hash_presence, hash_text, split_terms


@pytest.mark.parametrize(
    ("text", "words"),
    [
        pytest.param("The Cat's 3.5 well-known hats!", "the cat's 3.5 well-known hats", id="plain"),
        pytest.param("buy\u200bnow \uff4eow", "buynow now", id="invisible and wide"),
        pytest.param("a §§ b 🚀🚀, c", "a §§ b 🚀🚀 c", id="symbols"),
        pytest.param("欢迎访问。", "欢 迎 访 问 。", id="Han"),
        pytest.param("नमस्ते दुनिया", "नमस्ते दुनिया", id="Hindi"),
        pytest.param("مَرحَبًا بكم", "مَرحَبًا بكم", id="Arabic with vowels"),
        pytest.param("см. здесь", "см здесь", id="Cyrillic"),
        pytest.param("", "", id="nothing"),
        pytest.param(" ., !\n", "", id="punctuation"),
    ],
)
def test_words_of_many_scripts(text: str, words: str) -> None:
    assert split_terms(text) == words.split()


def test_an_n_gram_has_one_hash_wherever_it_stands() -> None:
    first = hash_ngrams(["a", "b", "c", "d"], 3)
    second = hash_ngrams(["x", "a", "b", "c"], 3)
    assert [len(g) for g in first] == [4, 3, 2]
    assert first[2][0] == second[2][1]
    assert first[1][0] == second[1][1]
    assert len(np.unique(np.concatenate(first))) == 9


def test_order_and_length_make_another_n_gram() -> None:
    both = np.concatenate([*hash_ngrams(["a", "b"], 5), *hash_ngrams(["b", "a"], 5)])
    assert len(np.unique(both)) == 4


def test_presence_counts_a_repeated_n_gram_once() -> None:
    assert len(hash_presence(["ha"] * 3, 2)) == 2
    assert hash_presence([], 5).tolist() == []


def test_a_lone_surrogate_can_be_hashed() -> None:
    assert hash_text("\ud800") != hash_text("\ud801")
    assert hash_text("a", "b") != hash_text("ab")


def test_exact_counts_are_those_of_unique() -> None:
    draw = np.random.default_rng(3)
    counts, seen = ExactCounts(), []
    for _ in range(40):
        hashes = draw.integers(0, 500, 80).astype(np.uint64)
        seen.append(hashes)
        counts.add(hashes)
        if draw.random() < 0.3:
            counts.settle()
    counts.settle()
    values, expected = np.unique(np.concatenate(seen), return_counts=True)
    assert counts.hashes.tolist() == values.tolist()
    assert counts.look_up(values).tolist() == expected.tolist()
    assert counts.look_up(np.array([501], np.uint64)).tolist() == [0]
    assert ExactCounts().look_up(np.array([1], np.uint64)).tolist() == [0]


def test_a_sketch_never_counts_too_few() -> None:
    draw = np.random.default_rng(4)
    hashes = draw.integers(0, 1 << 63, 200_000).astype(np.uint64)
    frequent = hashes[:50]
    sketch = Sketch(documents=10)
    sketch.add(hashes)
    for _ in range(30):
        sketch.add(frequent)
    estimates = sketch.estimate(hashes)
    assert (estimates[:50] >= 31).all()
    assert estimates.min() >= 1
    assert np.mean(estimates[50:]) < 10
