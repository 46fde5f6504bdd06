"""A run that is looked into, made once; tests that change it take a copy."""

from pathlib import Path

import pytest

from flows.store import RunDirectory
from flows.viewer.database import refresh_database
from tests.flows.viewer.viewed_run import copy_run, make_run


@pytest.fixture(scope="session")
def viewed(tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    """A finished run with a hostile prompt, and its `viewer.db`; tests only read it."""
    run = make_run(tmp_path_factory.mktemp("viewed"))
    refresh_database(run.root)
    return run


@pytest.fixture
def own(viewed: RunDirectory, tmp_path: Path) -> RunDirectory:
    """A copy of it."""
    return copy_run(viewed, tmp_path)
