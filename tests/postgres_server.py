"""A PostgreSQL server of the tests' own: made from nothing, killed, started again.

It listens on loopback, and lets nobody in without the password, which tests find in PGPASSWORD as
a run would.
"""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from itertools import count
from pathlib import Path
from typing import Any, Self

import psutil
import psycopg
import pytest

PASSWORD = "sesame-4711"
USER = "tutor"
MISSING = "PostgreSQL's server is not installed; type: sudo apt-get install -y postgresql"
START_TIMEOUT_S = 60


class PostgresServer:
    """A running server. Use it as a context manager."""

    def __init__(self) -> None:
        self._programs = {name: find_program(name) for name in ("initdb", "postgres")}
        self._folder = Path(tempfile.mkdtemp(prefix="tutelage-postgres-"))
        self._data = self._folder / "data"
        self._names = count(1)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port: int = free.getsockname()[1]
        # The server refuses to be run by root.
        self._user: dict[str, Any] = (
            {"user": "postgres", "group": "postgres"} if os.geteuid() == 0 else {}
        )
        if self._user:
            shutil.chown(self._folder, **self._user)

    def __enter__(self) -> Self:
        secret = self._folder / "password"
        secret.write_text(PASSWORD)
        secret.chmod(0o644)
        command = [
            *(self._programs["initdb"], "--pgdata", self._data, "--username", USER),
            *("--encoding", "UTF8", "--locale", "C"),
            *("--auth", "scram-sha-256", "--pwfile", secret),
        ]
        done = subprocess.run(command, cwd="/", capture_output=True, text=True, **self._user)
        assert done.returncode == 0, done.stderr
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._process.send_signal(signal.SIGQUIT)  # at once: its data are not needed any more
        self._process.wait(START_TIMEOUT_S)
        shutil.rmtree(self._folder)

    def start(self) -> None:
        """Start it, and wait until it answers."""
        with (self._folder / "log").open("a") as told:
            self._process = subprocess.Popen(
                [
                    *(self._programs["postgres"], "-D", self._data, "-k", self._folder),
                    *("-c", "listen_addresses=127.0.0.1", "-p", str(self.port)),
                    *("-c", "recovery_init_sync_method=syncfs"),  # one call instead of a thousand
                ],
                stdout=told,
                stderr=told,
                **self._user,
            )
        end = time.monotonic() + START_TIMEOUT_S
        while True:
            try:
                psycopg.connect(self.url("postgres")).close()
                return
            except psycopg.OperationalError:
                if self._process.poll() is not None or time.monotonic() > end:
                    raise RuntimeError((self._folder / "log").read_text()) from None
            time.sleep(0.05)

    def kill(self) -> None:
        """Kill all of it at once, as an outage would."""
        processes = self._list_processes()
        for process in processes:
            process.kill()
        psutil.wait_procs(processes)
        self._process.wait()

    def count_cpu_seconds(self) -> float:
        """The processor time of all that runs of it now."""
        spent = [process.cpu_times() for process in self._list_processes()]
        return sum(times.user + times.system for times in spent)

    def _list_processes(self) -> list[psutil.Process]:
        server = psutil.Process(self._process.pid)
        return [server, *server.children(recursive=True)]

    def url(self, database: str, user: str = USER) -> str:
        """How runs name a database; without the password."""
        return f"postgresql://{user}@127.0.0.1:{self.port}/{database}"

    def make_database(self, options: str = "") -> str:
        """Make an empty database; return its URL."""
        name = f"journal_{next(self._names)}"
        self.execute(self.url("postgres"), f"CREATE DATABASE {name} {options}")
        return self.url(name)

    def execute(self, url: str, statement: Any, *values: object) -> list[tuple[Any, ...]]:
        """Carry out a statement; return the rows that come, if any."""
        with psycopg.connect(url, autocommit=True) as connection:
            cursor = connection.execute(statement, values)
            return cursor.fetchall() if cursor.description else []


def find_program(name: str) -> Path:
    """The newest PostgreSQL's program; Debian keeps them off the path."""
    installed = sorted(
        Path("/usr/lib/postgresql").glob(f"*/bin/{name}"),
        key=lambda path: int(path.parents[1].name),
    )
    found = [*installed[-1:], shutil.which(name)]
    path = next((Path(place) for place in found if place), None)
    if path is None:
        pytest.fail(MISSING, pytrace=False)
    return path
