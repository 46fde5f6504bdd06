"""Which rows are published, and the hash that stands for them."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from flows.stage_settings import PublishSettings
from flows.stages.publish import ROW_SCHEMA, Noted, choose_rows, hash_dataset, make_row, write_table
from generators.records import ConsensusCheck, JudgeCheck, Prompt
from tests.flows.stages.samples import answer, child_of, seed, sum_of, tell

PUBLISHED = ("accept", "published", None)
LICENSED = PublishSettings(licence="cc0-1.0")
RUBRIC = JudgeCheck(rubric="kind words")


def choose(*prompts: Prompt, **settings: Any) -> dict[str, tuple[str, str, str | None]]:
    """What becomes of one answer to each of these prompts; answers are named a, b, c …"""
    given = zip("abcdef", prompts, strict=False)
    answers = [answer(prompt, id, id=id) for id, prompt in given]
    by_id = {prompt.id: prompt for prompt in prompts}
    return tell(choose_rows(answers, by_id, PublishSettings(licence="cc0-1.0", **settings)))


def test_so_many_answers_of_a_prompt_are_published() -> None:
    one, two = sum_of(1, 2), sum_of(3, 4)
    assert choose(one, one, two, one, two) == {
        "a": PUBLISHED,
        "b": PUBLISHED,
        "c": PUBLISHED,
        "d": ("reject", "surplus", None),
        "e": PUBLISHED,
    }
    assert choose(one, one, answers_per_prompt=1)["b"] == ("reject", "surplus", None)


def test_kind_of_verification_must_be_let_in() -> None:
    judged, unchecked = seed("Comfort a friend.", RUBRIC), seed("Say hello.")
    assert choose(judged, unchecked, sum_of(1, 2)) == {
        "a": ("quarantine", "verified_by_judge", None),
        "b": ("quarantine", "verified_by_none", None),
        "c": PUBLISHED,
    }
    assert choose(judged, accept=["judge"])["a"] == PUBLISHED
    assert choose(sum_of(1, 2), accept=["program"])["a"] == (
        "quarantine",
        "verified_by_reference",
        None,
    )


def test_released_rows_come_behind_verified_ones_and_need_no_verification() -> None:
    one, unchecked = sum_of(1, 2), seed("Say hello.")
    answers = [answer(one, "x", id="a"), answer(one, "3", id="b"), answer(unchecked, "y", id="c")]
    by_id = {prompt.id: prompt for prompt in (one, unchecked)}
    settings = PublishSettings(licence="cc0-1.0", answers_per_prompt=1)
    assert tell(choose_rows(answers, by_id, settings, {"a", "c"})) == {
        "b": PUBLISHED,
        "a": ("reject", "surplus", None),
        "c": PUBLISHED,
    }


def test_released_rows_come_on_top_of_the_target() -> None:
    prompts = [sum_of(1, 2), sum_of(2, 2), sum_of(3, 2)]
    answers = [answer(prompt, "3", id=id) for prompt, id in zip(prompts, "abc", strict=True)]
    by_id = {prompt.id: prompt for prompt in prompts}
    settings = PublishSettings(licence="cc0-1.0", target_rows=1)
    for released in "abc":
        told = tell(choose_rows(answers, by_id, settings, {released}))
        assert told[released] == PUBLISHED
        others = sorted(told[id] for id in "abc" if id != released)
        assert others == [PUBLISHED, ("reject", "beyond_target", None)]


def test_row_tells_where_it_comes_from() -> None:
    parent = seed("Count.", domain="maths")
    prompt = child_of(parent, "Count to three.", sum_of(1, 2).check)
    row = make_row(answer(prompt, "3", id="a"), prompt, Noted(2 / 3, 0.25), LICENSED)
    assert list(row) == ROW_SCHEMA.names
    assert row == {
        "id": "a",
        "prompt": [{"role": "user", "content": "Count to three."}],
        "completion": [{"role": "assistant", "content": "3"}],
        "root_id": parent.id,
        "parent_id": parent.id,
        "prompt_id": prompt.id,
        "cycle": 1,
        "round": 1,
        "operator": "deepen",
        "domain": "maths",
        "check": '{"answer":"3","kind":"exact"}',
        "verified_by": "reference",
        "confidence": 0.6667,
        "weight": 1.0,
        "student_pass_rate": 0.25,
        "student_loss": None,
        "ifd": None,
        "teacher": "strong",
        "author": "strong",
        "source": "seeds.jsonl:1",
        "licence": "cc0-1.0",
        "tools": None,
        "tags": None,
    }


@pytest.mark.parametrize(
    ("kind", "by_person", "weights", "weight"),
    [
        ("consensus", False, "votes", 0.8),
        ("consensus", False, "equal", 1.0),
        ("consensus", True, "votes", 1.0),
        ("exact", False, "votes", 1.0),
    ],
    ids=["elected", "all alike", "released", "verified"],
)
def test_an_elected_row_weighs_its_share_of_the_votes(
    kind: str, by_person: bool, weights: Any, weight: float
) -> None:
    vote = ConsensusCheck(votes={"3": 4, "4": 1}, n=5, threshold=0.6)
    prompt = seed("1 + 2?", vote) if kind == "consensus" else sum_of(1, 2)
    settings = LICENSED.model_copy(update={"weights": weights})
    row = make_row(answer(prompt, "3", id="a"), prompt, Noted(0.8, by_person=by_person), settings)
    assert (row["confidence"], row["weight"]) == (0.8, weight)


@pytest.fixture
def rows() -> list[dict[str, Any]]:
    prompts = [sum_of(n, 1) for n in range(5)]
    answers = [answer(p, str(n + 1), id=f"id{n}") for n, p in enumerate(prompts)]
    return [make_row(a, p, Noted(1.0), LICENSED) for a, p in zip(answers, prompts, strict=True)]


def test_hash_is_of_the_rows_and_of_nothing_else(
    rows: list[dict[str, Any]], tmp_path: Path
) -> None:
    """Neither their order nor how and when the file was written."""
    write_table(tmp_path / "a.parquet", rows, ROW_SCHEMA)
    backwards = pa.Table.from_pylist(rows[::-1], schema=ROW_SCHEMA)
    told = backwards.replace_schema_metadata({"written": "later", "cost": "12 euros"})
    pq.write_table(told, tmp_path / "b.parquet", compression="zstd", row_group_size=2)

    first, second = (hash_dataset(tmp_path / f"{name}.parquet") for name in "ab")
    assert (tmp_path / "a.parquet").read_bytes() != (tmp_path / "b.parquet").read_bytes()
    assert first == second
    assert len(first) == 64


@pytest.mark.parametrize(
    "change",
    [{"confidence": 0.5}, {"completion": [{"role": "assistant", "content": "2"}]}, {"id": "x"}],
    ids=["figure", "text", "id"],
)
def test_hash_changes_with_any_value(
    rows: list[dict[str, Any]], tmp_path: Path, change: dict[str, Any]
) -> None:
    write_table(tmp_path / "a.parquet", rows, ROW_SCHEMA)
    write_table(tmp_path / "b.parquet", [rows[0] | change, *rows[1:]], ROW_SCHEMA)
    write_table(tmp_path / "c.parquet", rows[1:], ROW_SCHEMA)
    assert len({hash_dataset(tmp_path / f"{name}.parquet") for name in "abc"}) == 3
