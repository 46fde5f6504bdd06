"""The command's verb `export`: a run's rows for other programs, or its student as one file."""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Group, Parameter
from cyclopts.validators import Number

from flows.printing import Json, open_console, print_result

if TYPE_CHECKING:
    from flows.export_settings import ExportSettings

OF_ROWS = Group("For rows", sort_key=1)
OF_STUDENTS = Group("For a student (--form gguf)", sort_key=2)
Form = Literal["gguf", "datasets", "openai", "alpaca", "sharegpt"]


@Parameter(name="*", group=OF_ROWS)
@dataclass(frozen=True)
class RowOptions:
    version: int | None = None
    """The number of a published version; the current one unless given."""
    split: Annotated[float | None, Parameter(validator=Number(gt=0, lt=1))] = None
    """The share of the families, above 0 and below 1, that goes into a test split."""
    seed: int | None = None
    """Draws the families of the test split (0 unless given)."""
    accept: Annotated[
        tuple[str, ...] | None, Parameter(consume_multiple=True, metavar="WAY...")
    ] = None
    """Only rows verified so: program, constraint, reference, consensus, judge, person."""
    push_to_hub: Annotated[str | None, Parameter(metavar="NAME")] = None
    """Push to this Hugging Face dataset (NAME or OWNER/NAME) too; with --form datasets."""
    private: bool | None = None
    """Make that dataset one that others cannot see."""


@Parameter(name="*", group=OF_STUDENTS)
@dataclass(frozen=True)
class StudentOptions:
    type: Literal["f32", "f16", "bf16", "q8_0"] | None = None
    """How its numbers are kept (f16 unless given)."""
    converter: Path | None = None
    """llama.cpp's convert_hf_to_gguf.py; the one on the PATH unless given."""
    python: Path | None = None
    """The Python that runs it; tutelage's own unless given."""


def export(
    run_or_folder: Annotated[Path, Parameter(name="RUN|FOLDER")],
    target: Path,
    /,
    *,
    form: Annotated[Form, Parameter(show_default=True)] = "gguf",
    of_rows: RowOptions | None = None,
    of_student: StudentOptions | None = None,
    json: Json = False,
) -> None:
    """Write rows for other programs, or the student as one file.

    datasets is a folder that datasets.load_from_disk opens; openai, alpaca and
    sharegpt are lines of JSON in a folder. Each row keeps where it is from, and the
    card goes along. gguf is the student, for llama.cpp.

    Example: tutelage export runs/demo chats --form openai --split 0.1

    Example: tutelage export runs/demo demo.gguf --converter llama.cpp/convert_hf_to_gguf.py

    Parameters
    ----------
    run_or_folder
        A run's directory; for gguf a model's folder will do.
    target
        What to write: a new folder for rows, a new file for gguf.
    form
        What it is for.
    """
    of_rows, of_student = of_rows or RowOptions(), of_student or StudentOptions()
    _refuse(of_rows if form == "gguf" else of_student, form)
    console = open_console(json)
    if form == "gguf":
        from flows.export import export_student, find_converter

        found = find_converter(of_student.converter, of_student.python)
        precision = of_student.type or "f16"
        print_result(export_student(run_or_folder, target, precision, found, console), json)
    else:
        from flows.export_rows import export_rows

        print_result(export_rows(run_or_folder, target, _settle(form, of_rows), console), json)


def _refuse(options: RowOptions | StudentOptions, form: Form) -> None:
    """Raise ConfigError for an option that the form has no use for."""
    from generators.errors import ConfigError

    given = [field.name for field in fields(options) if getattr(options, field.name) is not None]
    if given:
        option = f"--{given[0].replace('_', '-')}"
        others = "datasets, openai, alpaca or sharegpt" if form == "gguf" else "gguf"
        raise ConfigError(f"{option} goes with --form {others}, not with {form}")


def _settle(
    form: Literal["datasets", "openai", "alpaca", "sharegpt"], options: RowOptions
) -> "ExportSettings":
    """The settings that the options come to. Raises ConfigError for an unknown verification."""
    from typing import get_args

    from flows.export_settings import ExportSettings
    from generators.errors import ConfigError, nearest
    from generators.records import VerifiedBy

    ways = get_args(VerifiedBy)
    for way in options.accept or ():
        if way not in ways:
            raise ConfigError(
                f"--accept {way}: no kind of verification{nearest(way, ways)}; there are"
                f" {', '.join(ways)}"
            )
    return ExportSettings.model_validate(
        {
            "form": form,
            "version": options.version,
            "split": options.split,
            "seed": options.seed or 0,
            "accept": options.accept,
            "push_to_hub": options.push_to_hub,
            "private": bool(options.private),
        }
    )
