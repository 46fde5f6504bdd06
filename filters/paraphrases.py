"""Find texts that say the same in other words, by the cosine of their embeddings.

An embedding cannot tell "12 + 7" from "12 + 8", nor a question from its opposite. So two texts are
held against one another only where their numbers and arithmetic signs are the same, and so is what
is known to be the right answer to them; and what is found is for a person to look at, not to be
dropped.

Texts are taken in order, and each is kept unless it is near one that is kept, as in
`filters.dedup`: no two kept ones are near, and each that falls is near the one it names. Cosines
are taken of a block of texts at a time, so that memory holds the vectors and a few megabytes.
"""

from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from filters.answer_statements import canonical_text
from filters.dedup import Duplicate
from filters.math_check import read_gold
from filters.plain_numbers import parse_number
from filters.votes import find_elected
from generators.records import Check, Record, canonical_json
from generators.wording import normalise, pick_numbers, split_words

VERSION = "1"
PLACES = 5
"""Cosines are rounded to so many places: how many threads summed them decides nothing."""
BLOCK, CHUNK = 256, 4096
"""Texts that are looked at together, and kept ones that they are held against at a time."""
Vectors = NDArray[np.float32]
Embed = Callable[[Sequence[str]], Vectors]
"""Gives the vectors of texts, at length 1."""
Owners = NDArray[np.int64]


class SemanticSettings(Record):
    """Texts that say the same in other words are quarantined."""

    model: str = Field(min_length=1)
    """What embeds the texts: a sentence encoder's folder or Hugging Face id, `all-minilm-l6-v2`
    where its package is installed, or the bundled model."""
    threshold: float = Field(default=0.92, gt=0, le=1)
    """The cosine from which on two texts say the same. Every model has its own scale."""


class Paraphrase(NamedTuple):
    """What a text says again."""

    of: int
    """The kept text's place."""
    similarity: float
    """The cosine of the two."""


def name_numbers(text: str) -> Hashable:
    """The numbers and arithmetic signs of a text, to be compared with another's."""
    return tuple(sorted(pick_numbers(split_words(text))))


def name_answer(check: Check | None, completions: Iterable[str] = ()) -> Hashable:
    """What is known to answer a prompt, to be compared with another prompt's: the reference of its
    check; where it has none, the check itself; where there is no check, the accepted
    `completions`. Numbers are the same in whatever form (`1/2`, `0.5`). None where nothing is
    known.
    """
    if check is None:
        return frozenset(map(normalise, completions))
    match check.kind:
        case "math" | "exact":
            return _name_value(check.answer)
        case "choice":
            return _name_value(check.options.get(check.answer, check.answer))
        case "procedural":
            return _name_value(str(check.entry.get("answer")))
        case "consensus":
            elected = find_elected(check.votes, check.n, check.threshold)
            return None if elected is None else _name_value(elected)
        case "code":
            return canonical_json(check.cases)
        case _:
            return canonical_json(check)


def _name_value(answer: str) -> Hashable:
    number = parse_number(read_gold(answer))
    return number.value if number is not None else canonical_text(read_gold(answer)).casefold()


def find_semantic_duplicates(
    texts: Mapping[str, str],
    names: Mapping[str, Hashable],
    embed: Embed,
    threshold: float,
    *,
    known: Mapping[str, str] | None = None,
    owners: Mapping[str, str] | None = None,
) -> dict[str, Duplicate]:
    """The texts that say what another one of the same name says, by id; those not named are kept.

    `names` has one for each text, and for each of the `known` ones, which were kept before and
    never fall; None is the same as nothing. Texts of one owner may say the same. Only texts that
    share their name are embedded.
    """
    entries = [*sorted((known or {}).items()), *sorted(texts.items())]
    counts = Counter(names[id] for id, _ in entries if names[id] is not None)
    shared = [(id, text) for id, text in entries if counts[names[id]] > 1]
    if not shared:
        return {}
    unit_ND = embed([text for _, text in shared])
    numbers: dict[str, int] = {}
    owners_N = [numbers.setdefault((owners or {}).get(id, id), len(numbers)) for id, _ in shared]
    found = find_paraphrases(
        unit_ND,
        [names[id] for id, _ in shared],
        threshold,
        known=sum(id in (known or {}) for id, _ in shared),
        owners_N=np.array(owners_N),
    )
    return {
        shared[place][0]: Duplicate(shared[again.of][0], "semantic", again.similarity)
        for place, again in found.items()
    }


def find_paraphrases(
    unit_ND: Vectors,
    names: Sequence[Hashable],
    threshold: float,
    *,
    known: int = 0,
    owners_N: Owners | None = None,
) -> dict[int, Paraphrase]:
    """The texts that say what an earlier one of the same name says, by place, each with the most
    similar that is kept; the first `known` are kept in any case.

    `unit_ND` holds vectors of length 1, or 0 for a text that is like nothing. Texts with the same
    number in `owners_N` are not held against one another.
    """
    groups: dict[Hashable, list[int]] = {}
    for place, name in enumerate(names):
        groups.setdefault(name, []).append(place)
    owners_N = np.arange(len(unit_ND)) if owners_N is None else owners_N
    found: dict[int, Paraphrase] = {}
    for places in groups.values():
        if len(places) > 1:
            found |= _find_in_group(unit_ND, owners_N, places, threshold, known)
    return dict(sorted(found.items()))


def _find_in_group(
    unit_ND: Vectors, owners_N: Owners, places: Sequence[int], threshold: float, known: int
) -> dict[int, Paraphrase]:
    kept: list[int] = []
    found: dict[int, Paraphrase] = {}
    for start in range(0, len(places), BLOCK):
        block = np.array(places[start : start + BLOCK])
        nearest = _find_nearest(unit_ND, owners_N, block, kept)
        own_BB = _take_cosines(unit_ND, owners_N, block, block)
        new: list[int] = []
        for row, place in enumerate(block.tolist()):
            best = nearest[row]
            if new and own_BB[row, new].max() > best.similarity:
                similar = int(own_BB[row, new].argmax())
                best = Paraphrase(int(block[new[similar]]), float(own_BB[row, new[similar]]))
            if place >= known and best.similarity >= threshold:
                found[place] = best
            else:
                new.append(row)
        kept += block[new].tolist()
    return found


def _find_nearest(
    unit_ND: Vectors, owners_N: Owners, block: Owners, kept: Sequence[int]
) -> list[Paraphrase]:
    """Of the `kept` places the one most similar to each of a block, the first of several;
    (-1, -1.0) where there is none."""
    best_B, of_B = np.full(len(block), -1.0), np.full(len(block), -1)
    for start in range(0, len(kept), CHUNK):
        chunk = np.array(kept[start : start + CHUNK])
        cosines_BC = _take_cosines(unit_ND, owners_N, block, chunk)
        nearest_B = cosines_BC.argmax(axis=1)
        cosine_B = cosines_BC.max(axis=1)
        is_nearer = cosine_B > best_B
        best_B[is_nearer], of_B[is_nearer] = cosine_B[is_nearer], chunk[nearest_B[is_nearer]]
    return [Paraphrase(*pair) for pair in zip(of_B.tolist(), best_B.tolist(), strict=True)]


def _take_cosines(
    unit_ND: Vectors, owners_N: Owners, rows_B: Owners, others_C: Owners
) -> NDArray[np.float64]:
    """The cosines [B, C] of places; -1 for two of one owner."""
    cosines_BC = np.round((unit_ND[rows_B] @ unit_ND[others_C].T).astype(np.float64), PLACES)
    cosines_BC[owners_N[rows_B][:, None] == owners_N[others_C][None]] = -1.0
    return cosines_BC
