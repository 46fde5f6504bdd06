"""kill -9 at any moment, then the same command again: nothing lost, doubled or paid for twice."""

import shutil
import signal
from collections import Counter
from pathlib import Path

import pytest

from flows.stages.publish import hash_dataset
from flows.store import FileEntry, RunDirectory
from tests.flows.conftest import Finished
from tests.flows.kills import Moment, run_to_its_end, run_until, strike
from tests.flows.small_run import (
    conduct_plainly,
    describe_run,
    read_settings,
    rows_of,
    write_config,
)
from tests.flows.teacher import LABELS, Teacher
from trainers.metrics import read_metrics

TRAIN = "dataset/train.parquet"
CONCURRENCY = 4


def test_kills_in_the_middle_of_generation(finished: Finished, tmp_path: Path) -> None:
    moments = (60, 120, *(len(LABELS) + n for n in (12, 35, 58, 81, 104, 127)))
    with Teacher(delay_s=0.02) as teacher:
        config = write_config(tmp_path / "small.yaml", describe_run(tmp_path, teacher.url))
        exits = [
            run_until(config, lambda m=moment: len(teacher.asked_since(0)) >= m).code
            for moment in moments
        ]
        assert exits == [-signal.SIGKILL] * len(moments)
        assert run_to_its_end(config).code == 0

    run = RunDirectory(tmp_path / "runs" / "small")
    assert hash_dataset(run.place(TRAIN)) == hash_dataset(finished.run.place(TRAIN))
    ids = [row["id"] for row in rows_of(run.place(TRAIN))]
    assert Counter(ids) == Counter(row["id"] for row in rows_of(finished.run.place(TRAIN)))
    extra = len(teacher.asked_since(0)) - len(finished.requests)
    assert 0 <= extra <= len(moments) * CONCURRENCY
    for name in ("quarantine", "rejected"):
        paths = [r.place(f"dataset/{name}.parquet") for r in (run, finished.run)]
        assert hash_dataset(paths[0]) == hash_dataset(paths[1])


MAKING = (
    Moment("file writes", 1),
    Moment("journal writes", 1),
    Moment("journal writes", 4),
    Moment("file writes", 5),
)
"""The first manifest, the journal in the making, answers on their way into it, a stage's file."""


def test_kills_at_the_very_moment_of_a_write(finished: Finished, tmp_path: Path) -> None:
    with Teacher() as teacher:
        config = write_config(tmp_path / "small.yaml", describe_run(tmp_path, teacher.url))
        run = RunDirectory(tmp_path / "runs" / "small")
        hits = [strike(config, moment, run.root, teacher) for moment in MAKING]
        assert [hit.ended.was_killed for hit in hits] == [True] * len(MAKING)
        assert hits[0].committed == ""
        assert run_to_its_end(config).code == 0

    for name in ("train", "quarantine", "rejected"):
        paths = [r.place(f"dataset/{name}.parquet") for r in (run, finished.run)]
        assert hash_dataset(paths[0]) == hash_dataset(paths[1])
    extra = len(teacher.asked_since(0)) - len(finished.requests)
    assert 0 <= extra <= len(MAKING) * CONCURRENCY


def test_kill_while_the_first_manifest_is_written(finished: Finished, tmp_path: Path) -> None:
    """The folder holds nothing but what the killed process was writing; it is no stranger's."""
    shutil.copy(finished.config.journal_place, tmp_path)
    config = finished.config.model_copy(update={"runs_dir": str(tmp_path)})
    config.root.mkdir()
    (config.root / ".4711.manifest.json").write_text('{"version": 1, "na')

    run, printed = conduct_plainly(config)

    warning = "warning: removed a leftover of an interrupted run: .4711.manifest.json\n"
    assert warning in printed
    assert files_of(run) == files_of(finished.run)


def files_of(run: RunDirectory) -> list[FileEntry]:
    """All files but the report's, which tells the time, and config.yaml, which tells the place."""
    return [e for e in run.manifest.files.values() if e.stage not in ("report", "config")]


class Crash(BaseException):
    """The process is gone."""


@pytest.mark.parametrize("commits", [0, 3, 11, 20], ids=lambda n: f"after {n} commits")
def test_crash_between_a_file_and_the_manifest(
    finished: Finished, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, commits: int
) -> None:
    """The file is in place, but the manifest does not name it: it is a leftover."""
    shutil.copytree(finished.config.runs_dir, tmp_path, dirs_exist_ok=True)
    shutil.rmtree(tmp_path / "small")
    config = finished.config.model_copy(update={"runs_dir": str(tmp_path)})
    commit, done = RunDirectory.commit, []

    def crash_in_time(run: RunDirectory, entries: list) -> None:
        if len(done) == commits:
            raise Crash
        done.append(commit(run, entries))

    monkeypatch.setattr(RunDirectory, "commit", crash_in_time)
    with pytest.raises(Crash):
        conduct_plainly(config)
    monkeypatch.undo()
    listed = {*RunDirectory(config.root).manifest.files, "manifest.json", ".lock"}
    on_disk = {p.relative_to(config.root).as_posix() for p in config.root.rglob("*.*")}
    leftovers = sorted(on_disk - listed)

    run, printed = conduct_plainly(config)

    warnings = [line for line in printed.splitlines() if line.startswith("warning: ")]
    assert len(leftovers) > 0
    assert warnings == [
        f"warning: removed a leftover of an interrupted run: {path}" for path in leftovers
    ]
    assert files_of(run) == files_of(finished.run)


def test_kill_in_the_middle_of_training(trained: Finished, tmp_path: Path) -> None:
    shutil.copy(trained.config.journal_place, tmp_path)
    settings = trained.settings | {"runs_dir": str(tmp_path)}
    file = write_config(tmp_path / "small.yaml", settings)
    root = tmp_path / "small"

    def is_in_the_middle() -> bool:
        return any(len(read_metrics(f)) >= 13 for f in root.glob("training/*/metrics.jsonl"))

    assert run_until(file, is_in_the_middle).was_killed
    (metrics,) = root.glob("training/*/metrics.jsonl")
    assert 13 <= len(read_metrics(metrics)) < 40
    assert list(metrics.parent.glob("output/checkpoints/checkpoint-*/complete.json"))

    run, printed = conduct_plainly(read_settings(file, settings))

    assert "\ntrain: 40 of 40 in " in printed
    old, new = trained.run.manifest.files, run.manifest.files
    assert new[TRAIN].sha256 == old[TRAIN].sha256
    assert new["student/model.safetensors"].sha256 == old["student/model.safetensors"].sha256
    figures = [
        [(line["step"], line["loss"]) for line in read_metrics(r.place("metrics.jsonl"))]
        for r in (run, trained.run)
    ]
    assert figures[0] == figures[1]
    assert [step for step, _ in figures[0]] == list(range(1, 41))
    assert not run.place("training").exists()
