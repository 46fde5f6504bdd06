"""The command's verb `optimise`: search for a better evolving method (Auto-Evol)."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from flows.printing import Json, open_console, print_result


def optimise(
    config: Path,
    /,
    *,
    runs_dir: Annotated[
        Path | None, Parameter(help="Where run directories lie, in place of the file's runs_dir.")
    ] = None,
    json: Json = False,
) -> None:
    """Have a model improve the method by which prompts evolve, and write the best one found.

    An interrupted search goes on where it stopped; a finished one, typed again, asks nothing.
    The method lies in RUNS_DIR/NAME-method/method.jinja; evolve.method takes it.

    Example: tutelage optimise my.yaml

    Parameters
    ----------
    config
        The run's settings, a YAML file with a section auto_evol.
    """
    from flows.config import load_config
    from flows.optimise import optimise_method

    overrides = {"runs_dir": str(runs_dir)} if runs_dir else {}
    print_result(optimise_method(load_config(config, overrides), open_console(json)), json)
