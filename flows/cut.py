"""What `tutelage cut` does: make a smaller student of a model and save it as a folder.

Layers are kept, or weights drawn anew under the model's configuration; the tokenizer stays. What
a training's settings say of its student (`train.student`) makes the same model.
"""

import json
from collections.abc import Sequence
from pathlib import Path

from flows.console import Console
from generators.errors import ConfigError
from generators.model_size import count_parameters
from generators.records import Record
from trainers.settings import Student

Value = int | float | bool | str


class CutModel(Record):
    """A model that was made of another."""

    folder: Path
    layers: tuple[int, ...] | None
    """Those that were kept; None where the weights are fresh."""
    fresh: dict[str, Value] | None
    """What differs from the model's configuration; None where layers were kept."""
    parameters: int
    """All of them, embeddings included."""
    other_parameters: int
    """Without the embeddings: what computes."""


def cut_model(student: Student, folder: Path, console: Console) -> CutModel:
    """Make a student and save it. Raises ConfigError for what cannot be made of its model, and
    RunError where the folder exists."""
    from trainers.students import save_cut

    parameters = save_cut(student, folder)
    others = count_parameters(str(folder))
    console.line(f"{folder}: {parameters:,} parameters, {others:,} without the embeddings")
    return CutModel(
        folder=folder,
        layers=student.layers,
        fresh=student.fresh,
        parameters=parameters,
        other_parameters=others,
    )


def describe_cut(
    model: str, layers: Sequence[int], fresh: Sequence[str] | None, seed: int | None
) -> Student:
    """The student that the command's options ask for. Raises ConfigError where they ask for none,
    or for two."""
    if layers and fresh is not None:
        raise ConfigError(
            "--layers and --fresh: untrained weights have no layers to keep; give one of them, or"
            " --fresh num_hidden_layers=…"
        )
    if fresh is not None:
        return Student(model=model, fresh=read_assignments(fresh), seed=seed or 0)
    if not layers:
        raise ConfigError(
            "nothing says how the student is made: give --layers (those to keep), or --fresh"
            " NAME=VALUE (untrained weights under a changed configuration)"
        )
    if seed is not None:
        raise ConfigError("--seed draws the weights of --fresh; leave it out beside --layers")
    return Student(model=model, layers=tuple(layers))


def read_assignments(given: Sequence[str]) -> dict[str, Value]:
    """`NAME=VALUE` as names and values: numbers, true and false, and other text as it stands."""
    values: dict[str, Value] = {}
    for text in given:
        name, sign, value = text.partition("=")
        if not (name and sign and value):
            raise ConfigError(f"--fresh {text}: give NAME=VALUE, such as num_hidden_layers=6")
        if name in values:
            raise ConfigError(f"--fresh {name}: given twice; give it once")
        values[name] = _read_value(value)
    return values


def _read_value(text: str) -> Value:
    try:
        value = json.loads(text)
    except ValueError:
        return text
    return value if isinstance(value, Value) else text
