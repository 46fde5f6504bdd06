"""`tutelage up`, a schedule in its work pool, a kill, and the end of all of it. The server keeps
what it knows in a real PostgreSQL."""

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import psutil
import pytest
from ruamel.yaml import YAML

from flows.local_server import Child, check_database, refuse_taken_port
from generators.errors import ConfigError, RunError
from tests.flows.flow_runs import find_running, wait_for, wait_for_state
from tests.flows.small_run import (
    ROOT,
    describe_run,
    start_command,
    write_config,
)
from tests.flows.teacher import Teacher
from tests.postgres_server import PostgresServer

WRITE = "import sys; open(sys.argv[1], 'a').write(sys.stdin.read())"


class Up(NamedTuple):
    process: subprocess.Popen[str]
    told: dict[str, Any]
    port: int
    home: Path


def find_free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="module")
def up(postgres: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    """Server and worker, and this process's Prefect client turned to them."""
    from prefect.settings import PREFECT_API_URL, temporary_settings

    home, port = tmp_path_factory.mktemp("prefect"), find_free_port()
    database = postgres.make_database().replace("postgresql:", "postgresql+asyncpg:")
    process = start_command(
        *("up", "--port", str(port), "--database", database, "--json"),
        PREFECT_HOME=str(home),
        PREFECT_WORKER_QUERY_SECONDS="1",
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line, process.stderr and process.stderr.read()
        told = json.loads(line)
        with temporary_settings({PREFECT_API_URL: told["api"]}):
            yield Up(process, told, port, home)
    finally:
        process.kill()
        process.wait()


def test_what_is_up_is_told(up: Up) -> None:
    api = f"http://127.0.0.1:{up.port}/api"
    assert up.told["api"] == api
    assert (up.told["ui"], up.told["pool"]) == (f"http://127.0.0.1:{up.port}", "tutelage")
    assert len(up.told["workers"]) == 1
    assert up.told["logs"] == [
        str(up.home / f"tutelage-{name}.log") for name in ("server", "worker-1")
    ]
    assert up.told["closed"] == []
    connection = http.client.HTTPConnection("127.0.0.1", up.port)
    connection.request("GET", "/ui-settings")
    settings = json.loads(connection.getresponse().read())
    connection.close()
    assert settings["api_url"] == api
    assert not (up.home / "prefect.db").exists()


def test_server_listens_on_loopback_alone(up: Up) -> None:
    children = psutil.Process(up.process.pid).children(recursive=True)
    listening = {
        c.laddr.ip
        for child in children
        for c in child.net_connections("tcp")
        if c.status == psutil.CONN_LISTEN
    }
    assert listening == {"127.0.0.1"}


def test_checked_in_deployments_can_be_made(up: Up) -> None:
    from prefect.client.orchestration import get_client

    done = subprocess.run(
        [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all"],
        cwd=ROOT,
        env=os.environ | {"PREFECT_API_URL": up.told["api"], "PREFECT_HOME": str(up.home)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (written,) = YAML(typ="safe").load(ROOT / "prefect.yaml")["deployments"]
    with get_client(sync_client=True) as client:
        made: Any = client.read_deployment_by_name("distill/demo")
    assert made.entrypoint == written["entrypoint"] == "flows.distill.distill"
    assert made.parameters == {"config": "flows/configs/demo.yaml", "new_cycle": True}
    assert made.pull_steps == [
        {"prefect.deployments.steps.set_working_directory": {"directory": str(ROOT)}}
    ]
    assert [s.schedule.cron for s in made.schedules] == ["0 2 * * *"]
    assert (made.work_pool_name, made.global_concurrency_limit.limit) == ("tutelage", 1)
    assert made.concurrency_options.collision_strategy == "CANCEL_NEW"


def test_documented_automations_can_be_made(up: Up) -> None:
    from prefect.events.schemas.automations import AutomationCore
    from prefect.utilities.asyncutils import run_coro_as_sync

    written = YAML(typ="safe").load(ROOT / "docs/automations.yaml")["automations"]

    async def make() -> list[Any]:
        from prefect.client.orchestration import get_client

        async with get_client() as client:
            return [
                await client.create_automation(AutomationCore.model_validate(one))
                for one in written
            ]

    made = run_coro_as_sync(make())
    assert made is not None
    assert len(made) == len(written) == 1


def test_worker_begins_what_is_scheduled_and_tells_of_a_kill(up: Up, tmp_path: Path) -> None:
    """The process of a scheduled run is killed; its worker sees it and closes the run."""
    from flows.console import Console
    from flows.lost_runs import read_mark
    from flows.scheduling import list_schedules, read_timing, schedule_run

    told, console = tmp_path / "told.jsonl", Console(json=True)
    with Teacher(delay_s=0.5) as teacher:
        settings = describe_run(tmp_path, teacher.url) | {"name": "pooled", "evolve": None}
        notify = {"command": [sys.executable, "-c", WRITE, str(told)]}
        file = write_config(tmp_path / "pooled.yaml", settings | {"notify": notify})
        timing = read_timing(None, "5s", "UTC")
        schedule_run(file, timing, console, pool="tutelage")
        wait_for(lambda: len(teacher.asked_since(0)) >= 4, "request")
        schedule_run(file, timing, console, pool="tutelage", paused=True)
        (run,) = find_running()
        mark = read_mark(run)
        assert mark is not None
        assert mark.directory == str(ROOT)
        os.kill(mark.pid, signal.SIGKILL)
        message = wait_for_state(run.id, "Crashed").message
        (line,) = wait_for(lambda: told.exists() and told.read_text().splitlines(), "hook")

    assert message.startswith("Process exited with status code: -9. ")
    event = json.loads(line)
    assert (event["event"], event["flow_run"]) == ("crashed", str(run.id))
    assert (event["run"], event["cycle"]) == (str(tmp_path / "runs/pooled"), 1)
    assert event["message"] == message
    (listed,) = [s for s in list_schedules() if s.deployment == "distill/pooled"]
    assert (listed.paused, listed.last, listed.next) == (True, "Crashed", None)


def test_sigterm_stops_all_of_it(up: Up) -> None:
    """The last test of this file: what was started is gone, and the port is free."""
    children = psutil.Process(up.process.pid).children(recursive=True)
    assert len(children) >= 4  # two guards, the server, the worker
    os.kill(up.process.pid, signal.SIGTERM)
    _, told = up.process.communicate(timeout=60)

    assert (up.process.returncode, told) == (0, "")
    assert [child for child in children if child.is_running()] == []
    refuse_taken_port(up.port)


def test_child_that_ends_is_told_with_its_log(tmp_path: Path) -> None:
    log = tmp_path / "home/tutelage-server.log"
    env = os.environ | {"PREFECT_HOME": str(tmp_path / "home")}
    with ExitStack() as stack:
        child = Child("Prefect's server", ["sever"], env, log)
        stack.callback(child.stop)
        with pytest.raises(RunError) as caught:
            wait_for(lambda: child.check(), "end")
    told = str(caught.value).splitlines()
    assert told[0] == (
        f"Prefect's server ended with exit code 2. The last lines of its log, {log}:"
    )
    assert any("sever" in line for line in told[1:])


def test_taken_port_is_refused() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(RunError) as caught:
            refuse_taken_port(port)
    assert str(caught.value) == (
        f"127.0.0.1:{port} is taken. Is `tutelage up` running already? Choose another port with "
        "--port."
    )


def test_database_that_prefect_cannot_keep() -> None:
    check_database("postgresql+asyncpg://me:secret@127.0.0.1/prefect")
    with pytest.raises(ConfigError) as caught:
        check_database("postgresql://me:secret@127.0.0.1/prefect")
    assert str(caught.value) == (
        "--database: begins with 'postgresql'; Prefect takes postgresql+asyncpg://… or "
        "sqlite+aiosqlite://…"
    )
