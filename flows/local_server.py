"""Prefect's server and process workers on this machine: started, watched and stopped together.

The server listens on loopback alone and sends nothing home; what it knows it keeps in SQLite under
Prefect's home, or in the database that it is given. Each worker does one run at a time. A child
that dies ends all of it: nothing is started again behind anybody's back. None of them outlives
this process, however it ends (`generators.server_guard`).
"""

import http.client
import os
import socket
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from flows.console import Console
from flows.printing import print_result
from flows.wording import count_noun
from generators.errors import ConfigError, EndpointError, RunError
from generators.guarded_process import dismiss, start_guarded
from generators.records import Record

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient

POOL = "tutelage"
"""The work pool that schedules use unless they name another."""
HOST = "127.0.0.1"
DATABASES = ("postgresql+asyncpg", "sqlite+aiosqlite")
"""The databases, with their drivers, that Prefect can keep."""
QUIET = {"PREFECT_SERVER_ANALYTICS_ENABLED": "false", "DO_NOT_TRACK": "1"}
LASTING = "prefect.server.concurrency.lease_storage.filesystem"
"""Where it is remembered who holds which slot. In memory alone, what is held when the server ends
would never be free again."""
START_TIMEOUT_S = 180.0
STOP_TIMEOUT_S = 45.0
"""How long a child may take to end; a worker gives the runs that it stops half a minute."""
LOOK_S = 0.2
TAIL_LINES = 8


class Running(Record):
    """What has been started."""

    api: str
    ui: str
    pool: str
    workers: tuple[str, ...]
    logs: tuple[str, ...]
    closed: tuple[str, ...]
    """Names of flow runs that a kill had left RUNNING."""


class Child:
    """One process that is watched."""

    def __init__(
        self, name: str, arguments: Sequence[str], env: Mapping[str, str], log: Path
    ) -> None:
        self.name, self.log = name, log
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("wb") as out:
            command = [sys.executable, "-m", "prefect", *arguments]
            self._guard = start_guarded(command, env=env, out=out, grace_s=STOP_TIMEOUT_S)

    def check(self) -> None:
        """Raise RunError if it has ended."""
        code = self._guard.poll()
        if code is not None:
            with self.log.open(encoding="utf-8", errors="replace") as log:
                tail = "".join(f"  {line.rstrip()}\n" for line in deque(log, TAIL_LINES))
            raise RunError(
                f"{self.name} ended with exit code {code}. "
                f"The last lines of its log, {self.log}:\n{tail.rstrip() or '  (nothing)'}"
            )

    def stop(self) -> None:
        """Stop it and all it has started; returns when they are gone."""
        dismiss(self._guard)
        self._guard.wait()


def bring_up(port: int, workers: int, database: str | None, console: Console) -> None:
    """Start the server and its workers, say where they are, and keep them until Ctrl-C or SIGTERM.

    Raises ConfigError for a database that Prefect cannot keep, and RunError where the port is taken
    or a child has died.
    """
    check_database(database)
    refuse_taken_port(port)
    try:
        with ExitStack() as stack:
            children, running = _start(port, workers, database, stack, console)
            _tell(running, console)
            while True:
                _look(children)
    except KeyboardInterrupt:
        console.line("stopped")


def check_database(database: str | None) -> None:
    """Raise ConfigError for a URL that is none of Prefect's; its password is not told."""
    scheme = (database or "").partition("://")[0]
    if database is not None and scheme not in DATABASES:
        known = " or ".join(f"{name}://…" for name in DATABASES)
        raise ConfigError(f"--database: begins with {scheme[:20]!r}; Prefect takes {known}")


def refuse_taken_port(port: int) -> None:
    """Raise RunError where somebody listens already."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            raise RunError(
                f"{HOST}:{port} is taken. Is `tutelage up` running already? Choose another port "
                "with --port."
            ) from None


def _start(
    port: int, workers: int, database: str | None, stack: ExitStack, console: Console
) -> tuple[list[Child], Running]:
    """Start all of it, each child when what it needs is there."""
    api = f"http://{HOST}:{port}/api"
    env = {"PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": LASTING, **os.environ, **QUIET}
    env |= {"PREFECT_API_URL": api, "PREFECT_SERVER_UI_API_URL": api}
    env |= {"PREFECT_SERVER_DATABASE_CONNECTION_URL": database} if database else {}
    console.line("Prefect's server is starting …")
    listen = ["server", "start", "--host", HOST, "--port", str(port)]
    children = [_start_child("server", listen, env, stack)]
    _wait(lambda: _is_well(port), children)
    closed = _prepare(api)
    stack.callback(_close_interrupted, api, console)  # after the workers, before the server
    names = [f"{socket.gethostname()}-{os.getpid()}-{n + 1}" for n in range(workers)]
    for number, name in enumerate(names, 1):
        poll = ["worker", "start", "--pool", POOL, "--type", "process", "--name", name]
        children.append(_start_child(f"worker-{number}", [*poll, "--limit", "1"], env, stack))
    _wait(lambda: _are_online(api, names), children)
    running = Running(
        api=api,
        ui=f"http://{HOST}:{port}",
        pool=POOL,
        workers=tuple(names),
        logs=tuple(str(child.log) for child in children),
        closed=closed,
    )
    return children, running


def _start_child(
    name: str, arguments: list[str], env: Mapping[str, str], stack: ExitStack
) -> Child:
    home = Path(env.get("PREFECT_HOME") or "~/.prefect").expanduser()
    child = Child(f"Prefect's {name}", arguments, env, home / f"tutelage-{name}.log")
    stack.callback(child.stop)
    return child


def _prepare(api: str) -> tuple[str, ...]:
    """Make the work pool, and close what a kill has left; the names of what was closed."""
    from flows.lost_runs import close_lost_runs
    from flows.scheduling import ensure_pool

    with _connect(api) as client:
        ensure_pool(client, POOL)
        return tuple(run.name for run in close_lost_runs(client))


def _close_interrupted(api: str, console: Console) -> None:
    """Close what the workers were at when they were stopped."""
    from flows.lost_runs import close_lost_runs

    with suppress(EndpointError), _connect(api) as client:
        for run in close_lost_runs(client):
            console.warn(f"{run.name} was interrupted; the next run goes on from there")


@contextmanager
def _connect(api: str) -> "Iterator[SyncPrefectClient]":
    """A client of our own server, whatever PREFECT_API_URL names."""
    from prefect.settings import PREFECT_API_URL, temporary_settings

    from flows.prefect_server import open_server

    with temporary_settings({PREFECT_API_URL: api}), open_server("`tutelage up`") as client:
        yield client


def _are_online(api: str, names: Sequence[str]) -> bool:
    with _connect(api) as client:
        online = client.read_workers_for_work_pool(POOL)
    return {*names} <= {worker.name for worker in online}


def _is_well(port: int) -> bool:
    connection = http.client.HTTPConnection(HOST, port, timeout=5)
    try:
        connection.request("GET", "/api/health")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _wait(holds: Callable[[], bool], children: Sequence[Child]) -> None:
    """Wait until it holds; RunError where a child ends before, or it takes too long."""
    end = time.monotonic() + START_TIMEOUT_S
    while not holds():
        _look(children)
        if time.monotonic() > end:
            last = children[-1]
            raise RunError(
                f"{last.name} was not ready within {START_TIMEOUT_S:g} s. Its log: {last.log}"
            )


def _look(children: Sequence[Child]) -> None:
    for child in children:
        child.check()
    time.sleep(LOOK_S)


def _tell(running: Running, console: Console) -> None:
    for name in running.closed:
        console.warn(f"{name} was left RUNNING by a kill, and is closed as CRASHED")
    console.line(f"UI:     {running.ui}")
    workers = count_noun(len(running.workers), "worker")
    console.line(f"pool:   {running.pool}, {workers}, each at one run at a time")
    console.line(f"logs:   {', '.join(running.logs)}")
    console.line(f"\nexport PREFECT_API_URL={running.api}\n")
    console.line("Ctrl-C stops all of it.")
    print_result(running, console.json)
    sys.stdout.flush()
