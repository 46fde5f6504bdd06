"""Running a program that nobody trusts: bubblewrap around the system's own Python.

The program sees /usr (read-only) and two small empty places, /tmp and /dev/shm; no other file, no
device, no network, no process and no variable of this machine. It has no privileges, cannot make
namespaces of its own, is refused some calls of the kernel (`filters.system_calls`), and the kernel
limits its processor time, memory, files and processes.
Where we are root it first becomes a user that is not: root is exempt from limits on processes.
Closing a `Sandbox` kills all that runs inside, threads and orphans too.

Where that cannot be had, `find_obstacle` says why; nothing is ever run without it.
"""

import contextlib
import fcntl
import functools
import json
import os
import platform
import re
import selectors
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Literal, NamedTuple, Self

from filters.system_calls import MACHINES, write_filter

NOBODY = 65534
PYTHON = "/usr/bin/python3"
CLOSE_SECONDS = 5.0
HIDDEN = "/usr/local"
"""What people install by hand; the system's Python does without."""


_FIRST_PROCESS = re.compile(rb'"child-pid": (\d+)')


class Limits(NamedTuple):
    """What a program may use."""

    cpu_seconds: int = 5
    wall_seconds: float = 30.0
    memory_bytes: int = 256 << 20
    """Address space of each process."""
    file_bytes: int = 4 << 20
    """The largest file."""
    folder_bytes: int = 16 << 20
    """All files of /tmp together, and as much again in /dev/shm."""
    open_files: int = 32
    processes: int = 8
    """Processes and threads together, the sandbox's own two among them."""
    output_bytes: int = 1 << 20


class End(NamedTuple):
    """Why a program says nothing more."""

    cause: Literal["exited", "cpu", "killed", "wall", "flood"]
    detail: str


class Sandbox:
    """A program started in a sandbox, with a JSON request as its input."""

    def __init__(self, program: str, request: Any, limits: Limits, *, stderr: int) -> None:
        self.limits = limits
        self._deadline = time.monotonic() + limits.wall_seconds
        self._left = limits.output_bytes
        self._buffer = b""
        self._info, info_fd = os.pipe()
        try:
            with (
                os.fdopen(_seal(json.dumps(request).encode()), "rb") as stdin,
                os.fdopen(_seal(write_filter()), "rb") as calls,
            ):
                self._process = subprocess.Popen(
                    write_command(program, limits, info_fd, calls.fileno()),
                    stdin=stdin,
                    stdout=subprocess.PIPE,
                    stderr=stderr,
                    pass_fds=(info_fd, calls.fileno()),
                    cwd="/",
                )
        except BaseException:
            os.close(self._info)
            raise
        finally:
            os.close(info_fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Kill the program and all it started; none of it is left when this returns."""
        try:
            self._kill()
        finally:
            os.close(self._info)
            for stream in (self._process.stdout, self._process.stderr):
                if stream is not None:
                    stream.close()

    def _kill(self) -> None:
        """Kill the sandbox's first process, and with it all others. bubblewrap itself waits for
        that: were it killed in its place, the machine's init would have to bury the dead, and in
        many containers it does not."""
        if self._process.poll() is None:
            with contextlib.suppress(ProcessLookupError, _NotStarted, subprocess.TimeoutExpired):
                os.kill(self._read_first_process(), signal.SIGKILL)
                self._process.wait(CLOSE_SECONDS)
        self._process.kill()
        self._process.wait()

    def _read_first_process(self) -> int:
        with selectors.DefaultSelector() as selector:
            selector.register(self._info, selectors.EVENT_READ)
            told = os.read(self._info, 4096) if selector.select(CLOSE_SECONDS) else b""
        found = _FIRST_PROCESS.search(told)  # the rest of the object may not be written yet
        if found is None:
            raise _NotStarted
        return int(found[1])

    def read_line(self) -> bytes | End:
        """The next line that the program wrote, or why there is none."""
        assert self._process.stdout is not None
        with selectors.DefaultSelector() as selector:
            selector.register(self._process.stdout, selectors.EVENT_READ)
            while b"\n" not in self._buffer:
                left = self._deadline - time.monotonic()
                if left <= 0 or not selector.select(left):
                    return End("wall", f"no result after {self.limits.wall_seconds:g} s")
                chunk = os.read(self._process.stdout.fileno(), 65536)
                if not chunk:
                    return self._find_end()
                self._left -= len(chunk)
                if self._left < 0:
                    return End("flood", f"more than {self.limits.output_bytes} bytes of results")
                self._buffer += chunk
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line

    def read_complaint(self) -> str:
        """End the program and read what bubblewrap or the interpreter said before it began."""
        self._kill()
        stream = self._process.stderr
        return "" if stream is None else stream.read(4096).decode("utf-8", "replace").strip()

    def _find_end(self) -> End:
        """How a program ended that has closed its output."""
        try:
            code = self._process.wait(max(self._deadline - time.monotonic(), 0))
        except subprocess.TimeoutExpired:
            return End("wall", f"no result after {self.limits.wall_seconds:g} s")
        number = code - 128 if code > 128 else -code
        if number == signal.SIGXCPU:
            return End("cpu", f"no result after {self.limits.cpu_seconds} s of work")
        if number == signal.SIGKILL:
            return End("killed", "killed, as past its last limit or for want of memory")
        known = {s.value: s.name for s in signal.Signals}
        return End("exited", known.get(number, f"exit code {code}"))


class _NotStarted(Exception):
    """bubblewrap has not come to make the sandbox's first process."""


def write_command(program: str, limits: Limits, info_fd: int, calls_fd: int) -> list[str]:
    """The command that runs a Python program in a sandbox; bubblewrap tells `info_fd` which
    process is the first inside, and reads from `calls_fd` which calls of the kernel are refused.

    The limits are set inside, where the kernel counts the processes of this sandbox alone. Hashes
    get a fixed seed: the same program must come to the same verdict again.
    """
    become_nobody = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
    small = ["--size", str(limits.folder_bytes), "--tmpfs"]
    cpu, memory = limits.cpu_seconds, limits.memory_bytes
    return [
        *(become_nobody if os.geteuid() == 0 else []),
        "bwrap", "--unshare-user", "--unshare-all", "--disable-userns", "--die-with-parent",
        "--new-session", "--info-fd", str(info_fd), "--seccomp", str(calls_fd),
        "--clearenv", "--cap-drop", "ALL",
        "--hostname", "sandbox", "--uid", str(NOBODY), "--gid", str(NOBODY),
        "--ro-bind", "/usr", "/usr", "--tmpfs", HIDDEN, "--remount-ro", HIDDEN,
        "--symlink", "usr/bin", "/bin", "--symlink", "usr/lib", "/lib",
        "--symlink", "usr/lib64", "/lib64",
        *small, "/tmp", *small, "/dev/shm", "--remount-ro", "/", "--chdir", "/tmp",
        "--setenv", "PYTHONHASHSEED", "0",
        "/usr/bin/prlimit", f"--cpu={cpu}:{cpu + 1}", f"--as={memory}", "--core=0",
        f"--fsize={limits.file_bytes}", f"--nofile={limits.open_files}",
        f"--nproc={limits.processes}", "--memlock=0", "--msgqueue=0",
        PYTHON, "-s", "-S", "-c", program,
    ]  # fmt: skip


_GREETING = "import signal; print('ready', flush=True); signal.pause()"


@functools.cache
def find_obstacle() -> str | None:
    """Why no program can be run in a sandbox here, and the remedy; None if one can. Tried once."""
    if sys.platform != "linux":
        return "bubblewrap is for Linux; verify code there"
    if platform.machine() not in MACHINES:
        known = " or ".join(MACHINES)
        return f"no filter of system calls for {platform.machine()}; verify code on {known}"
    needed = ["bwrap", PYTHON, "/usr/bin/prlimit", *(["setpriv"] if os.geteuid() == 0 else [])]
    missing = [Path(name).name for name in needed if shutil.which(name) is None]
    if missing:
        return f"not installed: {', '.join(missing)}; type: make system"
    with Sandbox(_GREETING, None, Limits(), stderr=subprocess.PIPE) as sandbox:
        if sandbox.read_line() == b"ready":
            return None
        complaint = sandbox.read_complaint()[-90:] or "it says nothing"
    return f"bubblewrap fails: {complaint}; allow user namespaces, or update it (make system)"


def _seal(data: bytes) -> int:
    """A file in memory that can be read and never written, open at its start."""
    file = os.memfd_create("sealed", os.MFD_ALLOW_SEALING | os.MFD_CLOEXEC)
    with os.fdopen(os.dup(file), "wb") as stream:
        stream.write(data)
    seals = fcntl.F_SEAL_WRITE | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_SEAL
    fcntl.fcntl(file, fcntl.F_ADD_SEALS, seals)
    os.lseek(file, 0, os.SEEK_SET)
    return file
