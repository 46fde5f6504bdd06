"""An untrained model of another model's kind: its configuration with some values changed.

Depth, width, heads and the rest follow the changes; what depends on them (the dimensions of a
head, the kinds of layers) follows too. A vector per token is the part of a small model that has
most weights and learns slowest, so the other model's embeddings and head are taken over where
their shapes agree.
"""

import copy
from collections.abc import Mapping
from typing import Any

import torch
from huggingface_hub.errors import StrictDataclassError
from transformers import AutoModelForCausalLM

from generators.errors import ConfigError, nearest

_FIXED = {"model_type", "dtype", "transformers_version", "_name_or_path"}
"""What says which model it is, not how it is built."""
_SIZES = (
    "num_hidden_layers",
    "hidden_size",
    "intermediate_size",
    "num_attention_heads",
    "num_key_value_heads",
    "head_dim",
    "vocab_size",
)
Value = int | float | bool | str


def make_fresh(
    model: Any,
    overrides: Mapping[str, Value],
    *,
    seed: int = 0,
    reuse_embeddings: bool = True,
) -> Any:
    """A float32 model of untrained weights, drawn by the seed, in evaluation mode.

    `overrides` are values for the model's own configuration. Raises ConfigError for a key that it
    does not have, a value of another type, or sizes that do not go together.
    """
    config = override_config(model.config, overrides)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        fresh = AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval()
    fresh.generation_config = copy.deepcopy(model.generation_config)
    if reuse_embeddings:
        _copy_embeddings(model, fresh)
    return fresh


def override_config(config: Any, overrides: Mapping[str, Value]) -> Any:
    """A configuration of the same class with other values. Raises ConfigError as `make_fresh`."""
    own: dict[str, Any] = config.to_dict()
    names: dict[str, str] = type(config).attribute_map  # GPT-2 calls hidden_size n_embd
    changed: dict[str, Any] = {
        names.get(key, key): _check_value(own, key, names.get(key, key), value)
        for key, value in overrides.items()
    }
    width, heads = names.get("hidden_size", "hidden_size"), _find_heads(names)
    if own.get("head_dim") is not None and own["head_dim"] * own[heads] == own[width]:
        changed.setdefault("head_dim", None)  # it was hidden_size / heads, and is so again
    if own.get("num_key_value_heads") == own.get(heads) and heads in changed:
        changed.setdefault("num_key_value_heads", changed[heads])
    if names.get("num_hidden_layers", "num_hidden_layers") in changed and "layer_types" in own:
        changed["layer_types"] = None  # the class gives each layer its kind anew
    _check_heads({**own, **changed}, width, heads)
    try:
        return type(config).from_dict({**own, **changed})
    except (StrictDataclassError, ValueError, TypeError) as error:
        reason = " ".join(str(error).split())[:300]
        raise ConfigError(f"fresh: not a configuration of {own['model_type']}: {reason}") from error


def _check_value(own: Mapping[str, Any], given: str, key: str, value: Value) -> Value:
    """The value, of the type that the configuration has there."""
    plain = {
        name: each
        for name, each in own.items()
        if name not in _FIXED and not isinstance(each, dict | list | tuple)
    }
    if key not in plain:
        raise ConfigError(
            f"fresh.{given}: not a setting of a {own['model_type']} model{nearest(key, plain)}"
        )
    wanted = type(plain[key])
    fits = type(value) is wanted or (wanted is float and type(value) is int)
    if plain[key] is not None and not fits:
        raise ConfigError(
            f"fresh.{given} {value!r}: must be of type {wanted.__name__},"
            f" as the model's own {plain[key]!r}"
        )
    if given in _SIZES and isinstance(value, int) and value < 1:
        raise ConfigError(f"fresh.{given} {value}: must be at least 1")
    return float(value) if wanted is float else value


def _find_heads(names: Mapping[str, str]) -> str:
    return names.get("num_attention_heads", "num_attention_heads")


def _check_heads(values: Mapping[str, Any], width: str, heads: str) -> None:
    hidden, count = values.get(width), values.get(heads)
    if hidden is None or count is None:
        return
    size = values.get("head_dim")
    if size is None:
        if hidden % count:
            raise ConfigError(
                f"fresh: hidden_size {hidden} cannot be shared out among {count} attention heads;"
                " give hidden_size or num_attention_heads so that it divides"
            )
        size = hidden // count
    if values.get("rope_parameters") and size % 2:
        raise ConfigError(
            f"fresh: {size} dimensions a head ({hidden} / {count}):"
            " rotary positions need an even number"
        )
    groups = values.get("num_key_value_heads")
    if groups is not None and count % groups:
        raise ConfigError(
            f"fresh: {count} attention heads cannot share {groups} key-value heads;"
            " give num_attention_heads or num_key_value_heads so that it divides"
        )


@torch.no_grad()
def _copy_embeddings(source: Any, target: Any) -> None:
    embedding = target.get_input_embeddings().weight
    head = target.get_output_embeddings().weight
    pairs = [(source.get_input_embeddings().weight, embedding)]
    if head is not embedding:  # a tied head has its embeddings by now
        pairs.append((source.get_output_embeddings().weight, head))
    for old, new in pairs:
        if old.shape == new.shape:
            new.copy_(old)
