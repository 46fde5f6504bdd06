"""The command's verbs `cut` and `export`: students before their training, and after it."""

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from flows.printing import Json, open_console, print_result


def cut(
    model: str,
    folder: Path,
    /,
    *,
    layers: Annotated[tuple[int, ...], Parameter(consume_multiple=True)] = (),
    fresh: Annotated[
        tuple[str, ...] | None, Parameter(consume_multiple=True, show_default=False)
    ] = None,
    seed: int | None = None,
    json: Json = False,
) -> None:
    """Make a smaller student of the same tokenizer: some of a model's layers, or fresh weights.

    Example: tutelage cut smollm2-135m-instruct runs/small --layers 0 5 10 15 20 29

    Example: tutelage cut smollm2-135m-instruct runs/fresh --fresh num_hidden_layers=6

    Parameters
    ----------
    model
        The bundled model's name, a local folder, or a Hugging Face id.
    folder
        Where the student goes; a new folder.
    layers
        The transformer layers to keep, counted from 0 and ascending.
    fresh
        NAME=VALUE (hidden_size=288) in place of its configuration's own, for untrained weights.
    seed
        Draws the weights of --fresh (0 unless given).
    """
    from flows.cut import cut_model, describe_cut

    student = describe_cut(model, layers, fresh, seed)
    print_result(cut_model(student, folder, open_console(json)), json)


def export(
    run_or_folder: Annotated[Path, Parameter(name="RUN|FOLDER")],
    file: Path,
    /,
    *,
    type: Annotated[Literal["f32", "f16", "bf16", "q8_0"], Parameter(show_default=True)] = "f16",
    converter: Path | None = None,
    python: Path | None = None,
    json: Json = False,
) -> None:
    """Write a student as one GGUF file, by llama.cpp's converter.

    Example: tutelage export runs/demo demo.gguf --converter llama.cpp/convert_hf_to_gguf.py

    Parameters
    ----------
    run_or_folder
        A run's directory, whose student is meant, or a model's folder.
    file
        The file to write; a new one.
    type
        How its numbers are kept.
    converter
        llama.cpp's convert_hf_to_gguf.py; the one on the PATH unless given.
    python
        The Python that runs it; tutelage's own unless given.
    """
    from flows.export import export_student, find_converter

    found = find_converter(converter, python)
    print_result(export_student(run_or_folder, file, type, found, open_console(json)), json)
