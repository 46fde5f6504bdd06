"""Rows that lie apart from one another: what is too near a kept one falls, or so many are chosen
that none is far from a chosen one.

The first is the filter for redundancy of Liu et al., "What Makes Good Data for Alignment?" (2024):
rows are taken in order, and one is kept if it lies far enough from all that were kept before. The
second is greedy k-centre (Gonzalez 1985; for data selection Sener and Savarese 2018): the row that
lies farthest from its nearest chosen one is chosen next, which covers the set within twice the
smallest radius that so many rows can have.

Distances are 1 - cosine, from 0 to 2. A model's mean hidden states all lean the same way, so the
set's mean is taken away first (Mu and Viswanath 2018); a distance therefore means something within
its set alone.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float64]
PLACES = 6
"""Distances are rounded to so many places: how many threads summed them decides nothing."""


class Near(NamedTuple):
    """A row that is kept, and how far from it another lies."""

    of: int
    distance: float


def centre(vectors_ND: Vectors) -> Vectors:
    """The vectors without their mean, at length 1; what equals the mean stays 0."""
    centred_ND = vectors_ND - vectors_ND.mean(axis=0)
    lengths_N = np.linalg.norm(centred_ND, axis=1, keepdims=True)
    return np.divide(centred_ND, lengths_N, out=np.zeros_like(centred_ND), where=lengths_N > 1e-12)


def find_near(unit_ND: Vectors, order: Sequence[int], min_distance: float) -> dict[int, Near]:
    """The rows that lie nearer than `min_distance` to one that comes before them in `order` and is
    kept, each with the nearest such row.

    `unit_ND` holds centred rows of length 1. Takes time as rows times kept rows.
    """
    kept_KD = np.empty_like(unit_ND)
    kept: list[int] = []
    near: dict[int, Near] = {}
    for row in order:
        if kept:
            distances_K = _distances(kept_KD[: len(kept)], unit_ND[row])
            nearest = int(distances_K.argmin())
            if distances_K[nearest] < min_distance:
                near[row] = Near(kept[nearest], float(distances_K[nearest]))
                continue
        kept_KD[len(kept)] = unit_ND[row]
        kept.append(row)
    return near


def choose_centres(unit_ND: Vectors, count: int) -> tuple[list[int], Vectors]:
    """`count` rows, in the order in which they are chosen, and the distance [N] of every row from
    the nearest of them.

    The first is the row nearest to all others, for it has the largest sum of cosines; of rows
    equally far the first. Takes time as rows times `count`.
    """
    rows = len(unit_ND)
    if count <= 0 or rows == 0:
        return [], np.full(rows, 2.0)
    chosen = [int(np.round(unit_ND @ unit_ND.sum(axis=0), PLACES).argmax())]
    nearest_N = _distances(unit_ND, unit_ND[chosen[0]])
    while len(chosen) < min(count, rows):
        open_N = nearest_N.copy()
        open_N[chosen] = -1.0
        chosen.append(int(open_N.argmax()))
        nearest_N = np.minimum(nearest_N, _distances(unit_ND, unit_ND[chosen[-1]]))
    nearest_N[chosen] = 0.0
    return chosen, nearest_N


def _distances(rows_KD: Vectors, row_D: Vectors) -> Vectors:
    return np.round(1.0 - rows_KD @ row_D, PLACES)
