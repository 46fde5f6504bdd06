"""The command's verb `classify`."""

from pathlib import Path

from flows.printing import Json, open_console, print_result
from flows.runs_dir import RunsDir, override_place


def classify(
    config: Path,
    /,
    *,
    no_prefect: bool = False,
    update: bool = False,
    runs_dir: RunsDir = None,
    json: Json = False,
) -> None:
    """Train a classifier on soft labels, and score it.

    It is scored on texts that were held out.
    An interrupted training goes on where it stopped; a finished one says so.

    Example: tutelage classify flows/configs/classify.yaml

    Parameters
    ----------
    config
        The training's settings, a YAML file.
    no_prefect
        Do the same stages as plain calls, without Prefect.
    update
        Go on although the settings changed, and redo what the changes touch.
    """
    from flows.verbs import classify as train_classifier

    overrides = override_place(runs_dir)
    figures = train_classifier(
        config, overrides, open_console(json), prefect=not no_prefect, update=update
    )
    print_result(figures, json)
