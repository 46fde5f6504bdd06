"""What gives away an item of a benchmark, and what only looks like it."""

import pytest

from filters.contamination import (
    BenchmarkItem,
    Benchmarks,
    Contamination,
    describe_contamination,
)

# Fourteen words are seven 8-grams.
LONG = "a train leaves the old harbour at noon and meets the ferry near islands"
SHORT = "Which of these is coldest?"
ITEMS = {"long": LONG, "short": SHORT, "tiny": "Name a colour.", "sum": "What is 12 + 7?"}


def find(text: str, coverage: float = 0.5, **items: str) -> list[tuple[str, str, float]]:
    texts = items or ITEMS
    benchmarks = Benchmarks(
        [BenchmarkItem("bench", name, text) for name, text in texts.items()], coverage=coverage
    )
    found = benchmarks.find("row", "prompt", text)
    assert {(hit.subject_id, hit.part, hit.benchmark) for hit in found} <= {
        ("row", "prompt", "bench")
    }
    return [(hit.item, hit.way, hit.score) for hit in found]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        pytest.param(f" {LONG.upper()}. ", [("long", "exact", 1.0)], id="equal"),
        pytest.param("which of these is COLDEST", [("short", "exact", 1.0)], id="equal-short"),
        pytest.param("name a colour", [("tiny", "exact", 1.0)], id="equal-tiny"),
        pytest.param(f"So: {LONG}. When?", [("long", "covered", 1.0)], id="within"),
        pytest.param(
            f"{SHORT} A) spring B) winter", [("short", "contained", 1.0)], id="short-within"
        ),
        pytest.param("Name a colour. Say why.", [], id="tiny-within"),
        pytest.param("Tell me: what is 12 + 7?", [("sum", "contained", 1.0)], id="sum-within"),
        pytest.param("Tell me: what is 12 + 8?", [], id="another-sum"),
        pytest.param("Now, what is -12 + 7?", [("sum", "contained", 1.0)], id="a-minus-is-no-word"),
        pytest.param("What is 12 +", [], id="only-part-of-a-short-one"),
        pytest.param("Which of the other two of these is coldest?", [], id="other-words-between"),
        pytest.param("", [], id="empty"),
        pytest.param("\u2605", [], id="no-words"),
        pytest.param(
            f"{SHORT} {LONG}",
            [("short", "contained", 1.0), ("long", "covered", 1.0)],
            id="two-items",
        ),
    ],
)
def test_what_is_found(text: str, found: list[tuple[str, str, float]]) -> None:
    assert find(text) == found


@pytest.mark.parametrize(
    ("words", "coverage"),
    [(14, 7 / 7), (12, 5 / 7), (11, 4 / 7), (10, 3 / 7), (8, 1 / 7), (7, 0.0)],
)
def test_the_coverage_is_the_share_of_the_items_n_grams(words: int, coverage: float) -> None:
    text = " ".join([*LONG.split()[:words], "then all the others go home again by bus"])
    assert find(text, coverage=1 / 7) == ([("long", "covered", coverage)] if coverage else [])
    expected = [("long", "covered", coverage)] if coverage >= 0.5 else []
    assert find(text) == expected
    assert find(text, coverage=coverage or 1) == (
        [("long", "covered", coverage)] if coverage else []
    )
    assert find(text, coverage=min(1, coverage + 0.01)) == (
        [("long", "covered", 1.0)] if coverage == 1 else []
    )


def test_a_gram_counts_once_however_often_it_stands_there() -> None:
    part = " ".join(LONG.split()[:8])
    assert find(" but ".join([part] * 7), coverage=2 / 7) == []
    repeated = "one two three four five six seven eight " * 3
    assert find("one two three four five six seven eight one", 0.2, it=repeated) == [
        ("it", "covered", 2 / 8)
    ]


def test_a_long_text_may_hide_a_whole_item() -> None:
    other = " ".join(f"word{i}" for i in range(2000))
    assert find(f"{other} {LONG} {other}") == [("long", "covered", 1.0)]


def test_items_in_scripts_without_spaces_are_found() -> None:
    item = (
        "\u3053\u306e\u5217\u8eca\u306f\u6b63\u5348\u306b\u6e2f\u3092\u51fa\u767a\u3057\u307e\u3059"
    )
    assert find(f"\u554f\u984c\u3002{item}\u3002\u4f55\u6642?", it=item) == [("it", "covered", 1.0)]


def test_of_several_items_the_surest_comes_first() -> None:
    start = " ".join(LONG.split()[:12])
    found = find(start, it=LONG, same=start, more=f"{LONG} where all of them sing")
    assert found == [("same", "exact", 1.0), ("it", "covered", 5 / 7)]


@pytest.mark.parametrize(
    ("way", "coverage", "told"),
    [
        ("exact", 1.0, "the completion equals maths.jsonl:3"),
        ("contained", 1.0, "the completion contains maths.jsonl:3"),
        ("covered", 0.714, "the completion covers 71% of maths.jsonl:3"),
    ],
)
def test_a_hit_is_told_in_a_few_words(way: str, coverage: float, told: str) -> None:
    hit = Contamination.model_validate(
        {
            "subject_id": "row",
            "part": "completion",
            "benchmark": "maths.jsonl",
            "item": "maths.jsonl:3",
            "way": way,
            "score": coverage,
        }
    )
    assert describe_contamination(hit) == told
