"""A run leaves `viewer.db` behind, so that it opens at once; it is never what a run fails by."""

import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from flows.store import VIEWER
from flows.viewer.database import digest_manifest, read_digest, refresh_database
from tests.flows.conftest import Finished
from tests.flows.small_run import conduct_plainly, describe_run, read_settings
from tests.flows.teacher import Teacher


def test_finished_run_can_be_looked_into_as_it_stands(finished: Finished) -> None:
    place = finished.run.place(VIEWER)
    assert read_digest(place) == digest_manifest(finished.run.manifest)
    before = place.stat().st_ino
    refresh_database(finished.run.root)
    assert place.stat().st_ino == before


@pytest.fixture
def settings(finished: Finished, teacher: Teacher, tmp_path: Path) -> dict[str, Any]:
    """Those of a run whose answers are in the journal already."""
    shutil.copy(finished.config.journal_place, tmp_path / "journal.sqlite")
    return describe_run(tmp_path, teacher.url) | {"journal": str(tmp_path / "journal.sqlite")}


def test_run_builds_none_where_it_is_told_not_to(settings: dict[str, Any], tmp_path: Path) -> None:
    file = tmp_path / "small.yaml"
    run, _ = conduct_plainly(read_settings(file, settings | {"viewer": False}))
    assert not run.place(VIEWER).exists()

    _, printed = conduct_plainly(read_settings(file, settings))
    assert printed == f"{run.root}: this run is finished; nothing is left to do.\n"
    assert not run.place(VIEWER).exists()


def test_one_that_cannot_be_built_is_a_warning(settings: dict[str, Any], tmp_path: Path) -> None:
    config = read_settings(tmp_path / "small.yaml", settings)
    run, _ = conduct_plainly(config)
    run.place(VIEWER).unlink()
    run.place(VIEWER).mkdir()

    _, printed = conduct_plainly(config, new_cycle=True)

    place, beside = run.place(VIEWER), run.place(f".{os.getpid()}.{VIEWER}")
    assert printed.splitlines()[-1] == (
        f"warning: {place}: could not be built ([Errno 21] Is a directory: '{beside}' -> "
        f"'{place}'); the run is whole without it, and `tutelage inspect {run.root}` tries again"
    )
    assert run.manifest.cycles["2"].status == "finished"
