"""Cycles: a run goes on from its pool, adds rows to what it had, and publishes a version."""

import copy
import io
import json
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from flows.conduct import PlainConductor
from flows.console import Console
from flows.pipeline import conduct
from flows.stages.publish import hash_dataset
from flows.stages.seeds import load_all_seeds
from flows.store import FileEntry, RunDirectory
from flows.verbs import train
from flows.wording import format_share
from flows.work import Job, JobContext, Stage, Tick, attach_context
from generators.errors import ConfigError, RunError
from generators.records import Answer, Prompt, Verdict
from generators.steering import kind_of
from tests.flows.conftest import Finished
from tests.flows.small_run import (
    LICENSED,
    add_training,
    conduct_plainly,
    read_cycle,
    read_settings,
    rows_of,
)
from tests.flows.teacher import Teacher
from tests.json_lines import write_lines


class TwoCycles(NamedTuple):
    settings: dict[str, Any]
    run: RunDirectory
    printed: str
    first: dict[str, dict[str, Any]]
    """The rows of version 1."""


@pytest.fixture(scope="module")
def two(finished: Finished, tmp_path_factory: pytest.TempPathFactory) -> TwoCycles:
    """A run of two cycles; tests read it and leave it as it is."""
    folder = tmp_path_factory.mktemp("cycles")
    shutil.copytree(finished.settings["runs_dir"], folder / "runs")
    settings = copy.deepcopy(finished.settings) | {"runs_dir": str(folder / "runs")}
    first = {row["id"]: row for row in finished.rows()}
    run, printed = conduct_plainly(read_settings(folder / "a.yaml", settings), new_cycle=True)
    return TwoCycles(settings, run, printed, first)


@pytest.fixture
def mine(two: TwoCycles, tmp_path: Path) -> dict[str, Any]:
    """The settings of such a run of one's own."""
    shutil.copytree(two.settings["runs_dir"], tmp_path / "runs")
    return copy.deepcopy(two.settings) | {"runs_dir": str(tmp_path / "runs")}


def read_dataset(run: RunDirectory, name: str = "train") -> dict[str, dict[str, Any]]:
    return {row["id"]: row for row in rows_of(run.place(f"dataset/{name}.parquet"))}


def open_run(settings: dict[str, Any]) -> RunDirectory:
    return RunDirectory(Path(settings["runs_dir"]) / settings["name"])


def test_second_cycle_adds_rows_and_a_version(two: TwoCycles) -> None:
    rows, manifest = read_dataset(two.run), two.run.manifest
    assert {id: row for id, row in rows.items() if row["cycle"] == 1} == two.first
    added = [row for row in rows.values() if row["cycle"] == 2]
    assert len(added) > 10
    assert [(v.number, v.cycle, v.rows, v.why) for v in manifest.versions] == [
        (1, 1, len(two.first), "cycle 1"),
        (2, 2, len(rows), "cycle 2"),
    ]
    assert manifest.current == 2
    assert manifest.cycles["2"].base == 1
    assert [cycle.status for cycle in manifest.cycles.values()] == ["finished", "finished"]
    assert f"dataset: version 2, {len(rows)} rows" in two.printed.splitlines()


def test_versions_stay_as_they_were_published(two: TwoCycles) -> None:
    kept = rows_of(two.run.place("versions/0001/train.parquet"))
    assert {row["id"]: row for row in kept} == two.first
    (first, second) = two.run.manifest.versions
    assert hash_dataset(two.run.place("versions/0001/train.parquet")) == first.hash
    assert hash_dataset(two.run.place("dataset/train.parquet")) == second.hash
    tables = {f"versions/000{n}/{t}.parquet" for n in (1, 2) for t in ("quarantine", "rejected")}
    assert tables <= {*two.run.manifest.files}
    assert two.run.place("versions/0002/README.md").exists()


def test_second_cycle_goes_on_from_the_pool(two: TwoCycles) -> None:
    first = {p.id: p for p in read_cycle(two.run, "prompts-", Prompt)}
    second = read_cycle(two.run, "prompts-", Prompt, cycle=2)
    assert not {prompt.id for prompt in second} & {*first}
    children = [prompt for prompt in second if prompt.parent_id in first]
    assert children
    last = max(prompt.round for prompt in first.values())
    assert {prompt.round for prompt in second if prompt.parent_id} == {last + 1, last + 2}
    replaced = {p.parent_id for p in first.values()}
    fallen = {
        v.subject_id
        for v in read_cycle(two.run, "verdicts-evolve", Verdict)
        if v.decision != "accept"
    }
    alive = [p for id, p in first.items() if id not in fallen]
    youngest = {p.id for p in alive} - {p.parent_id for p in alive}
    assert {child.parent_id for child in children if child.round == last + 1} <= youngest
    assert replaced & youngest  # a parent whose child fell stays in


def test_no_prompt_is_answered_in_two_cycles(two: TwoCycles) -> None:
    answered = [
        {answer.prompt_id for answer in read_cycle(two.run, "answers-", Answer, cycle=cycle)}
        for cycle in (1, 2)
    ]
    assert all(answered)
    assert not answered[0] & answered[1]


def test_set_aside_rows_of_both_cycles_lie_beside_the_dataset(two: TwoCycles) -> None:
    every = {**read_dataset(two.run, "quarantine"), **read_dataset(two.run, "rejected")}
    assert {row["cycle"] for row in every.values()} == {1, 2}
    assert not {*every} & {*read_dataset(two.run)}
    verdicts = read_cycle(two.run, "verdicts-publish", Verdict, cycle=2)
    fallen = {v.subject_id for v in verdicts if v.decision != "accept"}
    assert fallen <= {*every}


def test_lineage_of_a_later_row_leads_to_a_seed_of_the_first_cycle(two: TwoCycles) -> None:
    seeds = {p.id for p in read_cycle(two.run, "prompts-round-0", Prompt)}
    rows = [r for r in read_dataset(two.run).values() if r["cycle"] == 2 and r["root_id"] in seeds]
    assert rows
    page = two.run.place("report.html").read_text()
    assert "cycle 2" in page
    assert '<section class="part" id="versions"' in page


def test_finished_run_needs_the_flag_to_go_on(mine: dict[str, Any], tmp_path: Path) -> None:
    run, printed = conduct_plainly(read_settings(tmp_path / "a.yaml", mine))
    assert printed == f"{run.root}: this run is finished; nothing is left to do.\n"
    assert run.manifest.newest == 2


def test_nothing_new_makes_no_version(mine: dict[str, Any], tmp_path: Path) -> None:
    seeds = Path(mine["seeds"]["paths"][0]).read_text().splitlines()
    lines = [line for line in map(json.loads, seeds) if "prompt" in line]
    write_lines(tmp_path / "old.jsonl", lines)
    mine["seeds"] = {"paths": [str(tmp_path / "old.jsonl")]}
    mine["evolve"] = None
    before = read_dataset(open_run(mine))
    run, printed = conduct_plainly(read_settings(tmp_path / "a.yaml", mine), new_cycle=True)
    assert "dataset: nothing new; version 2 stays" in printed.splitlines()
    assert (run.manifest.newest, run.manifest.current, len(run.manifest.versions)) == (3, 2, 2)
    assert read_dataset(run) == before
    assert read_cycle(run, "prompts-round-0", Prompt, cycle=3) == []


def test_new_seed_that_repeats_a_published_prompt_falls(
    mine: dict[str, Any], tmp_path: Path
) -> None:
    run = open_run(mine)
    row = next(r for r in read_dataset(run).values() if '"exact"' in r["check"])
    text = row["prompt"][-1]["content"].replace("? ", "?   ")
    check = json.loads(row["check"])
    again = {"prompt": text, "domain": "maths", "check": check} | LICENSED
    write_lines(tmp_path / "again.jsonl", [again])
    mine |= {"seeds": {"paths": [str(tmp_path / "again.jsonl")]}, "evolve": None}
    run, _ = conduct_plainly(read_settings(tmp_path / "a.yaml", mine), new_cycle=True)
    (seed,) = read_cycle(run, "prompts-round-0", Prompt, cycle=3)
    verdicts = read_cycle(run, "verdicts-dedup", Verdict, cycle=3)
    assert verdicts
    assert {v.reason for v in verdicts} == {"exact_duplicate_prompt"}
    assert {v.evidence for v in verdicts} == {f"repeats {row['prompt_id']}"}
    assert seed.id not in {r["prompt_id"] for r in read_dataset(run).values()}


def test_steered_tasks_are_drawn_less_only_for_other_tasks(finished: Finished) -> None:
    """What weighs more and is no procedural task takes no draws from one."""
    apples = "template:apples"

    def count(weights: dict[str, float]) -> int:
        return sum(kind_of(p) == apples for p in load_all_seeds(finished.config, 2, weights))

    assert count({}) == count({apples: 0.2, "writing": 0.9}) == 6
    assert count({apples: 0.2, "chain_sum": 0.4}) == 3


class Interrupted(Exception):
    """What stops a conductor in the middle of a cycle."""


class StoppingConductor(PlainConductor):
    """Stops after so many jobs of the answering stages."""

    def __init__(self, jobs: int) -> None:
        self.left = jobs

    def carry_out(
        self, stage: Stage, context: JobContext[Any], jobs: Sequence[Job], tick: Tick
    ) -> Iterator[list[FileEntry]]:
        for entries in super().carry_out(stage, context, jobs, tick):
            if stage.name.startswith("answer-"):
                self.left -= 1
                if self.left < 0:
                    raise Interrupted
            yield entries


def test_interrupted_cycle_is_finished_before_another_begins(
    finished: Finished, two: TwoCycles, tmp_path: Path
) -> None:
    shutil.copytree(finished.settings["runs_dir"], tmp_path / "runs")
    settings = copy.deepcopy(finished.settings) | {"runs_dir": str(tmp_path / "runs")}
    config = read_settings(tmp_path / "a.yaml", settings)
    with pytest.raises(Interrupted):
        conduct(config, Console(json=True), StoppingConductor(2), new_cycle=True)
    run = open_run(settings)
    assert run.manifest.cycles["2"].status == "running"
    assert run.manifest.current == 1
    run, _ = conduct_plainly(config, new_cycle=True)
    assert run.manifest.newest == 2
    assert run.manifest.versions[1].hash == two.run.manifest.versions[1].hash


def test_unfinished_cycle_of_other_settings_is_refused(finished: Finished, tmp_path: Path) -> None:
    shutil.copytree(finished.settings["runs_dir"], tmp_path / "runs")
    settings = copy.deepcopy(finished.settings) | {"runs_dir": str(tmp_path / "runs")}
    config = read_settings(tmp_path / "a.yaml", settings)
    with pytest.raises(Interrupted):
        conduct(config, Console(json=True), StoppingConductor(0), new_cycle=True)
    other = read_settings(tmp_path / "b.yaml", settings | {"seed": 9})
    with pytest.raises(RunError) as caught:
        conduct_plainly(other, new_cycle=True)
    assert str(caught.value) == (
        f"{config.root}: this run was begun with another configuration:\n  seed: 0 is now 9\n"
        "Run with --update to redo what these changes touch, or give it another name."
    )


def test_run_of_before_there_were_versions_goes_on(finished: Finished, tmp_path: Path) -> None:
    shutil.copytree(finished.settings["runs_dir"], tmp_path / "runs")
    settings = copy.deepcopy(finished.settings) | {"runs_dir": str(tmp_path / "runs")}
    run = open_run(settings)
    files = {p: e for p, e in run.manifest.files.items() if not p.startswith("versions/")}
    run.update(versions=(), current=None, files=files)
    shutil.rmtree(run.place("versions"))
    run, _ = conduct_plainly(read_settings(tmp_path / "a.yaml", settings), new_cycle=True)
    assert [v.why for v in run.manifest.versions] == ["cycle 1", "cycle 2"]
    assert run.manifest.cycles["2"].base == 1


def test_later_cycle_with_a_student_wants_an_evaluation(
    mine: dict[str, Any], tiny_model_dir: Path, tmp_path: Path
) -> None:
    taught = add_training(mine, tmp_path, tiny_model_dir) | {"evaluate": None}
    with pytest.raises(ConfigError) as caught:
        conduct_plainly(read_settings(tmp_path / "a.yaml", taught), new_cycle=True)
    assert str(caught.value) == (
        "small: evaluate: is missing; a later cycle's student is promoted by what it solves of "
        "held-out prompts: add an evaluate section, or take out train"
    )


def test_students_of_later_cycles(
    mine: dict[str, Any], tiny_model_dir: Path, tmp_path: Path, teacher: Teacher
) -> None:
    """The first one is promoted, for there is none before it; the next waits for enough rows; and
    one that solves no more than the last is not promoted."""
    taught = add_training(mine, tmp_path, tiny_model_dir)
    taught["train"] |= {"max_steps": 4, "save_steps": 4}
    taught["evaluate"] |= {"k_prompts": 0, "text": None, "examples": None}
    run, printed = conduct_plainly(read_settings(tmp_path / "a.yaml", taught), new_cycle=True)
    lines = printed.splitlines()
    assert any(
        line.startswith("student: promoted: there was no student before it (") for line in lines
    )
    assert run.place("student/config.json").exists()
    assert run.place("versions/0003/student/config.json").exists()
    assert run.manifest.cycles["3"].taught_on == 3
    weights = run.place("student/model.safetensors").read_bytes()

    taught["cycles"] = {"train_after": 10_000}
    run, printed = conduct_plainly(read_settings(tmp_path / "a.yaml", taught), new_cycle=True)
    new = run.manifest.versions[3].rows - run.manifest.versions[2].rows
    assert (
        f"train: {new} rows came since the last student was taught; the next one is taught after "
        "10,000 (cycles.train_after)"
    ) in printed.splitlines()
    assert run.place("student/model.safetensors").read_bytes() == weights

    taught["cycles"] = {"train_after": new, "promote": "surely", "steer": True}
    run, printed = conduct_plainly(read_settings(tmp_path / "a.yaml", taught), new_cycle=True)
    assert any(
        line.startswith("student: not promoted; the last one stays: ")
        for line in printed.splitlines()
    )
    assert run.place("cycle-0005/candidate/config.json").exists()
    assert run.place("student/model.safetensors").read_bytes() == weights
    page = run.place("report.html").read_text()
    assert "was not promoted, the last one stays" in page
    assert "The counts are of cycle 5; the dataset is of all cycles." in page
    assert "held back in 5 cycles, each with its reason" in page
    scores = json.loads(run.place("cycle-0005/base-after.json").read_bytes())["by_task"]
    ((task, (tried, right)),) = scores.items()
    assert f"<li>{task}: {format_share((tried - right + 1) / (tried + 2))}</li>" in page

    out = io.StringIO()
    train(read_settings(tmp_path / "a.yaml", taught), Console(out=out, err=out))
    taught_before, *places = out.getvalue().splitlines()[-3:]
    assert taught_before.startswith("nothing to do, it was taught before: 4 steps on ")
    assert places == [
        f"student: {run.place('student')}",
        f"candidate, not promoted: {run.place('cycle-0005/candidate')}",
    ]


def test_worker_opens_the_newest_cycle(mine: dict[str, Any], tmp_path: Path) -> None:
    root = str(open_run(mine).root)
    first, _ = attach_context(root)
    assert attach_context(root)[0] is first
    assert first.cycle == 2
    conduct_plainly(read_settings(tmp_path / "a.yaml", mine), new_cycle=True)
    assert attach_context(root)[0].cycle == 3
