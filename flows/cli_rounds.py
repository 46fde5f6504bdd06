"""The command's verb `rounds`: how many rounds of evolution the student gains from."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from flows.printing import Json, open_console, print_result


def rounds(
    config: Path,
    /,
    *,
    update: bool = False,
    runs_dir: Annotated[
        Path | None, Parameter(help="Where run directories lie, in place of the file's runs_dir.")
    ] = None,
    json: Json = False,
) -> None:
    """Train a student after each round of evolution, and stop when its held-out score falls.

    Each number of rounds is a run, RUNS_DIR/NAME-rounds-N; what one has asked, no other asks
    again. Interrupted, it goes on where it stopped.

    Example: tutelage rounds my.yaml

    Parameters
    ----------
    config
        The run's settings, a YAML file with a section stop_rule; evolve.rounds are tried at most.
    update
        Redo what changed settings or seeds touch.
    """
    from flows.config import load_config
    from flows.pipeline import PlainConductor
    from flows.rounds import find_rounds

    overrides = {"runs_dir": str(runs_dir)} if runs_dir else {}
    settings = load_config(config, overrides)
    found = find_rounds(settings, open_console(json), PlainConductor(), update=update)
    print_result(found, json)
