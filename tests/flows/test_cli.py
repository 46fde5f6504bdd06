"""The command's promises: exit codes, plain errors, one JSON document on stdout."""

import errno
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flows import cli, verbs
from generators.errors import EndpointError, RunError

ROOT = Path(__file__).parents[2]
DEMO = ROOT / "flows/configs/demo.yaml"
ROWS = [
    {"id": "a", "check": {"kind": "math", "answer": "18"}, "completion": r"so \boxed{18}"},
    {"id": "b", "check": {"kind": "math", "answer": "18"}, "completion": "19"},
    {"id": "c", "check": {"kind": "judge", "rubric": "kind words"}, "completion": "Hello."},
]


def tutelage(*arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "flows.cli", *arguments]
    options = {"capture_output": True, "text": True, "cwd": ROOT} | options
    return subprocess.run(command, check=False, **options)


@pytest.fixture
def rows_file(tmp_path: Path) -> Path:
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    return path


@pytest.fixture
def failing_run(monkeypatch: pytest.MonkeyPatch) -> Callable[[BaseException], None]:
    """Makes `run` fail in a given way once its configuration is read."""

    def fail_with(error: BaseException) -> None:
        def fail(*arguments: Any, **options: Any) -> None:
            raise error

        monkeypatch.setattr(verbs, "run", fail)

    monkeypatch.chdir(ROOT)
    return fail_with


def test_version_is_the_packages() -> None:
    done = tutelage("--version")
    assert (done.returncode, done.stdout) == (0, "0.1.0\n")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param(
            ["rnu", "x"],
            'Unknown command "rnu". Did you mean "run"? Available commands: run, preview, '
            "validate, train, evaluate, report, estimate, optimise, ... See `tutelage --help`.",
            id="unknown verb",
        ),
        pytest.param(
            ["run", "x.yaml", "--jsn"],
            "Unknown option: --jsn. Did you mean --json? See `tutelage run --help`.",
            id="unknown option",
        ),
        pytest.param(
            ["run"],
            'Command "run" parameter CONFIG requires an argument. See `tutelage run --help`.',
            id="no configuration",
        ),
        pytest.param(
            ["preview", "x.yaml", "-n", "0"],
            'Invalid value "0" for -n. Must be >= 1. See `tutelage preview --help`.',
            id="no rows",
        ),
        pytest.param(
            ["preview", "x.yaml", "-n", "few"],
            'Invalid value for -n: unable to convert "few" into int. '
            "See `tutelage preview --help`.",
            id="rows not a number",
        ),
        pytest.param(
            ["validate", "nowhere/x.yaml"], "nowhere/x.yaml: no such file", id="no such file"
        ),
    ],
)
def test_wrong_use_is_told_in_a_line(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(arguments) == 2
    assert capsys.readouterr() == ("", f"tutelage: {message}\n")


def test_validate_tells_every_mistake(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("x.yaml").write_text("nmae: demo\n" + DEMO.read_text().replace("rounds: 2", "rounds: x"))
    assert cli.main(["validate", "x.yaml", "--json"]) == 2
    printed = capsys.readouterr()
    first, *others = printed.err.splitlines()
    assert first == "tutelage: x.yaml:1:1: nmae: not a setting (did you mean name?)"
    assert [line.partition(": ")[2] for line in others] == [
        "evolve.rounds: expected a whole number, got 'x'"
    ]
    assert json.loads(printed.out) == {
        "error": {
            "kind": "ConfigError",
            "message": printed.err.removeprefix("tutelage: ").rstrip("\n"),
        }
    }


def test_validate_accepts_the_demo(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(ROOT)
    assert cli.main(["validate", "flows/configs/demo.yaml"]) == 0
    assert capsys.readouterr() == ("flows/configs/demo.yaml: valid\n", "")
    assert cli.main(["validate", "flows/configs/demo.yaml", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["valid"] is True
    assert document["config"]["name"] == "demo"


def test_verify_json_is_a_line_per_row(rows_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["verify", str(rows_file), "--json"]) == 0
    printed = capsys.readouterr()
    lines = [json.loads(line) for line in printed.out.splitlines()]
    assert [list(line) for line in lines] == [["id", "decision", "reason", "score"]] * 3
    assert [(line["id"], line["decision"]) for line in lines] == [
        ("a", "accept"),
        ("b", "reject"),
        ("c", "quarantine"),
    ]
    assert printed.err == ""


def test_verify_shows_people_a_table_and_totals(
    rows_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["verify", str(rows_file)]) == 0
    printed = capsys.readouterr()
    title, head, *rows, totals = printed.out.splitlines()
    assert (title, head.split()) == ("Decisions", ["id", "decision", "reason"])
    assert [row.split()[:2] for row in rows] == [
        ["a", "accept"],
        ["b", "reject"],
        ["c", "quarantine"],
    ]
    assert totals == "3 rows: 1 accept, 1 quarantine, 1 reject"
    assert printed.err.splitlines()[0] == "verify: begins"


@pytest.mark.parametrize(
    ("error", "code", "kind", "message"),
    [
        pytest.param(
            RunError("runs/demo: in use"), 1, "RunError", "runs/demo: in use", id="run directory"
        ),
        pytest.param(
            EndpointError("http://x: refused"), 1, "EndpointError", "http://x: refused", id="server"
        ),
        pytest.param(
            OSError(errno.ENOSPC, "No space left on device", "runs/demo/answers-1.parquet"),
            1,
            "DiskFull",
            "disk full at runs/demo/answers-1.parquet: free some space and type the same command "
            "again; what is committed stays",
            id="disk full",
        ),
        pytest.param(
            RuntimeError("I/O error: No space left on device (os error 28)"),
            1,
            "DiskFull",
            "disk full: free some space and type the same command again; what is committed stays",
            id="disk full, told by a native library",
        ),
        pytest.param(
            PermissionError(errno.EACCES, "Permission denied", "runs"),
            1,
            "PermissionError",
            "runs: permission denied",
            id="folder not ours",
        ),
        pytest.param(
            KeyboardInterrupt(),
            130,
            "Interrupted",
            "interrupted: what is committed stays; type the same command to go on",
            id="Ctrl-C",
        ),
    ],
)
def test_failure_is_told_without_a_traceback(
    failing_run: Callable[[BaseException], None],
    capsys: pytest.CaptureFixture[str],
    error: BaseException,
    code: int,
    kind: str,
    message: str,
) -> None:
    failing_run(error)
    assert cli.main(["run", str(DEMO)]) == code
    assert capsys.readouterr() == ("", f"tutelage: {message}\n")
    assert cli.main(["run", str(DEMO), "--json"]) == code
    printed = capsys.readouterr()
    assert json.loads(printed.out) == {"error": {"kind": kind, "message": message}}
    assert printed.err == f"tutelage: {message}\n"


def test_cause_of_a_wrapped_failure_is_found(
    failing_run: Callable[[BaseException], None], capsys: pytest.CaptureFixture[str]
) -> None:
    wrapped = RuntimeError("the task failed")
    wrapped.__cause__ = OSError(errno.EDQUOT, "Disk quota exceeded", "runs/journal.sqlite")
    failing_run(wrapped)
    assert cli.main(["run", str(DEMO)]) == 1
    assert capsys.readouterr().err == (
        "tutelage: disk full at runs/journal.sqlite: free some space and type the same command"
        " again; what is committed stays\n"
    )


def test_defect_keeps_its_traceback(failing_run: Callable[[BaseException], None]) -> None:
    failing_run(ZeroDivisionError("a defect of ours"))
    with pytest.raises(ZeroDivisionError) as caught:
        cli.main(["run", str(DEMO)])
    assert str(caught.value) == "a defect of ours"


def test_ctrl_c_prints_one_line(tmp_path: Path) -> None:
    pipe = tmp_path / "rows.yaml"
    os.mkfifo(pipe)
    waiting = subprocess.Popen(
        [sys.executable, "-m", "flows.cli", "validate", str(pipe)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    writer = os.open(pipe, os.O_WRONLY)  # returns once the command has opened it and reads
    waiting.send_signal(signal.SIGINT)
    out, err = waiting.communicate(timeout=60)
    os.close(writer)
    assert (waiting.returncode, out, err) == (130, "", "tutelage: interrupted\n")


@pytest.mark.parametrize("unbuffered", ["", "1"], ids=["buffered", "unbuffered"])
@pytest.mark.parametrize("options", [[], ["--json"]], ids=["plain", "json"])
def test_full_disk_under_stdout(options: list[str], unbuffered: str) -> None:
    with Path("/dev/full").open("w") as full:
        done = tutelage(
            *("validate", str(DEMO), *options),
            capture_output=False,
            stdout=full,
            stderr=subprocess.PIPE,
            env={**os.environ, "PYTHONUNBUFFERED": unbuffered},
        )
    assert (done.returncode, done.stderr) == (
        1,
        "tutelage: disk full: free some space and type the same command again; "
        "what is committed stays\n",
    )


def test_reader_that_has_gone_is_no_noise(rows_file: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    done = tutelage(
        *("verify", str(rows_file), "--json"),
        capture_output=False,
        stdout=writing,
        stderr=subprocess.PIPE,
    )
    os.close(writing)
    assert (done.returncode, done.stderr) == (1, "")
