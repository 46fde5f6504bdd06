"""The command's verb `annotate`, and what it does, as a function that anybody may call."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from flows.printing import Json, open_console, print_result

if TYPE_CHECKING:
    from flows.annotate_figures import AnnotationFigures
    from flows.console import Console


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
    overrides = {"runs_dir": str(runs_dir)} if runs_dir else {}
    figures = annotate_texts(
        config, overrides, open_console(json), prefect=not no_prefect, update=update
    )
    print_result(figures, json)


def annotate_texts(
    path: Path,
    overrides: Mapping[str, Any],
    console: "Console",
    *,
    prefect: bool = True,
    update: bool = False,
) -> "AnnotationFigures":
    """Begin or finish the annotation of a configuration, with Prefect or as plain calls."""
    from flows.annotate_card import show_figures
    from flows.annotate_settings import load_annotation
    from flows.pipeline import PlainConductor, conduct, is_finished
    from flows.stages.soft_labels import CARD, SOFT_LABELS, read_figures
    from flows.store import RunDirectory
    from generators.licence import check_licences

    config = load_annotation(path, overrides)
    check_licences(config.models)
    if prefect and (update or not is_finished(config)):
        # Prefect's own log lines would break into the progress; a server still gets them.
        os.environ.setdefault("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", "CRITICAL")
        from flows.annotate import annotate as annotate_as_flow

        annotate_as_flow(str(path), dict(overrides), update, console.json)
    else:
        conduct(config, console, PlainConductor(), update=update)
    run = RunDirectory(config.root)
    figures = read_figures(run)
    show_figures(figures, console)
    console.line(f"dataset: {run.place(SOFT_LABELS)}")
    console.line(f"card:    {run.place(CARD)}")
    return figures
