"""Tiny students, rows to teach them, and a vocabulary that does not fit."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from transformers import AutoTokenizer, LlamaForCausalLM

from tests.tiny_model import make_tiny_model, save_tiny_model

ANSWERS = {
    "What is 2 + 3?": "5",
    "What is 4 + 4?": "It is 8.",
    "Name a colour.": "Blue is a colour, and so is red.",
    "Say hello.": "Hello there, friend!",
    "What is 3 times 3?": "9",
    "Name an animal.": "A hedgehog.",
    "Is water wet?": "Yes.",
    "Count to three.": "One, two, three.",
}


@pytest.fixture(scope="session")
def tokenizer(small_model_dir: Path) -> Any:
    return AutoTokenizer.from_pretrained(small_model_dir)


@pytest.fixture
def tiny_model() -> LlamaForCausalLM:
    return make_tiny_model()


@pytest.fixture(scope="session")
def other_tiny_model_dir(small_model_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same architecture, other weights."""
    return save_tiny_model(tmp_path_factory.mktemp("other") / "model", small_model_dir, seed=1)


@pytest.fixture(scope="session")
def rows() -> list[dict[str, Any]]:
    return [
        {
            "prompt": [{"role": "user", "content": question}],
            "completion": [{"role": "assistant", "content": answer}],
        }
        for question, answer in ANSWERS.items()
    ]


@pytest.fixture(scope="session")
def dataset(tmp_path_factory: pytest.TempPathFactory, rows: list[dict[str, Any]]) -> Path:
    path = tmp_path_factory.mktemp("dataset") / "train.parquet"
    pq.write_table(pa.Table.from_pylist(rows), path)
    return path


@pytest.fixture
def permuted_tokenizer(tokenizer: Any, tmp_path: Path) -> Any:
    """The same tokens, ids 1000 and 1001 exchanged."""
    folder = tmp_path / "permuted"
    tokenizer.save_pretrained(folder)
    file = folder / "tokenizer.json"
    described = json.loads(file.read_text())
    vocabulary = described["model"]["vocab"]
    names = {id: token for token, id in vocabulary.items()}
    vocabulary[names[1000]], vocabulary[names[1001]] = 1001, 1000
    file.write_text(json.dumps(described))
    return AutoTokenizer.from_pretrained(folder)
