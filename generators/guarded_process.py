"""Starts a server's process behind its guard (`generators.server_guard`), so that nothing of it
outlives this process, however this one ends."""

import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import IO

from generators import server_guard


def start_guarded(
    command: Sequence[str], *, env: Mapping[str, str], out: IO[bytes], grace_s: float
) -> "subprocess.Popen[bytes]":
    """Start a command whose words go to `out`; the process that comes back is the guard, which ends
    last of all, with the command's exit code. `grace_s` is how long it may take to end itself."""
    return subprocess.Popen(
        [sys.executable, "-I", server_guard.__file__, str(grace_s), *command],
        stdin=subprocess.PIPE,
        stdout=out,
        stderr=subprocess.STDOUT,
        env=env,
        start_new_session=True,
    )


def dismiss(guard: "subprocess.Popen[bytes]") -> None:
    """Ask a guard to stop what it started; does not wait for it."""
    assert guard.stdin is not None
    guard.stdin.close()
