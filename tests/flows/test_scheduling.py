"""Schedules on a real Prefect server: what is deployed, what is refused, and what is done."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from flows.console import Console
from flows.store import RunDirectory
from generators.errors import ConfigError, EndpointError, RunError
from tests.flows.conftest import Finished
from tests.flows.flow_runs import wait_for, wait_for_state
from tests.flows.small_run import ROOT, describe_run, start_command, write_config
from tests.flows.teacher import Teacher

CRON_TOLD = (
    "cannot be read: give minute, hour, day of the month, month and day of the week; "
    '"0 2 * * *" is every night at two'
)


@pytest.fixture
def config(finished: Finished, prefect_api: str, tmp_path: Path) -> Path:
    """A configuration whose answers are all journalled already."""
    shutil.copy(finished.config.journal_place, tmp_path)
    changes = {"runs_dir": str(tmp_path), "name": tmp_path.name, "evolve": None}
    settings = finished.settings | changes
    return write_config(tmp_path / "small.yaml", settings)


def read_deployment(name: str) -> Any:
    from prefect.client.orchestration import get_client

    with get_client(sync_client=True) as client:
        return client.read_deployment_by_name(name)


def plan(config: Path, pool: str | None = "tutelage", **options: Any) -> Any:
    from flows.scheduling import read_timing, schedule_run

    times = {"cron": None, "every": None, "timezone": "UTC"}
    times |= {name: options.pop(name) for name in [*times] if name in options}
    timing = read_timing(times["cron"], times["every"], times["timezone"] or "UTC")
    return schedule_run(config, timing, Console(json=True), pool=pool, **options)[0]


@pytest.mark.parametrize(
    ("cron", "every", "timezone", "told"),
    [
        (None, None, "UTC", 'say when, in one way: --cron "0 2 * * *" or --every 10m'),
        ("0 2 * * *", "1h", "UTC", 'say when, in one way: --cron "0 2 * * *" or --every 10m'),
        ("61 * * * *", None, "UTC", f"--cron: '61 * * * *' {CRON_TOLD}"),
        ("every night", None, "UTC", f"--cron: 'every night' {CRON_TOLD}"),
        ("0 0 2 * * *", None, "UTC", f"--cron: '0 0 2 * * *' {CRON_TOLD}"),
        ("0 R * * *", None, "UTC", f"--cron: '0 R * * *' {CRON_TOLD}"),
        (
            *(None, "10 minutes", "UTC"),
            "--every: '10 minutes' cannot be read: give a number and s, m, h or d, as 10m",
        ),
        (
            *(None, "0m", "UTC"),
            "--every: '0m' cannot be read: give a number and s, m, h or d, as 10m",
        ),
        (
            *("0 2 * * *", None, "Mars/Olympus"),
            "--timezone: 'Mars/Olympus' is no time zone, as Europe/Berlin is",
        ),
        (
            *("0 2 * * *", None, "../UTC"),
            "--timezone: '../UTC' is no time zone, as Europe/Berlin is",
        ),
    ],
)
def test_times_that_cannot_be_read(
    cron: str | None, every: str | None, timezone: str, told: str
) -> None:
    from flows.scheduling import read_timing

    with pytest.raises(ConfigError) as caught:
        read_timing(cron, every, timezone)
    assert str(caught.value) == told


def test_deployment_holds_all_that_a_run_needs(config: Path) -> None:
    made = plan(config, cron="0 2 * * *", timezone="Europe/Berlin", name="nightly")

    deployment = read_deployment("distill/nightly")
    assert made.deployment == "distill/nightly"
    assert made.when == ("0 2 * * * (Europe/Berlin)",)
    assert (made.pool, made.paused, made.last) == ("tutelage", False, None)
    assert deployment.entrypoint == "flows.distill.distill"
    assert deployment.parameters == {"config": str(config), "new_cycle": True}
    assert deployment.work_pool_name == "tutelage"
    assert made.directory == str(Path.cwd())
    assert deployment.pull_steps == [
        {"prefect.deployments.steps.set_working_directory": {"directory": str(Path.cwd())}}
    ]
    assert deployment.global_concurrency_limit.limit == 1
    assert deployment.concurrency_options.collision_strategy == "CANCEL_NEW"
    assert [s.schedule.cron for s in deployment.schedules] == ["0 2 * * *"]


def test_scheduling_again_replaces(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from flows.scheduling import list_schedules, unschedule

    first = plan(config, cron="0 2 * * *")
    before = read_deployment(first.deployment)
    monkeypatch.chdir(config.parent)
    second = plan(
        *(Path(config.name), None), every="90m", paused=True, overrides={"runs_dir": "elsewhere"}
    )

    after = read_deployment(second.deployment)
    assert after.id == before.id
    assert (second.when, second.pool, second.paused) == (("every 90m",), None, True)
    assert (after.pull_steps, second.directory) == (None, None)
    assert after.parameters == {
        "config": str(config),
        "new_cycle": True,
        "overrides": {"runs_dir": str(config.parent / "elsewhere")},
    }
    assert second in list_schedules()
    assert unschedule(config.name).removed == (second.deployment,)
    assert second.deployment not in [found.deployment for found in list_schedules()]


def test_run_under_way_ends_well_after_its_schedule_was_removed(config: Path) -> None:
    from prefect.client.orchestration import get_client
    from prefect.states import Completed, Pending, Running

    from flows.scheduling import list_schedules, unschedule

    made = plan(config, cron="0 2 * * *", name="busy")
    with get_client(sync_client=True) as client:
        run = client.create_flow_run_from_deployment(read_deployment(made.deployment).id)
        for state in (Pending(), Running()):
            assert client.set_flow_run_state(run.id, state).status.value == "ACCEPT"
        done = unschedule("busy")
        assert (done.removed, done.ending) == ((), (made.deployment,))
        (left,) = (one for one in list_schedules() if one.deployment == made.deployment)
        assert (left.when, left.next) == ((), None)
        assert client.set_flow_run_state(run.id, Completed()).status.value == "ACCEPT"
        assert client.read_flow_run(run.id).state_name == "Completed"
    assert unschedule("busy").removed == (made.deployment,)


def test_verbs_of_the_command(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from flows import cli

    def tell(*arguments: str) -> tuple[int, list[str]]:
        code = cli.main([*arguments])
        told = capsys.readouterr()
        return code, [line.rstrip() for line in (told.out + told.err).splitlines()]

    at = ["schedule", str(config), "--name", "by-hand", "--pool", "by-hand"]
    assert tell(*at) == (
        2,
        ['tutelage: say when, in one way: --cron "0 2 * * *" or --every 10m'],
    )
    assert tell(*at, "--cron", "0 2 * * *") == (
        0,
        [
            "distill/by-hand begins 0 2 * * * (UTC), by the workers of by-hand",
            "warning: no worker looks into the pool by-hand now: start one with `tutelage up`, or "
            "`prefect worker start --pool by-hand`",
        ],
    )
    code, table = tell("schedules")
    assert (code, table[0]) == (0, "Schedules")
    assert any(line.startswith("distill/by-hand ") and str(config) in line for line in table)
    assert tell("unschedule", "by-hand") == (0, ["removed: distill/by-hand"])
    code, told = tell("unschedule", "by-hand")
    assert (code, told[0].partition(" (")[0]) == (
        1,
        "tutelage: by-hand: nothing is scheduled under this name",
    )


def test_unscheduling_what_is_not_there(config: Path) -> None:
    from flows.scheduling import unschedule

    plan(config, every="1d", name="the-only-one-of-its-name")
    with pytest.raises(RunError) as caught:
        unschedule("nightli")
    told, _, known = str(caught.value).partition(" (schedules: ")
    assert told == "nightli: nothing is scheduled under this name"
    assert "the-only-one-of-its-name" in known.removesuffix(")").split(", ")


def test_a_mistake_in_the_configuration_is_told_first(config: Path) -> None:
    config.write_text(config.read_text().replace('"shard_rows"', '"shard_row"'))
    with pytest.raises(ConfigError) as caught:
        plan(config, every="1h")
    assert str(caught.value).partition(": ")[2] == (
        "shard_row: not a setting (did you mean shard_rows?)"
    )


def test_folder_with_packages_of_our_names_is_refused(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "filters").mkdir()
    (tmp_path / "filters/__init__.py").touch()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError) as caught:
        plan(config, every="1h")
    assert str(caught.value) == (
        f"{tmp_path}: its package filters would be taken for one of tutelage's: type this in "
        "another folder"
    )


def test_pool_of_another_type_is_refused(config: Path) -> None:
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.actions import WorkPoolCreate

    with get_client(sync_client=True) as client:
        client.create_work_pool(WorkPoolCreate(name="boats", type="docker"))
    with pytest.raises(RunError) as caught:
        plan(config, "boats", every="1h")
    assert str(caught.value) == (
        "the work pool boats is of type docker; runs need processes on a machine that has the "
        "configuration: name another pool with --pool"
    )


def test_no_server_is_named(config: Path) -> None:
    from prefect.settings import PREFECT_API_URL, temporary_settings

    from flows.scheduling import list_schedules

    with (
        temporary_settings(restore_defaults={PREFECT_API_URL}),
        pytest.raises(ConfigError) as caught,
    ):
        list_schedules()
    assert str(caught.value) == (
        "a list of schedules needs a Prefect server, and PREFECT_API_URL names none. Start one "
        "with `tutelage up`, and export the line that it prints."
    )


def test_no_server_answers(config: Path) -> None:
    from prefect.settings import PREFECT_API_URL, temporary_settings

    api = "http://127.0.0.1:1/api"
    with temporary_settings({PREFECT_API_URL: api}), pytest.raises(EndpointError) as caught:
        plan(config, every="1h")
    assert str(caught.value) == (
        f"{api}: no Prefect server answers there ([Errno 111] Connection refused). Start one with "
        "`tutelage up`, or correct PREFECT_API_URL."
    )


def test_prefect_tells_nobody_of_itself() -> None:
    """It would when it is imported, at a terminal; so this comes before."""
    told = "os.environ['DO_NOT_TRACK'], os.environ['PREFECT_SERVER_ANALYTICS_ENABLED']"
    source = f"import flows, os, sys; print({told}, 'prefect' in sys.modules)"
    variables = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    done = subprocess.run(
        [sys.executable, "-c", source], env=variables, cwd=ROOT, capture_output=True, text=True
    )
    assert done.stdout == "1 false False\n", done.stderr


@pytest.fixture
def slow_teacher() -> Iterator[Teacher]:
    with Teacher(delay_s=0.15) as server:
        yield server


def test_served_runs_go_to_their_end_and_never_overlap(
    prefect_api: str, slow_teacher: Teacher, tmp_path: Path
) -> None:
    """Two runs are asked for while the server's schedule waits: the second is cancelled."""
    from prefect.client.orchestration import get_client

    settings = describe_run(tmp_path, slow_teacher.url) | {"name": "served", "evolve": None}
    file = write_config(tmp_path / "served.yaml", settings)
    process = start_command(
        *("schedule", str(file), "--every", "1d", "--serve"),
        PREFECT_API_URL=prefect_api,
        PREFECT_RUNNER_POLL_FREQUENCY="1",
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "distill/served begins every 1d, in this process\n"
        assert process.stdout.readline() == "Ctrl-C stops it.\n"
        deployment = read_deployment("distill/served")
        with get_client(sync_client=True) as client:
            first = client.create_flow_run_from_deployment(deployment.id)
            wait_for(lambda: len(slow_teacher.asked_since(0)), "request")
            second = client.create_flow_run_from_deployment(deployment.id)
        assert wait_for_state(second.id, "Cancelled", "Completed").message == (
            "Deployment concurrency limit reached."
        )
        assert wait_for_state(first.id, "Completed", "Failed", "Crashed").name == "Completed"
        os.kill(process.pid, signal.SIGINT)
        _, told = process.communicate(timeout=60)
    finally:
        process.kill()

    assert process.returncode == 0, told
    run = RunDirectory(tmp_path / "runs/served")
    assert run.manifest.cycles["1"].status == "finished"
    assert read_deployment("distill/served").paused is True
