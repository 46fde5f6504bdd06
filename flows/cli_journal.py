"""The verbs of `tutelage journal`: look into a journal, copy it out, take rows away."""

from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from flows.printing import Json, open_console, print_result
from flows.verb_groups import LOOK

app = App(
    name="journal",
    help="Look into what was asked and paid for, or prune it.",
    group=LOOK,
    sort_key=20,
)

Place = Annotated[
    str,
    Parameter(name="PATH", help="A folder of runs, a journal's file, or its postgresql:// URL."),
]


@app.command(sort_key=1)
def stats(path: Place, /, *, json: Json = False) -> None:
    """Count outcomes, failures and tokens by model and run.

    Every row's checksum is checked.

    Example: tutelage journal stats runs
    """
    from generators.journal_place import make_journal
    from generators.journal_tools import count_holdings

    with make_journal(path, must_exist=True) as journal:
        found = count_holdings(journal)
    columns = ["model", "run", "outcomes", "failures", "prompt tokens", "completion tokens"]
    console = open_console(json)
    console.table("Journal", columns, [tuple(h.model_dump().values()) for h in found.holdings])
    console.line(f"{found.path}: {found.rows:,} rows, {found.damaged:,} damaged")
    print_result(found, json)


@app.command(sort_key=2)
def export(
    path: Place, out: Annotated[Path, Parameter(name="OUT")], /, *, json: Json = False
) -> None:
    """Write every sound row as a line of JSON.

    It has key, model, run, at and outcome.

    Example: tutelage journal export runs answers.jsonl

    Parameters
    ----------
    out
        The file to write; it is written beside its place and renamed.
    """
    from generators.journal_place import make_journal
    from generators.journal_tools import export_rows

    with make_journal(path, must_exist=True) as journal:
        done = export_rows(journal, out)
    open_console(json).line(f"{done.path}: {done.rows:,} rows; {done.damaged:,} damaged left out")
    print_result(done, json)


@app.command(sort_key=3)
def prune(
    path: Place,
    /,
    *,
    run: Annotated[str | None, Parameter(metavar="NAME")] = None,
    model: Annotated[str | None, Parameter(metavar="ID")] = None,
    damaged: bool = False,
    yes: bool = False,
    json: Json = False,
) -> None:
    """Delete rows that meet all the conditions given.

    Without --yes they are only counted. What is deleted is asked and paid for again
    by whichever run needs it, and no longer counts as spent.

    Example: tutelage journal prune runs --run demo --yes

    Parameters
    ----------
    run
        Rows that this run paid for.
    model
        Rows of the model with this id.
    damaged
        Rows whose checksum does not match.
    yes
        Delete them.
    """
    from generators.errors import ConfigError
    from generators.journal_place import make_journal
    from generators.journal_tools import prune_rows

    if run is None and model is None and not damaged:
        raise ConfigError("nothing is chosen: name --run, --model or --damaged")
    with make_journal(path, must_exist=True) as journal:
        done = prune_rows(journal, run=run, model=model, damaged=damaged, delete=yes)
    text = "deleted" if done.deleted else "would be deleted; say --yes to do it"
    open_console(json).line(f"{journal.place}: {done.rows:,} rows {text}")
    print_result(done, json)
