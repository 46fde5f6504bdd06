"""The command's verb `cut`: a student before its training."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from flows.printing import Json, open_console, print_result


def cut(
    model: str,
    folder: Path,
    /,
    *,
    layers: Annotated[tuple[int, ...], Parameter(consume_multiple=True)] = (),
    fresh: Annotated[
        tuple[str, ...] | None, Parameter(consume_multiple=True, metavar="NAME=VALUE...")
    ] = None,
    seed: int | None = None,
    json: Json = False,
) -> None:
    """Make a smaller student of the same tokenizer.

    It has some of a model's layers, or fresh weights.

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
        Settings in place of its configuration's own (hidden_size=288), for untrained weights.
    seed
        Draws the weights of --fresh (0 unless given).
    """
    from flows.cut import cut_model, describe_cut

    student = describe_cut(model, layers, fresh, seed)
    print_result(cut_model(student, folder, open_console(json)), json)
