"""Flow runs whose process was killed are closed, and no others."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.flows.flow_runs import find_running, wait_for
from tests.flows.small_run import describe_run, start_command, write_config
from tests.flows.teacher import Teacher

WRITE = "import sys; open(sys.argv[1], 'a').write(sys.stdin.read())"


def mark(**changes: Any) -> Any:
    """This process as a flow run would note it, or something unlike it."""
    from flows.lost_runs import mark_process

    return mark_process().model_copy(update=changes)


def test_process_that_was_killed_is_gone() -> None:
    from flows.lost_runs import find_birth, is_gone

    process = subprocess.Popen(["sleep", "600"])
    told = mark(pid=process.pid, born=find_birth(process.pid))
    assert not is_gone(told)
    process.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert is_gone(told)  # it still waits to be waited for
    process.wait()
    assert is_gone(told)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"host": "another"},
        {"machine": "another"},
        {"namespace": "pid:[4711]"},
        {"host": "another", "pid": 2**22 + 1},
        {"namespace": "pid:[4711]", "pid": 2**22 + 1},
        {"boot": "", "pid": 2**22 + 1},
        {"boot": "another", "machine": ""},
    ],
    ids=str,
)
def test_what_lives_or_cannot_be_seen_is_not_gone(changes: dict[str, Any]) -> None:
    from flows.lost_runs import is_gone

    assert not is_gone(mark(**changes))


def test_number_that_another_process_has_now() -> None:
    from flows.lost_runs import is_gone

    assert is_gone(mark(born="1"))
    assert is_gone(mark(pid=2**22 + 1))


def test_machine_that_was_started_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Outside containers only, where a machine's id is its own."""
    from flows import lost_runs

    monkeypatch.setattr(lost_runs, "INITIAL_NAMESPACE", mark().namespace)
    assert lost_runs.is_gone(mark(boot="another", machine=mark().machine)) == bool(mark().machine)
    monkeypatch.setattr(lost_runs, "INITIAL_NAMESPACE", "pid:[4711]")
    assert not lost_runs.is_gone(mark(boot="another"))


def begin_run(name: str, **changes: Any) -> Any:
    """A flow run in state RUNNING that is conducted by this process, or by one unlike it."""
    from prefect import flow
    from prefect.client.orchestration import get_client
    from prefect.states import Running

    from flows.lost_runs import LABEL

    @flow(name="distill")
    def stand_in(config: str) -> None: ...

    with get_client(sync_client=True) as client:
        run = client.create_flow_run(stand_in, parameters={"config": "none.yaml"}, name=name)
        client.set_flow_run_state(run.id, Running())
        begun = client.read_flow_run(run.id)
        told = mark(**{"sitting": begun.run_count} | changes)
        client.update_flow_run_labels(run.id, {LABEL + name: value for name, value in told})
        return run.id


def read_run(id: Any) -> Any:
    from prefect.client.orchestration import get_client

    with get_client(sync_client=True) as client:
        return client.read_flow_run(id)


def test_killed_run_is_closed_and_living_ones_are_not(prefect_api: str, tmp_path: Path) -> None:
    from prefect.client.orchestration import get_client

    from flows.lost_runs import close_lost_runs, read_mark
    from tests.flows.test_distill import list_task_runs

    told = tmp_path / "told.jsonl"
    with Teacher(delay_s=0.5) as teacher:
        settings = describe_run(tmp_path, teacher.url) | {"name": "killed", "evolve": None}
        notify = {"command": [sys.executable, "-c", WRITE, str(told)]}
        file = write_config(tmp_path / "killed.yaml", settings | {"notify": notify})
        process = start_command("run", str(file), PREFECT_API_URL=prefect_api)
        try:
            wait_for(lambda: len(teacher.asked_since(0)) >= 4, "request")
            (running,) = [run for run in find_running() if run.parameters["config"] == str(file)]
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
    others = {
        "mine": begin_run("mine"),
        "far": begin_run("far", host="elsewhere", pid=2**22 + 1),
        "again": begin_run("again", pid=2**22 + 1, sitting=7),
    }

    with get_client(sync_client=True) as client:
        closed = close_lost_runs(client)
        again = close_lost_runs(client)

    assert [run.id for run in closed if run.config == str(file)] == [running.id]
    assert again == []
    found, noted = read_run(running.id), read_mark(running)
    assert noted is not None
    assert (noted.pid, found.state.name) == (process.pid, "Crashed")
    assert found.state.message == (
        f"Its process ({process.pid} on {noted.host}) is gone: it was killed, or the machine was. "
        "What it had committed stays; the next run goes on from there."
    )
    assert {task.state_name for task in list_task_runs(running.id)} <= {"Completed", "Crashed"}
    assert {name: read_run(id).state.name for name, id in others.items()} == dict.fromkeys(
        others, "Running"
    )
    (outcome,) = [json.loads(line) for line in told.read_text().splitlines()]
    assert outcome["event"] == "crashed"
    assert outcome["flow_run"] == str(running.id)
    assert outcome["message"] == found.state.message
    assert outcome["run"] == str(tmp_path / "runs/killed")


def test_each_flow_closes_at_its_start_what_was_left(
    prefect_api: str, copied: dict[str, Any], tmp_path: Path
) -> None:
    from flows.distill import distill

    lost = begin_run("lost", pid=2**22 + 1)
    file = write_config(tmp_path / "small.yaml", copied)
    state: Any = distill(str(file), quiet=True, return_state=True)

    assert state.is_completed()
    assert read_run(lost).state.name == "Crashed"
