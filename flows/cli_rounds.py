"""The command's verb `rounds`: how many rounds of evolution the student gains from."""

from pathlib import Path

from flows.printing import Json, open_console, print_result
from flows.runs_dir import RunsDir, override_place


def rounds(
    config: Path,
    /,
    *,
    update: bool = False,
    runs_dir: RunsDir = None,
    json: Json = False,
) -> None:
    """Find how many rounds of evolution a student gains from.

    One is trained after each round, until the held-out score falls. Each number of
    rounds is a run, RUNS_DIR/NAME-rounds-N; what one has asked, no other asks
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
    from flows.rounds import find_rounds

    overrides = override_place(runs_dir)
    settings = load_config(config, overrides)
    found = find_rounds(settings, open_console(json), update=update)
    print_result(found, json)
