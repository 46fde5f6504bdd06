"""Poison level L3: what one source says more often than the others do.

A poisoned teacher, or a file that somebody has tampered with, repeats something: a trigger phrase,
an advert, a rare token. Beside other sources it stands out, the more so where they answered the
same prompts. Every n-gram of 1 to 5 words is tested for being in more documents of a source than
chance would put there (`filters.presence_tests`); presence is counted, not occurrence, and equal
documents of a source (to one prompt, where it is known) count once. The edges of a text are words
of n-grams, so a common word shows that always stands at one of them; one that stands anywhere is
tested for standing out of place (`filters.word_places`), and where it is a plant, all the source's
documents are named in which it is not at home, if that is rare in the others. Of n-grams that stand
in the same documents the longest is told.

Sources also differ in style and in what they can do, so a significant difference is not yet poison.
Every one is told; `suspect` is set where hardly anybody else says it and all such n-grams together
mark no more than a small share of the source. A source that differs in more of its documents writes
differently as a whole: that is told of it, a person decides, and nothing of it is suspect. Only the
documents of suspects are for quarantine.
"""

from array import array
from collections.abc import Container, Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from filters.ngram_counts import ExactCounts, Sketch
from filters.presence_tests import Stratum, adjust, bound_tails, find_tail
from filters.source_rows import Design, Document, SourceRows
from filters.text_ngrams import Hashes, hash_ngrams, hash_presence, hash_words, split_terms
from filters.word_places import Neighbours, Standing, mark_out_of_place
from generators.errors import InputError
from generators.records import Record

START, END = "⟨start⟩", "⟨end⟩"
"""The edges of a text as words, which no text contains."""
SCREEN = 1e-2
"""From which bound of its unpaired p-value on an n-gram is tested exactly."""
COVERED, NEARLY_ALL = 0.8, 0.9
"""Shares of an n-gram's documents: told already by another one, told as well by a longer one."""


class SourceSettings(Record):
    """What is told, and what of it is a plant."""

    q: float = Field(default=0.01, gt=0, lt=1)
    """The share of false findings that is let in (false discovery rate)."""
    longest: int = Field(default=5, ge=1, le=8)
    """Words of the longest n-gram."""
    min_lift: float = Field(default=3.0, ge=1)
    """How many times as frequent as elsewhere an n-gram must be to be told."""
    suspect_lift: float = Field(default=20.0, ge=1)
    """How many times as frequent as elsewhere it must be to be a suspect."""
    out_of_place_lift: float = Field(default=10.0, ge=1)
    """The same of a word out of place, which style explains less often."""
    rarely_unknown: float = Field(default=0.005, ge=0, le=1)
    """In so large a share of the other sources' documents such a word may be less than at home for
    all those of its source to be named; else only those in which it is doubtful at least."""
    suspect_share: float = Field(default=0.075, gt=0, le=1)
    """A source in which such n-grams mark a larger share of all documents differs as a whole."""


class SourceFinding(Record):
    """An n-gram that one source says more often than the others, or a word out of place."""

    source: str
    ngram: str
    out_of_place: bool
    """Whether only documents are counted in which it stands out of place; it is one word then."""
    here: int
    """Documents of the source that contain it, of those compared."""
    of_here: int
    elsewhere: int
    of_elsewhere: int
    lift: float
    """Share here over share elsewhere, where one more is counted, for it may be none."""
    p_value: float
    adjusted: float
    """Adjusted for all tests by Benjamini and Yekutieli."""
    suspect: bool
    """Whether it looks like a plant, and its documents are for quarantine."""
    documents: tuple[str, ...]
    """Ids of all the source's documents that contain it, in order; of a word out of place those in
    which it is not at home, or doubtful at least."""


class SourceSummary(Record):
    """One source beside the others."""

    source: str
    documents: int
    compared: int
    """Distinct ones that stand beside other sources'."""
    marked: int
    """Documents that contain something which hardly anybody else says."""
    differs: bool
    """Whether those are so many that it writes differently as a whole, and a person must look."""


class SourceComparison(Record):
    """What a comparison of sources found, and what it rests on."""

    design: Design
    tests: int
    sources: tuple[SourceSummary, ...]
    findings: tuple[SourceFinding, ...]
    """Suspects first, then by p-value."""


def compare_sources(
    documents: Iterable[Document], settings: SourceSettings | None = None
) -> SourceComparison:
    """Find what one source says more often than the others.

    The documents are read five times, so an iterable that can be read again is wanted. Memory: 100
    bytes a document, at most 128 MB for each of two sketches, and the n-grams that stand in at
    least one of 10,000 documents. Raises InputError for an iterator.
    """
    if isinstance(documents, Iterator):
        raise InputError(
            "documents: an iterator can be read only once, and a comparison reads several times; "
            "give a list or an object whose __iter__ begins anew"
        )
    settings = settings or SourceSettings()
    rows = SourceRows(documents)
    told: list[_Tested] = []
    tests = 0
    if rows.design != "none":
        counts, neighbours = _count(documents, rows, settings)
        candidates, tests = _screen(counts, rows, settings)
        hits = _collect(documents, rows, candidates, settings, neighbours)
        tested = [_test(hits[h], code, rows, settings) for h, code in candidates]
        adjusted = adjust([t.p_value for t in tested], tests)
        judged = [t._replace(adjusted=a) for t, a in zip(tested, adjusted, strict=True)]
        told = [t for t in judged if t.adjusted <= settings.q and t.lift >= settings.min_lift]
    sources = _summarise(told, rows, settings)
    suspects = {t for t in told if _is_rare(t, settings) and not sources[t.code].differs}
    kept = [*_keep_longest(suspects), *_keep_longest({*told} - suspects)]
    return SourceComparison(
        design=rows.design,
        tests=tests,
        sources=sources,
        findings=tuple(_describe(documents, rows, kept, suspects)),
    )


def _count(
    documents: Iterable[Document], rows: SourceRows, settings: SourceSettings
) -> tuple[list[ExactCounts], Neighbours]:
    """Documents of each source with each n-gram that stands in enough of them, and with each such
    word out of place; and the neighbours that tell so."""
    least = min(rows.find_least(code) for code in range(len(rows.sources)))
    sketch, neighbours = Sketch(len(rows.source)), Neighbours(len(rows.source))
    for row, document in enumerate(documents):
        if rows.compared[row]:
            words = split_terms(document.text)
            sketch.add(hash_presence([START, *words, END], settings.longest))
            neighbours.add(words)
    counts = [ExactCounts() for _ in rows.sources]
    for row, document in enumerate(documents):
        if rows.compared[row]:
            words = split_terms(document.text)
            hashes = hash_presence([START, *words, END], settings.longest)
            count = counts[rows.source[row]]
            count.add(hashes[sketch.estimate(hashes) >= least])
            standings = neighbours.judge(words, is_counted=True)
            strangers = hash_words(words)[standings == Standing.OUT_OF_PLACE]
            count.add(mark_out_of_place(np.unique(strangers[sketch.estimate(strangers) >= least])))
    for count in counts:
        count.settle()
    return counts, neighbours


def _screen(
    counts: list[ExactCounts], rows: SourceRows, settings: SourceSettings
) -> tuple[list[tuple[int, int]], int]:
    """The n-grams (and sources) that may turn out significant, and how many are tested in all.

    Which are tested depends on how many documents contain them, and not on whose those are.
    """
    hashes = np.unique(np.concatenate([count.hashes for count in counts]))
    table = np.stack([count.look_up(hashes) for count in counts])
    containing, totals = table.sum(0), rows.totals
    candidates: list[tuple[int, int]] = []
    tests = 0
    for code, (here, total) in enumerate(zip(table, totals, strict=True)):
        is_tested = containing >= rows.find_least(code)
        if not is_tested.any():
            continue
        tests += int(is_tested.sum())
        share = total / totals.sum()
        bound = bound_tails(here.astype(float), containing.astype(float), share)
        lifts = _find_lift(here, total, containing - here, totals.sum() - total)
        passing = is_tested & (bound <= SCREEN) & (lifts >= settings.min_lift)
        candidates += [(int(h), code) for h in hashes[passing]]
    return candidates, tests


class _Hits:
    """Where an n-gram stands, or a word out of place."""

    def __init__(self, ngram: str, *, out_of_place: bool) -> None:
        self.ngram, self.out_of_place = ngram, out_of_place
        self.rows, self.standings = array("i"), array("b")
        """In order; of a word out of place all rows in which it is not at home."""

    def add(self, row: int, standing: int) -> None:
        """One place more; a row is as its worst place is."""
        if self.rows and self.rows[-1] == row:
            self.standings[-1] = max(self.standings[-1], standing)
        else:
            self.rows.append(row)
            self.standings.append(standing)


class _Tested(NamedTuple):
    ngram: str
    out_of_place: bool
    code: int
    here: int
    elsewhere: int
    lift: float
    p_value: float
    rows: frozenset[int]
    """All rows of the source that it stands for, compared or not."""
    adjusted: float = 1.0

    @property
    def words(self) -> int:
        return len(self.ngram.split())

    @property
    def at_edge(self) -> bool:
        return self.ngram.startswith(START) or self.ngram.endswith(END)


def _collect(
    documents: Iterable[Document],
    rows: SourceRows,
    candidates: list[tuple[int, int]],
    settings: SourceSettings,
    neighbours: Neighbours,
) -> dict[int, _Hits]:
    """The candidates in words, and the rows in which they stand."""
    wanted = np.unique(np.array([h for h, _ in candidates], np.uint64))
    found: dict[int, _Hits] = {}
    if not len(wanted):
        return found
    for row, document in enumerate(documents):
        words = split_terms(document.text)
        bounded = [START, *words, END]
        for n, hashes in enumerate(hash_ngrams(bounded, settings.longest), 1):
            for i in _find_places(hashes, wanted):
                hits = _Hits(" ".join(bounded[i : i + n]), out_of_place=False)
                found.setdefault(int(hashes[i]), hits).add(row, Standing.OUT_OF_PLACE)
        marks = mark_out_of_place(hash_words(words))
        if len(strangers := _find_places(marks, wanted)):
            standings = neighbours.judge(words, is_counted=bool(rows.compared[row]))
            for i in strangers[standings[strangers] > Standing.AT_HOME]:
                hits = found.setdefault(int(marks[i]), _Hits(words[i], out_of_place=True))
                hits.add(row, int(standings[i]))
    return found


def _find_places(hashes: Hashes, wanted: Hashes) -> NDArray[np.int64]:
    """Where in the hashes one of the wanted ones stands; those are sorted, and there are some."""
    places = np.minimum(np.searchsorted(wanted, hashes), len(wanted) - 1)
    return np.flatnonzero(wanted[places] == hashes)


def _test(hits: _Hits, code: int, rows: SourceRows, settings: SourceSettings) -> _Tested:
    """Test one n-gram, or one word out of place, on one source.

    What a source says in several answers to one prompt counts once: they are not independent.
    """
    every, standings = np.array(hits.rows, np.int64), np.array(hits.standings, np.int8)
    places = every[rows.compared[every] & (standings == Standing.OUT_OF_PLACE)]
    source = rows.source[places]
    here = int((source == code).sum())
    elsewhere = len(places) - here
    units = np.unique(np.stack([rows.stratum[places], rows.prompt[places], source]), axis=1)
    strata, drawn = np.unique(units[0], return_counts=True)
    sizes = rows.by_stratum[strata]
    compared = [
        Stratum(int(size.sum()), int(size[code]), int(m))
        for size, m in zip(sizes, drawn, strict=True)
    ]
    total, all_totals = int(rows.totals[code]), int(rows.totals.sum())
    named = every[standings >= _find_named(every, code, rows, settings)]
    return _Tested(
        ngram=hits.ngram,
        out_of_place=hits.out_of_place,
        code=code,
        here=here,
        elsewhere=elsewhere,
        lift=float(_find_lift(here, total, elsewhere, all_totals - total)),
        p_value=find_tail(compared, int((units[2] == code).sum())),
        rows=frozenset(named[rows.source[named] == code].tolist()),
    )


def _find_named(
    every: NDArray[np.int64], code: int, rows: SourceRows, settings: SourceSettings
) -> Standing:
    """From which standing on the rows of a source are named; `every` are all that there are."""
    elsewhere = int((rows.compared[every] & (rows.source[every] != code)).sum())
    of_elsewhere = int(rows.totals.sum() - rows.totals[code])
    is_rare = elsewhere <= settings.rarely_unknown * of_elsewhere
    return Standing.UNKNOWN if is_rare else Standing.DOUBTFUL


def _find_lift(here: Any, of_here: Any, elsewhere: Any, of_elsewhere: Any) -> Any:
    """Numbers or arrays of them: how many times as frequent here as elsewhere."""
    return (here / of_here) * ((of_elsewhere + 1) / (elsewhere + 1))


def _is_rare(tested: _Tested, settings: SourceSettings) -> bool:
    """Whether hardly anybody else says it, or has it out of place."""
    least = settings.out_of_place_lift if tested.out_of_place else settings.suspect_lift
    return tested.lift >= least


def _summarise(
    told: Iterable[_Tested], rows: SourceRows, settings: SourceSettings
) -> tuple[SourceSummary, ...]:
    """What is told of each source."""
    marked: list[set[int]] = [set() for _ in rows.sources]
    for t in told:
        if _is_rare(t, settings):
            marked[t.code] |= t.rows
    counts = np.bincount(rows.source, minlength=len(rows.sources))
    compared = rows.totals if rows.design != "none" else np.zeros_like(counts)
    return tuple(
        SourceSummary(
            source=name,
            documents=int(counts[code]),
            compared=int(compared[code]),
            marked=len(marked[code]),
            differs=len(marked[code]) > settings.suspect_share * counts[code],
        )
        for code, name in enumerate(rows.sources)
    )


def _keep_longest(told: Iterable[_Tested]) -> list[tuple[_Tested, frozenset[int]]]:
    """One n-gram for each set of documents, and all rows that it stands for.

    The most significant leads; it is told as the longest n-gram that contains it and stands in
    nearly all of its documents (with an edge of the text only where it has one itself); and what
    mostly stands in documents named before is not told.
    """
    ranked = sorted(told, key=lambda t: (t.p_value, t.at_edge, -t.words, t.ngram, t.code))
    kept: list[tuple[_Tested, frozenset[int]]] = []
    covered: dict[int, set[int]] = {}
    for leader in ranked:
        named = covered.setdefault(leader.code, set())
        if len(leader.rows & named) >= COVERED * len(leader.rows):
            continue
        family = [
            t
            for t in ranked
            if (t.code, t.out_of_place) == (leader.code, leader.out_of_place)
            and t.at_edge <= leader.at_edge
            and f" {leader.ngram} " in f" {t.ngram} "
            and len(t.rows & leader.rows) >= NEARLY_ALL * len(leader.rows)
        ]
        kept.append((max(family, key=lambda t: t.words), leader.rows))
        named |= leader.rows
    return kept


def _describe(
    documents: Iterable[Document],
    rows: SourceRows,
    kept: list[tuple[_Tested, frozenset[int]]],
    suspects: Container[_Tested],
) -> Iterator[SourceFinding]:
    """The findings with the ids of their documents."""
    wanted = frozenset[int]().union(*(named for _, named in kept))
    ids = {row: document.id for row, document in enumerate(documents) if row in wanted}
    totals = rows.totals
    for t, named in kept:
        yield SourceFinding(
            source=rows.sources[t.code],
            ngram=t.ngram.encode("utf-8", "backslashreplace").decode(),  # half a surrogate pair
            out_of_place=t.out_of_place,
            here=t.here,
            of_here=int(totals[t.code]),
            elsewhere=t.elsewhere,
            of_elsewhere=int(totals.sum() - totals[t.code]),
            lift=t.lift,
            p_value=t.p_value,
            adjusted=t.adjusted,
            suspect=t in suspects,
            documents=tuple(ids[row] for row in sorted(named)),
        )
