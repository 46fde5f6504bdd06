"""The command `tutelage`: its verbs, its exit codes, and what it says when something fails.

Nothing heavy is imported before a verb needs it, so that `--help` answers at once. Exit codes:
0 done, 1 failed, 2 wrong use, 130 interrupted. Expected mistakes print no traceback; with
`--json` they are also a JSON object on stdout, so that a script reads one thing.
"""

import json
import os
import select
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib import metadata
from pathlib import Path
from typing import Annotated, NamedTuple

from cyclopts import App, CycloptsError, Parameter
from cyclopts.validators import Number

from flows.cli_annotate import annotate
from flows.cli_classify import classify
from flows.cli_export import export
from flows.cli_files import audit, dedup, verify
from flows.cli_inspect import inspect
from flows.cli_journal import app as journal_app
from flows.cli_optimise import optimise
from flows.cli_release import reject, release
from flows.cli_rounds import rounds
from flows.cli_schedule import schedule, schedules, unschedule, up
from flows.cli_students import cut
from flows.cli_teach import teach
from flows.cli_versions import diff, rollback, versions
from flows.printing import Json, make_plain, open_console, print_result
from flows.runs_dir import RunsDir, override_place
from flows.verb_groups import ANY_FILE, EXIT_CODES, LOOK, MAKE, OTHER, SCHEDULE, TEACH
from generators.errors import TutelageError

ABOUT = """Evolve prompts, verify answers, teach a student.

Begin with: tutelage run flows/configs/demo.yaml
Then look:  tutelage inspect runs/demo

Every verb has --help, and prints JSON with --json.
"""
app = App(
    name="tutelage",
    help=ABOUT,
    help_epilogue=EXIT_CODES,
    version=lambda: metadata.version("tutelage"),
    help_format="plaintext",
    suppress_keyboard_interrupt=False,
    default_parameter=Parameter(negative=(), show_default=False),
)
for flag in ("--help", "--version"):
    app[flag].group = OTHER

RESUMING = ("run", "train", "annotate", "classify", "teach", "optimise", "rounds")
"""Verbs that go on where an interrupted one stopped."""


@app.command(group=MAKE, sort_key=1)
def run(
    config: Path,
    /,
    *,
    no_prefect: bool = False,
    update: bool = False,
    new_cycle: bool = False,
    runs_dir: RunsDir = None,
    json: Json = False,
) -> None:
    """Take seeds to a verified dataset and an evaluated student.

    An interrupted run goes on where it stopped; a finished one says so, or with
    --new-cycle adds rows, publishes another version, and teaches a student that
    must beat the last one.

    Example: tutelage run flows/configs/demo.yaml

    Parameters
    ----------
    config
        The run's settings, a YAML file.
    no_prefect
        Do the same stages as plain calls, without Prefect.
    update
        Go on although the settings changed, and redo what the changes touch.
    new_cycle
        Finish an unfinished cycle; where there is none, go on with another one.
    """
    from flows.verbs import run as run_pipeline

    summary = run_pipeline(
        config,
        override_place(runs_dir),
        open_console(json),
        prefect=not no_prefect,
        update=update,
        new_cycle=new_cycle,
    )
    print_result(summary, json)


@app.command(group=MAKE, sort_key=2)
def preview(
    config: Path,
    /,
    *,
    rows: Annotated[
        int, Parameter(name=["--rows", "-n"], show_default=True, validator=Number(gte=1))
    ] = 3,
    json: Json = False,
) -> None:
    """Show a few rows as the run would make them; write nothing.

    Example: tutelage preview flows/configs/demo.yaml -n 5

    Parameters
    ----------
    config
        The run's settings, a YAML file.
    rows
        How many seeds to follow.
    """
    from flows.config import load_config
    from flows.verbs import preview as preview_rows

    print_result(preview_rows(load_config(config, {}), rows, open_console(json)), json)


@app.command(group=MAKE, sort_key=3)
def validate(config: Path, /, *, json: Json = False) -> None:
    """Check a configuration; every mistake is told with its line.

    Example: tutelage validate flows/configs/demo.yaml

    Parameters
    ----------
    config
        The run's settings, a YAML file.
    """
    from flows.annotate_settings import load_settings

    settings = load_settings(config)
    open_console(json).line(f"{config}: valid")
    print_result({"valid": True, "config": make_plain(settings)}, json)


@app.command(group=TEACH, sort_key=1)
def train(config: Path, /, *, json: Json = False) -> None:
    """Train the student on the dataset that the run has published.

    Example: tutelage train flows/configs/demo.yaml

    Parameters
    ----------
    config
        The run's settings, a YAML file.
    """
    from flows.config import load_config
    from flows.verbs import train as train_run

    print_result(train_run(load_config(config, {}), open_console(json)), json)


@app.command(group=TEACH, sort_key=2)
def evaluate(
    config_or_model: Annotated[str, Parameter(name="CONFIG|MODEL")], /, *, json: Json = False
) -> None:
    """Score a run's student, or any model, on held-out prompts.

    Example: tutelage evaluate flows/configs/demo.yaml

    Parameters
    ----------
    config_or_model
        A YAML file of settings, a model's folder, or its Hugging Face id.
    """
    from flows.config import load_config
    from flows.verbs import evaluate as evaluate_model

    is_config = config_or_model.endswith((".yaml", ".yml"))
    subject = load_config(config_or_model, {}) if is_config else config_or_model
    print_result(evaluate_model(subject, open_console(json)), json)


@app.command(group=LOOK, sort_key=2)
def report(run: Path, /, *, json: Json = False) -> None:
    """Write a run's report again, and say where it lies.

    Example: tutelage report runs/demo

    Parameters
    ----------
    run
        The run's directory.
    """
    from flows.verbs import report as write_report

    page = write_report(run)
    open_console(json).line(str(page))
    print_result({"report": str(page)}, json)


@app.command(group=MAKE, sort_key=4)
def estimate(config: Path, /, *, json: Json = False) -> None:
    """Count what a run takes at most, before anything is sent.

    Requests, tokens and dollars, by stage and model; the budget beside them.

    Example: tutelage estimate flows/configs/demo.yaml

    Parameters
    ----------
    config
        The run's settings, a YAML file.
    """
    from flows.config import load_config
    from flows.estimate import estimate_run, show_estimate

    found = estimate_run(load_config(config, {}))
    show_estimate(found, open_console(json))
    print_result(found, json)


VERBS = (
    (MAKE, (optimise, rounds, annotate)),
    (LOOK, (versions, diff, release, reject, rollback, export)),
    (TEACH, (teach, classify, cut)),
    (ANY_FILE, (verify, audit, dedup)),
    (SCHEDULE, (up, schedule, schedules, unschedule)),
)
for group, verbs in VERBS:
    for place, verb in enumerate(verbs, start=5):
        app.command(verb, group=group, sort_key=place)
app.command(inspect, group=LOOK, sort_key=1)
app.command(journal_app)


def main(arguments: Sequence[str] | None = None) -> int:
    """Carry out a command line (the process's own by default) and return its exit code."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    try:
        with _end_on_sigterm():
            app(arguments, exit_on_error=False, print_error=False, result_action="return_value")
        sys.stdout.flush()
    except (Exception, KeyboardInterrupt) as error:
        if isinstance(error, BrokenPipeError) and _has_no_reader():
            _flush_stdout()
            return 1  # as after `| head`: there is nobody left to tell
        failure = _explain(error, arguments)
        if failure is None:
            raise
        return _fail(failure, as_json="--json" in arguments)
    return 0


@contextmanager
def _end_on_sigterm() -> Iterator[None]:
    """Let SIGTERM do what Ctrl-C does, so that what was started is stopped."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


class _Failure(NamedTuple):
    exit_code: int
    kind: str
    message: str


def _explain(error: BaseException, arguments: Sequence[str]) -> _Failure | None:
    """What an expected failure is called and says; `None` for a defect of ours."""
    match error:
        case KeyboardInterrupt():
            resumes = arguments[:1] and arguments[0] in RESUMING
            hint = ": what is committed stays; type the same command to go on" if resumes else ""
            return _Failure(130, "Interrupted", f"interrupted{hint}")
        case CycloptsError():
            hint = f"See `{' '.join(['tutelage', *_verb(arguments)])} --help`."
            return _Failure(2, "UsageError", f"{str(error).strip()} {hint}")
        case TutelageError():
            return _Failure(error.exit_code, type(error).__name__, str(error))
    from flows.disk import find_full_disk

    if full := find_full_disk(error):
        return _Failure(1, "DiskFull", full)
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        return _Failure(1, type(error).__name__, f"{error.filename}: {error.strerror.lower()}")
    return None


def _verb(arguments: Sequence[str]) -> Sequence[str]:
    return arguments[:1] if arguments and arguments[0] in app else []


def _fail(failure: _Failure, *, as_json: bool) -> int:
    print(f"tutelage: {failure.message}", file=sys.stderr)
    if as_json:
        error = {"kind": failure.kind, "message": failure.message}
        with suppress(OSError):  # stdout itself may be what failed, and stderr has told it
            print(json.dumps({"error": error}, ensure_ascii=False))
    _flush_stdout()
    return failure.exit_code


def _flush_stdout() -> None:
    """Flush, or let go of a stdout that takes nothing more, so that Python's exit is quiet."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _has_no_reader() -> bool:
    """Whether it is stdout whose pipe broke, and not one to a worker or a server."""
    poll = select.poll()
    poll.register(sys.stdout.fileno(), 0)
    return any(event & select.POLLERR for _, event in poll.poll(0))


if __name__ == "__main__":
    sys.exit(main())
