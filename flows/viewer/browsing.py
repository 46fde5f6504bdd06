"""Lists of rows: chosen by facets and words, counted, sorted, and cut into pages.

Every combination of facets that occurs has a number, its heap, and `heaps` counts its rows; so
facets are counted without looking at a row. A search counts its matches by heap once.
"""

import re
import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple
from urllib.parse import urlencode

from flows.viewer.database import FACETS, NUMBERS

PAGE = 50
"""Rows on a page."""
SHOWN_VALUES = 12
"""Values of a facet that are shown before the rest is folded."""
EXCERPT = 360
"""Characters of a prompt or of an answer in a list."""
REACH = 20_000
"""Characters of a text in which a match is looked for, to be shown. SQLite's own `snippet` takes
minutes for a text that says one word ten thousand times."""
SORTS = {
    "": "as they lie in the files",
    "match": "best match first",
    "-confidence": "confidence, highest first",
    "confidence": "confidence, lowest first",
    "-score": "score, highest first",
    "score": "score, lowest first",
    "-words": "longest answer first",
    "words": "shortest answer first",
}
"""Ways to sort, as they stand in an address; `match` needs words to match."""
_TERMS = re.compile(r'"([^"]+)"(\*?)|(\S+)')


class Choice(NamedTuple):
    """Which rows, in which order."""

    facets: Mapping[str, str]
    words: str = ""
    sort: str = ""

    @classmethod
    def read(cls, query: Mapping[str, str]) -> "Choice":
        """What an address asks for; what it says wrong is left out."""
        facets = {name: query[name] for name in FACETS if name in query}
        words = query.get("q", "").strip()
        sort = query.get("sort", "")
        if sort not in SORTS or (sort == "match" and not words):
            sort = ""
        return cls(facets, words, sort)

    def with_facet(self, name: str, value: str | None) -> "Choice":
        """The same with another value of a facet, or with any."""
        others = {n: v for n, v in self.facets.items() if n != name}
        return self._replace(facets=others if value is None else others | {name: value})

    def write(self, **more: int | str) -> str:
        """The query of an address that asks for this."""
        asked = {name: self.facets[name] for name in FACETS if name in self.facets}
        told = {"q": self.words, "sort": self.sort} | {n: str(v) for n, v in more.items()}
        return urlencode(asked | {name: value for name, value in told.items() if value})

    @property
    def match(self) -> str | None:
        """The words as a query of SQLite's full-text search; None where none are asked for."""
        return write_match(self.words) if self.words else None


class FacetValue(NamedTuple):
    value: str
    rows: int
    is_chosen: bool


class Listed(NamedTuple):
    """A page of a list."""

    rows: list[sqlite3.Row]
    near: dict[int, sqlite3.Row]
    """By a row's number the texts in which words were searched for; empty where none were."""
    total: int
    page: int
    facets: dict[str, list[FacetValue]]
    """With the other facets as they are chosen."""

    @property
    def pages(self) -> int:
        return max(1, -(-self.total // PAGE))

    @property
    def first(self) -> int:
        """How many rows lie before this page."""
        return (self.page - 1) * PAGE


def list_rows(connection: sqlite3.Connection, choice: Choice, page: int) -> Listed:
    """One page of the rows that are chosen; a page behind the last one is the last one."""
    heaps = _count_heaps(connection, choice)
    total = sum(rows for heap, rows in heaps if _fits(heap, choice.facets))
    page = max(1, min(page, -(-total // PAGE)))
    numbers = find_numbers(connection, choice, (page - 1) * PAGE, PAGE) if total else []
    rows = _read_rows(connection, numbers)
    near = _read_begins(connection, numbers) if choice.words else {}
    return Listed(rows, near, total, page, _count_facets(heaps, choice))


def find_numbers(
    connection: sqlite3.Connection, choice: Choice, start: int, count: int
) -> list[int]:
    """The numbers of so many chosen rows, from the `start`-th on."""
    column = choice.sort.lstrip("-")
    direction = "desc" if choice.sort[:1] == "-" else "asc"
    order = f"places.{column} {direction} nulls last, " if column else ""
    tables, where, values = "places", [], []
    if choice.match is not None:
        order = "rows_fts.rank, " if column == "match" else order
        tables = "rows_fts join places on places.n = rows_fts.rowid"
        where.append("rows_fts match ?")
        values.append(choice.match)
    if choice.facets:
        own = " and ".join(f"coalesce([{name}], '') = ?" for name in choice.facets)
        where.append(f"places.heap in (select heap from heaps where {own})")
        values += [_as_stored(name, value) for name, value in choice.facets.items()]
    condition = f"where {' and '.join(where)}" if where else ""
    number = "places.n" if choice.match is None else "rows_fts.rowid"
    found = connection.execute(
        f"select {number} from {tables} {condition} order by {order}{number} limit ? offset ?",
        (*values, count, max(0, start)),
    )
    return [row[0] for row in found]


def count_rows(connection: sqlite3.Connection, choice: Choice) -> int:
    """How many rows are chosen."""
    heaps = _count_heaps(connection, choice)
    return sum(rows for heap, rows in heaps if _fits(heap, choice.facets))


def write_match(words: str) -> str:
    """What a person typed as a query of full-text search: all words must occur, `"a phrase"` as
    it stands, and `begin*` as the begin of a word. Nothing in it is an operator."""
    doubled = ((text.replace('"', '""'), is_open) for text, is_open in _read_terms(words))
    return " ".join(f'"{text}"{"*" if is_open else ""}' for text, is_open in doubled) or '""'


def write_pattern(words: str) -> re.Pattern[str]:
    """The same as a pattern that finds one of the words in a text, to mark it."""
    patterns = []
    for text, is_open in _read_terms(words):
        parts = map(re.escape, re.findall(r"\w+", text))
        end = "" if is_open else r"\b"
        patterns.append(r"\b" + r"\W+".join(parts) + end)
    return re.compile("|".join(patterns) or "(?!)", re.IGNORECASE)


def _read_terms(words: str) -> Iterator[tuple[str, bool]]:
    """The words and phrases, each with whether it may go on."""
    for phrase, is_open, word in _TERMS.findall(words):
        text = phrase or word.rstrip("*")
        if any(character.isalnum() for character in text):
            yield text, bool(is_open) or word.endswith("*")


def _as_stored(name: str, value: str) -> str | int:
    """A facet's value as the table holds it: rounds and cycles are numbers."""
    is_number = name in NUMBERS and re.fullmatch(r"\d{1,9}", value)
    return int(value) if is_number else value


def _count_heaps(
    connection: sqlite3.Connection, choice: Choice
) -> list[tuple[dict[str, str], int]]:
    """The heaps that hold any match of the words, with the number of matches."""
    matches: dict[int, int] | None = None
    if choice.match is not None:
        matches = dict(
            connection.execute(
                "select places.heap, count(*) from rows_fts "
                "join places on places.n = rows_fts.rowid where rows_fts match ? group by 1",
                (choice.match,),
            ).fetchall()
        )
    heaps = []
    for row in connection.execute("select * from heaps"):
        rows = row["rows"] if matches is None else matches.get(row["heap"], 0)
        if rows:
            told = {name: "" if row[name] is None else str(row[name]) for name in FACETS}
            heaps.append((told, rows))
    return heaps


def _fits(heap: Mapping[str, str], facets: Mapping[str, str]) -> bool:
    """Whether a heap has these values."""
    return all(heap[name] == value for name, value in facets.items())


def _count_facets(
    heaps: Iterable[tuple[dict[str, str], int]], choice: Choice
) -> dict[str, list[FacetValue]]:
    counted: dict[str, Counter[str]] = {name: Counter() for name in FACETS}
    for heap, rows in heaps:
        wrong = [name for name, value in choice.facets.items() if heap[name] != value]
        if len(wrong) < 2:  # it counts for the facet in which alone it is not what was chosen
            for name in wrong or FACETS:
                counted[name][heap[name]] += rows
    for name, value in choice.facets.items():
        counted[name].setdefault(value, 0)
    return {
        name: [
            FacetValue(value, rows, choice.facets.get(name) == value)
            for value, rows in _order(name, values)
        ]
        for name, values in counted.items()
    }


def _order(facet: str, values: Counter[str]) -> list[tuple[str, int]]:
    """Numbers as they follow one another, other values with most rows first."""
    if facet in NUMBERS:
        return sorted(values.items(), key=lambda item: (not item[0].isdecimal(), item[0].zfill(9)))
    return sorted(values.items(), key=lambda item: (-item[1], item[0]))


def _read_rows(connection: sqlite3.Connection, numbers: Iterable[int]) -> list[sqlite3.Row]:
    """These rows as a list shows them, in their order."""
    numbers = list(numbers)
    marks = ", ".join("?" for _ in numbers)
    found = connection.execute(
        "select n, id, cycle, decision, reason, stage, operator, round, domain, verified_by, "
        "teacher, confidence, score, words, length(prompt) as prompt_length, "
        "length(completion) as completion_length, substr(prompt, 1, ?) as prompt, "
        f"substr(completion, 1, ?) as completion from rows where n in ({marks})",
        (EXCERPT, EXCERPT, *numbers),
    )
    by_number = {row["n"]: row for row in found}
    return [by_number[number] for number in numbers]


def _read_begins(connection: sqlite3.Connection, numbers: Iterable[int]) -> dict[int, sqlite3.Row]:
    """So much of these rows' texts as is looked at for the words that were searched for."""
    numbers = list(numbers)
    marks = ", ".join("?" for _ in numbers)
    found = connection.execute(
        "select n, substr(prompt, 1, ?) as prompt, substr(completion, 1, ?) as completion "
        f"from rows where n in ({marks})",
        (REACH, REACH, *numbers),
    )
    return {row["n"]: row for row in found}
