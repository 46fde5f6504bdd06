"""Texts that say the same in other words: found by cosine, where numbers and answers agree."""

import itertools
import math
import random
from collections.abc import Sequence

import numpy as np
import pytest

from filters import paraphrases
from filters.dedup import Duplicate
from filters.paraphrases import (
    Paraphrase,
    find_paraphrases,
    find_semantic_duplicates,
    name_answer,
    name_numbers,
)
from generators.records import (
    Check,
    ChoiceCheck,
    CodeCase,
    CodeCheck,
    ConsensusCheck,
    ConstraintCheck,
    ExactCheck,
    MathCheck,
    ProceduralCheck,
)


def around(*degrees: float) -> np.ndarray:
    """Points of the unit circle."""
    angles = np.radians(degrees)
    return np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)


def cosine(degrees: float) -> float:
    return round(math.cos(math.radians(degrees)), 5)


def test_a_text_falls_for_the_most_similar_that_is_kept() -> None:
    unit = around(0, 20, 40, 30)
    assert find_paraphrases(unit, ["x"] * 4, cosine(25)) == {
        1: Paraphrase(0, cosine(20)),
        3: Paraphrase(2, cosine(10)),
    }


def test_of_a_chain_the_middle_falls_and_the_end_stays() -> None:
    assert find_paraphrases(around(0, 10, 20), ["x"] * 3, cosine(15)) == {
        1: Paraphrase(0, cosine(10))
    }


def test_only_texts_of_one_name_are_compared() -> None:
    assert find_paraphrases(around(0, 0, 0, 1), ["x", "y", "z", "y"], 0.9) == {
        3: Paraphrase(1, cosine(1))
    }


def test_what_is_known_stays_and_what_is_nothing_is_near_nothing() -> None:
    unit = np.concatenate([around(0, 1, 2), np.zeros((2, 2), np.float32)])
    found = find_paraphrases(unit, ["x"] * 5, 0.1, known=2)
    assert found == {2: Paraphrase(1, cosine(1))}


def test_texts_of_one_owner_may_say_the_same() -> None:
    """The last one falls for the second, which a rule that lets one of each owner in would lose."""
    owners = np.array([7, 7, 8])
    found = find_paraphrases(around(0, 20, 40), ["x"] * 3, cosine(25), owners_N=owners)
    assert found == {2: Paraphrase(1, cosine(20))}


def find_one_by_one(unit: np.ndarray, threshold: float, known: int) -> dict[int, Paraphrase]:
    """The same by the definition."""
    kept: list[int] = []
    found = {}
    for place, row in enumerate(unit):
        cosines = [round(float(row @ unit[other]), 5) for other in kept]
        if place >= known and cosines and max(cosines) >= threshold:
            found[place] = Paraphrase(kept[cosines.index(max(cosines))], max(cosines))
        else:
            kept.append(place)
    return found


@pytest.mark.parametrize("known", [0, 9])
def test_blocks_change_nothing(known: int, monkeypatch: pytest.MonkeyPatch) -> None:
    draw = np.random.default_rng(5)
    unit = draw.normal(size=(120, 3)).astype(np.float32)
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    expected = find_one_by_one(unit, 0.95, known)
    assert len(expected) > 30
    for block, chunk in itertools.product((1, 7, 256), (1, 5, 4096)):
        monkeypatch.setattr(paraphrases, "BLOCK", block)
        monkeypatch.setattr(paraphrases, "CHUNK", chunk)
        found = find_paraphrases(unit, ["x"] * 120, 0.95, known=known)
        assert {k: v.of for k, v in found.items()} == {k: v.of for k, v in expected.items()}
        assert all(abs(found[k].similarity - v.similarity) < 2e-5 for k, v in expected.items())


ANGLES = {"a": 0, "b": 5, "c": 30, "d": 33}


def embed(texts: Sequence[str]) -> np.ndarray:
    return around(*(ANGLES[text] for text in texts))


def test_ids_and_not_their_order_decide() -> None:
    texts = {"3": "a", "1": "b", "2": "c", "4": "d"}
    names = dict.fromkeys(texts, "x")
    expected = {
        "3": Duplicate("1", "semantic", cosine(5)),
        "4": Duplicate("2", "semantic", cosine(3)),
    }
    for seed in range(5):
        order = random.Random(seed).sample(sorted(texts), 4)
        mixed = {id: texts[id] for id in order}
        assert find_semantic_duplicates(mixed, names, embed, 0.99) == expected


def test_known_texts_come_first_whatever_their_ids() -> None:
    found = find_semantic_duplicates(
        {"1": "b"}, {"1": "x", "9": "x"}, embed, 0.99, known={"9": "a"}
    )
    assert found == {"1": Duplicate("9", "semantic", cosine(5))}


def test_texts_that_share_no_name_are_not_even_embedded() -> None:
    def refuse(texts: Sequence[str]) -> np.ndarray:
        raise AssertionError(texts)

    names = {"1": "x", "2": "y", "3": None, "4": None}
    assert find_semantic_duplicates(dict.fromkeys(names, "a"), names, refuse, 0.9) == {}


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("Add 17 and 25.", "What do 25 and 17 make?", True),
        ("Add 17 and 25.", "Add 17 and 26.", False),
        ("17 + 25", "17 - 25", False),
        ("17 + 25", "17 and 25", False),
        ("1,000 birds", "1000 birds fly", True),
        ("no number", "none at all", True),
    ],
)
def test_numbers_and_signs_must_agree(one: str, other: str, same: bool) -> None:
    assert (name_numbers(one) == name_numbers(other)) is same


VOTES = {"votes": {"1/2": 3, "7": 1}, "n": 4}


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (MathCheck(answer="0.5"), ExactCheck(answer="1/2"), True),
        (MathCheck(answer="0.5"), MathCheck(answer="0.50001"), False),
        (MathCheck(answer=r"\frac{1}{2}"), ConsensusCheck(**VOTES, threshold=0.7), True),
        (ExactCheck(answer="Paris."), ExactCheck(answer="paris"), True),
        (ExactCheck(answer="Paris"), ExactCheck(answer="Rome"), False),
        (
            ChoiceCheck(answer="A", options={"A": "Paris", "B": "Rome"}),
            ChoiceCheck(answer="B", options={"A": "Rome", "B": "Paris"}),
            True,
        ),
        (
            ChoiceCheck(answer="A", options={"A": "Paris", "B": "Rome"}),
            ChoiceCheck(answer="A", options={"A": "Rome", "B": "Paris"}),
            False,
        ),
        (ProceduralCheck(task="t", entry={"answer": "12"}), MathCheck(answer="12"), True),
        (
            ConstraintCheck(constraints=({"id": "x", "n": 3},)),
            ConstraintCheck(constraints=({"n": 3, "id": "x"},)),
            True,
        ),
        (
            ConstraintCheck(constraints=({"id": "x", "n": 3},)),
            ConstraintCheck(constraints=({"id": "x", "n": 4},)),
            False,
        ),
        (
            CodeCheck(entry_point="f", cases=(CodeCase(args=(1,), expected=2),)),
            CodeCheck(entry_point="g", cases=(CodeCase(args=(1,), expected=2),)),
            True,
        ),
        (
            CodeCheck(entry_point="f", cases=(CodeCase(args=(1,), expected=2),)),
            CodeCheck(entry_point="f", cases=(CodeCase(args=(1,), expected=3),)),
            False,
        ),
    ],
)
def test_verified_answers_must_agree(one: Check, other: Check, same: bool) -> None:
    assert (name_answer(one) == name_answer(other)) is same


def test_without_a_reference_the_answers_themselves_are_compared() -> None:
    assert name_answer(None, ["Blue.", "Red"]) == name_answer(None, ["red", "blue"])
    assert name_answer(None, ["Blue."]) != name_answer(None, ["red"])
    undecided = ConsensusCheck(votes={"7": 2, "8": 2}, n=4, threshold=0.5)
    assert name_answer(undecided) is None
