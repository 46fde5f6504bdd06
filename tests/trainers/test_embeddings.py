"""A row's vector is the mean of its own hidden states, in whatever batch it is read."""

from pathlib import Path

import numpy as np
import torch
from transformers import AutoModelForCausalLM

from trainers.embeddings import embed_rows
from trainers.rows import TokenRow

ROWS = [
    TokenRow(list(range(5, 30)), 12),
    TokenRow([7, 8, 9], 1),
    TokenRow(list(range(100, 400)), 40),
    TokenRow([7, 8, 10], 1),
]


def test_vectors_equal_those_of_each_row_alone(tiny_model_dir: Path) -> None:
    model = AutoModelForCausalLM.from_pretrained(tiny_model_dir, dtype=torch.float32).eval()
    done: list[int] = []
    vectors = embed_rows(model, ROWS, done.append)
    assert sum(done) == len(ROWS)
    for row, vector in zip(ROWS, vectors, strict=True):
        with torch.no_grad():
            found = model(input_ids=torch.tensor([row.input_ids]), output_hidden_states=True)
        mean = found.hidden_states[-1][0].float().mean(dim=0).numpy()
        assert np.allclose(vector, mean, atol=1e-5)
    assert not np.allclose(vectors[1], vectors[3], atol=1e-3)


def test_no_rows_give_no_vectors(tiny_model_dir: Path) -> None:
    model = AutoModelForCausalLM.from_pretrained(tiny_model_dir)
    assert embed_rows(model, []).shape == (0, model.config.hidden_size)
