"""The labelled pairs: what a line must hold, and what the file that comes with the house holds."""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from generators.calibration import LabelledPair, find_shortage, load_pairs
from generators.errors import InputError
from generators.wording import split_words
from tests.json_lines import write_lines

SHIPPED = Path(__file__).parents[2] / "seeds/calibration/equality.jsonl"
LINE = {
    "first": "Name three rivers.",
    "second": "Give the names of three rivers.",
    "label": "equal",
    "domain": "explaining",
    "licence": "CC0-1.0",
    "author": "a person",
}


def refusal_of(path: Path) -> list[str]:
    with pytest.raises(InputError) as refused:
        load_pairs(path)
    return str(refused.value).splitlines()


def make_pairs(equal: int, different: int) -> list[LabelledPair]:
    labels = ["equal"] * equal + ["different"] * different
    return [
        LabelledPair.model_validate(LINE | {"second": f"{i}", "label": label})
        for i, label in enumerate(labels)
    ]


def test_pairs_are_read_in_the_files_order(tmp_path: Path) -> None:
    other = LINE | {"second": "Name four rivers.", "label": "different"}
    pairs = load_pairs(write_lines(tmp_path / "pairs.jsonl", [LINE, other]))
    assert [(pair.first, pair.second, pair.equal) for pair in pairs] == [
        ("Name three rivers.", "Give the names of three rivers.", True),
        ("Name three rivers.", "Name four rivers.", False),
    ]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        pytest.param({"label": "same"}, "label: must be one of equal, different", id="label"),
        pytest.param({"second": " \n"}, "second: is empty", id="blank"),
        pytest.param({"first": 3}, "first: must be a text, not a number", id="number"),
        pytest.param(
            {"lable": "equal"},
            "lable: is not a field here; there are author, domain, first, label, licence, second "
            "(did you mean label?)",
            id="stranger",
        ),
    ],
)
def test_bad_line_is_named(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    file = write_lines(tmp_path / "pairs.jsonl", [LINE, LINE | {"second": "Lakes?"} | changes])
    assert refusal_of(file) == [f"{file}:2: {message}"]


def test_all_faults_are_told_at_once(tmp_path: Path) -> None:
    bare = {key: LINE[key] for key in LINE if key not in ("first", "licence")}
    file = write_lines(tmp_path / "pairs.jsonl", [bare, LINE, LINE | {"label": None}])
    assert refusal_of(file) == [
        f"{file}:1: licence: is missing",
        f"{file}:1: first: is missing",
        f"{file}:3: label: must be one of equal, different",
        f"{file}:3: label: must be a text, not null",
    ]


def test_pair_is_not_told_twice(tmp_path: Path) -> None:
    """Neither with another label nor the other way round."""
    turned = LINE | {"first": LINE["second"], "second": LINE["first"]}
    file = write_lines(tmp_path / "pairs.jsonl", [LINE, LINE | {"label": "different"}, turned])
    assert refusal_of(file) == [
        f"{file}:{line}: second: pairs the same tasks as {file}:1; keep one of them"
        for line in (2, 3)
    ]


def test_missing_file_says_what_it_should_hold(tmp_path: Path) -> None:
    path = tmp_path / "pairs.jsonl"
    assert refusal_of(path) == [
        f"{path}: no such file or folder; give a JSONL file of labelled pairs"
    ]


@pytest.mark.parametrize(
    ("equal", "different", "counts"),
    [
        pytest.param(50, 49, "99 labelled pairs (50 equal, 49 different)", id="few"),
        pytest.param(24, 90, "114 labelled pairs (24 equal, 90 different)", id="few equal"),
        pytest.param(200, 24, "224 labelled pairs (200 equal, 24 different)", id="few different"),
    ],
)
def test_too_few_pairs_measure_nothing(equal: int, different: int, counts: str) -> None:
    assert find_shortage(make_pairs(equal, different)) == (
        f"{counts} are too few to measure the equality judge by; give at least 100, of which "
        "25 equal and 25 different"
    )


@pytest.mark.parametrize(("equal", "different"), [(50, 50), (25, 75), (75, 25)])
def test_enough_pairs(equal: int, different: int) -> None:
    assert find_shortage(make_pairs(equal, different)) is None


def test_shipped_pairs_are_half_equal_in_every_domain() -> None:
    counts = Counter((pair.domain, pair.label) for pair in load_pairs(SHIPPED))
    domains = {"writing", "explaining", "maths", "code", "reasoning", "classification"}
    assert {domain for domain, _ in counts} == domains | {"extraction"}
    assert sum(counts.values()) == 188
    for domain in (*domains, "extraction"):
        assert counts[domain, "equal"] == counts[domain, "different"] >= 12


def test_shipped_pairs_cannot_be_told_by_their_overlap() -> None:
    """Wherever the limit lies and whichever side of it is called equal, the shared words tell
    little: balanced accuracy is within 0.08 of chance, and so is that of the opposite rule."""
    pairs = load_pairs(SHIPPED)

    def overlap(pair: LabelledPair) -> float:
        first, second = set(split_words(pair.first)), set(split_words(pair.second))
        return len(first & second) / len(first | second)

    def share_above(limit: float, *, equal: bool) -> float:
        overlaps = [overlap(pair) for pair in pairs if pair.equal is equal]
        return sum(value >= limit for value in overlaps) / len(overlaps)

    for percent in range(20, 91):
        above = [share_above(percent / 100, equal=equal) for equal in (True, False)]
        assert abs((above[0] + 1 - above[1]) / 2 - 0.5) <= 0.08, percent
