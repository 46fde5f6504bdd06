"""Tiny students, rows to teach them, and a vocabulary that does not fit."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

from tests.tiny_model import make_tiny_model, save_tiny_model
from tests.trainers.two_tokenizers import make_byte_level
from trainers.teachers import count_ids

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


def save_byte_level_model(folder: Path, seed: int = 0) -> Path:
    """A model of a few hundred tokens, small enough for many whole trainings."""
    tokenizer = make_byte_level()
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=count_ids(tokenizer),
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        tie_word_embeddings=True,
        bos_token_id=0,
        eos_token_id=0,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def byte_level_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_byte_level_model(tmp_path_factory.mktemp("bytes") / "model")


@pytest.fixture(scope="session")
def byte_level_teacher_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_byte_level_model(tmp_path_factory.mktemp("bytes") / "teacher", seed=1)


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
