"""Low-rank adapters (LoRA, Hu et al. 2021): a student of which only small additions are trained."""

from typing import Any

from trainers.settings import LoraSettings


def add_adapters(model: Any, settings: LoraSettings) -> Any:
    """The model with adapters beside its linear layers; its own weights no longer change."""
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(
        r=settings.rank,
        lora_alpha=settings.alpha,
        lora_dropout=settings.dropout,
        target_modules=list(settings.modules) or "all-linear",
        task_type="CAUSAL_LM",
    )
    return get_peft_model(model, config)


def merge_adapters(model: Any) -> Any:
    """An ordinary model again, with the adapters added to its weights; another is left as it is."""
    merge = getattr(model, "merge_and_unload", None)
    return model if merge is None else merge()
