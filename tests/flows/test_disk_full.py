"""A disk that is full stops a run with one line, and the run goes on when there is room again."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from flows.stages.publish import hash_dataset
from tests.flows.conftest import Finished
from tests.flows.small_run import ROOT, describe_run, write_config
from tests.flows.teacher import Teacher

SCRIPT = """
mount -t tmpfs -o size={size} tmpfs {disk} || exit 90
{prepare}
{python} -c '{program}' run {config} --no-prefect --runs-dir {disk} --json || exit 91
cp {disk}/small/dataset/train.parquet {disk}.parquet
"""
"""A disk of its own needs a namespace of its own, which `unshare` gives to anybody."""

PROGRAM = """
import subprocess, sys
from flows.cli import main
print(main())
subprocess.run(["mount", "-o", "remount,size=50m", "{disk}"], check=True)
sys.exit(main())
"""
"""The command, and again when there is room; in one process, to import everything once."""

MESSAGES = {
    "RunError": "{disk}/journal.sqlite: database or disk is full; make room on that disk and run "
    "again; what was journalled is kept",
    "DiskFull": "disk full: free some space and type the same command again; what is committed "
    "stays",
}
"""Whichever comes first to the end of the disk, the journal or a file of a stage."""


@pytest.mark.parametrize(
    "with_journal",
    [False, True],
    ids=["while answers are journalled", "while files are written"],
)
def test_run_goes_on_when_there_is_room_again(
    finished: Finished, teacher: Teacher, tmp_path: Path, with_journal: bool
) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    config = write_config(tmp_path / "small.yaml", describe_run(tmp_path, teacher.url))
    prepare = f"cp {finished.config.journal_place} {disk}" if with_journal else ""
    # Beside a whole journal and its index there is room for half the files of a run.
    size = Path(finished.config.journal_place).stat().st_size + 160_000
    program = PROGRAM.replace("{disk}", str(disk))
    names = {"prepare": prepare, "program": program, "python": sys.executable, "config": config}
    done = subprocess.run(
        ["unshare", "-rm", "sh", "-c", SCRIPT.format(disk=disk, size=size, **names)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    failed, code, summary = done.stdout.splitlines()
    error = json.loads(failed)["error"]

    assert error["message"] == MESSAGES[error["kind"]].format(disk=disk)
    assert error["kind"] == "DiskFull" or not with_journal
    assert code == "1"
    assert f"tutelage: {error['message']}\n" in done.stderr
    assert "Traceback" not in done.stderr
    assert json.loads(summary)["rows"] == len(finished.rows())
    expected = hash_dataset(finished.run.place("dataset/train.parquet"))
    assert hash_dataset(tmp_path / "disk.parquet") == expected
