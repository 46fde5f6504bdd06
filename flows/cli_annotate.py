"""The command's verb `annotate`."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from flows.printing import Json, open_console, print_result


def annotate(
    config: Path,
    /,
    *,
    no_prefect: bool = False,
    update: bool = False,
    runs_dir: Annotated[
        Path | None, Parameter(help="Where run directories lie, in place of the file's runs_dir.")
    ] = None,
    json: Json = False,
) -> None:
    """Have models label texts, and publish the whole counts as soft labels.

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

    overrides = {"runs_dir": str(runs_dir)} if runs_dir else {}
    figures = annotate_texts(
        config, overrides, open_console(json), prefect=not no_prefect, update=update
    )
    print_result(figures, json)
