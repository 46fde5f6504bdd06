"""A text encoder small enough for any test: a one-layer BERT with fresh weights, to which words of
one kind are the same word."""

import string
from collections.abc import Sequence
from pathlib import Path

import torch
from transformers import BertConfig, BertModel, BertTokenizer

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
SAME = (("answer", "reply"), ("number", "figure"), ("only", "alone"), ("harbour", "port"))
"""Words that have one embedding."""


def save_tiny_encoder(folder: Path, same: Sequence[Sequence[str]] = SAME, seed: int = 0) -> Path:
    """Write the model and its tokenizer into a folder, as `save_pretrained` leaves them; it spells
    all words but those in `same`."""
    folder.mkdir(parents=True)
    letters = [*string.ascii_lowercase, *string.digits]
    words = [*SPECIAL, *letters, *(f"##{c}" for c in letters), *string.punctuation]
    words += [word for kind in same for word in kind]
    (folder / "vocab.txt").write_text("\n".join(words) + "\n", encoding="utf-8")
    torch.manual_seed(seed)
    config = BertConfig(
        vocab_size=len(words),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=64,
        initializer_range=0.3,
    )
    model = BertModel(config)
    table = model.embeddings.word_embeddings.weight.data
    for first, *others in same:
        table[[words.index(word) for word in others]] = table[words.index(first)].clone()
    model.save_pretrained(folder)
    BertTokenizer(vocab=str(folder / "vocab.txt")).save_pretrained(folder)
    return folder
