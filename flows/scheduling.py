"""Schedules: a run's next cycle, made again and again by a deployment of Prefect's.

A deployment holds what a run needs wherever it is begun: the flow by its module's path, the
configuration by its absolute path, and the folder in which the command was typed, because a
configuration names files from there. A worker of its work pool does the runs, or this process
(`serve`). Two runs of one deployment never overlap: while one goes, the next is cancelled, and runs
that were missed do not queue up. Scheduling again under the same name replaces what there was.
"""

import asyncio
import importlib.metadata
import importlib.util
import re
import signal
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.client.schemas.filters import (
    DeploymentFilter,
    DeploymentFilterId,
    FlowFilter,
    FlowFilterName,
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import ConcurrencyLimitConfig, StateType
from prefect.client.schemas.responses import DeploymentResponse
from prefect.client.schemas.schedules import CronSchedule, IntervalSchedule
from prefect.client.schemas.sorting import FlowRunSort
from prefect.deployments.runner import RunnerDeployment
from prefect.exceptions import ObjectAlreadyExists, ObjectNotFound
from prefect.runner import Runner
from prefect.runner.storage import LocalStorage
from prefect.schedules import Schedule
from prefect.types.entrypoint import EntrypointType

from flows.config import load_config
from flows.console import Console
from flows.distill import distill
from flows.lost_runs import close_lost_runs
from flows.prefect_server import open_server
from flows.shared_limits import SharedSlots, list_limits
from generators.errors import ConfigError, EndpointError, RunError
from generators.records import Record

FLOW = distill.name
ROOMS = ("flows", "generators", "filters", "trainers")
UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
ONE_AT_A_TIME: Any = {"limit": 1, "collision_strategy": "CANCEL_NEW"}
UNDER_WAY = [StateType.PENDING, StateType.RUNNING, StateType.CANCELLING]
STEP = "prefect.deployments.steps.set_working_directory"
"""How a worker comes to the folder in which the command was typed."""


class Unscheduled(Record):
    """What became of the schedules that were to be removed."""

    removed: tuple[str, ...]
    ending: tuple[str, ...]
    """Those with a run under way: no other follows it, and they stay on the list until it ends."""


class Scheduled(Record):
    """A schedule as the server has it."""

    deployment: str
    """As `prefect deployment run` takes it: `distill/demo`."""
    config: str
    directory: str | None
    """Where runs are begun; None where the process is that serves it."""
    when: tuple[str, ...]
    pool: str | None
    """None where a process serves it (`--serve`)."""
    paused: bool
    next: datetime | None
    """None where nothing is planned, or not yet."""
    last: str | None
    """The state of the last run; None before the first."""


def read_timing(cron: str | None, every: str | None, timezone: str) -> Schedule:
    """When runs are to begin; raises ConfigError with the option that cannot be read."""
    if (cron is None) == (every is None):
        raise ConfigError('say when, in one way: --cron "0 2 * * *" or --every 10m')
    try:
        ZoneInfo(timezone)
    except (KeyError, OSError, ValueError):
        raise ConfigError(
            f"--timezone: {timezone!r} is no time zone, as Europe/Berlin is"
        ) from None
    if every is not None:
        return Schedule(interval=_read_interval(every), timezone=timezone)
    assert cron is not None
    fields = len(cron.split())
    try:
        if fields != 5:
            raise ValueError(f"{fields} fields")
        return Schedule(cron=cron, timezone=timezone)
    except ValueError:
        raise ConfigError(
            f"--cron: {cron!r} cannot be read: give minute, hour, day of the month, month and day "
            'of the week; "0 2 * * *" is every night at two'
        ) from None


def _read_interval(every: str) -> timedelta:
    match = re.fullmatch(r"(\d+)([smhd])", every)
    if match is None or int(match[1]) == 0:
        raise ConfigError(
            f"--every: {every!r} cannot be read: give a number and s, m, h or d, as 10m"
        )
    return timedelta(seconds=int(match[1]) * UNITS[match[2]])


def schedule_run(
    config: Path,
    timing: Schedule,
    console: Console,
    *,
    name: str | None = None,
    pool: str | None,
    paused: bool = False,
    overrides: dict[str, str] | None = None,
) -> tuple[Scheduled, RunnerDeployment]:
    """Let the next cycle of a run begin at these times, in a work pool, or where `pool` is None in
    a process that serves the deployment.

    Raises ConfigError where the configuration has mistakes or no server is named, EndpointError
    where none answers. Runs that a kill left RUNNING are closed.
    """
    settings = load_config(config, overrides)
    refuse_shadows(Path.cwd())
    deployment = describe_deployment(config, timing, name or settings.name, paused, overrides or {})
    with open_server("a schedule") as client:
        for lost in close_lost_runs(client):
            console.warn(f"{lost.name} was left RUNNING by a kill, and is closed as CRASHED")
        SharedSlots().make(list_limits(settings.models.values()))
        if pool is not None:
            ensure_pool(client, pool)
            deployment.storage = LocalStorage(str(Path.cwd()))
        # Set even where it is None: an older deployment may have had one.
        deployment.work_pool_name = pool
        deployment.work_queue_name = None
        deployment.apply()
        found = client.read_deployment_by_name(deployment.full_name)
        if pool is not None and not _has_worker(client, pool):
            console.warn(
                f"no worker looks into the pool {pool} now: start one with `tutelage up`, or "
                f"`prefect worker start --pool {pool}`"
            )
        return _describe(client, found), deployment


def describe_deployment(
    config: Path, timing: Schedule, name: str, paused: bool, overrides: dict[str, str]
) -> RunnerDeployment:
    """The deployment of a configuration, not yet on any server."""
    parameters: dict[str, Any] = {"config": str(config.absolute()), "new_cycle": True}
    if overrides:
        parameters["overrides"] = {k: str(Path(v).absolute()) for k, v in overrides.items()}
    version: Any = {"version": importlib.metadata.version("tutelage")}
    return RunnerDeployment.from_flow(
        distill,
        name=name,
        schedule=timing,
        paused=paused,
        parameters=parameters,
        concurrency_limit=ConcurrencyLimitConfig(**ONE_AT_A_TIME),
        entrypoint_type=EntrypointType.MODULE_PATH,
        **version | {"version_type": "prefect:simple"},
    )


class _Server(Runner):
    """Does the runs of what it serves as its child processes."""

    def handle_sigterm(self, *_: Any, **__: Any) -> None:
        """Do as on Ctrl-C; Prefect's own way leaves its children's pipes open, with a traceback."""
        signal.raise_signal(signal.SIGINT)


def serve(deployment: RunnerDeployment, console: Console) -> None:
    """Do a deployment's runs from this process until Ctrl-C or SIGTERM, which pauses it and stops
    the run that it is at."""
    server = _Server(pause_on_shutdown=True)
    server.add_deployment(deployment)
    with suppress(KeyboardInterrupt):
        asyncio.run(server.start())
    with suppress(EndpointError), open_server("a schedule") as client:
        for run in close_lost_runs(client):
            console.warn(f"{run.name} was interrupted; the next run goes on from there")


def list_schedules() -> list[Scheduled]:
    """All schedules of ours on the server, by name."""
    with open_server("a list of schedules") as client:
        return [_describe(client, deployment) for deployment in _read_deployments(client)]


def unschedule(subject: str) -> Unscheduled:
    """Remove a schedule by its name, or all of a configuration by its file.

    Raises RunError where there is none of that name. A run that is under way goes on; its
    deployment holds a slot for it, which the server could not give back once that were gone.
    """
    with open_server("a schedule") as client:
        there = _read_deployments(client)
        file = str(Path(subject).absolute())
        chosen = [
            d
            for d in there
            if subject in (d.name, f"{FLOW}/{d.name}") or d.parameters.get("config") == file
        ]
        if not chosen:
            known = ", ".join(d.name for d in there) or "there is none"
            raise RunError(f"{subject}: nothing is scheduled under this name (schedules: {known})")
        busy = [d for d in chosen if _read_run(client, d, UNDER_WAY, FlowRunSort.START_TIME_DESC)]
        for deployment in chosen:
            if deployment not in busy:
                client.delete_deployment(deployment.id)
                continue
            for planned in deployment.schedules:
                client.delete_deployment_schedule(deployment.id, planned.id)
        names = {d.id: f"{FLOW}/{d.name}" for d in chosen}
        return Unscheduled(
            removed=tuple(names[d.id] for d in chosen if d not in busy),
            ending=tuple(names[d.id] for d in busy),
        )


def ensure_pool(client: SyncPrefectClient, name: str) -> None:
    """Make a work pool for process workers if there is none; RunError for one of another kind."""
    try:
        pool = client.read_work_pool(name)
    except ObjectNotFound:
        from prefect.workers.process import ProcessWorker

        template = ProcessWorker.get_default_base_job_template()
        wanted = WorkPoolCreate(name=name, type="process", base_job_template=template)
        try:
            pool = client.create_work_pool(wanted)
        except ObjectAlreadyExists:  # somebody was quicker
            pool = client.read_work_pool(name)
    if pool.type != "process":
        raise RunError(
            f"the work pool {name} is of type {pool.type}; runs need processes on a machine that "
            "has the configuration: name another pool with --pool"
        )


def _has_worker(client: SyncPrefectClient, pool: str) -> bool:
    return any(w.status == "ONLINE" for w in client.read_workers_for_work_pool(pool))


def refuse_shadows(directory: Path) -> None:
    """Raise ConfigError for a folder whose own packages would be taken for ours by a run that is
    begun there."""
    for room in ROOMS:
        spec, init = importlib.util.find_spec(room), directory / room / "__init__.py"
        if init.exists() and not (spec and spec.origin and init.samefile(spec.origin)):
            raise ConfigError(
                f"{directory}: its package {room} would be taken for one of tutelage's: type this "
                "in another folder"
            )


def _read_deployments(client: SyncPrefectClient) -> list[DeploymentResponse]:
    flow = FlowFilter(name=FlowFilterName(any_=[FLOW]))
    return sorted(client.read_deployments(flow_filter=flow), key=lambda d: d.name)


def _describe(client: SyncPrefectClient, deployment: DeploymentResponse) -> Scheduled:
    planned = _read_run(
        client, deployment, [StateType.SCHEDULED], FlowRunSort.NEXT_SCHEDULED_START_TIME_ASC
    )
    waiting = (StateType.SCHEDULED, StateType.PENDING, StateType.CANCELLED)
    begun = [kind for kind in StateType if kind not in waiting]
    last = _read_run(client, deployment, begun, FlowRunSort.START_TIME_DESC)
    steps = [step[STEP]["directory"] for step in deployment.pull_steps or [] if STEP in step]
    return Scheduled(
        deployment=f"{FLOW}/{deployment.name}",
        config=str(deployment.parameters.get("config", "")),
        directory=steps[0] if steps else None,
        when=tuple(_tell_timing(s.schedule) for s in deployment.schedules if s.active),
        pool=deployment.work_pool_name,
        paused=deployment.paused,
        next=planned.next_scheduled_start_time if planned and not deployment.paused else None,
        last=last.state_name if last else None,
    )


def _read_run(
    client: SyncPrefectClient,
    deployment: DeploymentResponse,
    states: list[StateType],
    sort: FlowRunSort,
) -> Any:
    found = client.read_flow_runs(
        deployment_filter=DeploymentFilter(id=DeploymentFilterId(any_=[deployment.id])),
        flow_run_filter=FlowRunFilter(
            state=FlowRunFilterState(type=FlowRunFilterStateType(any_=states))
        ),
        sort=sort,
        limit=1,
    )
    return found[0] if found else None


def _tell_timing(timing: Any) -> str:
    if isinstance(timing, CronSchedule):
        return f"{timing.cron} ({timing.timezone or 'UTC'})"
    if isinstance(timing, IntervalSchedule):
        return f"every {_tell_interval(timing.interval)}"
    return str(getattr(timing, "rrule", timing))


def _tell_interval(interval: timedelta) -> str:
    seconds = int(interval.total_seconds())
    unit = max((u for u in UNITS if seconds % UNITS[u] == 0), key=lambda u: UNITS[u])
    return f"{seconds // UNITS[unit]}{unit}"


def tabulate(found: list[Scheduled]) -> Iterator[list[Any]]:
    """The rows of a table of schedules, without what a terminal has no place for."""
    for one in found:
        yield [
            one.deployment,
            "paused" if one.paused else ", ".join(one.when),
            one.pool or "served",
            one.next.astimezone().strftime("%Y-%m-%d %H:%M:%S") if one.next else "",
            one.last or "",
            one.config,
        ]
