"""Flow runs that a kill left behind: Prefect takes them for running until somebody closes them.

Every flow notes the process that conducts it in the labels of its flow run. Who finds a flow run
RUNNING whose process is gone sets it to CRASHED, which also frees its deployment's slot. Nothing is
closed on suspicion: the process must have been on this machine, in this process namespace, and
must not be there any more; another process that has come by its number since has another
beginning. Where this machine cannot see (another host, another container), nothing is touched.
"""

import hashlib
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import (
    FlowFilter,
    FlowFilterName,
    FlowRunFilter,
    FlowRunFilterId,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.context import FlowRunContext
from prefect.logging import get_run_logger
from prefect.states import Crashed
from pydantic import ValidationError

from flows.notify import notify
from flows.prefect_server import FLOWS
from generators.records import Record

LABEL = "tutelage."
PROC = Path("/proc")
INITIAL_NAMESPACE = "pid:[4026531836]"
"""What Linux calls the process namespace outside all containers."""
ENDED = ("Z", "X")
"""The states of a process that has ended and was not waited for yet."""


class ProcessMark(Record):
    """A process, told apart from every other one that there is, was or will be."""

    host: str
    machine: str
    """Digest of the machine's id; empty where it has none."""
    boot: str
    """Which start of the machine; empty where it is not told."""
    namespace: str
    """Which processes it sees; empty where there are no namespaces."""
    pid: int
    born: str
    """When it began, in the kernel's count; empty where it is not told."""
    sitting: int
    """How often its flow run had been begun: a run that is begun again has another process."""
    directory: str
    """Where it works: configurations name files from there."""


class LostRun(NamedTuple):
    """A flow run that was closed."""

    id: UUID
    name: str
    flow: str
    config: str
    told: str
    """Why."""


def mark_process(sitting: int = 0) -> ProcessMark:
    """This process."""
    pid = os.getpid()
    return ProcessMark(
        host=socket.gethostname(),
        machine=_digest(_read(Path("/etc/machine-id"))),
        boot=_read(PROC / "sys/kernel/random/boot_id"),
        namespace=_read_namespace(),
        pid=pid,
        born=find_birth(pid) or "",
        sitting=sitting,
        directory=str(Path.cwd()),
    )


def is_gone(mark: ProcessMark) -> bool:
    """Whether this process can tell for sure that the other is no more."""
    here = mark_process()
    if (mark.host, mark.machine, mark.namespace) != (here.host, here.machine, here.namespace):
        return False
    if not mark.boot:
        return False
    if mark.boot != here.boot:
        # Containers made from one image may share names and ids with those of another machine.
        return bool(mark.machine) and mark.namespace == INITIAL_NAMESPACE
    try:
        os.kill(mark.pid, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        pass  # somebody else's process has the number: its birth tells whether it is another one
    birth = find_birth(mark.pid)
    return birth is not None and bool(mark.born) and birth != mark.born


def begin_watched() -> None:
    """Note in the flow run that goes in this thread which process conducts it, and close others
    whose process is gone."""
    context = FlowRunContext.get()
    assert context is not None
    assert context.flow_run is not None
    with get_client(sync_client=True) as client:
        note_process(client, context.flow_run)
        for lost in close_lost_runs(client):
            get_run_logger().warning(f"{lost.name} was left RUNNING by a kill; it is closed now")


def note_process(client: SyncPrefectClient, flow_run: FlowRun) -> None:
    """Write into a flow run's labels that this process conducts it."""
    mark = mark_process(client.read_flow_run(flow_run.id).run_count)
    labels: dict[str, Any] = {LABEL + name: value for name, value in mark}
    client.update_flow_run_labels(flow_run.id, labels)


def read_mark(flow_run: FlowRun) -> ProcessMark | None:
    """The process that conducts a flow run, if it has noted itself since the run was begun."""
    labels = {
        name.removeprefix(LABEL): value
        for name, value in (flow_run.labels or {}).items()
        if name.startswith(LABEL)
    }
    try:
        mark = ProcessMark.model_validate(labels)
    except ValidationError:
        return None
    return mark if mark.sitting == flow_run.run_count else None


def close_lost_runs(client: SyncPrefectClient) -> list[LostRun]:
    """Set to CRASHED what runs on although its process is gone, and tell whom it concerns."""
    return [_close(client, run, mark) for run, mark in _find_lost(client)]


def _find_lost(client: SyncPrefectClient) -> Iterator[tuple[FlowRun, ProcessMark]]:
    running = FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.RUNNING]))
    for found in client.read_flow_runs(
        flow_filter=FlowFilter(name=FlowFilterName(any_=[*FLOWS])),
        flow_run_filter=FlowRunFilter(state=running),
    ):
        mark = read_mark(found)
        if mark is None or not is_gone(mark):
            continue
        # Read once more: it may have come to its end, and ended, since it was listed.
        now = client.read_flow_run(found.id)
        if now.state is not None and now.state.is_running() and read_mark(now) == mark:
            yield now, mark


def _close(client: SyncPrefectClient, run: FlowRun, mark: ProcessMark) -> LostRun:
    told = (
        f"Its process ({mark.pid} on {mark.host}) is gone: it was killed, or the machine was. "
        "What it had committed stays; the next run goes on from there."
    )
    client.set_flow_run_state(run.id, Crashed(message=told))
    open_tasks = client.read_task_runs(
        flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=[run.id]))
    )
    for task in open_tasks:
        if task.state is None or not task.state.is_final():
            client.set_task_run_state(task.id, Crashed(message=told), force=True)
    flow = client.read_flow(run.flow_id).name
    config = Path(mark.directory) / str(run.parameters.get("config", ""))
    if _is_ours(config):
        notify("crashed", flow, run, told, Path(mark.directory))
    return LostRun(run.id, run.name, flow, str(config), told)


def _is_ours(config: Path) -> bool:
    """Whether a configuration belongs to who is at work here: no other's commands are started."""
    try:
        return config.stat().st_uid == os.getuid()
    except OSError:
        return False


def find_birth(pid: int) -> str | None:
    """When a process began; None where it cannot be told, and `ended` if it only waits to be
    waited for."""
    told = _read(PROC / str(pid) / "stat")
    if not told:
        return None
    # Its name, in brackets, may hold anything; after it come the state and 18 others.
    fields = told.rpartition(")")[2].split()
    return "ended" if fields[0] in ENDED else fields[19]


def _read_namespace() -> str:
    try:
        return os.readlink(PROC / "self/ns/pid")  # noqa: PTH115 - a name, not a path
    except OSError:
        return ""


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except OSError:
        return ""


def _digest(machine: str) -> str:
    """The id itself is not to be shown to others."""
    return hashlib.sha256(f"tutelage {machine}".encode()).hexdigest()[:16] if machine else ""
