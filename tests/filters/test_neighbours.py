"""An item in other words: near by cosine, and with all its numbers there."""

import itertools
from collections.abc import Sequence

import numpy as np
import pytest

from filters import neighbours
from filters.neighbours import Neighbour, Neighbourhood

ITEMS = ["12 apples and 7 pears", "a quiet harbour", "a still harbour", "12 and 12"]
ANGLES = {
    **dict(zip(ITEMS, (0, 90, 80, 0), strict=True)),
    "7 pears, 12 apples, 3 sentences": 10,
    "8 pears, 12 apples": 0,
    "12 apples": 0,
    "the calm port": 84,
    "3 calm ports": 84,
    "far away": 180,
}


def embed(texts: Sequence[str]) -> np.ndarray:
    angles = np.radians([ANGLES[text] for text in texts])
    return np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        pytest.param("7 pears, 12 apples, 3 sentences", {0: 10}, id="more-is-demanded"),
        pytest.param("8 pears, 12 apples", {}, id="another-number"),
        pytest.param("12 apples", {}, id="a-number-is-missing"),
        pytest.param("the calm port", {2: 4, 1: 6}, id="nearest-first"),
        pytest.param("3 calm ports", {2: 4, 1: 6}, id="items-without-numbers"),
        pytest.param("far away", {}, id="far"),
    ],
)
def test_what_is_found(text: str, found: dict[int, float]) -> None:
    near = Neighbourhood(ITEMS, embed, 0.98)
    expected = [Neighbour(i, round(float(np.cos(np.radians(d))), 5)) for i, d in found.items()]
    assert near.find([text]) == [expected]


def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [*ANGLES, *ANGLES]
    expected = Neighbourhood(ITEMS, embed, 0.98).find(texts)
    assert sum(map(len, expected)) > 10
    for block, chunk in itertools.product((1, 3), (1, 3)):
        monkeypatch.setattr(neighbours, "BLOCK", block)
        monkeypatch.setattr(neighbours, "CHUNK", chunk)
        assert Neighbourhood(ITEMS, embed, 0.98).find(texts) == expected


def test_no_benchmark_gives_nothing_away() -> None:
    empty = Neighbourhood([], lambda texts: np.zeros((len(texts), 2), np.float32), 0.9)
    assert empty.find(["a", "b"]) == [[], []]
