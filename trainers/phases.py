"""Several trainings in a row, each of the student that the one before has made.

The recipe for a weak student of a strong teacher (Qwen3 report, 2025) is two of them: first the
teacher's outputs, then the teacher's distribution on the student's own. Each phase has a folder of
its own in the output, and is what a training alone would be: broken off, it goes on.
"""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from trainers.checkpoints import publish_folder, put_copy
from trainers.metrics import append_metrics, read_metrics
from trainers.settings import Student, TrainResult, TrainSettings
from trainers.signal_settings import Teacher

TrainOne = Callable[..., TrainResult]


def train_in_phases(
    train_one: TrainOne,
    settings: TrainSettings,
    student: Student,
    output: Path,
    *,
    teacher: Teacher | None,
    on_log: Callable[[dict[str, Any]], None] | None,
    metrics: Path | None,
    **given: Any,
) -> TrainResult:
    """Train phase by phase, and put the last one's student into `output`.

    `train_one` is `trainers.train.train_student`. Steps are counted through all phases, and every
    line that is logged names its `phase`, from 1 on.
    """
    results: list[TrainResult] = []
    lines: list[dict[str, Any]] = []
    for number, part in enumerate(settings.split(), start=1):
        folder = output / f"phase-{number}"
        before = sum(result.steps for result in results)

        def tell(line: dict[str, Any], number: int = number, before: int = before) -> None:
            if on_log is not None:
                on_log(_place(line, number, before))

        result = train_one(
            part,
            student=student,
            output=folder,
            teacher=teacher if part.follows_teacher else None,
            on_log=tell,
            metrics=folder / "metrics.jsonl",
            **given,
        )
        lines += [_place(m, number, before) for m in read_metrics(folder / "metrics.jsonl")]
        if metrics is not None:
            _write_lines(metrics, lines)
        results.append(result)
        student = Student(model=str(result.output))
    return _join(results, output)


def _place(line: dict[str, Any], phase: int, before: int) -> dict[str, Any]:
    return {**line, "step": line["step"] + before, "phase": phase}


def _write_lines(metrics: Path, lines: list[dict[str, Any]]) -> None:
    scratch = metrics.with_name(metrics.name + ".partial")
    scratch.unlink(missing_ok=True)
    for line in lines:
        append_metrics(scratch, line)
    scratch.replace(metrics)


def _join(results: list[TrainResult], output: Path) -> TrainResult:
    """The last phase's student under the name of all, with what all came to."""
    steps = sum(result.steps for result in results)
    last = results[-1]
    whole = last.model_copy(
        update={
            "steps": steps,
            "train_loss": sum(r.train_loss * r.steps for r in results) / steps,
            "tokens": sum(result.tokens for result in results),
            "seconds": sum(result.seconds for result in results),
            "best_step": None if last.best_step is None else steps - last.steps + last.best_step,
            "output": output / "model",
        }
    )
    scratch = output / "model.partial"
    shutil.rmtree(scratch, ignore_errors=True)
    shutil.copytree(last.output, scratch, copy_function=put_copy)
    (scratch / "result.json").unlink()  # the phase keeps its own
    (scratch / "result.json").write_text(whole.model_dump_json(indent=2))
    publish_folder(scratch, whole.output)
    clear_phases(output)
    return whole


def clear_phases(output: Path) -> None:
    """Take away the folders of phases that are all done."""
    for folder in output.glob("phase-*"):
        shutil.rmtree(folder)
