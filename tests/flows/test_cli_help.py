"""The help of every verb: a line that says what it does, an example that is a command, a word on
each parameter, on a page of 80 columns; and all of it at once."""

import inspect
import json
import resource
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from cyclopts import App

from flows import verb_groups
from flows.cli import app

ROOT = Path(__file__).parents[2]
HEAVY = [
    *("torch", "transformers", "prefect", "datasets", "reasoning_gym", "openai", "pyarrow"),
    *("matplotlib", "math_verify", "fastapi", "pydantic", "datasette", "huggingface_hub"),
]
USAGE = {
    "run": "[OPTIONS] CONFIG",
    "preview": "[OPTIONS] CONFIG",
    "validate": "[OPTIONS] CONFIG",
    "estimate": "[OPTIONS] CONFIG",
    "optimise": "[OPTIONS] CONFIG",
    "rounds": "[OPTIONS] CONFIG",
    "annotate": "[OPTIONS] CONFIG",
    "inspect": "[OPTIONS] RUN",
    "report": "[OPTIONS] RUN",
    "versions": "[OPTIONS] RUN",
    "diff": "[OPTIONS] RUN [ARGS]",
    "release": "--why TEXT [OPTIONS] RUN ROW...",
    "reject": "--why TEXT [OPTIONS] RUN ROW...",
    "rollback": "[OPTIONS] RUN VERSION",
    "export": "[OPTIONS] RUN|FOLDER TARGET",
    "journal stats": "[OPTIONS] PATH",
    "journal export": "[OPTIONS] PATH OUT",
    "journal prune": "[OPTIONS] PATH",
    "train": "[OPTIONS] CONFIG",
    "evaluate": "[OPTIONS] CONFIG|MODEL",
    "teach": "[OPTIONS] CONFIG",
    "classify": "[OPTIONS] CONFIG",
    "cut": "[OPTIONS] MODEL FOLDER",
    "verify": "[OPTIONS] FILE",
    "audit": "[OPTIONS] FILE",
    "dedup": "[OPTIONS] FILE",
    "up": "[OPTIONS]",
    "schedule": "[OPTIONS] CONFIG",
    "schedules": "[OPTIONS]",
    "unschedule": "[OPTIONS] NAME|CONFIG",
}
"""What each verb takes, in the order of the help."""


def walk(parent: App, path: tuple[str, ...] = ()) -> Iterator[tuple[str, App]]:
    """All verbs below an app, with what is typed for each."""
    for name in parent:
        if not name.startswith("-"):
            verb = parent[name]
            typed = (*path, name)
            yield from [(" ".join(typed), verb)] if verb.default_command else walk(verb, typed)


VERBS = dict(walk(app))


def show_help(*arguments: str) -> list[str]:
    """The lines of a help page, as the command prints it into a pipe."""
    done = subprocess.run(
        [sys.executable, "-m", "flows.cli", *arguments, "--help"],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
        env={"PATH": "", "COLUMNS": "80"},
    )
    return done.stdout.splitlines()


def list_examples(verb: str) -> list[str]:
    lines = inspect.cleandoc(VERBS[verb].help).splitlines()
    return [line.removeprefix("Example: ") for line in lines if line.startswith("Example: ")]


def test_no_verb_is_forgotten() -> None:
    assert sorted(VERBS) == sorted(USAGE)


def test_the_first_page_has_each_verb_on_a_line_under_its_heading() -> None:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    lines = show_help()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 1
    assert lines[0] == "Usage: tutelage COMMAND"
    assert lines[-1] == "Exit codes: 0 done, 1 failed, 2 wrong use, 130 interrupted."
    headings = [line.strip("╭╮─ ") for line in lines if line.startswith("╭")]
    groups = ("MAKE", "LOOK", "TEACH", "ANY_FILE", "SCHEDULE", "OTHER")
    assert headings == [getattr(verb_groups, name).name for name in groups]
    listed = [line.strip("│ ").split()[0] for line in lines if line.startswith("│")]
    wanted = list(dict.fromkeys(verb.split()[0] for verb in USAGE))
    assert listed == [*wanted, "--help", "--version"]


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import json, sys; from flows.cli import main\n"
        "for verb in json.loads(sys.argv[1]):\n"
        "    assert main([*verb.split(), '--help']) == 0\n"
        f"    found = [name for name in {HEAVY} if name in sys.modules]\n"
        "    assert found == [], (verb, found)\n"
    )
    arguments = [sys.executable, "-c", code, json.dumps(["", *USAGE])]
    done = subprocess.run(arguments, capture_output=True, text=True, check=False, cwd=ROOT)
    assert (done.returncode, done.stderr) == (0, "")
    usages = [line for line in done.stdout.splitlines() if line.startswith("Usage: ")]
    assert usages[1:] == [f"Usage: tutelage {verb} {taken}" for verb, taken in USAGE.items()]


@pytest.mark.parametrize("verb", USAGE)
def test_every_verb_says_what_it_does(verb: str) -> None:
    summary, *rest = inspect.cleandoc(VERBS[verb].help).splitlines()
    assert summary.endswith(".")
    assert len(summary) <= 62  # beside the longest name it fits into a line of 80 columns
    assert rest[0] == ""
    told = rest[: rest.index("Parameters")] if "Parameters" in rest else rest
    assert [line for line in told if len(line) > 80 and not line.startswith("Example: ")] == []


@pytest.mark.parametrize("verb", USAGE)
def test_every_example_is_a_command(verb: str) -> None:
    examples = list_examples(verb)
    assert examples
    for example in examples:
        command, *arguments = shlex.split(example)
        assert command == "tutelage"
        assert arguments[: len(verb.split())] == verb.split()
        called, _, _ = app.parse_args(arguments, exit_on_error=False, print_error=False)
        assert called is VERBS[verb].default_command


@pytest.mark.parametrize("verb", USAGE)
def test_every_parameter_is_explained(verb: str) -> None:
    arguments = VERBS[verb].assemble_argument_collection(parse_docstring=True)
    shown = [argument for argument in arguments if argument.show]
    assert [argument.name for argument in shown if not argument.parameter.help] == []
    assert [a.name for a in shown if not str(a.parameter.help).rstrip().endswith((".", ")"))] == []
    assert "--json" in [argument.name for argument in shown]


@pytest.mark.parametrize("verb", USAGE)
def test_examples_name_files_that_are_there(verb: str) -> None:
    """A configuration that an example shows is one of the repository's own, or the reader's."""
    words = [word for example in list_examples(verb) for word in shlex.split(example)]
    ours = [word for word in words if word.startswith(("flows/", "seeds/"))]
    assert [word for word in ours if not (ROOT / word).exists()] == []
