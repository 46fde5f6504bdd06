"""Exactly so many rows, asked for in waves, and the same after a kill."""

import re
import shutil
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from flows.conduct import PlainConductor
from flows.console import Console
from flows.pipeline import conduct
from flows.stages.publish import hash_dataset
from flows.store import RunDirectory
from flows.target import forecast
from generators.records import Answer, Verdict
from tests.flows.conftest import Finished
from tests.flows.small_run import (
    conduct_plainly,
    describe_run,
    read_cycle,
    read_settings,
    rows_of,
)
from tests.flows.teacher import Teacher
from tests.json_lines import write_lines

TRAIN = "dataset/train.parquet"


def describe(folder: Path, url: str, target: int, **changes: Any) -> dict[str, Any]:
    settings = describe_run(folder, url) | {"shard_rows": 4} | changes
    settings["publish"] = {"licence": "cc0-1.0", "target_rows": target}
    return settings


def answered_prompts(run: RunDirectory) -> set[str]:
    return {answer.prompt_id for answer in read_cycle(run, "answers-", Answer)}


class Reached(NamedTuple):
    """A finished run with a target."""

    settings: dict[str, Any]
    run: RunDirectory
    printed: str
    asked: int
    """How many requests it sent."""


def reach(folder: Path, target: int) -> Reached:
    with Teacher() as teacher:
        settings = describe(folder, teacher.url, target)
        run, printed = conduct_plainly(read_settings(folder / "small.yaml", settings))
        return Reached(settings, run, printed, len(teacher.asked_since(0)))


@pytest.fixture(scope="module")
def reached(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Reached]:
    """Finished runs by their targets; a test that changes one copies it."""
    return {target: reach(tmp_path_factory.mktemp("reached"), target) for target in (1, 17)}


@pytest.mark.parametrize("target", [1, 17])
def test_exactly_so_many_rows_are_published(
    reached: dict[int, Reached], finished: Finished, target: int
) -> None:
    _, run, printed, asked = reached[target]
    assert len(rows_of(run.place(TRAIN))) == target
    assert asked < len(finished.requests)
    assert re.search(rf"^answer-cheap: \d+ of {target} rows$", printed, re.MULTILINE)
    rejected = rows_of(run.place("dataset/rejected.parquet"))
    beyond = [row for row in rejected if row["reason"] == "beyond_target"]
    prompts = {row["prompt_id"] for row in rows_of(run.place(TRAIN))}
    assert len(prompts) == min(target, len(prompts | {row["prompt_id"] for row in beyond}))


def test_waves_stop_where_the_target_is_reached(tmp_path: Path, finished: Finished) -> None:
    _, run, printed, _ = reach(tmp_path, 6)
    told = [line for line in printed.splitlines() if " of 6 rows" in line]
    assert told[0] == "answer-cheap: 0 of 6 rows; about 4 more prompts needed"
    assert told[-1].endswith(" of 6 rows")
    assert len(answered_prompts(run)) < len(answered_prompts(finished.run))
    assert not list(run.place("cycle-0001").glob("answers-dear-*"))


def test_a_target_out_of_reach_is_told(tmp_path: Path, finished: Finished) -> None:
    _, run, printed, _ = reach(tmp_path, 5_000)
    rows = len(rows_of(finished.run.place(TRAIN)))
    assert len(rows_of(run.place(TRAIN))) == rows
    assert (
        f"warning: publish.target_rows: {rows} of 5,000 rows came, and no prompt is left to ask: "
        "add seeds, rounds of evolution or samples, or lower it; then run with --update"
    ) in printed


def test_every_round_has_its_share(reached: dict[int, Reached]) -> None:
    rounds = {row["round"] for row in rows_of(reached[17].run.place(TRAIN))}
    assert rounds == {0, 1, 2}


def test_rows_that_the_band_takes_are_told(tmp_path: Path) -> None:
    with Teacher() as teacher:
        settings = describe(tmp_path, teacher.url, 6)
        student = settings["models"]["weak"] | {"revision": "student"}
        settings["models"]["student"] = student
        settings["difficulty"] = {"model": "student", "k": 4, "band": [0.45, 0.55]}
        run, printed = conduct_plainly(read_settings(tmp_path / "small.yaml", settings))
    rows = len(rows_of(run.place(TRAIN)))
    assert rows < 6
    told = re.search(r"publish.target_rows: (\d+) of 6 rows are left of (\d+) that came", printed)
    assert told is not None
    assert int(told[1]) == rows
    assert int(told[2]) >= 6
    assert "Raise target_rows or widen difficulty.band; then run with --update" in printed


def find_shortfall(folder: Path, target: int, **sections: Any) -> tuple[str, int, Counter[str]]:
    """What a run says of its target, how many rows came, and what each stage set aside."""
    with Teacher() as teacher:
        settings = describe(folder, teacher.url, target) | sections
        run, printed = conduct_plainly(read_settings(folder / "small.yaml", settings))
    (told,) = re.findall(r"^warning: publish\.target_rows: (.*)$", printed, re.MULTILINE)
    verdicts = read_cycle(run, "verdicts-", Verdict)
    aside = Counter(verdict.stage for verdict in verdicts if verdict.decision != "accept")
    return told, len(rows_of(run.place(TRAIN))), aside


def test_a_shortfall_names_the_stages_that_took_rows(tmp_path: Path) -> None:
    items = write_lines(tmp_path / "items.jsonl", [{"text": "Answer with the number only."}])
    told, rows, aside = find_shortfall(
        tmp_path, 17, decontaminate={"benchmarks": [str(items)]}, select={"words": [3, 1000]}
    )
    left = re.match(rf"{rows} of 17 rows are left of (\d+) that came ", told)
    assert left is not None
    assert int(left[1]) >= 17 > rows > 0
    assert min(aside["decontaminate"], aside["select"]) > 0
    assert told[left.end() :] == (
        f"(answers set aside: decontaminate {aside['decontaminate']}, select {aside['select']}). "
        "Raise target_rows or release contaminated rows or loosen select; then run with --update"
    )


def test_a_target_out_of_reach_tells_what_was_taken_as_well(tmp_path: Path) -> None:
    """What a vote elected came as well."""
    votes = {"domains": ["maths"], "threshold": 0.6, "min_votes": 5}
    (tmp_path / "whole").mkdir()
    told, came, _ = find_shortfall(tmp_path / "whole", 5_000, consensus=votes)
    assert told.startswith(f"{came} of 5,000 rows came, and no prompt is left to ask: ")
    sections = {"consensus": votes, "select": {"words": [3, 1000]}}
    told, rows, aside = find_shortfall(tmp_path, 5_000, **sections)
    assert 0 < rows < came
    assert told == (
        f"{rows} of 5,000 rows are left of {came} that came (answers set aside: select "
        f"{aside['select']}), and no prompt is left to ask: add seeds, rounds of evolution or "
        "samples, or lower it; then run with --update"
    )


class Crash(BaseException):
    """The process is gone."""


class DyingConductor(PlainConductor):
    """Does the jobs of a wave in reverse, and dies after so many."""

    def __init__(self, jobs: int) -> None:
        self.left = jobs

    def carry_out(self, stage: Any, context: Any, jobs: Any, tick: Any) -> Any:
        for job in reversed(jobs):
            if self.left == 0:
                raise Crash
            self.left -= 1
            yield stage.work(context, job, tick)


@pytest.mark.parametrize("jobs", [14, 20])
def test_a_killed_run_asks_for_the_same_waves(
    reached: dict[int, Reached], tmp_path: Path, jobs: int
) -> None:
    with Teacher() as teacher:
        settings = describe(tmp_path, teacher.url, 17)
        config = read_settings(tmp_path / "small.yaml", settings)
        with pytest.raises(Crash):
            conduct(config, Console(json=True), DyingConductor(jobs))
        run, _ = conduct_plainly(config)
    whole = reached[17].run
    assert hash_dataset(run.place(TRAIN)) == hash_dataset(whole.place(TRAIN))
    assert answered_prompts(run) == answered_prompts(whole)


def test_a_lower_target_forgets_what_lies_beyond(
    reached: dict[int, Reached], tmp_path: Path
) -> None:
    shutil.copytree(reached[17].settings["runs_dir"], tmp_path / "runs")
    with Teacher() as teacher:
        settings = describe(tmp_path, teacher.url, 5)
        config = read_settings(tmp_path / "small.yaml", settings)
        run, _ = conduct_plainly(config, update=True)
        assert teacher.asked_since(0) == []
    (tmp_path / "fresh").mkdir()
    fresh = reach(tmp_path / "fresh", 5).run
    assert hash_dataset(run.place(TRAIN)) == hash_dataset(fresh.place(TRAIN))
    assert answered_prompts(run) == answered_prompts(fresh)


@pytest.mark.parametrize(
    ("gained", "asked", "missing", "needed"),
    [(10, 100, 5, 50), (3, 10, 1, 4), (0, 8, 5, 8), (4, 8, 0, 0), (4, 8, -3, 0)],
)
def test_the_yield_forecasts_what_is_needed(
    gained: int, asked: int, missing: int, needed: int
) -> None:
    assert forecast(gained, asked, missing) == needed
