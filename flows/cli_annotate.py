"""The command's verb `annotate`."""

from pathlib import Path

from flows.printing import Json, open_console, print_result
from flows.runs_dir import RunsDir, override_place


def annotate(
    config: Path,
    /,
    *,
    no_prefect: bool = False,
    update: bool = False,
    runs_dir: RunsDir = None,
    json: Json = False,
) -> None:
    """Have models label texts; their counts are soft labels.

    An interrupted annotation goes on where it stopped; a finished one says so.

    Example: tutelage annotate flows/configs/annotate.yaml

    Parameters
    ----------
    config
        The annotation's settings, a YAML file.
    no_prefect
        Do the same stages as plain calls, without Prefect.
    update
        Go on although the settings changed, and redo what the changes touch.
    """
    from flows.verbs import annotate as annotate_texts

    overrides = override_place(runs_dir)
    figures = annotate_texts(
        config, overrides, open_console(json), prefect=not no_prefect, update=update
    )
    print_result(figures, json)
