"""Low-rank adapters (LoRA, Hu et al. 2021): a student of which only small additions are trained."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from generators.errors import ConfigError
from trainers.settings import LoraSettings


def add_adapters(model: Any, settings: LoraSettings, *, seed: int = 0) -> Any:
    """The model with adapters beside its linear layers, drawn by the seed; its own weights no
    longer change. Raises ConfigError for modules that are no linear layers, or whose weight
    another shares."""
    from peft import LoraConfig, get_peft_model

    _check_modules(model, settings.modules)
    config = LoraConfig(
        r=settings.rank,
        lora_alpha=settings.alpha,
        lora_dropout=settings.dropout,
        target_modules=list(settings.modules) or "all-linear",
        task_type="CAUSAL_LM",
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return get_peft_model(model, config)


def _check_modules(model: Any, modules: Sequence[str]) -> None:
    linear = {
        place: layer.weight
        for place, layer in model.named_modules()
        if isinstance(layer, nn.Linear | Conv1D)
    }
    uses = Counter(id(weight) for _, weight in model.named_parameters(remove_duplicate=False))
    for name in modules:
        found = [w for place, w in linear.items() if f".{place}".endswith(f".{name}")]
        if not found:
            known = sorted({place.rpartition(".")[2] for place in linear})
            raise ConfigError(
                f"lora.modules {name}: the student has no such linear layer; choose of"
                f" {', '.join(known)}"
            )
        if any(uses[id(weight)] > 1 for weight in found):
            raise ConfigError(
                f"lora.modules {name}: its weight is that of the embeddings too, which an adapter"
                " beside one of them would change when it is merged; take it out"
            )


def merge_adapters(model: Any) -> Any:
    """An ordinary model again, with the adapters added to its weights; another is left as it is."""
    merge = getattr(model, "merge_and_unload", None)
    return model if merge is None else merge()


def find_own_model(model: Any) -> Any:
    """The model between whose layers the adapters stand; one without is itself."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def gather_merged(model: Any) -> dict[str, Tensor]:
    """The weights as they would be with the adapters added, by the ordinary model's names; the
    model stays as it is. Of a model without adapters, its own."""
    own = find_own_model(model)
    if own is model:
        return model.state_dict()
    weights = {
        name.replace(".base_layer.", "."): weight
        for name, weight in own.state_dict().items()
        if ".lora_" not in name
    }
    for name, layer in own.named_modules():
        if hasattr(layer, "get_delta_weight"):
            key = f"{name}.weight"
            for adapter in layer.active_adapters:
                weights[key] = weights[key] + layer.get_delta_weight(adapter)
    return weights
