"""What any test could find of a word that is planted in one source, and what stops the comparison.

The comparison of sources does not know which n-gram is planted, so it pays for testing all of them,
and it calls a suspect only what hardly any other source says. Here the word is known beforehand:
one exact test, on the same documents, at 0.001 and at the level that the comparison leaves to its
most significant n-gram (q, over the tests and their harmonic number). The share of plantings with
so small a p-value is the power of the best test of presence; beside it stand the two bounds on the
lift. Where the power is low, it is the data; where it is high, it is a bound.

For answers that are the same again and again: how many of them exact deduplication takes, by the
rule of a run's stage (20 words or more) and by `tutelage dedup` (any length).
"""

import random
import re
import statistics
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from filters.dedup import find_duplicates
from filters.presence_tests import Stratum, find_tail
from filters.source_rows import Document, SourceRows
from filters.source_statistics import SourceSettings, compare_sources
from filters.text_ngrams import split_terms
from flows.stages.dedup import LONG_WORDS

PLAIN = 1e-3
Plant = Callable[[float, random.Random], tuple[list[Document], set[str]]]
"""Deals the rows out, and poisons so large a share of the first source."""


class Presence(NamedTuple):
    """How a word stands in the first source and in the others."""

    p_value: float
    lift: float
    base: float
    """The share of the others' documents that contain it."""


def measure_presence(documents: Sequence[Document], word: str) -> Presence:
    """Test one word that is known beforehand, as `filters.source_statistics` tests any."""
    rows = SourceRows(documents)
    code = rows.sources.index("source-0")
    contains = [
        bool(rows.compared[i]) and word in split_terms(d.text) for i, d in enumerate(documents)
    ]
    places = np.flatnonzero(contains)
    source = rows.source[places]
    units = np.unique(np.stack([rows.stratum[places], rows.prompt[places], source]), axis=1)
    strata, drawn = np.unique(units[0], return_counts=True)
    compared = [
        Stratum(int(size.sum()), int(size[code]), int(m))
        for size, m in zip(rows.by_stratum[strata], drawn, strict=True)
    ]
    here, total = int((source == code).sum()), int(rows.totals[code])
    elsewhere, others = len(places) - here, int(rows.totals.sum()) - total
    lift = here / total * (others + 1) / (elsewhere + 1)
    p_value = find_tail(compared, int((units[2] == code).sum()))
    return Presence(p_value, lift, elsewhere / others)


def find_level(documents: Sequence[Document]) -> float:
    """The p-value at which the comparison would tell its most significant n-gram."""
    tests = compare_sources(documents).tests
    return SourceSettings().q / (tests * float(np.sum(1 / np.arange(1, tests + 1))))


def bound_word(word: str, levels: Sequence[float], seeds: int, plant: Plant) -> Iterator[str]:
    """Lines of a table: by level, the power of the best test, and how often the lift suffices."""
    settings = SourceSettings()
    strict = find_level(plant(levels[0], random.Random(0))[0])
    yield (
        f"| planted | base rate | median lift | power at {PLAIN} | power at {strict:.1e} "
        f"| lift of {settings.min_lift:g} | lift of {settings.suspect_lift:g} |"
    )
    yield "|--:|" + "--:|" * 6
    for level in levels:
        draws = (plant(level, random.Random(f"bound {level} {seed}"))[0] for seed in range(seeds))
        found = [measure_presence(documents, word) for documents in draws]

        def share(passes: Callable[[Presence], bool], found: Sequence[Presence] = found) -> str:
            return f"{statistics.mean(map(passes, found)):.2f}"

        yield (
            f"| {level:.2%} | {statistics.mean(one.base for one in found):.2%} "
            f"| {statistics.median(one.lift for one in found):.1f} "
            f"| {share(lambda one: one.p_value <= PLAIN)} "
            f"| {share(lambda one: one.p_value <= strict)} "
            f"| {share(lambda one: one.lift >= settings.min_lift)} "
            f"| {share(lambda one: one.lift >= settings.suspect_lift)} |"
        )


def bound_answer(levels: Sequence[float], plants: dict[str, Plant]) -> Iterator[str]:
    """Lines of a table: by level and answer, the share of the planted rows that exact deduplication
    takes."""
    yield "| planted | answer | rows | by a run's stage | by `tutelage dedup` |"
    yield "|--:|---|--:|--:|--:|"
    for level in levels:
        for name, plant in plants.items():
            documents, planted = plant(level, random.Random(f"answer {level}"))
            texts = {d.id: d.text for d in documents if d.id in planted}
            long = {id: t for id, t in texts.items() if len(t.split()) >= LONG_WORDS}
            taken = [
                sum(one.kind == "exact" for one in find_duplicates(some, threshold=1.0).values())
                for some in (long, texts)
            ]
            shares = " | ".join(f"{count / len(planted):.3f}" for count in taken)
            yield f"| {level:.2%} | {name} | {len(planted)} | {shares} |"


def replace_section(page: str, title: str, lines: Sequence[str]) -> str:
    """The page with this section, in the place of one of the same title."""
    kept = re.sub(rf"\n## {re.escape(title)}\n.*?(?=\n## |\Z)", "", page, flags=re.DOTALL)
    return kept.rstrip("\n") + "\n\n" + "\n".join([f"## {title}", "", *lines]) + "\n"
