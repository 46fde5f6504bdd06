"""The model that is taught: one as it stands, a smaller one made by keeping some layers, or an
untrained one of another model's kind (deeper, shallower, narrower) that may begin with its
embeddings."""

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from huggingface_hub import try_to_load_from_cache
from torch import nn
from transformers import CONFIG_MAPPING
from transformers.utils.logging import disable_progress_bar

from generators.embedded import LoadedModel, load_model, load_tokenizer, locate_model
from generators.errors import ConfigError, ModelError, RunError
from trainers.fresh_models import make_fresh, override_config
from trainers.settings import Student
from trainers.teachers import check_width, count_ids


def load_student(student: Student) -> LoadedModel:
    """Load or make a student in float32, in which small updates are not rounded away."""
    model, tokenizer = load_model(student.model, "float32")
    if student.layers is not None:
        keep_layers(model, student.layers)
    if student.fresh is not None:
        _check_vocabulary(student, tokenizer)
        model = make_fresh(
            model, student.fresh, seed=student.seed, reuse_embeddings=student.reuse_embeddings
        )
        check_width(model, count_ids(tokenizer), "student")
    return LoadedModel(model, tokenizer)


def check_student(student: Student) -> None:
    """Raise ConfigError, as `load_student` does, for what cannot be made of the model. Only its
    configuration is read; where that is not on this machine nothing is known yet."""
    config = read_configuration(student.model)
    if config is None:
        return
    if student.layers is not None:
        _check_layers(student.layers, config.get_text_config().num_hidden_layers)
    if student.fresh is not None:
        override_config(config, student.fresh)
        if "vocab_size" in student.fresh:
            _check_vocabulary(student, load_tokenizer(student.model))


def read_configuration(name: str) -> Any:
    """The configuration of a model that is here and of a known kind, else None."""
    try:
        place = Path(locate_model(name))
    except ModelError:
        return None  # whoever loads it says so
    file = place / "config.json"
    if not place.is_dir():
        cached = try_to_load_from_cache(name, file.name)
        if not isinstance(cached, str):
            return None
        file = Path(cached)
    values = json.loads(file.read_text(encoding="utf-8"))
    kind = values.get("model_type")
    return CONFIG_MAPPING[kind].from_dict(values) if kind in CONFIG_MAPPING else None


def _check_vocabulary(student: Student, tokenizer: Any) -> None:
    rows = (student.fresh or {}).get("vocab_size")
    known = count_ids(tokenizer)
    if isinstance(rows, int) and rows < known:
        raise ConfigError(
            f"fresh.vocab_size {rows}: the tokenizer, which stays, knows {known:,} ids;"
            " give at least as many, or leave it out"
        )


def save_cut(student: Student, folder: Path) -> int:
    """Save a student made of another model as a model folder; return its number of parameters.

    Raises RunError where the folder exists, and what `load_student` raises.
    """
    if folder.exists():
        raise RunError(f"{folder}: there is something already; give the name of a new folder")
    disable_progress_bar()
    model, tokenizer = load_student(student)
    with tempfile.TemporaryDirectory(dir=_make(folder.parent), prefix=".cut-") as scratch:
        made = Path(scratch) / "model"
        model.save_pretrained(made)
        tokenizer.save_pretrained(made)
        made.rename(folder)
    return sum(parameter.numel() for parameter in model.parameters())


def _make(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def keep_layers(model: Any, layers: Sequence[int]) -> None:
    """Drop all transformer layers but these, in place; the configuration follows.

    Raises ConfigError unless the numbers ascend and exist.
    """
    decoder, config = model.get_decoder(), model.config
    _check_layers(layers, len(decoder.layers))
    kept: list[Any] = [decoder.layers[i] for i in layers]
    for place, layer in enumerate(kept):
        for module in layer.modules():
            if hasattr(module, "layer_idx"):  # the layer's slot in the key-value cache
                module.layer_idx = place
    decoder.layers = nn.ModuleList(kept)
    config.num_hidden_layers = len(layers)
    if getattr(config, "layer_types", None):
        config.layer_types = [config.layer_types[i] for i in layers]


def _check_layers(layers: Sequence[int], count: int) -> None:
    if list(layers) != sorted(set(layers)) or not all(0 <= i < count for i in layers):
        raise ConfigError(
            f"layers {list(layers)}: give ascending numbers from 0 to {count - 1}, each once"
        )
