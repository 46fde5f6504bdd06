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
from flows.store import RunDirectory
from flows.versions import compare_versions, rollback
from generators.errors import InputError, RunError
from generators.records import Verdict
from tests.flows.conftest import Finished
from tests.flows.small_run import conduct_plainly, read_cycle, read_settings, rows_of

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
