"""Peers of the benchmarks, each installed into an environment of its own under the user's cache."""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tutelage-benchmarks"


class Unavailable(Exception):
    """A peer that cannot be measured here, with the reason."""


def install_peer(
    place: Path, packages: Sequence[str], *, bare: Sequence[str] = (), copied: bool = False
) -> Path:
    """Make the environment if it is not there; return its interpreter.

    `bare` packages are installed without what they depend on. With `copied`, files are copied into
    place instead of being linked, which some packages refuse. Raises Unavailable.
    """
    python, done = place / "bin" / "python", place / ".installed"
    if not done.exists():
        settings = {"UV_FIND_LINKS": os.environ.get("PIP_FIND_LINKS", "")}
        settings |= {"UV_LINK_MODE": "copy"} if copied else {}
        uv = Path(sys.executable).with_name("uv")
        install: list[str | Path] = [uv, "pip", "install", "--quiet", "--python", python]
        check_output([sys.executable, "-m", "venv", "--clear", place])
        check_output([*install, *packages], env=os.environ | settings)
        if bare:
            check_output([*install, "--no-deps", *bare], env=os.environ | settings)
        done.touch()
    return python


def check_output(command: Sequence[str | Path], **options: Any) -> str:
    """A command's output. Raises Unavailable, with its last words, if it fails."""
    try:
        ended = subprocess.run(command, capture_output=True, text=True, **options)
    except subprocess.TimeoutExpired as error:
        raise Unavailable(f"not done after {error.timeout:.0f} s") from None
    if ended.returncode:
        said = [line.strip() for line in ended.stderr.splitlines() if line.strip()]
        raise Unavailable(said[-1] if said else f"ended with {ended.returncode}")
    return ended.stdout
