"""The student as it is before its training: a model that is there, or one that is made of it.

The training makes it in memory. Whoever has to ask it something gets a folder for as long as that
takes; so nothing lies about that another setting would make wrong.
"""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from flows.stage_settings import TrainStage
from generators.embedded import identify_model
from generators.errors import ConfigError
from generators.records import digest
from trainers.settings import Student


def is_made(student: Student) -> bool:
    """Whether it is another model than the one it names."""
    return student.layers is not None or student.fresh is not None


def identify_untaught(student: Student) -> str:
    """What decides its answers: name and revision of the model, and what was made of it."""
    model = identify_model(student.model)
    return f"{model} {digest(student.model_dump(mode='json'))}" if is_made(student) else model


@contextmanager
def open_untaught(student: Student, folder: Path) -> Iterator[str]:
    """Its model as a name or a folder; one that is made lies below `folder` meanwhile."""
    if not is_made(student):
        yield student.model
        return
    from trainers.students import save_cut

    with tempfile.TemporaryDirectory(dir=folder, prefix=".untaught-") as scratch:
        kind = "fresh" if student.fresh is not None else "cut"
        place = Path(scratch) / f"{Path(student.model).name}-{kind}"
        save_cut(student, place)
        yield str(place)


def find_student_problems(student: Student) -> Iterator[tuple[str, str]]:
    """What cannot be made of the model, as far as its configuration is here to tell."""
    if not is_made(student):
        return
    from trainers.students import check_student

    try:
        check_student(student)
    except ConfigError as error:
        yield "train.student", str(error)


def find_other_model(train: TrainStage | None, model: str) -> str | None:
    """In words, how a model is another than the student; None where it is the student."""
    if train is None:
        return None
    student = train.untaught
    if is_made(student):
        return (
            f"that is {model}, and the student is made of {student.model}: save it with"
            " `tutelage cut`, and name its folder here and in train.student"
        )
    same = model == student.model
    return None if same else f"that is {model}, and the student is {student.model}"
