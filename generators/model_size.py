"""How large a model is, without loading it: the parameters that do work for every token.

The embedding tables and the head over the vocabulary are left out, tied or not (Kaplan et al. 2020,
arXiv:2001.08361, section 2.1): with them a small model of a large vocabulary would count as much
larger than it computes. The figure is read from the headers of the safetensors files.
"""

import json
import math
import re
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from generators.embedded import locate_model
from generators.errors import ModelError

INDEX, SINGLE = "model.safetensors.index.json", "model.safetensors"
_TABLE = re.compile(
    r"(?:^|\.)(?:embed_tokens|embed_in|word_embeddings|tok_embeddings|wte|wpe|embed_positions|"
    r"lm_head|embed_out)\."
)
_TOKENS = re.compile(r"(?:^|\.)(?:embed_tokens|embed_in|word_embeddings|tok_embeddings|wte)\.")
# Not `num_experts_per_tok`: dense models of such a family have that too.
_EXPERTS = re.compile(r"(?:moe_)?(?:num|n)_(?:\w+_)?experts")
_MAX_HEADER = 100 << 20


def count_parameters(name: str) -> int:
    """The non-embedding parameters of the bundled model, a folder's, or a cached hub model's.

    Raises ModelError for a model whose weights are not here as safetensors, are quantised or cut
    off, have no embedding table of a known name, or are a mixture of experts, of which a token
    passes only some.
    """
    folder = _find_folder(name)
    config = _read_json(name, folder / "config.json")
    if experts := _find_experts(config):
        raise _uncountable(name, f"it is a mixture of experts ({experts})")
    tensors: dict[str, Any] = {}
    for file in _list_files(name, folder):
        tensors |= _read_header(name, file)
    for tensor, told in tensors.items():
        if told["dtype"].startswith(("I", "U")) and len(told["shape"]) > 1:
            raise _uncountable(name, f"its weights are quantised ({tensor}: {told['dtype']})")
    vocabulary = config.get("vocab_size") or config.get("text_config", {}).get("vocab_size", 0)
    if not any(_TOKENS.search(t) and vocabulary in tensors[t]["shape"] for t in tensors):
        raise _uncountable(name, f"no embedding table of {vocabulary} tokens is among its weights")
    return sum(math.prod(told["shape"]) for t, told in tensors.items() if not _TABLE.search(t))


def _find_folder(name: str) -> Path:
    """The model's folder, or the place of its snapshot in the hub's cache."""
    place = Path(locate_model(name))
    if place.is_dir():
        return place
    from huggingface_hub import try_to_load_from_cache

    config = try_to_load_from_cache(name, "config.json")
    if not isinstance(config, str):
        raise _uncountable(name, "it has not been downloaded to this machine")
    return Path(config).parent


def _find_experts(config: Mapping[str, Any]) -> str | None:
    """The setting that tells of several experts, with its value, in whichever part it stands."""
    for key, value in config.items():
        if isinstance(value, Mapping):
            if found := _find_experts(value):
                return f"{key}.{found}"
        elif _EXPERTS.fullmatch(key):
            counts = value if isinstance(value, list) else [value]
            if any(isinstance(count, int) and count > 1 for count in counts):
                return f"{key}: {value}"
    return None


def _list_files(name: str, folder: Path) -> list[Path]:
    """The files of which transformers would load the weights."""
    if (folder / INDEX).is_file():
        files = _read_json(name, folder / INDEX).get("weight_map", {}).values()
        return [folder / file for file in sorted(set(files))]
    if not (folder / SINGLE).is_file():
        raise _uncountable(name, "its folder has no model.safetensors")
    return [folder / SINGLE]


def _read_header(name: str, file: Path) -> dict[str, Any]:
    """Dtype and shape of each tensor of one file: a length of 8 bytes, then so much JSON."""
    try:
        with file.open("rb") as opened:
            (length,) = struct.unpack("<Q", opened.read(8))
            header = json.loads(opened.read(min(length, _MAX_HEADER)))
            tensors = {k: told for k, told in header.items() if k != "__metadata__"}
            end = max((told["data_offsets"][1] for told in tensors.values()), default=0)
            whole = file.stat().st_size >= 8 + length + end
    except (OSError, struct.error, ValueError, KeyError, TypeError, AttributeError) as error:
        raise _uncountable(name, f"{file.name} cannot be read ({error})") from error
    if not whole:
        raise _uncountable(name, f"{file.name} is cut off")
    return tensors


def _read_json(name: str, file: Path) -> dict[str, Any]:
    try:
        value = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise _uncountable(name, f"{file.name} cannot be read ({error})") from error
    if not isinstance(value, dict):
        raise _uncountable(name, f"{file.name} holds no JSON object")
    return value


def _uncountable(name: str, reason: str) -> ModelError:
    return ModelError(
        f"{name}: its parameters cannot be counted: {reason}.\n"
        "Give a folder that save_pretrained wrote, or state the exchange rate as a number."
    )
