"""The command's verb `optimise`: search for a better evolving method (Auto-Evol)."""

from pathlib import Path

from flows.printing import Json, open_console, print_result
from flows.runs_dir import RunsDir, override_place


def optimise(
    config: Path,
    /,
    *,
    runs_dir: RunsDir = None,
    json: Json = False,
) -> None:
    """Have a model improve the method by which prompts evolve.

    The best one found lies in RUNS_DIR/NAME-method/method.jinja; evolve.method
    takes it. An interrupted search goes on where it stopped; a finished one, typed
    again, asks nothing.

    Example: tutelage optimise my.yaml

    Parameters
    ----------
    config
        The run's settings, a YAML file with a section auto_evol.
    """
    from flows.config import load_config
    from flows.optimise import optimise_method

    overrides = override_place(runs_dir)
    print_result(optimise_method(load_config(config, overrides), open_console(json)), json)
