"""A teacher on loopback, finished small runs that tests only read, and a real Prefect server."""

import copy
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from flows.config import RunConfig
from flows.store import RunDirectory
from tests.flows.annotators import (
    Annotated,
    AnnotatorServer,
    conduct_annotation,
    describe_annotation,
)
from tests.flows.small_run import (
    add_training,
    conduct_plainly,
    describe_run,
    read_settings,
    rows_of,
    write_config,
)
from tests.flows.teacher import Teacher
from tests.generators.loopback import Call
from tests.tiny_model import save_tiny_model


class Finished(NamedTuple):
    """A finished run and what it took."""

    settings: dict[str, Any]
    config: RunConfig
    run: RunDirectory
    requests: list[Call]
    printed: str

    def rows(self) -> list[dict[str, Any]]:
        """The published rows."""
        return rows_of(self.run.place("dataset/train.parquet"))


@pytest.fixture(scope="session")
def teacher() -> Iterator[Teacher]:
    with Teacher() as server:
        yield server


@pytest.fixture(scope="session")
def finished(teacher: Teacher, tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """A whole run without a student; tests read it and leave it as it is."""
    folder = tmp_path_factory.mktemp("finished")
    return finish(describe_run(folder, teacher.url), folder, teacher)


@pytest.fixture(scope="session")
def trained(
    teacher: Teacher, tiny_model_dir: Path, tmp_path_factory: pytest.TempPathFactory
) -> Finished:
    """A whole run with a tiny student that was taught and evaluated."""
    folder = tmp_path_factory.mktemp("trained")
    settings = add_training(describe_run(folder, teacher.url), folder, tiny_model_dir)
    return finish(settings, folder, teacher)


@pytest.fixture(scope="session")
def other_tiny_model_dir(small_model_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A teacher for the tiny student: the same architecture, other weights."""
    return save_tiny_model(tmp_path_factory.mktemp("other") / "model", small_model_dir, seed=1)


@pytest.fixture
def copied(finished: Finished, tmp_path: Path) -> dict[str, Any]:
    """The settings of a finished run of one's own, with its own journal."""
    shutil.copytree(finished.settings["runs_dir"], tmp_path / "runs")
    return copy.deepcopy(finished.settings) | {"runs_dir": str(tmp_path / "runs")}


@pytest.fixture(scope="session")
def annotated(tmp_path_factory: pytest.TempPathFactory) -> Annotated:
    """A whole annotation; tests read it and leave it as it is."""
    folder = tmp_path_factory.mktemp("annotated")
    with AnnotatorServer() as server:
        settings = describe_annotation(folder, server.url)
        run, printed = conduct_annotation(write_config(folder / "faces.yaml", settings))
        return Annotated(settings, run, server.asked(), printed)


def finish(settings: dict[str, Any], folder: Path, teacher: Teacher) -> Finished:
    """Conduct a run to its end, and note what it asked."""
    config = read_settings(folder / "small.yaml", settings)
    before = len(teacher.calls)
    run, printed = conduct_plainly(config)
    return Finished(settings, config, run, teacher.asked_since(before), printed)


@pytest.fixture(scope="session")
def prefect_api() -> Iterator[str]:
    """A Prefect server for the session; its API's URL."""
    os.environ["PREFECT_SERVER_ANALYTICS_ENABLED"] = "false"
    from prefect.settings import PREFECT_API_URL
    from prefect.testing.utilities import prefect_test_harness

    with prefect_test_harness(server_startup_timeout=120):
        yield str(PREFECT_API_URL.value())
