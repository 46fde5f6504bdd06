"""Train in several processes of this machine: start them, pass on what they tell, and end them.

The one who calls stays what it was, with its own locks, journal and progress; its workers
(`trainers.worker`) train, and the first of them tells each step's figures line by line. When one
dies all are ended and the error says what it wrote last; when the caller dies, by whatever signal,
the workers' standard input closes and they end too. Either way the checkpoints are as whole as
after any kill, and calling again goes on from them.
"""

import importlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from typing import IO, Any

from generators import errors
from generators.records import Record
from trainers.measuring import Verify
from trainers.settings import Student, TrainResult, TrainSettings
from trainers.signal_settings import Teacher

LAST_LINES = 15
"""Of what a worker wrote before it died."""
LOOPBACK = {"linux": "lo", "darwin": "lo0"}


class Work(Record):
    """What a worker is told, as one line of JSON."""

    settings: TrainSettings
    dataset: Path
    student: Student
    output: Path
    teacher: Teacher | None
    teacher_id: str | None
    signal: Path | None
    verify: str | None
    """The function's module and name."""
    metrics: Path | None
    meeting_place: Path


def train_in_processes(
    settings: TrainSettings,
    dataset: Path,
    student: Student,
    output: Path,
    *,
    teacher: Teacher | None = None,
    teacher_id: str | None = None,
    signal: Path | None = None,
    verify: Verify | None = None,
    on_log: Callable[[dict[str, Any]], None] | None = None,
    metrics: Path | None = None,
) -> TrainResult:
    """Train in `settings.processes` processes; all else is as for `train_student`.

    `verify` must be a function of a module, so that a worker can import it. Raises what the
    workers raise, and RunError where one of them dies.
    """
    with tempfile.TemporaryDirectory(prefix="training-") as scratch:
        work = Work(
            settings=settings,
            dataset=dataset.absolute(),
            student=student,
            output=output.absolute(),
            teacher=teacher,
            teacher_id=teacher_id,
            signal=signal and signal.absolute(),
            verify=None if verify is None else _name_function(verify),
            metrics=metrics and metrics.absolute(),
            meeting_place=Path(scratch) / "meeting",
        )
        logs = [Path(scratch) / f"worker-{i}.log" for i in range(settings.processes)]
        with _start_workers(work, logs) as workers:
            result = listen(workers, logs, on_log)
    return result.model_copy(update={"output": output / "model"})


@contextmanager
def _start_workers(work: Work, logs: Sequence[Path]) -> Iterator[list[subprocess.Popen[str]]]:
    """The workers, who are ended at the latest when the block is left."""
    workers: list[subprocess.Popen[str]] = []
    try:
        for i, log in enumerate(logs):
            with log.open("w") as file:
                workers.append(
                    subprocess.Popen(
                        [sys.executable, "-m", "trainers.worker"],
                        stdin=subprocess.PIPE,
                        stdout=subprocess.PIPE,
                        stderr=file,
                        env=_make_environment(i, len(logs)),
                        start_new_session=True,  # Ctrl+C is the caller's to hear
                        text=True,
                        encoding="utf-8",
                    )
                )
        for worker in workers:
            _tell_work(worker, work)
        yield workers
    finally:
        for worker in workers:
            worker.kill()
        for worker in workers:
            worker.wait()
            with suppress(BrokenPipeError):
                _get_input(worker).close()


def _tell_work(worker: subprocess.Popen[str], work: Work) -> None:
    with suppress(BrokenPipeError):  # its death is noticed by what it no longer says
        _get_input(worker).write(work.model_dump_json(exclude_unset=True) + "\n")
        _get_input(worker).flush()


def _get_input(worker: subprocess.Popen[str]) -> IO[str]:
    assert worker.stdin is not None
    return worker.stdin


def _make_environment(number: int, count: int) -> dict[str, str]:
    """What the worker's libraries look for; threads are shared out unless somebody has set them."""
    threads = max(1, (os.cpu_count() or 1) // count)
    unless_set = {"OMP_NUM_THREADS": str(threads)}
    if (loopback := LOOPBACK.get(sys.platform)) is not None:
        unless_set["GLOO_SOCKET_IFNAME"] = loopback  # the workers are all of this machine
    ranks = {"RANK": number, "LOCAL_RANK": number, "WORLD_SIZE": count, "LOCAL_WORLD_SIZE": count}
    paths = os.pathsep.join(path for path in sys.path if path)
    own = {name: str(value) for name, value in ranks.items()} | {"PYTHONPATH": paths}
    return unless_set | dict(os.environ) | own


def listen(
    workers: Sequence[subprocess.Popen[str]],
    logs: Sequence[Path],
    on_log: Callable[[dict[str, Any]], None] | None,
) -> TrainResult:
    """Pass on what the workers tell until all have ended; the result is the first one's.

    Raises what a worker has told of, and RunError, with the end of its log, where one dies.
    """
    told: SimpleQueue[tuple[int, str | None]] = SimpleQueue()
    for number, worker in enumerate(workers):
        Thread(target=_read_lines, args=(number, worker, told), daemon=True).start()
    result, waiting = None, len(workers)
    while waiting:
        number, line = told.get()
        if line is None:
            waiting -= 1
            if (code := workers[number].wait()) != 0:
                raise errors.RunError(_tell_death(number, code, logs[number]))
            continue
        kind, content = json.loads(line)
        if kind == "error":
            raise getattr(errors, content["kind"])(content["message"])
        if kind == "result":
            result = TrainResult.model_validate(content)
        elif on_log is not None:
            on_log(content)
    assert result is not None  # a worker that ends well has told it
    return result


def _read_lines(
    number: int, worker: subprocess.Popen[str], told: SimpleQueue[tuple[int, str | None]]
) -> None:
    assert worker.stdout is not None
    with worker.stdout as lines:
        for line in lines:
            told.put((number, line))
    told.put((number, None))


def _tell_death(number: int, code: int, log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()[-LAST_LINES:]
    last = "\n".join(f"  {line}" for line in lines) or "  (nothing)"
    how = f"was ended by signal {-code}" if code < 0 else f"ended with code {code}"
    return (
        f"process {number} of the training {how}, and so the others were ended. Its last lines:\n"
        f"{last}\n"
        "Start again to go on from the last checkpoint; where memory ran out, lower batch_size."
    )


def _name_function(function: Verify) -> str:
    """Raises ConfigError for a function that another process cannot import."""
    name = f"{function.__module__}:{getattr(function, '__qualname__', '<')}"
    if "<" in name or "__main__" in name:
        raise errors.ConfigError(
            f"verify: {name} cannot be imported by the processes of a training.\n"
            "Give a function of a module, or train in one process (processes: 1)."
        )
    return name


def find_function(name: str) -> Any:
    """The function of a name that `train_in_processes` has given."""
    module, _, path = name.partition(":")
    found: Any = importlib.import_module(module)
    for part in path.split("."):
        found = getattr(found, part)
    return found
