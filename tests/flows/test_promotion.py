"""Students over cycles: who is taught, promoted, kept beside a version, and what a kill leaves."""

import copy
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from flows import verbs
from flows.cycle_settings import CycleSettings
from flows.pipeline import conduct
from flows.promotion import judge_candidate
from flows.release import reject
from flows.stages.evaluate import ArmResult
from flows.store import RunDirectory
from flows.versions import find_taught, rollback
from generators.errors import ConfigError, RunError
from tests.flows.conftest import Finished
from tests.flows.small_run import add_training, conduct_plainly, read_settings, rows_of
from tests.flows.test_cycles import Interrupted, StoppingConductor
from tests.flows.test_versions import WHY, Killed, silent
from trainers.evaluate import Estimate, PassScore

WEIGHTS = "student/model.safetensors"


@pytest.fixture(scope="module")
def promoted(
    finished: Finished, tiny_model_dir: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Any]:
    """The settings of a run whose first student came in its second cycle, and where the command was
    killed as soon as that was in its place; it is only copied."""
    folder = tmp_path_factory.mktemp("promoted")
    shutil.copytree(finished.settings["runs_dir"], folder / "runs")
    settings = copy.deepcopy(finished.settings) | {"runs_dir": str(folder / "runs")}
    settings = add_training(settings, folder, tiny_model_dir)
    settings["train"] |= {"max_steps": 2, "save_steps": 2}
    settings["evaluate"] |= {"k_prompts": 0, "text": None, "examples": None}
    settings["cycles"] = {"train_after": 10_000}

    def die(*_: Any) -> None:
        raise Killed

    config = read_settings(folder / "a.yaml", settings)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("flows.promotion.keep_student", die)
        with pytest.raises(Killed):
            conduct_plainly(config, new_cycle=True)
    return settings


@pytest.fixture
def mine(promoted: dict[str, Any], tmp_path: Path) -> dict[str, Any]:
    """The settings of such a run of one's own."""
    shutil.copytree(promoted["runs_dir"], tmp_path / "runs")
    return copy.deepcopy(promoted) | {"runs_dir": str(tmp_path / "runs")}


def open_run(settings: dict[str, Any]) -> RunDirectory:
    return RunDirectory(Path(settings["runs_dir"]) / settings["name"])


def score(right: int, of: int = 10) -> ArmResult:
    correct = {str(i): int(i < right) for i in range(of)}
    passed = PassScore(
        prompts=of,
        samples=1,
        pass_at={1: Estimate(right / of, 0.0, 1.0)},
        correct=correct,
        reasons={},
        truncated=0.0,
        mean_tokens=1.0,
    )
    return ArmResult(
        arm="after", model="m", pass_1=passed, pass_k=None, by_task={"a": (of, right)}, text=None
    )


def test_killed_promotion_is_made_whole(mine: dict[str, Any], tmp_path: Path) -> None:
    run = open_run(mine)
    assert run.place(WEIGHTS).exists()
    assert run.manifest.cycles["2"].taught_on is None
    run, _ = conduct_plainly(read_settings(tmp_path / "a.yaml", mine))
    manifest = run.manifest
    assert manifest.cycles["2"].taught_on == 2
    for name in (WEIGHTS, "evaluation/after.json", "metrics.jsonl"):
        kept = manifest.files[f"versions/0002/{name}"]
        assert kept.sha256 == manifest.files[name].sha256


def test_student_that_is_in_its_place_is_not_judged_against_itself(
    mine: dict[str, Any], tmp_path: Path
) -> None:
    conduct_plainly(read_settings(tmp_path / "a.yaml", mine))
    mine["cycles"] = {"train_after": 3, "promote": "surely"}
    run, printed = conduct_plainly(read_settings(tmp_path / "a.yaml", mine), update=True)
    assert "student: promoted: there was no student before it" in printed
    assert json.loads(run.place("cycle-0002/promotion.json").read_bytes())["promoted"]


def test_cycle_that_teaches_nobody_leaves_the_student(mine: dict[str, Any], tmp_path: Path) -> None:
    run, _ = conduct_plainly(read_settings(tmp_path / "a.yaml", mine))
    weights = run.place(WEIGHTS).read_bytes()
    mine |= {"train": None, "evaluate": None, "evolve": None}
    run, _ = conduct_plainly(read_settings(tmp_path / "a.yaml", mine), new_cycle=True)
    assert run.manifest.cycles["3"].status == "finished"
    assert run.place(WEIGHTS).read_bytes() == weights
    assert {WEIGHTS, "evaluation/after.json"} <= {*run.manifest.files}


def test_later_cycle_cannot_lose_its_evaluation(mine: dict[str, Any], tmp_path: Path) -> None:
    mine["evaluate"] = None
    with pytest.raises(ConfigError) as caught:
        conduct_plainly(read_settings(tmp_path / "a.yaml", mine), update=True)
    assert str(caught.value) == (
        "small: evaluate: is missing; a later cycle's student is promoted by what it solves of "
        "held-out prompts: add an evaluate section, or take out train"
    )


def test_student_taught_anew_is_kept_beside_its_version(trained: Finished, tmp_path: Path) -> None:
    shutil.copytree(trained.settings["runs_dir"], tmp_path / "runs")
    settings = copy.deepcopy(trained.settings) | {"runs_dir": str(tmp_path / "runs")}
    run, row = open_run(settings), min(row["id"] for row in trained.rows())
    first = run.place(WEIGHTS).read_bytes()
    reject(run.root, [row], WHY, silent())
    config = read_settings(tmp_path / "a.yaml", settings)
    verbs.train(config, silent())
    verbs.evaluate(config, silent())
    second = run.place(WEIGHTS).read_bytes()
    assert second != first
    assert run.manifest.cycles["1"].taught_on == 2
    scores = run.place("evaluation/after.json").read_bytes()
    assert run.place("versions/0002/evaluation/after.json").read_bytes() == scores
    rollback(run.root, 1, silent())
    assert run.place(WEIGHTS).read_bytes() == first
    rollback(run.root, 2, silent())
    assert run.place(WEIGHTS).read_bytes() == second


def test_rollback_takes_the_student_of_that_line_of_versions(
    mine: dict[str, Any], tmp_path: Path
) -> None:
    """Version 3 goes on from version 1, so the student of version 2 is not of its time."""
    run, _ = conduct_plainly(read_settings(tmp_path / "a.yaml", mine))
    rollback(run.root, 1, silent())
    mine |= {"train": None, "evaluate": None, "evolve": None}
    run, _ = conduct_plainly(read_settings(tmp_path / "a.yaml", mine), new_cycle=True)
    assert [find_taught(run.manifest, n) for n in (1, 2, 3)] == [None, 2, None]


def test_nobody_decides_in_a_cycle_that_has_not_published(
    finished: Finished, tmp_path: Path
) -> None:
    shutil.copytree(finished.settings["runs_dir"], tmp_path / "runs")
    settings = copy.deepcopy(finished.settings) | {"runs_dir": str(tmp_path / "runs")}
    config = read_settings(tmp_path / "a.yaml", settings)
    with pytest.raises(Interrupted):
        conduct(config, silent(), StoppingConductor(2), new_cycle=True)
    run = open_run(settings)
    row = rows_of(run.place("dataset/train.parquet"))[0]["id"]
    with pytest.raises(RunError) as caught:
        reject(run.root, [row], WHY, silent())
    assert str(caught.value) == (
        f"{run.root}: cycle 2 was interrupted before it had published. Finish it first: tutelage "
        "run CONFIG"
    )
    assert len(run.manifest.versions) == 1


@pytest.mark.parametrize(
    ("promote", "right", "last", "promoted"),
    [
        ("better", 6, 5, True),
        ("better", 5, 5, False),
        ("surely", 6, 5, False),
        ("surely", 10, 0, True),
        ("surely", 0, None, True),
    ],
)
def test_candidate_is_promoted_by_what_it_solves(
    promote: Any, right: int, last: int | None, promoted: bool
) -> None:
    settings = CycleSettings(promote=promote)
    other = None if last is None else score(last)
    decision = judge_candidate(score(right), other, settings, taught_on=2)
    assert (decision.promoted, decision.right, decision.last_right) == (promoted, right, last)
