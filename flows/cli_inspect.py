"""The command's verb `inspect`: look into a run in the browser."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from cyclopts.validators import Number

from flows.printing import Json, open_console


def inspect(
    run: Path,
    /,
    *,
    port: Annotated[int | None, Parameter(validator=Number(gte=1, lte=65535))] = None,
    no_open: bool = False,
    json: Json = False,
) -> None:
    """Look into a run in the browser: rows, verdicts, lineage.

    Rows can be searched and sorted into heaps; each has a page with its prompt,
    all answers to it, the verdicts and its lineage, where a person may release or
    reject it for a reason. The pages are served on this machine alone, until
    Ctrl-C, and need no network.

    Example: tutelage inspect runs/demo

    Parameters
    ----------
    run
        The run's directory.
    port
        Where to listen on 127.0.0.1: 8001 if it is free, else any free one.
    no_open
        Say where the pages are, and open no browser.
    """
    from flows.viewer.serving import serve

    serve(run, open_console(json), port=port, opens=not no_open)
