"""The verb `cut`: what its options ask for, and what it makes."""

import json
from pathlib import Path
from typing import Any

import pytest

from flows.cli import main
from flows.cut import describe_cut, read_assignments
from generators.embedded import load_model
from generators.errors import ConfigError
from trainers.settings import Student


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--layers", "1"], {"layers": [1], "fresh": None}),
        (
            ["--fresh", "num_hidden_layers=3", "tie_word_embeddings=true", "--seed", "4"],
            {"layers": None, "fresh": {"num_hidden_layers": 3, "tie_word_embeddings": True}},
        ),
    ],
    ids=["layers", "fresh"],
)
def test_a_student_is_made_and_told(
    options: list[str],
    expected: dict[str, Any],
    tiny_model_dir: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = tmp_path / "made"
    assert main(["cut", str(tiny_model_dir), str(folder), *options, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    model, _ = load_model(str(folder), "float32")
    total = sum(weight.numel() for weight in model.parameters())
    layers = 1 if told["layers"] else 3
    assert len(model.model.layers) == layers
    assert (told["parameters"], told["other_parameters"]) == (total, total - 49152 * 64)
    assert {name: told[name] for name in expected} == expected


def test_assignments_are_read_as_numbers_truths_and_text() -> None:
    given = ["a=6", "b=1e-5", "c=true", "d=silu", "e=[1]", "f=x=y"]
    expected = {"a": 6, "b": 1e-5, "c": True, "d": "silu", "e": "[1]", "f": "x=y"}
    assert read_assignments(given) == expected
    assert describe_cut("m", (), given[:1], 3) == Student(model="m", fresh={"a": 6}, seed=3)
    assert describe_cut("m", (0, 2), None, None) == Student(model="m", layers=(0, 2))


@pytest.mark.parametrize(
    ("layers", "fresh", "seed", "message"),
    [
        (
            (),
            None,
            None,
            (
                "nothing says how the student is made: give --layers (those to keep), or --fresh "
                "NAME=VALUE (untrained weights under a changed configuration)"
            ),
        ),
        (
            (1,),
            ["num_hidden_layers=1"],
            None,
            (
                "--layers and --fresh: untrained weights have no layers to keep; give one of "
                "them, or "
                "--fresh num_hidden_layers=…"
            ),
        ),
        ((1,), None, 3, "--seed draws the weights of --fresh; leave it out beside --layers"),
        (
            (),
            ["hidden_size"],
            None,
            "--fresh hidden_size: give NAME=VALUE, such as num_hidden_layers=6",
        ),
        ((), ["=3"], None, "--fresh =3: give NAME=VALUE, such as num_hidden_layers=6"),
        ((), ["a=3", "a=4"], None, "--fresh a: given twice; give it once"),
    ],
)
def test_options_that_ask_for_no_student_are_refused(
    layers: tuple[int, ...], fresh: list[str] | None, seed: int | None, message: str
) -> None:
    with pytest.raises(ConfigError) as refusal:
        describe_cut("m", layers, fresh, seed)
    assert str(refusal.value) == message
