"""The command's verbs `release` and `reject`: a person lets answers out of quarantine, or takes
rows out of the dataset."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from flows.printing import Json, open_console, print_result

Rows = Annotated[str, Parameter(name="ROW", required=True)]
Reason = Annotated[str, Parameter(metavar="TEXT")]


def release(run: Path, /, *rows: Rows, why: Reason, json: Json = False) -> None:
    """Let quarantined answers into the dataset, on record.

    Who did it, when and why is written down. They are still looked at for
    duplicates. The dataset and the report are written anew; the student is not
    taught again by this.

    Example: tutelage release runs/demo 1f0c9a… --why "read it: the answer is right"

    Parameters
    ----------
    run
        The run's directory.
    rows
        Ids of rows in dataset/quarantine.parquet.
    why
        The reason, for the run's overrides.jsonl.
    """
    from flows.release import release as release_rows

    print_result(release_rows(run, rows, why, open_console(json)), json)


def reject(run: Path, /, *rows: Rows, why: Reason, json: Json = False) -> None:
    """Take rows out of the dataset, on record.

    Who did it, when and why is written down. The dataset and the report are written
    anew; the student is not taught again by this. A release of the same row takes
    it back.

    Example: tutelage reject runs/demo 1f0c9a… --why "read it: the answer is wrong"

    Parameters
    ----------
    run
        The run's directory.
    rows
        Ids of rows in dataset/train.parquet.
    why
        The reason, for the run's overrides.jsonl.
    """
    from flows.release import reject as reject_rows

    print_result(reject_rows(run, rows, why, open_console(json)), json)
