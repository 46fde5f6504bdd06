"""Hooks of the flows: what `notify` in a configuration names is told how the run ended.

Prefect calls a hook when a flow run has come to a state: on_completion and on_failure in the
process of the flow, on_crashed there or in the worker that saw its process die. The command gets
one JSON object (`Outcome`) on its stdin. Whatever goes wrong with it is logged and told on stderr
and never touches the run. Only the section `notify` is read here, so that a run which failed over
its configuration is told of too.
"""

import os
import signal
import subprocess
from pathlib import Path
from typing import Any

from prefect.logging.loggers import flow_run_logger
from prefect.utilities.urls import url_for
from pydantic import ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from flows.console import Console
from flows.notify_settings import Event, NotifySettings
from flows.store import MANIFEST, read_manifest
from flows.untrusted_text import show_plainly
from generators.errors import RunError
from generators.records import Record

TAIL = 300
"""Characters of what a failed command wrote that are told."""


class Outcome(Record):
    """What the command is told, as JSON."""

    event: Event
    flow: str
    """`distill`, `annotate`, `classify` or `teach`."""
    flow_run: str
    """Prefect's id of the flow run."""
    flow_run_name: str
    config: str
    """The configuration's file."""
    run: str | None = None
    """The run directory; None where the run did not come so far."""
    cycle: int | None = None
    version: int | None = None
    """The published version of the dataset, with its rows; None before there is one."""
    rows: int | None = None
    message: str = ""
    """What Prefect says of the state: the error, where there is one."""
    url: str | None = None
    """The flow run's page, where the server has one."""


def on_completion(flow: Any, flow_run: Any, state: Any) -> None:
    """Tell that a flow run has come to its end."""
    notify("completed", flow.name, flow_run, state.message)


def on_failure(flow: Any, flow_run: Any, state: Any) -> None:
    """Tell that a flow run has failed."""
    notify("failed", flow.name, flow_run, state.message)


def on_crashed(flow: Any, flow_run: Any, state: Any) -> None:
    """Tell that a flow run was interrupted, or its process killed."""
    notify("crashed", flow.name, flow_run, state.message)


HOOKS: dict[str, Any] = {
    "on_completion": [on_completion],
    "on_failure": [on_failure],
    "on_crashed": [on_crashed],
}
"""The arguments of `prefect.flow` that make a flow tell its end."""


def notify(
    event: Event, flow: str, flow_run: Any, message: str | None, directory: Path = Path()
) -> None:
    """Start the command that the run's configuration names for this end; raises nothing that the
    command or the configuration may cause. `directory` is where the run works."""
    file = (directory / str(flow_run.parameters.get("config", ""))).absolute()
    try:
        given = YAML(typ="safe", pure=True).load(file.read_text(encoding="utf-8"))
        section = given.get("notify") if isinstance(given, dict) else None
        if section is None:
            return
        settings = NotifySettings.model_validate(section)
    except (OSError, UnicodeDecodeError, YAMLError, ValidationError) as error:
        _warn(flow_run, f"{file}: notify cannot be read, nobody is told: {_first_line(error)}")
        return
    if event in settings.on:
        place = directory / _locate(given, flow_run.parameters.get("overrides") or {})
        outcome = _describe(event, flow, flow_run, message, file, place.absolute())
        if fault := run_command(settings, outcome, directory):
            _warn(flow_run, fault)


def run_command(settings: NotifySettings, outcome: Outcome, directory: Path = Path()) -> str | None:
    """Run the command to its end, or kill it, with all it has started, after its time; what went
    wrong, if anything did."""
    called = f"notify: {settings.command[0]}"
    try:
        process = subprocess.Popen(
            settings.command,
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            errors="replace",
            cwd=directory,
            start_new_session=True,
        )
    except (OSError, ValueError) as error:
        return f"{called} cannot be started: {_first_line(error)}"
    with process:
        try:
            _, said = process.communicate(outcome.model_dump_json() + "\n", settings.timeout_s)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            return f"{called} was killed: it took longer than {settings.timeout_s:g} s"
    if process.returncode == 0:
        return None
    said = show_plainly(said.strip()[-TAIL:])
    return f"{called} ended with exit code {process.returncode}" + (f": {said}" if said else "")


def _describe(
    event: Event, flow: str, flow_run: Any, message: str | None, config: Path, place: Path
) -> Outcome:
    outcome = Outcome(
        event=event,
        flow=flow,
        flow_run=str(flow_run.id),
        flow_run_name=flow_run.name,
        config=str(config),
        message=message or "",
        url=url_for(flow_run),
    )
    if not (place / MANIFEST).exists():
        return outcome
    changes: dict[str, Any] = {"run": str(place)}
    try:
        manifest = read_manifest(place)
    except RunError:
        return outcome.model_copy(update=changes)
    changes["cycle"] = max(map(int, manifest.cycles))
    published = next((v for v in manifest.versions if v.number == manifest.current), None)
    if published is not None:
        changes |= {"version": published.number, "rows": published.rows}
    return outcome.model_copy(update=changes)


def _locate(given: dict[str, Any], overrides: dict[str, Any]) -> Path:
    """The run directory of a configuration that may have mistakes."""
    folder = overrides.get("runs_dir") or given.get("runs_dir", "runs")
    return Path(str(folder)) / str(given.get("name"))


def _warn(flow_run: Any, text: str) -> None:
    """Say it where the server keeps it and where a person sees it."""
    flow_run_logger(flow_run).warning(text)
    Console().warn(text)


def _first_line(error: Exception) -> str:
    return " ".join(str(error).split())[:TAIL]
