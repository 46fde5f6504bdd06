"""Rows that give away a benchmark are set aside, told per benchmark, and looked at anew when the
benchmarks change."""

import re
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from filters.contamination import Contamination
from flows.config import RunConfig
from flows.console import Console
from flows.decontaminate_settings import DecontaminateSettings, load_benchmarks
from flows.facts import Facts
from flows.facts_contamination import BenchmarkFacts
from flows.gather import gather_facts
from flows.release import release
from flows.report import render_report
from flows.store import RunDirectory
from flows.work import open_context
from generators.errors import ConfigError, InputError
from generators.records import Answer, Verdict
from tests.flows.small_run import TOPICS, conduct_plainly, read_cycle, read_settings, rows_of
from tests.flows.teacher import Teacher
from tests.json_lines import write_lines

SUM = "What is 12 + 20? Answer with the number only."
COLDEST = "Which of these is the coldest?"


class Cleaned(NamedTuple):
    run: RunDirectory
    facts: Facts
    files: list[str]


def update(settings: dict[str, Any], folder: Path) -> tuple[RunDirectory, RunConfig]:
    config = read_settings(folder / "small.yaml", settings)
    return conduct_plainly(config, update=True)[0], config


@pytest.fixture
def settings(copied: dict[str, Any], tmp_path: Path) -> dict[str, Any]:
    """A finished run that is to be held against two benchmarks."""
    maths = write_lines(tmp_path / "maths.jsonl", [{"question": SUM, "answer": "32"}])
    other = [{"id": 7, "prompt": COLDEST}, {"id": 8, "prompt": TOPICS[0]}]
    words = write_lines(tmp_path / "words.jsonl", other)
    return copied | {"decontaminate": {"benchmarks": [str(maths), str(words)]}}


@pytest.fixture
def cleaned(settings: dict[str, Any], tmp_path: Path, teacher: Teacher) -> Cleaned:
    before = len(teacher.calls)
    run, config = update(settings, tmp_path)
    assert teacher.asked_since(before) == []
    with open_context(run.root, config) as context:
        return Cleaned(run, gather_facts(context), settings["decontaminate"]["benchmarks"])


def test_contaminated_rows_are_quarantined_with_benchmark_and_item(cleaned: Cleaned) -> None:
    maths, words = cleaned.files
    aside = rows_of(cleaned.run.place("dataset/quarantine.parquet"))
    rows = [row for row in aside if row["stage"] == "decontaminate"]
    assert {row["reason"] for row in rows} == {"contaminated"}
    assert Counter(row["evidence"] for row in rows).keys() == {
        f"the prompt equals {maths}:1",
        f"the prompt contains {words}:1",
        f"the prompt covers 100% of {words}:2",
    }
    for row in rows:
        if row["evidence"].endswith(f"{maths}:1"):
            assert re.sub(r"\s+", " ", row["prompt"]) == SUM
    published = rows_of(cleaned.run.place("dataset/train.parquet"))
    asked = [row["prompt"][-1]["content"] for row in published]
    assert len(asked) > 10
    assert not any(SUM in text or COLDEST in text or TOPICS[0] in text for text in asked)


def test_each_accepted_answer_has_one_verdict_and_nothing_vanishes(cleaned: Cleaned) -> None:
    verdicts = read_cycle(cleaned.run, "verdicts-decontaminate", Verdict)
    kept = {v.subject_id for v in verdicts if v.decision == "accept"}
    assert len({v.subject_id for v in verdicts}) == len(verdicts) > len(kept)
    assert kept == {v.subject_id for v in read_cycle(cleaned.run, "verdicts-dedup", Verdict)}
    count, dedup = cleaned.facts.count("decontaminate"), cleaned.facts.count("dedup")
    assert count is not None
    assert dedup is not None
    assert (count.total, count.quarantined, count.rejected) == (
        len(verdicts),
        len(verdicts) - len(kept),
        0,
    )
    assert dedup.total == count.accepted


def test_each_benchmark_is_reported(cleaned: Cleaned) -> None:
    maths, words = cleaned.files
    found = read_cycle(cleaned.run, "found-decontaminate", Contamination)
    first, second = cleaned.facts.contamination
    rows = len(read_cycle(cleaned.run, "verdicts-decontaminate", Verdict))
    equal = {hit.subject_id for hit in found if hit.benchmark == maths}
    example = next(hit.subject_id for hit in found if hit.benchmark == maths)
    assert first == BenchmarkFacts(
        name=maths,
        items=1,
        rows=rows,
        contaminated=len(equal),
        exact=len(equal),
        contained=0,
        covered=0,
        examples=first.examples,
    )
    assert first.examples[0] == f"{example}: the prompt equals {maths}:1"
    assert (second.name, second.items, second.exact) == (words, 2, 0)
    assert min(second.contained, second.covered, len(equal)) > 0
    page = render_report(cleaned.facts)
    assert "Held against benchmarks" in page
    assert "The prompt or the answer gives away an item of a benchmark." in page


def test_the_report_needs_no_benchmark_file(cleaned: Cleaned) -> None:
    for file in cleaned.files:
        Path(file).unlink()
    config = RunConfig.model_validate(cleaned.run.manifest.config)
    with open_context(cleaned.run.root, config) as context:
        assert gather_facts(context).contamination == cleaned.facts.contamination


def test_answers_are_held_against_benchmarks_too(
    copied: dict[str, Any], tmp_path: Path, teacher: Teacher
) -> None:
    run = RunDirectory(Path(copied["runs_dir"]) / copied["name"])
    kept = {row["id"] for row in rows_of(run.place("dataset/train.parquet"))}
    answers = [a for a in read_cycle(run, "answers-", Answer) if a.id in kept]
    longest = max(answers, key=lambda answer: len(answer.completion.split()))
    assert len(longest.completion.split()) > 8
    items = write_lines(tmp_path / "items.jsonl", [{"solution": longest.completion}])
    section = {"benchmarks": [str(items)], "fields": ["solution"], "coverage": 1.0}
    again, _ = update(copied | {"decontaminate": section}, tmp_path)
    verdicts = {v.subject_id: v for v in read_cycle(again, "verdicts-decontaminate", Verdict)}
    assert verdicts[longest.id].evidence == f"the completion equals {items}:1"


def test_other_benchmarks_are_another_job_and_the_same_are_not(
    settings: dict[str, Any], tmp_path: Path, teacher: Teacher
) -> None:
    def read_keys(run: RunDirectory) -> dict[str, str]:
        return {e.stage: e.key for e in run.manifest.files.values()}

    first, _ = update(settings, tmp_path)
    before = read_keys(first)
    assert read_keys(update(settings, tmp_path)[0]) == before
    maths = Path(settings["decontaminate"]["benchmarks"][0])
    write_lines(maths, [{"question": "What is the answer to another thing altogether?"}])
    after = read_keys(update(settings, tmp_path)[0])
    assert {stage for stage in before if after[stage] != before[stage]} == {
        *("decontaminate", "dedup", "publish", "report", "versions")
    }
    verdicts = read_cycle(first, "verdicts-decontaminate", Verdict)
    assert not any(v.evidence and str(maths) in v.evidence for v in verdicts)


def test_what_a_person_releases_is_published_after_all(cleaned: Cleaned) -> None:
    rows = rows_of(cleaned.run.place("dataset/quarantine.parquet"))
    row = min(r["id"] for r in rows if r["reason"] == "contaminated")
    (released,) = release(cleaned.run.root, [row], "never measured on it", Console(json=True))
    assert (released.overruled, released.decision) == ("contaminated", "accept")
    verdicts = {v.subject_id: v for v in read_cycle(cleaned.run, "verdicts-decontam", Verdict)}
    assert (verdicts[row].decision, verdicts[row].reason) == ("accept", "released")
    assert row in {r["id"] for r in rows_of(cleaned.run.place("dataset/train.parquet"))}


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"benchmarks": []}, "decontaminate.benchmarks: must have at least 1, has 0"),
        (
            {"benchmarks": ["FOLDER/none.jsonl"]},
            "decontaminate.benchmarks.0: FOLDER/none.jsonl: no such file (looked for it from CWD)",
        ),
        (
            {"benchmarks": ["FOLDER"]},
            "decontaminate.benchmarks.0: FOLDER is a folder; name its files",
        ),
        (
            {"benchmarks": ["FOLDER/empty.jsonl"]},
            "decontaminate.benchmarks.0: FOLDER/empty.jsonl is empty; take it out, or name a file "
            "of rows",
        ),
        (
            {"benchmarks": ["FOLDER/rows.jsonl"] * 2},
            "decontaminate.benchmarks.1: FOLDER/rows.jsonl is named twice; name it once",
        ),
        (
            {"benchmarks": ["FOLDER/rows.jsonl"], "fields": ["stem"]},
            "decontaminate.benchmarks.0: FOLDER/rows.jsonl:1: has no text in stem; name its "
            "column in decontaminate.fields",
        ),
        (
            {"benchmarks": ["FOLDER/rows.jsonl"], "coverage": 0},
            "decontaminate.coverage: must be greater than 0.0, got 0",
        ),
    ],
    ids=["none", "missing", "folder", "empty", "twice", "other columns", "coverage"],
)
def test_settings_that_cannot_be_used_are_refused(
    section: dict[str, Any], message: str, copied: dict[str, Any], tmp_path: Path
) -> None:
    write_lines(tmp_path / "rows.jsonl", [{"question": SUM}])
    write_lines(tmp_path / "empty.jsonl", [])
    files = [path.replace("FOLDER", str(tmp_path)) for path in section["benchmarks"]]
    wanted = message.replace("FOLDER", str(tmp_path)).replace("CWD", str(Path.cwd()))
    with pytest.raises(ConfigError) as caught:
        read_settings(
            tmp_path / "x.yaml", copied | {"decontaminate": section | {"benchmarks": files}}
        )
    assert str(caught.value).partition(": ")[2] == wanted


def test_a_column_that_is_null_is_not_there(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "rows.jsonl", [{"question": None, "prompt": SUM}])
    (item,) = load_benchmarks(DecontaminateSettings(benchmarks=(str(path),)))
    assert item == (str(path), f"{path}:1", SUM)


def test_rows_of_a_benchmark_without_text_are_listed(tmp_path: Path) -> None:
    lines = ['{"question": "x"}', '{"answer": "y"}', "{", '{"question": " "}']
    path = tmp_path / "rows.jsonl"
    path.write_text("\n".join(lines), "utf-8")
    named = "question, prompt, problem, instruction, text"
    with pytest.raises(InputError) as caught:
        load_benchmarks(DecontaminateSettings(benchmarks=(str(path),)))
    missing = f"has no text in {named}; name its column in decontaminate.fields"
    assert str(caught.value).split("\n") == [
        f"{path}:2: {missing}",
        f"{path}:3: is not JSON: Expecting property name enclosed in double quotes: line 2 column"
        " 1 (char 2)",
        f"{path}:4: {missing}",
    ]
