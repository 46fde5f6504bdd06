"""The command's verbs for runs that begin by themselves: `up`, `schedule` and its kin."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from cyclopts.validators import Number

from flows.printing import Json, open_console, print_result
from flows.runs_dir import RunsDir, override_place


def schedule(
    config: Path,
    /,
    *,
    cron: Annotated[str | None, Parameter(metavar="EXPRESSION")] = None,
    every: Annotated[str | None, Parameter(metavar="TIME")] = None,
    timezone: Annotated[str, Parameter(metavar="ZONE")] = "UTC",
    name: Annotated[str | None, Parameter(metavar="NAME")] = None,
    pool: Annotated[str, Parameter(metavar="NAME")] = "tutelage",
    serve: bool = False,
    paused: bool = False,
    runs_dir: RunsDir = None,
    json: Json = False,
) -> None:
    """Let a run's next cycle begin again and again.

    The Prefect server at PREFECT_API_URL keeps the time. Workers of the pool work
    (`tutelage up` starts one), or this process does. While a run goes, the next is
    cancelled. The same command again replaces the schedule.

    Example: tutelage schedule my.yaml --cron "0 2 * * *"

    Parameters
    ----------
    config
        The run's settings, a YAML file.
    cron
        When, as cron tells it: minute, hour, day, month, day of the week.
    every
        How often: a number and s, m, h or d, as 10m.
    timezone
        Of --cron; UTC unless given, as Europe/Berlin.
    name
        What to call it; the run's name unless given.
    pool
        The work pool whose workers do it; made if need be. tutelage unless given.
    serve
        Do the runs from this process until Ctrl-C, without a pool.
    paused
        Begin nothing until it is scheduled again or resumed in the UI.
    """
    from flows import scheduling

    console = open_console(json)
    made, deployment = scheduling.schedule_run(
        config,
        scheduling.read_timing(cron, every, timezone),
        console,
        name=name,
        pool=None if serve else pool,
        paused=paused,
        overrides=override_place(runs_dir),
    )
    where = "in this process" if serve else f"by the workers of {pool}"
    state = "paused; would begin" if paused else "begins"
    console.line(f"{made.deployment} {state} {', '.join(made.when)}, {where}")
    print_result(made, json)
    if serve:
        console.line("Ctrl-C stops it.")
        scheduling.serve(deployment, console)


def schedules(*, json: Json = False) -> None:
    """List what is scheduled, with the next and the last run.

    Example: tutelage schedules
    """
    from flows.scheduling import list_schedules, tabulate

    found = list_schedules()
    console = open_console(json)
    if found:
        columns = ["schedule", "when", "by", "next", "last run", "configuration"]
        console.table("Schedules", columns, list(tabulate(found)))
    else:
        console.line("nothing is scheduled")
    print_result(found, json)


def unschedule(
    schedule: Annotated[str, Parameter(name="NAME|CONFIG")], /, *, json: Json = False
) -> None:
    """Remove a schedule; a run that is under way goes on.

    Example: tutelage unschedule my.yaml

    Parameters
    ----------
    schedule
        Its name, or the configuration's file.
    """
    from flows.scheduling import unschedule as remove

    done, console = remove(schedule), open_console(json)
    if done.removed:
        console.line(f"removed: {', '.join(done.removed)}")
    for name in done.ending:
        console.line(
            f"{name}: begins no more; a run is under way and goes on. Type this again when it has "
            "ended, to take it off the list"
        )
    print_result(done, json)


def up(
    *,
    port: int = 4200,
    workers: Annotated[int, Parameter(validator=Number(gte=1))] = 1,
    database: Annotated[str | None, Parameter(metavar="URL")] = None,
    json: Json = False,
) -> None:
    """Start Prefect's server and a worker on this machine.

    They go until Ctrl-C. The server listens on loopback, keeps what it knows in
    SQLite, and sends nothing home. Runs that a kill left RUNNING are closed.

    Example: tutelage up

    Parameters
    ----------
    port
        Of the server; 4200 unless given.
    workers
        How many runs may go on at once, each by a worker of its own; 1 unless given.
    database
        Keep it in this database instead: postgresql+asyncpg://user@host/name. A password is safer
        in PREFECT_SERVER_DATABASE_CONNECTION_URL.
    """
    from flows.local_server import bring_up

    bring_up(port, workers, database, open_console(json))
