"""The command's verb `teach`."""

from pathlib import Path

from flows.printing import Json, open_console, print_result
from flows.runs_dir import RunsDir, override_place


def teach(
    config: Path,
    /,
    *,
    no_prefect: bool = False,
    update: bool = False,
    runs_dir: RunsDir = None,
    json: Json = False,
) -> None:
    """Teach a student on any rows, in any way, and evaluate it.

    An interrupted training goes on where it stopped; a finished one says so.

    Example: tutelage teach flows/configs/teach-forward.yaml

    Parameters
    ----------
    config
        The training's settings, a YAML file.
    no_prefect
        Do the same stages as plain calls, without Prefect.
    update
        Go on although the settings changed, and redo what the changes touch.
    """
    from flows.verbs import teach as teach_student

    overrides = override_place(runs_dir)
    figures = teach_student(
        config, overrides, open_console(json), prefect=not no_prefect, update=update
    )
    print_result(figures, json)
