"""A teacher that turns bad in the middle of a run is not asked any more; an honest one is."""

import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flows.console import Console
from flows.pipeline import conduct
from flows.release import release
from flows.stages.publish import hash_dataset
from flows.stages.seeds import load_all_seeds
from flows.store import RunDirectory
from generators.errors import ConfigError
from generators.records import Answer, Verdict
from tests.flows.small_run import (
    LICENSED,
    conduct_plainly,
    describe_run,
    read_cycle,
    read_settings,
    rows_of,
)
from tests.flows.teacher import Teacher
from tests.flows.test_target import Crash, DyingConductor
from tests.json_lines import write_lines

TRAIN = "dataset/train.parquet"
WATCH = {"baselines": {"maths/seed": 0.05}, "rows": 200, "false_alarms": 0.05, "wave_shards": 2}
CHEAP = {
    "name": "cheap",
    "model": "weak",
    "n": 1,
    "sampling": {"temperature": 0.7, "max_tokens": 200},
}
PROMPTS, GOOD, LUCKY = 48, 16, 22
"""So many sums, of which the bad teacher gets the first ones right, and one later on."""


def describe(folder: Path, url: str, concurrency: int = 4) -> dict[str, Any]:
    settings = describe_run(folder, url) | {"shard_rows": 4, "watch": WATCH}
    del settings["evolve"]
    sums = [
        {
            "prompt": f"What is {a} + {3 * a}? Answer with the number only.",
            "check": {"kind": "exact", "answer": str(4 * a)},
            "domain": "maths",
        }
        for a in range(101, 101 + PROMPTS)
    ]
    write_lines(folder / "seeds.jsonl", [line | LICENSED for line in sums])
    for sampler in settings["answer"]["samplers"]:
        sampler["n"] = 1
    for model in settings["models"].values():
        model["concurrency"] = concurrency
    return settings


def turn_bad(folder: Path, settings: dict[str, Any]) -> Callable[[str, str], float]:
    """The weak model gets the prompts right that are asked first, whenever they come."""
    seeds = load_all_seeds(read_settings(folder / "small.yaml", settings), cycle=1)
    texts = [seed.text for seed in sorted(seeds, key=lambda seed: seed.id)]
    good = {*texts[:GOOD], texts[LUCKY]}
    return lambda model, asked: 1.0 if model == "strong" or asked in good else 0.0


def conduct_watched(folder: Path, concurrency: int = 4, **changes: Any) -> tuple[Any, str, list]:
    with Teacher() as teacher:
        settings = describe(folder, teacher.url, concurrency) | changes
        teacher.skill = turn_bad(folder, settings)
        run, printed = conduct_plainly(read_settings(folder / "small.yaml", settings))
        return run, printed, [call.model for call in teacher.asked_since(0)]


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> tuple[RunDirectory, str, list[str]]:
    return conduct_watched(tmp_path_factory.mktemp("stopped"))


def test_a_teacher_that_turned_bad_is_not_asked_any_more(stopped: Any) -> None:
    """Six failures in a row raise the alarm; a look comes after every second shard of four."""
    run, printed, asked = stopped
    assert asked.count("weak") == 24
    assert (
        "warning: answer-cheap: its teacher is quarantined (weak: failures, 0 of 16 rows before "
        "the change, 6 of 6 after it; told at row 22"
    ) in " ".join(printed.split())
    assert "24 answers were not asked for" in printed
    assert asked.count("strong") == PROMPTS - GOOD
    assert len(rows_of(run.place(TRAIN))) == PROMPTS


def test_the_report_tells_of_the_teachers(stopped: Any) -> None:
    run, *_ = stopped
    page = run.place("report.html").read_text(encoding="utf-8")
    section = re.search(r'<section class="part" id="teachers".*?</section>', page, re.DOTALL)
    assert section is not None
    rows = [
        re.findall(r'<td class="n">([\d,]+)</td>', row)
        for row in re.findall(r"<tr><th scope=\"row\">.*?</tr>", section[0])
    ]
    told = "weak: failures, 0 of 16 rows before the change, 6 of 6 after it; told at row 22"
    assert told in section[0]
    assert rows == [["22", "6", "1", "24"], ["32", "0", "0", "0"]]
    assert '<a href="#teachers">Teachers</a>' in page


def test_what_passes_after_the_change_is_quarantined_and_can_be_released(tmp_path: Path) -> None:
    run, _, _ = conduct_watched(tmp_path)
    aside = rows_of(run.place("dataset/quarantine.parquet"))
    (row,) = [row for row in aside if row["stage"] == "watch"]
    assert (row["reason"], row["teacher"]) == ("teacher_quarantined", "weak")
    assert row["evidence"].startswith("weak: failures, 0 of 16 rows before the change, 6 of 6 ")
    reasons = Counter(v.reason for v in read_cycle(run, "verdicts-watch", Verdict))
    assert reasons == {"teacher_trusted": PROMPTS, "teacher_quarantined": 1}
    published = {r["prompt_id"]: r["teacher"] for r in rows_of(run.place(TRAIN))}
    assert Counter(published.values()) == {"weak": GOOD, "strong": PROMPTS - GOOD}
    assert published[row["prompt_id"]] == "strong"

    (freed,) = release(run.root, [row["id"]], "worked it out by hand", Console(json=True))
    assert freed.overruled == "teacher_quarantined"
    assert row["id"] not in {r["id"] for r in rows_of(run.place("dataset/quarantine.parquet"))}


def test_what_its_verifier_had_accepted_stays_verified_when_it_is_released(tmp_path: Path) -> None:
    """Nobody else answers here, so the released answer repeats none."""
    run, _, asked = conduct_watched(tmp_path, answer={"samplers": [CHEAP]})
    assert asked == ["weak"] * 24
    aside = rows_of(run.place("dataset/quarantine.parquet"))
    (id,) = [row["id"] for row in aside if row["stage"] == "watch"]
    release(run.root, [id], "worked it out by hand", Console(json=True))
    rows = {row["id"]: row["verified_by"] for row in rows_of(run.place(TRAIN))}
    assert len(rows) == GOOD + 1
    assert rows[id] == "reference"


def test_a_missed_target_tells_what_a_quarantined_teacher_was_not_asked(tmp_path: Path) -> None:
    publish = {"licence": "cc0-1.0", "target_rows": 40}
    _, printed, asked = conduct_watched(tmp_path, answer={"samplers": [CHEAP]}, publish=publish)
    assert (
        f"warning: publish.target_rows: {GOOD} of 40 rows came, and {PROMPTS - len(asked)} prompts "
        "were not put to a teacher that is quarantined: let another model answer, or lower it; "
        "then run with --update\n"
    ) in printed


def test_the_one_that_fails_where_another_passes_is_found_out(tmp_path: Path) -> None:
    """No baseline of failures is given; beside a sampler that is asked for everything, the first
    one's teacher is told by the rows in which they part."""
    dear = CHEAP | {"name": "dear", "model": "strong", "asks": "all"}
    watch = WATCH | {"baselines": {"parted": 0.05}}
    run, _, asked = conduct_watched(tmp_path, answer={"samplers": [CHEAP, dear]}, watch=watch)
    assert Counter(asked) == {"weak": PROMPTS, "strong": PROMPTS}
    verdicts = read_cycle(run, "verdicts-watch", Verdict)
    (evidence,) = {v.evidence for v in verdicts if v.decision == "quarantine"}
    assert evidence.startswith("weak: disagreement, 0 of 0 rows in which others part from it ")


def test_a_target_counts_no_quarantined_row(tmp_path: Path) -> None:
    publish = {"licence": "cc0-1.0", "target_rows": 30}
    run, _, asked = conduct_watched(tmp_path, publish=publish)
    assert len(rows_of(run.place(TRAIN))) == 30
    assert asked.count("weak") == 28  # the target's first wave is of one shard
    assert asked.count("strong") < PROMPTS - GOOD


def test_an_honest_teacher_is_asked_for_everything(tmp_path: Path) -> None:
    with Teacher() as teacher:
        settings = describe(tmp_path, teacher.url)
        teacher.skill = lambda model, asked: 1.0
        run, printed = conduct_plainly(read_settings(tmp_path / "small.yaml", settings))
        assert [call.model for call in teacher.asked_since(0)] == ["weak"] * PROMPTS
    assert "quarantined (" not in printed
    verdicts = read_cycle(run, "verdicts-watch", Verdict)
    assert [v.reason for v in verdicts] == ["teacher_trusted"] * PROMPTS


def test_a_model_that_turned_bad_is_not_asked_by_another_sampler(tmp_path: Path) -> None:
    sampling = {"temperature": 0.7, "max_tokens": 200}
    names = {"cheap": "weak", "again": "weak", "dear": "strong"}
    samplers = [{"name": n, "model": m, "n": 1, "sampling": sampling} for n, m in names.items()]
    run, _, asked = conduct_watched(tmp_path, answer={"samplers": samplers})
    assert asked.count("weak") == 24
    assert {a.sampler for a in read_cycle(run, "answers-", Answer)} == {"cheap", "dear"}
    assert len(rows_of(run.place(TRAIN))) == PROMPTS


@pytest.mark.parametrize("concurrency", [1, 8])
def test_concurrency_decides_nothing(stopped: Any, tmp_path: Path, concurrency: int) -> None:
    run, _, asked = conduct_watched(tmp_path, concurrency)
    assert hash_dataset(run.place(TRAIN)) == hash_dataset(stopped[0].place(TRAIN))
    assert sorted(asked) == sorted(stopped[2])


@pytest.mark.parametrize("jobs", [3, 4, 6, 8, 9])
def test_a_killed_run_stops_where_a_whole_one_does(stopped: Any, tmp_path: Path, jobs: int) -> None:
    with Teacher() as teacher:
        settings = describe(tmp_path, teacher.url)
        teacher.skill = turn_bad(tmp_path, settings)
        config = read_settings(tmp_path / "small.yaml", settings)
        with pytest.raises(Crash):
            conduct(config, Console(json=True), DyingConductor(jobs))
        run, _ = conduct_plainly(config)
    assert hash_dataset(run.place(TRAIN)) == hash_dataset(stopped[0].place(TRAIN))
    whole = {a.id for a in read_cycle(stopped[0], "answers-", Answer)}
    assert {a.id for a in read_cycle(run, "answers-", Answer)} == whole


def test_a_kind_that_cannot_come_is_told(tmp_path: Path) -> None:
    settings = describe(tmp_path, "http://127.0.0.1:9/v1")
    settings["watch"] = WATCH | {"baselines": {"maths/sead": 0.05, "maths/seed": 1.5}}
    with pytest.raises(ConfigError) as caught:
        read_settings(tmp_path / "small.yaml", settings)
    assert [line.partition(": ")[2] for line in str(caught.value).splitlines()] == [
        "watch.baselines: 'maths/sead' is no kind of rows (did you mean seed?); name"
        " DOMAIN/OPERATOR, as maths/seed, or parted",
        "watch.baselines: maths/seed: 1.5 is no share of failures; give a number above 0 and below"
        " 1",
    ]
