"""A managed server's life, with a stand-in for vLLM that starts, dies and hangs on command."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from generators.errors import ConfigError, EndpointError
from generators.vllm_server import Life, ManagedServer, Served, ServeSettings
from tests.generators.vllm_stand_in import is_alive, list_running, make_environment, read_starts

ROOT = Path(__file__).parents[2]
SERVED = Served(model="/models/tiny", name="tiny")


def manage(folder: Path, served: Served = SERVED, **settings: Any) -> ManagedServer:
    python = make_environment(folder)
    return ManagedServer(ServeSettings(python=python, **settings), served, folder / "log")


def reach(server: ManagedServer) -> Life:
    return asyncio.run(server.reach())


def kill(life: Life, log: Path) -> None:
    os.kill(read_starts(log)[-1]["pids"][0], signal.SIGKILL)
    wait_until(lambda: life.state == "ended")


def wait_until(holds: Any, limit_s: float = 20) -> None:
    end = time.monotonic() + limit_s
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_server_is_started_once_and_nothing_of_it_is_left(tmp_path: Path) -> None:
    server = manage(tmp_path, options={"start-s": 0.3})

    async def reach_together() -> list[Life]:
        return list(await asyncio.gather(*(server.reach() for _ in range(8))))

    lives = asyncio.run(reach_together())
    assert {life.state for life in lives} == {"well"}
    assert reach(server) is lives[0]
    assert len(list_running(tmp_path / "log")) == 2
    server.stop()
    assert len(read_starts(tmp_path / "log")) == 1
    assert list_running(tmp_path / "log") == []
    assert lives[0].state == "ended"


def test_stopped_server_starts_anew_when_it_is_asked(tmp_path: Path) -> None:
    server = manage(tmp_path)
    first = reach(server)
    server.stop()
    second = reach(server)
    assert (first.state, second.state, server.restarts) == ("ended", "well", 0)
    server.stop()
    server.stop()
    assert list_running(tmp_path / "log") == []


def test_command_and_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("VLLM_NO_USAGE_STATS", "DO_NOT_TRACK", "HF_HUB_OFFLINE", "VLLM_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    options = {"max_logprobs": None, "--dtype": "auto", "a": True, "b": False, "c": {"d": [1]}}
    options |= {"e": "yes", "f": "no"}  # as YAML gives them
    served = SERVED.model_copy(update={"revision": "main", "key": "sk-1"})
    server = manage(tmp_path, served, options=options, env={"EXTRA": "1", "HF_HUB_OFFLINE": "0"})
    port = reach(server).url.rpartition(":")[2]
    server.stop()
    start = read_starts(tmp_path / "log")[0]
    assert start["argv"] == [
        *("serve", "/models/tiny", "--host", "127.0.0.1", "--served-model-name", "tiny"),
        *("--revision", "main", "--uvicorn-log-level", "warning", "--dtype", "auto", "--a"),
        *("--no-b", "--c", '{"d": [1]}', "--e", "--no-f", "--port", port),
    ]
    assert start["env"] == {
        "VLLM_NO_USAGE_STATS": "1",
        "DO_NOT_TRACK": "1",
        "HF_HUB_OFFLINE": "0",
        "VLLM_API_KEY": "sk-1",
        "EXTRA": "1",
    }


def test_key_that_only_stands_in_our_environment_is_not_the_servers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server would ask our own requests for it, which bear none."""
    monkeypatch.setenv("VLLM_API_KEY", "sk-of-another-server")
    server = manage(tmp_path)
    reach(server)
    server.stop()
    assert "VLLM_API_KEY" not in read_starts(tmp_path / "log")[0]["env"]


def test_what_our_environment_says_of_ourselves_is_not_passed_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that a worker of several starts would find our libraries, and a place among us."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("RANK", "1")
    server = manage(tmp_path)
    reach(server)
    server.stop()
    told = read_starts(tmp_path / "log")[0]["env"]
    assert told.keys().isdisjoint({"PYTHONPATH", "RANK"})


def test_build_for_processors_gets_its_options(tmp_path: Path) -> None:
    python = make_environment(tmp_path, for_cpu=True)
    settings = ServeSettings(python=python, options={"max-num-batched-tokens": 4096})
    server = ManagedServer(settings, SERVED, tmp_path / "log")
    reach(server)
    server.stop()
    argv = read_starts(tmp_path / "log")[0]["argv"]
    assert argv[6:-2] == [
        *("--max-logprobs", "100", "--uvicorn-log-level", "warning"),
        *("--no-enable-chunked-prefill", "--max-num-batched-tokens", "4096"),
    ]


def test_early_death_is_told_with_the_last_lines_of_the_log(tmp_path: Path) -> None:
    (tmp_path / "log").write_text("an older line\n", encoding="utf-8")
    server = manage(tmp_path, options={"no-start": True})
    with pytest.raises(EndpointError) as caught:
        reach(server)
    head, *lines = str(caught.value).splitlines()
    assert head == (
        "vllm serve tiny: ended with exit code 1 before it was ready; see the log, and change "
        f"serve.options or serve.env. The last lines of {tmp_path / 'log'}:"
    )
    assert lines[-1] == "  RuntimeError: Failed to infer device type"
    assert "an older line" not in str(caught.value)
    assert list_running(tmp_path / "log") == []
    with pytest.raises(EndpointError) as caught:
        reach(server)
    assert str(caught.value).splitlines()[0] == head
    assert len(read_starts(tmp_path / "log")) == 1


def test_server_that_does_not_get_well_in_time_is_stopped(tmp_path: Path) -> None:
    server = manage(tmp_path, options={"sick": True}, start_timeout_s=1)
    with pytest.raises(EndpointError) as caught:
        reach(server)
    assert str(caught.value).splitlines()[0] == (
        "vllm serve tiny: was not ready within 1 s; see the log, and change serve.options or"
        f" serve.env. The last lines of {tmp_path}/log:"
    )
    assert list_running(tmp_path / "log") == []


def test_dead_server_is_started_again_so_often_and_no_more(tmp_path: Path) -> None:
    server, log = manage(tmp_path, max_restarts=2), tmp_path / "log"
    lives = []
    for _ in range(3):
        lives.append(reach(server))
        kill(lives[-1], log)
        assert list_running(log) == []
    assert len(set(lives)) == 3
    with pytest.raises(EndpointError) as caught:
        reach(server)
    assert str(caught.value).splitlines()[0] == (
        "vllm serve tiny: ended with exit code 137; it was started again 2 times already "
        f"(max_restarts); see the log for what kills it. The last lines of {log}:"
    )
    assert len(read_starts(log)) == 3
    notes = [line for line in log.read_text().splitlines() if line.startswith("tutelage: ")]
    assert notes == [
        "tutelage: the server ended with exit code 137; start 2",
        "tutelage: the server ended with exit code 137; start 3",
    ]


def test_server_that_will_not_end_is_killed(tmp_path: Path) -> None:
    server = manage(tmp_path, options={"ignore-term": True}, stop_timeout_s=0.5)
    reach(server)
    started = time.monotonic()
    server.stop()
    assert 0.5 < time.monotonic() - started < 10
    assert list_running(tmp_path / "log") == []


SCRIPT = """
import asyncio, sys, time
from pathlib import Path
from generators.vllm_server import ManagedServer, Served, ServeSettings
settings = ServeSettings(python=sys.argv[1])
server = ManagedServer(settings, Served(model="m", name="tiny"), Path(sys.argv[2]))
asyncio.run(server.reach())
print("well", flush=True)
if sys.argv[3] == "leave":
    sys.exit()
time.sleep(600)
"""


@pytest.mark.parametrize("end", ["leave", "kill", "kill the guard"])
def test_server_does_not_outlive_us(tmp_path: Path, end: str) -> None:
    command = [sys.executable, "-c", SCRIPT, make_environment(tmp_path), tmp_path / "log", end]
    with subprocess.Popen(command, cwd=ROOT, text=True, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "well\n"
        guard = read_starts(tmp_path / "log")[0]["guard"]
        if end == "kill the guard":
            os.kill(guard, signal.SIGKILL)
            wait_until(lambda: not is_alive(read_starts(tmp_path / "log")[0]["pids"][0]))
        if end != "leave":
            process.kill()
    if end != "kill the guard":
        wait_until(lambda: not is_alive(guard))
        assert list_running(tmp_path / "log") == []
    for pid in list_running(tmp_path / "log"):  # what the stand-in itself left behind
        os.kill(pid, signal.SIGKILL)


def test_missing_environment_is_told_before_anything_is_started(tmp_path: Path) -> None:
    server = ManagedServer(ServeSettings(python="nowhere/bin/python"), SERVED, tmp_path / "log")
    for ask in (server.check, lambda: reach(server)):
        with pytest.raises(ConfigError) as caught:
            ask()
        assert str(caught.value) == (
            f"serve.python: nowhere/bin/python: no such file (looked for it from {Path.cwd()}). "
            "`make vllm-cpu` makes .venv-vllm; or name the interpreter of an environment in which "
            "vllm is installed."
        )
    assert not (tmp_path / "log").exists()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        pytest.param(
            {"options": {"port": 1, "host": "x"}},
            "host, port: set by the run itself, take it out",
            id="own",
        ),
        pytest.param(
            {"options": {"served_model_name": "x"}},
            "served-model-name: set by the run itself, take it out",
            id="own name",
        ),
        pytest.param(
            {"options": {"max model": 1}}, "'max model' is no name of an option", id="no name"
        ),
        pytest.param(
            {"options": {"max_model_len": 512, "max-model-len": 1024}},
            "max-model-len: named twice, in two spellings; take one out",
            id="twice",
        ),
        pytest.param(
            {"options": {"hf_token": "hf_1"}},
            "hf-token: would stand on the command line and in the run's directory; take it out "
            "and export HF_TOKEN instead, which is passed on",
            id="token",
        ),
        pytest.param(
            {"env": {"HF_TOKEN": "hf_1", "AWS_SECRET_ACCESS_KEY": "k", "VLLM_TOKENIZERS": "2"}},
            "AWS_SECRET_ACCESS_KEY, HF_TOKEN: would stand in the run's directory; take it out and "
            "export it instead, the environment is passed on (the server's own key is named by "
            "api_key_env)",
            id="secrets",
        ),
    ],
)
def test_settings_that_cannot_be_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError) as caught:
        ServeSettings.model_validate(settings)
    assert [error["msg"] for error in caught.value.errors()] == [f"Value error, {message}"]
