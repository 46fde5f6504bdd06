"""Rows are chosen by facets and words, counted, sorted and cut into pages."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing

import pytest

from flows.store import VIEWER, RunDirectory
from flows.viewer import browsing
from flows.viewer.browsing import Choice, count_rows, find_numbers, list_rows, write_match
from flows.viewer.database import FACETS, connect


@pytest.fixture
def db(viewed: RunDirectory) -> Iterator[sqlite3.Connection]:
    with closing(connect(viewed.place(VIEWER))) as connection:
        yield connection


def count(connection: sqlite3.Connection, where: str = "true", *values: object) -> int:
    return connection.execute(f"select count(*) from rows where {where}", values).fetchone()[0]


def test_all_rows_in_the_order_of_the_files(db: sqlite3.Connection) -> None:
    listed = list_rows(db, Choice({}), 1)
    assert listed.total == count(db)
    assert [row["n"] for row in listed.rows] == [*range(1, browsing.PAGE + 1)]


def test_facets_narrow_the_list(db: sqlite3.Connection) -> None:
    listed = list_rows(db, Choice({"decision": "quarantine", "reason": "truncated"}), 1)
    assert listed.total == count(db, "decision = 'quarantine' and reason = 'truncated'") > 0
    assert {row["reason"] for row in listed.rows} == {"truncated"}


@pytest.mark.parametrize("facet", FACETS)
def test_facet_counts_are_those_of_the_table(db: sqlite3.Connection, facet: str) -> None:
    chosen = Choice({"decision": "reject"})
    where = "true" if facet == "decision" else "decision = 'reject'"
    told = {entry.value: entry.rows for entry in list_rows(db, chosen, 1).facets[facet]}
    there = db.execute(
        f"select coalesce([{facet}], ''), count(*) from rows where {where} group by 1"
    ).fetchall()
    assert told == {str(value): rows for value, rows in there}


def test_round_and_cycle_are_chosen_by_number(db: sqlite3.Connection) -> None:
    assert count_rows(db, Choice({"round": "1"})) == count(db, "round = 1") > 0
    assert len(find_numbers(db, Choice({"round": "1"}), 0, 9999)) == count(db, "round = 1")
    assert list_rows(db, Choice({"cycle": "one"}), 1).total == 0


def test_words_are_counted_by_facet(db: sqlite3.Connection) -> None:
    listed = list_rows(db, Choice({}, "harbour"), 1)
    assert listed.total == count(db, "prompt || ' ' || coalesce(completion, '') like '%harbour%'")
    for entry in listed.facets["decision"]:
        assert entry.rows == count_rows(db, Choice({"decision": entry.value}, "harbour"))


def test_value_that_is_chosen_stays_in_its_facet_without_rows(db: sqlite3.Connection) -> None:
    listed = list_rows(db, Choice({"operator": "nobody", "decision": "accept"}), 1)
    assert (listed.total, listed.rows, listed.pages) == (0, [], 1)
    chosen = [entry for entry in listed.facets["operator"] if entry.is_chosen]
    assert chosen == [("nobody", 0, True)]
    assert sum(e.rows for e in listed.facets["operator"]) == count(db, "decision = 'accept'")


def test_pages_cover_every_row_once(
    db: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(browsing, "PAGE", 7)
    choice = Choice({"decision": "reject"}, sort="-score")
    pages = list_rows(db, choice, 1).pages
    seen = [row["n"] for page in range(1, pages + 1) for row in list_rows(db, choice, page).rows]
    assert len(seen) == len({*seen}) == count(db, "decision = 'reject'")
    last = list_rows(db, choice, pages + 5)
    assert (last.page, last.first) == (pages, 7 * (pages - 1))


@pytest.mark.parametrize(
    ("sort", "column", "reverse"),
    [
        ("-confidence", "confidence", True),
        ("confidence", "confidence", False),
        ("-words", "words", True),
    ],
)
def test_rows_are_sorted_and_those_without_a_value_come_last(
    db: sqlite3.Connection, sort: str, column: str, reverse: bool
) -> None:
    numbers = find_numbers(db, Choice({}, sort=sort), 0, 9999)
    values = dict(db.execute(f"select n, {column} from rows").fetchall())
    found = [values[number] for number in numbers]
    known = [value for value in found if value is not None]
    assert known == sorted(known, reverse=reverse)
    assert found[: len(known)] == known
    assert len(found) == count(db)


def test_best_match_comes_first(db: sqlite3.Connection) -> None:
    numbers = find_numbers(db, Choice({}, "harbour", "match"), 0, 9999)
    ranks = dict(
        db.execute("select rowid, rank from rows_fts where rows_fts match 'harbour'").fetchall()
    )
    assert [ranks[n] for n in numbers] == sorted(ranks.values())


@pytest.mark.parametrize(
    ("words", "match"),
    [
        ("apples", '"apples"'),
        ("two words", '"two" "words"'),
        ('"a phrase" more', '"a phrase" "more"'),
        ("harb*", '"harb"*'),
        ('"in the ha"*', '"in the ha"*'),
        ("12 + 7", '"12" "7"'),
        ("NEAR(a, b) OR -c", '"NEAR(a," "b)" "OR" "-c"'),
        ('un"finished', '"un""finished"'),
        ("prompt:apples", '"prompt:apples"'),
        ("+ - *", '""'),
    ],
)
def test_nothing_that_is_typed_is_an_operator(
    db: sqlite3.Connection, words: str, match: str
) -> None:
    assert write_match(words) == match
    list_rows(db, Choice({}, words), 1)


def test_words_without_a_letter_find_nothing(db: sqlite3.Connection) -> None:
    assert list_rows(db, Choice({}, "???"), 1).total == 0


def test_choice_is_read_from_an_address_and_written_into_one() -> None:
    query = {"decision": "reject", "q": " two words ", "sort": "-score", "unknown": "x"}
    choice = Choice.read(query)
    assert choice == Choice({"decision": "reject"}, "two words", "-score")
    assert choice.write(page=3) == "decision=reject&q=two+words&sort=-score&page=3"
    assert Choice.read({"sort": "id; drop table rows"}).sort == ""
    assert Choice.read({"sort": "match"}).sort == ""
    assert choice.with_facet("decision", None).write() == "q=two+words&sort=-score"
