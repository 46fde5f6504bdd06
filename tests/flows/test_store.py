"""The run directory: all or nothing for each file, and the manifest as the one truth."""

import hashlib
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from flows.store import (
    Cycle,
    FileEntry,
    Manifest,
    RunDirectory,
    copy_folder,
    create_run,
    hold_run,
    read_manifest,
    write_durably,
    write_file,
)
from generators.errors import RunError
from tests.flows.small_run import ROOT

BEGUN = Cycle(status="running", started=datetime(2026, 1, 1, tzinfo=UTC))


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    manifest = Manifest(name="r", config_digest="d", config={}, cycles={"1": BEGUN})
    return create_run(tmp_path / "r", manifest)


def write(
    run: RunDirectory, path: str, text: str, *, stage: str = "s", key: str = "k"
) -> FileEntry:
    return write_file(run.root, path, lambda p: p.write_text(text), stage=stage, key=key)


def list_files(root: Path) -> list[str]:
    return sorted(p.relative_to(root).as_posix() for p in root.rglob("*") if p.is_file())


def test_entry_describes_the_file(run: RunDirectory) -> None:
    entry = write(run, "cycle-0001/a.txt", "blue")

    assert run.place("cycle-0001/a.txt").read_text() == "blue"
    sha256 = hashlib.sha256(b"blue").hexdigest()
    expected = {"path": "cycle-0001/a.txt", "sha256": sha256, "bytes": 4, "stage": "s", "key": "k"}
    assert entry.model_dump() == expected


def test_file_counts_only_when_committed(run: RunDirectory) -> None:
    entry = write(run, "a.txt", "blue")
    assert not run.has(["a.txt"], "k")

    run.commit([entry])

    assert RunDirectory(run.root).has(["a.txt"], "k")
    assert not run.has(["a.txt"], "other")
    assert not run.has(["a.txt", "b.txt"], "k")


def test_files_of_a_stage_are_in_the_order_of_their_names(run: RunDirectory) -> None:
    run.commit([write(run, name, name) for name in ("b.txt", "c.txt", "a.txt")])
    run.commit([write(run, "0.txt", "", stage="other")])

    assert run.files("s") == [run.place(f"{name}.txt") for name in "abc"]


def test_failing_writer_leaves_nothing(tmp_path: Path) -> None:
    def fail(path: Path) -> None:
        path.write_text("half")
        raise OSError("no more")

    with pytest.raises(OSError) as caught:
        write_durably(tmp_path / "new" / "a.txt", fail)
    assert str(caught.value) == "no more"

    assert list_files(tmp_path) == []


def test_failing_writer_leaves_the_old_file(tmp_path: Path) -> None:
    def stop(path: Path) -> None:
        path.write_text("half")
        raise KeyboardInterrupt

    (tmp_path / "a.txt").write_text("whole")
    with pytest.raises(KeyboardInterrupt):
        write_durably(tmp_path / "a.txt", stop)

    assert list_files(tmp_path) == ["a.txt"]
    assert (tmp_path / "a.txt").read_text() == "whole"


def test_copied_folder_replaces_the_old_one_whole(run: RunDirectory, tmp_path: Path) -> None:
    source = tmp_path / "model"
    (source / "deep").mkdir(parents=True)
    (source / "deep" / "b").write_text("new")
    (source / "a").write_text("new")
    run.place("student").mkdir()
    run.place("student/stale").write_text("old")

    entries = copy_folder(run.root, source, "student", stage="train", key="k")

    assert [entry.path for entry in entries] == ["student/a", "student/deep/b"]
    assert list_files(run.root) == ["manifest.json", "student/a", "student/deep/b"]


def test_folder_that_cannot_be_copied_leaves_the_old_one(run: RunDirectory, tmp_path: Path) -> None:
    run.place("student").mkdir()
    run.place("student/whole").write_text("old")

    with pytest.raises(FileNotFoundError) as caught:
        copy_folder(run.root, tmp_path / "nothing", "student", stage="train", key="k")
    assert caught.value.filename == str(tmp_path / "nothing")

    assert list_files(run.root) == ["manifest.json", "student/whole"]


def test_sweep_removes_only_what_is_not_listed(run: RunDirectory) -> None:
    run.commit([write(run, "cycle-0001/a.txt", "kept")])
    for leftover in ("cycle-0001/.7.b.txt", "b.txt", "training.txt", ".8.student/model.bin"):
        write(run, leftover, "leftover")
    write(run, "training/abc/output/checkpoints/checkpoint-5/model.bin", "checkpoint")
    with hold_run(run.root):
        swept = run.sweep()

    assert swept == [".8.student/model.bin", "b.txt", "cycle-0001/.7.b.txt", "training.txt"]
    assert list_files(run.root) == [
        ".lock",
        "cycle-0001/a.txt",
        "manifest.json",
        "training/abc/output/checkpoints/checkpoint-5/model.bin",
    ]
    assert not run.place(".8.student").exists()


def test_keep_only_drops_the_past_of_one_stage(run: RunDirectory) -> None:
    run.commit([write(run, "new", "", key="2"), write(run, "old", "", key="1")])
    run.commit([write(run, "other", "", stage="t", key="1")])

    run.keep_only("s", {"2"})

    assert sorted(run.manifest.files) == ["new", "other"]
    assert list_files(run.root) == ["manifest.json", "new", "other"]


def test_keep_stages_drops_stages_that_are_no_more(run: RunDirectory) -> None:
    run.commit([write(run, name, "", stage=name) for name in ("seeds", "train", "report")])

    run.keep_stages(iter(["seeds", "report", "evolve-1"]))

    assert sorted(run.manifest.files) == ["report", "seeds"]
    assert list_files(run.root) == ["manifest.json", "report", "seeds"]


def test_seconds_add_up_over_sittings(run: RunDirectory) -> None:
    run.add_seconds("evolve-1", 1.25)
    run.add_seconds("evolve-1", 2.5)
    run.add_seconds("check", 0.5)

    assert run.manifest.seconds == {"evolve-1": 3.75, "check": 0.5}


def test_no_manifest_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(RunError) as caught:
        read_manifest(tmp_path / "r")

    assert str(caught.value) == (
        f"{tmp_path}/r: not a run directory (no manifest.json). Start one with: tutelage run CONFIG"
    )


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{", "Invalid JSON: EOF while parsing an object at line 1 column 1"),
        ('{"version": 2}', "Input should be 1"),
    ],
    ids=["cut", "other version"],
)
def test_damaged_manifest_is_told(tmp_path: Path, text: str, reason: str) -> None:
    (tmp_path / "manifest.json").write_text(text)

    with pytest.raises(RunError) as caught:
        read_manifest(tmp_path)

    assert str(caught.value) == (
        f"{tmp_path}/manifest.json: cannot be understood: {reason}. It was edited or written by "
        "another version; move the run directory away."
    )


HOLD = "import sys; from flows.store import *; hold_run(Path(sys.argv[1])).__enter__(); print('in')"


def test_run_is_held_by_one_process(tmp_path: Path) -> None:
    root = tmp_path / "r"
    with hold_run(root), pytest.raises(RunError) as caught, hold_run(root):
        pass
    assert str(caught.value) == (
        f"{root}: another process is working on this run. Wait for it, or give this run another "
        "name in its configuration."
    )

    command = [sys.executable, "-c", HOLD, str(root)]
    with hold_run(root):
        refused = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    let_in = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)

    assert (refused.stdout, let_in.stdout) == ("", "in\n")
    assert "another process is working on this run" in refused.stderr
