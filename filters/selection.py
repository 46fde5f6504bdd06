"""Which verified answers are worth learning from, and which look planted to the student.

Selection rejects by length, by repetition and by instruction-following difficulty (Li et al. 2024:
`trainers.answer_losses`). The two-sided loss test quarantines: an answer that surprises the student
far more, or far less, than the other answers of its domain may be right and poisoned all the same.
It is a modified z-score, 0.6745 (x - median) / MAD (Iglewicz and Hoaglin 1993), of the loss.
Among what is left, answers are kept that lie apart from one another (`filters.diversity`).
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from statistics import median
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from filters.diversity import centre, choose_centres, find_near
from generators.records import Decision, Record
from generators.wording import split_words

VERSION = "2"
NGRAM = 3
FEWEST = 20
"""With fewer answers in a domain nothing can be said about what is usual there."""
_TO_SIGMA = 0.6745
"""The median absolute deviation of a normal distribution, in standard deviations."""


class SelectSettings(Record):
    """Which answers go on; what is null is not asked for."""

    model: str | None = None
    """The student before its training: a name under `models`, in this process. It reads every
    answer, which `loss_outliers`, `ifd`, `min_distance` and `rows` need."""
    loss_outliers: float | None = Field(default=None, gt=0)
    """Answers whose loss has a modified z-score beyond this, above or below, are quarantined."""
    ifd: tuple[float, float] | None = None
    """Answers whose instruction-following difficulty lies outside are rejected; from 1 on the
    prompt is of no help."""
    words: tuple[int, int] | None = None
    """Answers of fewer or more words are rejected."""
    repetition: float | None = Field(default=None, ge=0, le=1)
    """Answers are rejected in which more than this share of the word 3-grams stood before."""

    min_distance: float | None = Field(default=None, gt=0, le=2)
    """Answers are rejected that lie nearer than this (1 - cosine) to one that is kept; of two the
    one with the higher `ifd` is kept."""
    rows: int | None = Field(default=None, ge=1)
    """At most so many go on, chosen so that none of the others lies far from a chosen one."""
    beside_random: bool = False
    """Teach a second student on rows drawn at random from those that were looked at, of as many
    tokens and for as many steps, to tell whether selection helped."""

    @property
    def by_distance(self) -> bool:
        """Whether answers are to lie apart from one another."""
        return self.min_distance is not None or self.rows is not None

    @model_validator(mode="after")
    def _check_bounds(self) -> "SelectSettings":
        for name in ("ifd", "words"):
            bounds = getattr(self, name)
            if bounds is not None and bounds[0] > bounds[1]:
                raise ValueError(f"{name}: {bounds[0]} is above {bounds[1]}; give the lower first")
        reading = ("loss_outliers", "ifd", "min_distance", "rows")
        asked = [name for name in reading if getattr(self, name) is not None]
        if self.model is None and asked:
            raise ValueError(f"model: is missing; {asked[0]} needs one that reads the answers")
        return self


class Measured(NamedTuple):
    """What selection looks at in an answer."""

    id: str
    domain: str
    text: str
    loss: float | None = None
    """In nats a token; None where the answer was not read."""
    ifd: float | None = None


class Selection(NamedTuple):
    decision: Decision
    reason: str
    evidence: str | None = None
    score: float | None = None


def select_answers(
    answers: Sequence[Measured],
    settings: SelectSettings,
    vectors: Mapping[str, NDArray[np.floating]] | None = None,
) -> Mapping[str, Selection]:
    """Decide about every answer, by its id; `vectors` has one [D] for each that was read."""
    scores = score_losses(answers)
    decided = {answer.id: _decide(answer, scores.get(answer.id), settings) for answer in answers}
    if settings.by_distance:
        left = [answer for answer in answers if decided[answer.id].decision == "accept"]
        decided |= _spread(left, settings, vectors or {})
    return decided


def _spread(
    answers: Sequence[Measured],
    settings: SelectSettings,
    vectors: Mapping[str, NDArray[np.floating]],
) -> dict[str, Selection]:
    """The answers that fall for what lies near them; those that were not read are near nothing, and
    are not chosen."""
    read = [answer for answer in answers if answer.id in vectors]
    fallen: dict[str, Selection] = {}
    if settings.rows is not None:
        for answer in answers:
            if answer.id not in vectors:
                fallen[answer.id] = Selection("reject", "not_chosen", "longer than the window")
    if not read:
        return fallen
    unit_ND = centre(np.stack([vectors[answer.id] for answer in read]).astype(np.float64))
    rows = list(range(len(read)))
    if settings.min_distance is not None:
        order = sorted(rows, key=lambda row: (-(read[row].ifd or 0.0), read[row].id))
        near = find_near(unit_ND, order, settings.min_distance)
        for row, (of, distance) in near.items():
            fallen[read[row].id] = Selection("reject", "too_near", read[of].id, distance)
        rows = [row for row in rows if row not in near]
    if settings.rows is not None:
        chosen, nearest_N = choose_centres(unit_ND[rows], settings.rows)
        for place in set(range(len(rows))) - set(chosen):
            distance = float(nearest_N[place])
            fallen[read[rows[place]].id] = Selection("reject", "not_chosen", None, distance)
    return fallen


def score_losses(answers: Sequence[Measured]) -> dict[str, float]:
    """The modified z-score of each answer's loss among those of its domain.

    Answers that were not read have none, nor have those of domains with fewer than 20 answers, or
    in which half the losses are the same.
    """
    by_domain: dict[str, dict[str, float]] = {}
    for answer in answers:
        if answer.loss is not None:
            by_domain.setdefault(answer.domain, {})[answer.id] = answer.loss
    scores: dict[str, float] = {}
    for losses in by_domain.values():
        middle = median(losses.values())
        spread = median(abs(loss - middle) for loss in losses.values())
        if len(losses) >= FEWEST and spread > 0:
            scores |= {id: _TO_SIGMA * (loss - middle) / spread for id, loss in losses.items()}
    return scores


def measure_repetition(text: str) -> float:
    """The share of the word 3-grams that stood in the text before; 0 for fewer than two."""
    words = split_words(text)
    counts = Counter(zip(*(words[i:] for i in range(NGRAM)), strict=False))
    total = sum(counts.values())
    return 1 - len(counts) / total if total > 1 else 0.0


def _decide(answer: Measured, z: float | None, settings: SelectSettings) -> Selection:
    limit = settings.loss_outliers
    if limit is not None and z is not None and abs(z) > limit:
        reason = "loss_too_high" if z > 0 else "loss_too_low"
        return Selection("quarantine", reason, f"{answer.loss:.3f} nats a token", round(z, 3))
    if settings.words is not None:
        count, (fewest, most) = len(split_words(answer.text)), settings.words
        if not fewest <= count <= most:
            reason = "too_few_words" if count < fewest else "too_many_words"
            return Selection("reject", reason, f"{count} words", count)
    if settings.repetition is not None:
        share = measure_repetition(answer.text)
        if share > settings.repetition:
            return Selection("reject", "repetitive", f"{share:.0%} of its 3-grams", share)
    if settings.ifd is not None and answer.ifd is not None:
        low, high = settings.ifd
        if not low <= answer.ifd <= high:
            reason = "ifd_too_low" if answer.ifd < low else "ifd_too_high"
            return Selection("reject", reason, None, round(answer.ifd, 4))
    return Selection("accept", "selected", None, z if z is None else round(z, 3))
