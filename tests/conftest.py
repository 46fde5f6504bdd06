"""What all tests share: the real small model, and a process that never asks a hub for anything."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from generators.embedded import BUNDLED, locate_model

if TYPE_CHECKING:
    from tests.postgres_server import PostgresServer

# Read when the libraries are imported, so no fixture would be early enough.
os.environ.update(HF_HUB_OFFLINE="1", DO_NOT_TRACK="1")


@pytest.fixture(scope="session")
def small_model_dir() -> Path:
    """The embedded model as an ordinary folder; converted at most once on a machine."""
    return Path(locate_model(BUNDLED))


@pytest.fixture(scope="session")
def tiny_model_dir(small_model_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model's folder; tests read it and leave it as it is."""
    from tests.tiny_model import save_tiny_model

    return save_tiny_model(tmp_path_factory.mktemp("tiny") / "model", small_model_dir)


@pytest.fixture(scope="session")
def postgres() -> "Iterator[PostgresServer]":
    """A PostgreSQL server for the session; its password is in the environment."""
    from tests.postgres_server import PASSWORD, PostgresServer

    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("PGPASSWORD", PASSWORD)
        with PostgresServer() as server:
            yield server
