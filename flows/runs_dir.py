"""The option `--runs-dir`, for every verb of the command that makes a run directory."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

RunsDir = Annotated[
    Path | None, Parameter(help="Where run directories lie, in place of the file's runs_dir.")
]


def override_place(runs_dir: Path | None) -> dict[str, str]:
    """What the option changes in the settings that the file gives."""
    return {"runs_dir": str(runs_dir)} if runs_dir else {}
