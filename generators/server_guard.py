"""Runs a server's command and sees that nothing of it outlives the process that wanted it.

This file is run by itself, as a process between tutelage and the server, and imports nothing but
the standard library. Its standard input is a pipe that its parent holds open: the pipe's end means
that the parent wants the server to stop, or is gone, however it ended. Then the server is asked to
end (SIGTERM), which takes its own processes along in good order, and what is left of its group
after a while is made to (SIGKILL). What a server leaves behind that dies of itself is cleared away
too. The guard ends last of all, with the server's exit code. Where Linux offers it, orphans become
the guard's own children, also those that have left the group, which are asked and made to end
likewise, and the server is told to end should the guard itself be killed.
"""

import ctypes
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

SWEEP_S = 10.0
"""How long what was killed may take to be gone."""
LOOK_S = 0.2
PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36


def main(command: list[str], grace_s: float) -> int:
    """Run the command until it ends or standard input does, and it is given `grace_s` to end
    itself; return its exit code."""
    _control_process(PR_SET_CHILD_SUBREAPER, 1)
    server = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, process_group=0, preexec_fn=_end_with_guard
    )
    while server.poll() is None and not _is_dismissed():
        pass
    if server.poll() is None:
        server.send_signal(signal.SIGTERM)
        _wait_until(lambda: server.poll() is not None, grace_s)
    with suppress(ProcessLookupError, PermissionError):  # nobody is left, or zombies only
        os.killpg(server.pid, signal.SIGKILL)
    code = server.wait()
    _signal_children(signal.SIGTERM)
    if not _wait_until(_has_no_children, grace_s):
        _wait_until(_has_killed_children, SWEEP_S)
    return code if code >= 0 else 128 - code


def _is_dismissed() -> bool:
    """Whether the pipe has ended; waits a little for it."""
    ready, _, _ = select.select([0], [], [], LOOK_S)
    return bool(ready) and not os.read(0, 1024)


def _has_no_children() -> bool:
    """Collect those that have ended; true when none is left."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        return True
    return False


def _has_killed_children() -> bool:
    """Kill what is left; once more each time, because a killed one leaves us its own children."""
    _signal_children(signal.SIGKILL)
    return _has_no_children()


def _signal_children(number: int) -> None:
    """Send a signal to each of our children, as far as the kernel lists them."""
    try:
        listed = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    except OSError:
        return
    for child in listed:
        with suppress(ProcessLookupError, PermissionError):
            os.kill(int(child), number)


def _wait_until(holds: Callable[[], bool], limit_s: float) -> bool:
    end = time.monotonic() + limit_s
    while not (held := holds()) and time.monotonic() < end:
        time.sleep(0.05)
    return held


def _end_with_guard() -> None:
    # A shell lets what it starts in the background ignore Ctrl-C, which servers send themselves.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    _control_process(PR_SET_PDEATHSIG, signal.SIGTERM)


def _control_process(option: int, value: int) -> None:
    """prctl(2), which only Linux has."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(option, value)


if __name__ == "__main__":
    sys.exit(main(sys.argv[2:], float(sys.argv[1])))
