"""A word is out of place where its neighbours stand together more often than it beside them."""

import itertools

import numpy as np
import pytest

from filters.text_ngrams import hash_words
from filters.word_places import Neighbours, Standing, mark_out_of_place

HOME, UNKNOWN, DOUBTFUL, OUT = Standing


def learn(*texts: str) -> Neighbours:
    neighbours = Neighbours(len(texts))
    for text in texts:
        neighbours.add(text.split())
    return neighbours


def judge(neighbours: Neighbours, text: str, *, is_counted: bool = False) -> list[int]:
    return neighbours.judge(text.split(), is_counted=is_counted).tolist()


OTHERS = ("an answer", "one answer here", "no answer was given")
"""So that `answer` has no habit."""


def test_a_word_between_two_that_stand_together_elsewhere_is_out_of_place() -> None:
    neighbours = learn("the sum is low", "the sum is high", *OTHERS)
    assert judge(neighbours, "the sum answer is low") == [HOME, HOME, OUT, UNKNOWN, HOME]


@pytest.mark.parametrize(
    ("texts", "standing"),
    [
        pytest.param(["sum is", "sum is", "answer is"], OUT, id="beside one, less often"),
        pytest.param(["sum is", "answer is"], DOUBTFUL, id="beside one, as often"),
        pytest.param(["sum is", "answer is", "sum answer"], HOME, id="beside both, as often"),
        pytest.param(["sum is"] * 2 + ["answer is", "sum answer"], OUT, id="both, less often"),
        pytest.param(["answer is"], UNKNOWN, id="beside one, and those never together"),
        pytest.param(["answer is", "sum answer"], HOME, id="beside both, and those never together"),
        pytest.param([], UNKNOWN, id="never seen so"),
    ],
)
def test_how_a_word_stands_goes_by_its_neighbours(texts: list[str], standing: Standing) -> None:
    assert judge(learn(*texts, *OTHERS), "sum answer is")[1] == standing


def test_a_habit_is_no_word_out_of_place() -> None:
    """One source says `thus` before a number; all others say the number at once."""
    plain, wordy = ["it is 4"] * 9, ["it is thus 4"] * 3
    assert judge(learn(*plain, *wordy), "it is thus 5")[2] == HOME
    assert judge(learn(*plain, *wordy, "go thus"), "it is thus 5")[2] == OUT


def test_as_neighbours_all_numbers_are_one_word() -> None:
    neighbours = learn("costs 12 coins", "costs 7.5 coins", *OTHERS)
    assert judge(neighbours, "costs answer 900 coins")[1] == OUT
    assert judge(neighbours, "costs 33 coins") == [HOME, HOME, HOME]


def test_a_text_that_was_counted_says_nothing_of_itself() -> None:
    texts = ("sum answer is", "sum is", *OTHERS)
    assert judge(learn(*texts), "sum answer is", is_counted=True)[1] == OUT
    assert judge(learn(*texts), "sum answer is", is_counted=False)[1] == HOME
    both = ("sum answer is sum is", *OTHERS)
    assert judge(learn(*both), "sum answer is sum is", is_counted=True)[1] == UNKNOWN


def test_a_pair_counts_once_a_document() -> None:
    neighbours = learn("sum is sum is sum is", "sum answer", "answer is", *OTHERS)
    assert judge(neighbours, "sum answer is")[1] == HOME


def test_the_edges_of_a_text_are_neighbours() -> None:
    neighbours = learn("it is low", "it is low", "it is low", "one answer here", "an answer to it")
    assert judge(neighbours, "answer it is low answer") == [OUT, UNKNOWN, HOME, HOME, OUT]


@pytest.mark.parametrize("is_counted", [True, False])
def test_a_text_without_words_has_no_places(is_counted: bool) -> None:
    assert judge(learn("", "a"), "", is_counted=is_counted) == []


def test_counts_of_many_documents_are_those_of_a_table() -> None:
    """Against the rule written out with sets, on texts in which everything happens."""
    draw = np.random.default_rng(4)
    texts = [
        [f"w{i}" for i in draw.integers(0, span, draw.integers(1, 9))] for span in (12, 60) * 150
    ]
    neighbours = learn(*(" ".join(text) for text in texts))
    padded = [["", *text, ""] for text in texts]
    pairs = [set(itertools.pairwise(p)) for p in padded]

    def count(thing: object, per_text: list, but: int) -> int:
        return sum(thing in own for i, own in enumerate(per_text) if i != but)

    seen = set()
    for i, text in enumerate(texts[:60]):
        standings = neighbours.judge(text, is_counted=True)
        for j, word in enumerate(text):
            left, right = padded[i][j], padded[i][j + 2]
            together = count((left, right), pairs, i)
            beside = count((left, word), pairs, i), count((word, right), pairs, i)
            if max(beside) and max(beside) >= 0.9 * count(word, texts, i):
                expected = HOME
            elif together > max(beside):
                expected = OUT
            elif together > min(beside):
                expected = DOUBTFUL
            else:
                expected = HOME if min(beside) else UNKNOWN
            assert standings[j] == expected
            seen.add(expected)
    assert seen == {HOME, UNKNOWN, DOUBTFUL, OUT}


def test_a_word_out_of_place_has_another_number_than_the_word() -> None:
    words = hash_words(["a", "b"])
    assert len(np.unique(np.concatenate([words, mark_out_of_place(words)]))) == 4
