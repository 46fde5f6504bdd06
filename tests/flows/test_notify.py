"""The command that a configuration names is told, once, how its flow ended."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from flows.store import RunDirectory
from tests.flows.small_run import write_config

WRITE = "import sys; open(sys.argv[1], 'a').write(sys.stdin.read())"


def outcome() -> Any:
    from flows.notify import Outcome

    return Outcome(
        event="failed", flow="distill", flow_run="1", flow_run_name="amber-otter", config="a.yaml"
    )


def run(*command: str, timeout_s: float = 60) -> str | None:
    from flows.notify import run_command
    from flows.notify_settings import NotifySettings

    return run_command(NotifySettings(command=command, timeout_s=timeout_s), outcome())


def test_command_reads_one_json_object(tmp_path: Path) -> None:
    told = tmp_path / "told.jsonl"
    assert run(sys.executable, "-c", WRITE, str(told)) is None
    assert json.loads(told.read_text()) == outcome().model_dump(mode="json")


def test_arguments_are_read_by_no_shell(tmp_path: Path) -> None:
    told = tmp_path / "a b; $(touch c)"
    assert run(sys.executable, "-c", WRITE, str(told)) is None
    assert [path.name for path in tmp_path.iterdir()] == ["a b; $(touch c)"]


@pytest.mark.parametrize(
    ("command", "told"),
    [
        (
            ["sh", "-c", "cat >/dev/null; echo no such channel >&2; exit 3"],
            "notify: sh ended with exit code 3: no such channel",
        ),
        (["sh", "-c", "cat >/dev/null; exit 4"], "notify: sh ended with exit code 4"),
        (["sleep", "60"], "notify: sleep was killed: it took longer than 0.2 s"),
        (
            ["./is-not-there"],
            "notify: ./is-not-there cannot be started: [Errno 2] No such file or directory: "
            "'./is-not-there'",
        ),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_what_goes_wrong_with_the_command_is_told(command: list[str], told: str) -> None:
    slow = command[0] == "sleep"
    assert run(*command, timeout_s=0.2 if slow else 60) == told


@pytest.fixture
def settings(copied: dict[str, Any], prefect_api: str, tmp_path: Path) -> dict[str, Any]:
    """A finished run, which tells how its flow ends."""
    notify = {"command": [sys.executable, "-c", WRITE, str(tmp_path / "told.jsonl")]}
    return copied | {"notify": notify}


def distil(settings: dict[str, Any], tmp_path: Path) -> tuple[Any, list[dict[str, Any]]]:
    """Run the flow; its final state, and what was told."""
    from flows.distill import distill

    file = write_config(tmp_path / "small.yaml", settings)
    state: Any = distill(str(file), quiet=True, return_state=True)
    told = tmp_path / "told.jsonl"
    lines = told.read_text().splitlines() if told.exists() else []
    return state, [json.loads(line) for line in lines]


def test_completed_run_is_told_once(settings: dict[str, Any], tmp_path: Path) -> None:
    state, told = distil(settings, tmp_path)

    manifest = RunDirectory(Path(state.result())).manifest
    published = manifest.versions[-1]
    (one,) = told
    assert one.pop("flow_run_name")
    assert one.pop("url").endswith(f"/runs/flow-run/{state.state_details.flow_run_id}")
    assert one == {
        "event": "completed",
        "flow": "distill",
        "flow_run": str(state.state_details.flow_run_id),
        "config": str(tmp_path / "small.yaml"),
        "run": str(tmp_path / "runs/small"),
        "cycle": 1,
        "version": 1,
        "rows": published.rows,
        "message": "",
    }
    assert published.rows > 0


def test_failed_run_is_told_though_its_configuration_is_wrong(
    settings: dict[str, Any], tmp_path: Path
) -> None:
    state, (one,) = distil(settings | {"shard_row": 4}, tmp_path)

    assert state.is_failed()
    assert (one["event"], one["run"], one["version"]) == ("failed", str(tmp_path / "runs/small"), 1)
    assert one["message"].startswith(
        f"Flow run encountered an exception: ConfigError: {tmp_path / 'small.yaml'}:1:"
    )
    assert one["message"].endswith("shard_row: not a setting (did you mean shard_rows?)")


def test_only_the_ends_that_are_named_are_told(settings: dict[str, Any], tmp_path: Path) -> None:
    notify = settings["notify"] | {"on": ["crashed"]}
    state, told = distil(settings | {"notify": notify, "shard_row": 4}, tmp_path)
    assert (state.is_failed(), told) == (True, [])


def test_command_that_fails_leaves_the_run_as_it_is(
    settings: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    state, _ = distil(settings | {"notify": {"command": ["false"]}}, tmp_path)
    assert state.is_completed()
    assert "warning: notify: false ended with exit code 1\n" in capsys.readouterr().err


def test_section_that_cannot_be_read_is_told(
    settings: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    state, _ = distil(settings | {"notify": {"command": []}}, tmp_path)
    assert state.is_failed()
    file = tmp_path / "small.yaml"
    assert f"warning: {file}: notify cannot be read, nobody is told: 1 v" in capsys.readouterr().err
