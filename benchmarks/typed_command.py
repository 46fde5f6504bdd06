"""What a command of tutelage costs as a person types it, in a process of its own."""

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path


def run_command(
    verb: str, file: Path, options: Sequence[str | Path], output: Path
) -> tuple[float, float]:
    """Seconds and peak MiB of `tutelage VERB FILE OPTIONS > OUTPUT`; it must not fail."""
    command = [sys.executable, "-m", "flows.cli", verb, file, *options]
    started = time.perf_counter()
    with (
        output.open("w", encoding="utf-8") as stdout,
        subprocess.Popen(command, stdout=stdout) as p,
    ):
        _, status, usage = os.wait4(p.pid, 0)
        p.returncode = os.waitstatus_to_exitcode(status)
    if p.returncode:
        raise SystemExit(f"tutelage {verb} ended with {p.returncode}")
    return time.perf_counter() - started, usage.ru_maxrss / 1024
