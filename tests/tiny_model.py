"""A model small enough for many steps: two fresh layers under the real vocabulary."""

from pathlib import Path

import torch
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM


def make_tiny_model(seed: int = 0) -> LlamaForCausalLM:
    """Weights drawn by the seed."""
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=49152,
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        tie_word_embeddings=True,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=2,
    )
    return LlamaForCausalLM(config)


def save_tiny_model(folder: Path, tokenizer_dir: Path, seed: int = 0) -> Path:
    """Write the model and the real tokenizer into a folder, as `save_pretrained` leaves them."""
    make_tiny_model(seed).save_pretrained(folder)
    AutoTokenizer.from_pretrained(tokenizer_dir).save_pretrained(folder)
    return folder
