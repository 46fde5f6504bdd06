"""One process of a training in several: `python -m trainers.worker`, started by `trainers.launch`.

Standard input brings the work as one line and then nothing, until it closes: whoever started this
process is gone, and it ends. Standard output takes lines of JSON, `[kind, content]`, and nothing
else; what libraries print goes where the errors go.
"""

import json
import os
import sys
import traceback
from io import FileIO
from threading import Thread
from typing import Any, TextIO

from generators.errors import TutelageError
from trainers.launch import Work, find_function


def main() -> None:
    """Train, tell, and end without waiting for anybody."""
    output, given = _take_streams()
    work = Work.model_validate_json(given.readline())
    Thread(target=_end_with_caller, args=(given,), daemon=True).start()
    code = 0
    try:
        _train(work, output)
    except TutelageError as error:
        _tell(output, "error", {"kind": type(error).__name__, "message": str(error)})
        code = error.exit_code
    except BaseException:
        traceback.print_exc()
        code = 1
    sys.stderr.flush()
    os._exit(code)  # libraries' own farewells wait for processes that may have died


def _train(work: Work, output: TextIO) -> None:
    from trainers.processes import is_first, join_processes
    from trainers.train import train_student

    join_processes(work.meeting_place)
    result = train_student(
        work.settings,
        work.dataset,
        work.student,
        work.output,
        teacher=work.teacher,
        teacher_id=work.teacher_id,
        signal=work.signal,
        verify=None if work.verify is None else find_function(work.verify),
        on_log=lambda line: _tell(output, "log", line),
        metrics=work.metrics,
    )
    if is_first():
        _tell(output, "result", result.model_dump(mode="json"))


def _take_streams() -> tuple[TextIO, FileIO]:
    """Standard output for ourselves alone, and standard input as it comes, without a buffer."""
    output = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    return output, FileIO(os.dup(sys.stdin.fileno()))


def _tell(output: TextIO, kind: str, content: Any) -> None:
    output.write(json.dumps([kind, content]) + "\n")
    output.flush()


def _end_with_caller(given: FileIO) -> None:
    given.read()
    os._exit(1)


if __name__ == "__main__":
    main()
