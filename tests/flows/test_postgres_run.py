"""A run whose journal is on PostgreSQL: the same dataset, through a kill of each side."""

from pathlib import Path

import pytest

from flows.stages.publish import hash_dataset
from flows.store import RunDirectory
from flows.work import attach_context
from generators.errors import RunError
from generators.journal_place import make_journal
from tests.flows.conftest import Finished
from tests.flows.kills import run_until
from tests.flows.small_run import conduct_plainly, describe_run, read_settings, write_config
from tests.flows.teacher import Teacher
from tests.flows.test_kill import CONCURRENCY, TRAIN
from tests.flows.test_refusals import find_free_port
from tests.postgres_server import PASSWORD, PostgresServer


def test_run_and_server_are_killed_and_the_dataset_is_the_same(
    finished: Finished, postgres: PostgresServer, tmp_path: Path
) -> None:
    url, outages, whole = postgres.make_database(), [], len(finished.requests)
    with Teacher(delay_s=0.02) as teacher:

        def strike_the_server() -> bool:
            if len(teacher.asked_since(0)) >= whole * 2 // 3 and not outages:
                postgres.kill()
                postgres.start()
                outages.append(len(teacher.asked_since(0)))
            return False

        settings = describe_run(tmp_path, teacher.url) | {"journal": url}
        config = write_config(tmp_path / "small.yaml", settings)
        assert run_until(config, lambda: len(teacher.asked_since(0)) >= whole // 3).code == -9
        assert run_until(config, strike_the_server).code == 0

    asked = len(teacher.asked_since(0))
    assert outages[0] < whole <= asked <= whole + CONCURRENCY
    run = RunDirectory(tmp_path / "runs" / "small")
    assert hash_dataset(run.place(TRAIN)) == hash_dataset(finished.run.place(TRAIN))
    assert run.manifest.config["journal"] == url
    assert not (tmp_path / "runs" / "journal.sqlite").exists()
    kept = [path for path in (tmp_path / "runs").rglob("*") if path.is_file()]
    assert [path for path in kept if PASSWORD.encode() in path.read_bytes()] == []

    # A worker in another process opens the same journal, from what the manifest says.
    context, _ = attach_context(str(run.root))
    with make_journal(finished.config.journal_place) as journal:
        assert context.resources.journal.stats() == journal.stats()
    context.resources.close()


def test_journal_that_cannot_be_reached_stops_the_run_before_it_begins(tmp_path: Path) -> None:
    port = find_free_port()
    url = f"postgresql://me@127.0.0.1:{port}/none"
    with Teacher() as teacher:
        settings = describe_run(tmp_path, teacher.url) | {"journal": url}
        with pytest.raises(RunError) as raised:
            conduct_plainly(read_settings(tmp_path / "small.yaml", settings))
        assert str(raised.value) == (
            f'{url}: connection failed: connection to server at "127.0.0.1", port {port} failed: '
            "Connection refused Is the server running on that host and accepting TCP/IP "
            "connections?; check the URL, and that the server runs and lets this user in; a "
            "password comes from PGPASSWORD or ~/.pgpass"
        )
        assert teacher.asked_since(0) == []

    assert not (tmp_path / "runs" / "small" / "manifest.json").exists()
