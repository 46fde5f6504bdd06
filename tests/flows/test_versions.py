"""Versions of a dataset: what a person decides makes one, and each can be taken up again."""

import copy
import io
import json
import shutil
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from flows.cli import main
from flows.console import Console
from flows.overrides import OVERRIDES_FILE
from flows.release import reject, release
from flows.stages.publish import hash_dataset
from flows.store import RunDirectory, link_file
from flows.versions import compare_versions, rollback
from generators.errors import InputError, RunError
from generators.records import Verdict
from tests.flows.conftest import Finished
from tests.flows.small_run import (
    LICENSED,
    conduct_plainly,
    read_cycle,
    read_settings,
    rows_of,
)
from tests.json_lines import write_lines

WHY = "read it: not what was asked"


class Two(NamedTuple):
    settings: dict[str, Any]
    run: RunDirectory


@pytest.fixture(scope="module")
def original(finished: Finished, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The settings of a run of two cycles; it is only copied."""
    folder = tmp_path_factory.mktemp("versions")
    shutil.copytree(finished.settings["runs_dir"], folder / "runs")
    settings = copy.deepcopy(finished.settings) | {"runs_dir": str(folder / "runs")}
    conduct_plainly(read_settings(folder / "a.yaml", settings), new_cycle=True)
    return settings


@pytest.fixture
def two(original: dict[str, Any], tmp_path: Path) -> Two:
    """A run of two cycles of one's own."""
    shutil.copytree(original["runs_dir"], tmp_path / "runs")
    settings = copy.deepcopy(original) | {"runs_dir": str(tmp_path / "runs")}
    return Two(settings, RunDirectory(tmp_path / "runs" / settings["name"]))


def silent() -> Console:
    return Console(out=io.StringIO(), err=io.StringIO())


def read_dataset(run: RunDirectory, name: str = "train") -> dict[str, dict[str, Any]]:
    return {row["id"]: row for row in rows_of(run.place(f"dataset/{name}.parquet"))}


def pick(run: RunDirectory, cycle: int, name: str = "train", reason: str | None = None) -> str:
    rows = read_dataset(run, name).values()
    return min(r["id"] for r in rows if r["cycle"] == cycle and reason in (None, r.get("reason")))


@pytest.mark.parametrize("cycle", [1, 2])
def test_rejected_row_leaves_the_dataset(two: Two, cycle: int) -> None:
    run, before = two.run, read_dataset(two.run)
    row = pick(run, cycle)
    (told,) = reject(run.root, [row], WHY, silent())
    assert (told.row, told.decision, told.reason) == (row, "reject", "rejected_by_person")
    after, aside = read_dataset(run), read_dataset(run, "rejected")
    assert {*before} - {*after} == {row}
    assert {*after} <= {*before}
    assert (aside[row]["detector"], aside[row]["evidence"]) == ("person", WHY)
    assert aside[row]["completion"] == before[row]["completion"][-1]["content"]
    version = run.manifest.versions[-1]
    assert (version.number, version.why, version.rows) == (3, "rejected 1 row", len(after))
    (act,) = run.place(OVERRIDES_FILE).read_text().splitlines()
    assert json.loads(act)["decision"] == "reject"


def test_same_rejection_twice_is_one_act(two: Two) -> None:
    row = pick(two.run, 2)
    for _ in range(2):
        reject(two.run.root, [row], WHY, silent())
    assert len(two.run.place(OVERRIDES_FILE).read_text().splitlines()) == 1
    assert len(two.run.manifest.versions) == 3


@pytest.mark.parametrize("cycle", [1, 2])
def test_release_takes_a_rejection_back(two: Two, cycle: int) -> None:
    run, before = two.run, read_dataset(two.run)
    row = pick(run, cycle)
    reject(run.root, [row], WHY, silent())
    (told,) = release(run.root, [row], "read it again", silent())
    assert told.decision == "accept"
    assert read_dataset(run) == before
    reject(run.root, [row], "and again", silent())
    assert row not in read_dataset(run)
    acts = run.place(OVERRIDES_FILE).read_text().splitlines()
    assert [json.loads(act)["decision"] for act in acts] == ["reject", "accept", "reject"]


def test_rejected_row_does_not_come_back_in_another_cycle(two: Two, tmp_path: Path) -> None:
    row = pick(two.run, 1)
    reject(two.run.root, [row], WHY, silent())
    run, _ = conduct_plainly(read_settings(tmp_path / "a.yaml", two.settings), new_cycle=True)
    assert row not in read_dataset(run)
    assert read_dataset(run, "rejected")[row]["reason"] == "rejected_by_person"


def test_rejection_taken_back_in_a_later_cycle(two: Two, tmp_path: Path) -> None:
    row = pick(two.run, 1)
    reject(two.run.root, [row], WHY, silent())
    run, _ = conduct_plainly(read_settings(tmp_path / "a.yaml", two.settings), new_cycle=True)
    (told,) = release(run.root, [row], "it was right after all", silent())
    assert told.decision == "accept"
    assert read_dataset(run)[row]["cycle"] == 1
    assert row not in read_dataset(run, "rejected")


def test_answer_of_an_earlier_cycle_is_released(two: Two) -> None:
    run, before = two.run, read_dataset(two.run)
    row = pick(run, 1, "quarantine", "truncated")
    (told,) = release(run.root, [row], "it ends where it should", silent())
    after = read_dataset(run)
    if told.decision == "accept":
        assert {*after} - {*before} == {row}
        assert (after[row]["cycle"], after[row]["verified_by"]) == (1, "person")
    else:
        assert read_dataset(run, "rejected")[row]["reason"] == told.reason == "surplus"
    assert row not in read_dataset(run, "quarantine")
    assert {*before} <= {*after}
    verdicts = read_cycle(run, "verdicts-release", Verdict, cycle=2)
    assert [(v.subject_id, v.decision) for v in verdicts] == [(row, "accept")]


def test_what_is_not_in_the_dataset_cannot_be_rejected(two: Two) -> None:
    row = pick(two.run, 1, "quarantine", "truncated")
    with pytest.raises(InputError) as caught:
        reject(two.run.root, [row], WHY, silent())
    assert str(caught.value) == (
        f"{row}: is not in the dataset (truncated); only its rows can be rejected"
    )
    with pytest.raises(InputError) as caught:
        reject(two.run.root, ["nobody"], WHY, silent())
    assert str(caught.value) == "nobody: no row of this run; the ids stand in dataset/train.parquet"
    with pytest.raises(InputError) as caught:
        reject(two.run.root, [row], " ", silent())
    assert str(caught.value) == (
        "--why: is empty; say for what reason the row may not stay in the dataset"
    )
    assert not two.run.place(OVERRIDES_FILE).exists()


def test_versions_are_compared(two: Two) -> None:
    run = two.run
    row = pick(run, 1)
    reject(run.root, [row], WHY, silent())
    first, second = (rows_of(run.place(f"versions/000{n}/train.parquet")) for n in (1, 2))
    diff = compare_versions(run, 1, 3)
    assert set(diff.added) == {r["id"] for r in second} - {r["id"] for r in first}
    assert diff.removed == (row,)
    assert diff.removed_for == {"rejected_by_person": 1}
    assert diff.kept == len(first) - 1
    assert sum(diff.added_by["domain"].values()) == len(diff.added)
    back = compare_versions(run, 3, 1)
    assert (set(back.added), set(back.removed)) == ({row}, set(diff.added))


def test_rollback_makes_an_older_version_current(two: Two, tmp_path: Path) -> None:
    run, newest = two.run, read_dataset(two.run)
    rollback(run.root, 1, silent())
    first = rows_of(run.place("versions/0001/train.parquet"))
    assert read_dataset(run) == {row["id"]: row for row in first}
    assert run.manifest.current == 1
    assert hash_dataset(run.place("dataset/train.parquet")) == run.manifest.versions[0].hash
    assert len(rows_of(run.place("versions/0002/train.parquet"))) == len(newest)
    rollback(run.root, 2, silent())
    assert read_dataset(run) == newest


def test_cycle_behind_a_rollback_goes_on_from_it(two: Two, tmp_path: Path) -> None:
    rollback(two.run.root, 1, silent())
    first = read_dataset(two.run)
    run, _ = conduct_plainly(read_settings(tmp_path / "a.yaml", two.settings), new_cycle=True)
    rows = read_dataset(run)
    assert run.manifest.cycles["3"].base == 1
    assert {id: row for id, row in rows.items() if row["cycle"] == 1} == first
    assert {row["cycle"] for row in rows.values()} == {1, 3}
    assert run.manifest.versions[-1].number == run.manifest.current == 3


def test_nobody_decides_about_a_dataset_that_is_rolled_back(two: Two) -> None:
    root = two.run.root
    rollback(root, 1, silent())
    with pytest.raises(RunError) as caught:
        reject(root, [pick(two.run, 1)], WHY, silent())
    assert str(caught.value) == (
        f"{root}: the dataset is rolled back to version 1. Go on from it with: tutelage run CONFIG "
        f"--new-cycle\nor take the newest one first: tutelage rollback {root} 2"
    )


def test_commands_tell_the_versions(two: Two, capsys: pytest.CaptureFixture[str]) -> None:
    root = str(two.run.root)
    rows = [version.rows for version in two.run.manifest.versions]
    assert main(["versions", root, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["current"] == 2
    assert [version["rows"] for version in told["versions"]] == rows
    assert main(["versions", root]) == 0
    assert "2 (current)" in capsys.readouterr().out
    assert main(["diff", root]) == 0
    first = capsys.readouterr().out.splitlines()[0]
    added = rows[1] - rows[0]
    assert first == f"version 1 to 2: {added} rows added, 0 removed, {rows[0]} kept"
    assert main(["rollback", root, "7"]) == 1
    assert capsys.readouterr().err == ("tutelage: small: there is no version 7 (versions: 1, 2)\n")
    assert main(["rollback", root, "2"]) == 0
    assert capsys.readouterr().out == f"{root}: version 2 is the current one already.\n"


def test_one_version_is_not_compared(
    finished: Finished, capsys: pytest.CaptureFixture[str]
) -> None:
    root = str(finished.run.root)
    assert main(["diff", root]) == 1
    assert capsys.readouterr().err == (
        f"tutelage: {root}: has 1 version, and two are compared. Add one with: tutelage run CONFIG "
        "--new-cycle\n"
    )


def place_of(run: RunDirectory, row: str) -> list[str]:
    """In which of the tables a row is."""
    return [n for n in ("train", "quarantine", "rejected") if row in read_dataset(run, n)]


@pytest.mark.parametrize("cycle", [1, 2])
def test_row_that_is_rejected_a_second_time_lies_among_the_rejected(two: Two, cycle: int) -> None:
    run, row = two.run, pick(two.run, cycle)
    reject(run.root, [row], WHY, silent())
    release(run.root, [row], "read it again", silent())
    (told,) = reject(run.root, [row], "and again", silent())
    assert (told.decision, place_of(run, row)) == ("reject", ["rejected"])
    assert read_dataset(run, "rejected")[row]["evidence"] == "and again"
    assert read_dataset(run, "rejected")[row]["cycle"] == cycle


def test_row_that_stands_rejected_is_not_released_by_an_older_act(two: Two, tmp_path: Path) -> None:
    row = pick(two.run, 1)
    reject(two.run.root, [row], WHY, silent())
    release(two.run.root, [row], "read it again", silent())
    reject(two.run.root, [row], "and again", silent())
    run, _ = conduct_plainly(read_settings(tmp_path / "a.yaml", two.settings), new_cycle=True)
    assert place_of(run, row) == ["rejected"]
    assert read_cycle(run, "verdicts-release", Verdict, cycle=3) == []


def test_earlier_answer_is_released_though_samplers_have_other_names(
    two: Two, tmp_path: Path
) -> None:
    names = {"cheap": "quick", "dear": "slow"}
    for sampler in two.settings["answer"]["samplers"]:
        sampler["name"], sampler["n"] = names[sampler["name"]], 1
    run, _ = conduct_plainly(read_settings(tmp_path / "a.yaml", two.settings), new_cycle=True)
    published = {row["prompt_id"] for row in read_dataset(run).values()}
    aside = read_dataset(run, "quarantine").values()
    row = next(
        r["id"]
        for r in aside
        if r["reason"] == "truncated" and r["cycle"] == 1 and r["prompt_id"] not in published
    )
    (told,) = release(run.root, [row], "it ends where it should", silent())
    assert told.decision == "accept"
    assert read_dataset(run)[row]["confidence"] == 0.0


def test_earlier_answer_is_released_where_difficulty_is_measured(two: Two, tmp_path: Path) -> None:
    sampling = {"temperature": 0.7, "max_tokens": 50}
    two.settings["difficulty"] = {"model": "weak", "k": 2, "band": [0.0, 1.0], "sampling": sampling}
    run, _ = conduct_plainly(read_settings(tmp_path / "a.yaml", two.settings), new_cycle=True)
    row = pick(run, 1, "quarantine", "truncated")
    release(run.root, [row], "it ends where it should", silent())
    assert len(place_of(run, row)) == 1
    graded = read_cycle(run, "verdicts-difficulty", Verdict, cycle=3)
    assert row in {verdict.subject_id for verdict in graded}


def test_what_a_cycle_without_rows_set_aside_outlasts_a_rollback(two: Two, tmp_path: Path) -> None:
    row = next(r for r in read_dataset(two.run).values() if '"exact"' in r["check"])
    text = row["prompt"][-1]["content"].replace("? ", "?   ")
    again = {"prompt": text, "domain": "maths", "check": json.loads(row["check"])} | LICENSED
    write_lines(tmp_path / "again.jsonl", [again])
    two.settings["seeds"] = {"paths": [str(tmp_path / "again.jsonl")]}
    two.settings["evolve"] = None
    run, _ = conduct_plainly(read_settings(tmp_path / "a.yaml", two.settings), new_cycle=True)
    assert (run.manifest.newest, run.manifest.current) == (3, 2)
    fallen = {v.subject_id for v in read_cycle(run, "verdicts-dedup", Verdict, cycle=3)}
    assert fallen
    rollback(run.root, 1, silent())
    rollback(run.root, 2, silent())
    assert fallen <= {*read_dataset(run, "rejected")}


class Killed(Exception):
    """What stops a command between two of its steps."""


def test_killed_rollback_harms_nothing(
    two: Two, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, linked = two.run, 0
    before = {name: read_dataset(run, name) for name in ("train", "quarantine", "rejected")}

    def link(*arguments: Any, **named: Any) -> Any:
        nonlocal linked
        linked += 1
        if linked == 2:
            raise Killed
        return link_file(*arguments, **named)

    with monkeypatch.context() as patched:
        patched.setattr("flows.versions.link_file", link)
        with pytest.raises(Killed):
            rollback(run.root, 1, silent())
    assert read_dataset(run) != before["train"]  # the first of its files is there already
    assert run.manifest.current == 2
    run, _ = conduct_plainly(read_settings(tmp_path / "a.yaml", two.settings))
    assert {name: read_dataset(run, name) for name in before} == before


def test_cycle_begins_with_the_current_version_whatever_a_killed_command_left(
    two: Two, tmp_path: Path
) -> None:
    run = two.run
    shutil.copyfile(run.place("versions/0001/train.parquet"), tmp_path / "train.parquet")
    (tmp_path / "train.parquet").replace(run.place("dataset/train.parquet"))
    run, _ = conduct_plainly(read_settings(tmp_path / "a.yaml", two.settings), new_cycle=True)
    assert run.manifest.cycles["3"].base == 2
    (second, third) = (rows_of(run.place(f"versions/000{n}/train.parquet")) for n in (2, 3))
    assert {row["id"] for row in second} <= {row["id"] for row in third}
