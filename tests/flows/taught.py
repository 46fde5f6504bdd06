"""Small trainings on their own: their rows, their settings, and the checked-in ones made small."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from flows.teach_settings import TeachConfig, load_teaching
from generators.records import ProceduralCheck, canonical_json
from generators.seeds import load_seeds
from tests.flows.small_run import LICENSED
from tests.json_lines import write_lines
from tests.trainers.two_tokenizers import make_byte_level
from trainers.settings import ACROSS
from trainers.teachers import count_ids

TERMS = {"licence": "apache-2.0", "outputs_may_train": "yes"}
SUMS = {"task": "chain_sum", "params": {"max_terms": 2, "max_digits": 1}}


def list_rows(folder: Path, count: int = 12) -> list[dict[str, Any]]:
    """Solved sums, as a run publishes them."""
    file = folder / "sums.jsonl"
    write_lines(file, [{"procedural": SUMS | {"count": count}, "domain": "maths"} | LICENSED])
    rows = []
    for prompt in load_seeds(file, split="train"):
        assert isinstance(prompt.check, ProceduralCheck)
        answer = {"role": "assistant", "content": prompt.check.entry["answer"]}
        rows.append(
            {
                "id": f"answer-{prompt.id}",
                "prompt": [{"role": m.role, "content": m.content} for m in prompt.messages],
                "completion": [answer],
                "prompt_id": prompt.id,
                "check": canonical_json(prompt.check),
                "verified_by": "program",
                "teacher": "weak@1",
                "licence": "cc0-1.0",
            }
        )
    return rows


def write_rows(file: Path, rows: list[dict[str, Any]]) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows), file)
    return file


def describe_teaching(folder: Path, student: Path, teacher: Path | None = None) -> dict[str, Any]:
    """The settings of a small training, whose rows are written into `folder`; it follows a teacher
    where one is given."""
    rows = write_rows(folder / "rows" / "train.parquet", list_rows(folder))
    train: dict[str, Any] = {
        "student": str(student),
        "learning_rate": 1e-3,
        "batch_size": 4,
        "max_steps": 4,
        "max_length": 128,
        "save_steps": 2,
        "precision": "float32",
    }
    settings = {"name": "taught", "runs_dir": str(folder / "runs"), "dataset": str(rows)}
    if teacher is None:
        return settings | {"train": train}
    models = {"big": {"kind": "embedded", "model": str(teacher), **TERMS}}
    train |= {"objective": "forward", "teacher": "big"}
    return settings | {"models": models, "train": train}


def add_evaluation(settings: dict[str, Any], folder: Path, prompts: int = 6) -> dict[str, Any]:
    """The same training, evaluated on other sums."""
    held_out = folder / "held-out.jsonl"
    sums = SUMS | {"count": prompts}
    write_lines(held_out, [{"procedural": sums, "domain": "maths"} | LICENSED])
    asked = {"held_out": [str(held_out)], "prompts": prompts, "k_prompts": 0, "max_tokens": 3}
    return settings | {"evaluate": asked}


def save_foreign_model(folder: Path) -> Path:
    """A tiny teacher with a vocabulary of its own."""
    tokenizer = make_byte_level()
    torch.manual_seed(1)
    config = LlamaConfig(
        vocab_size=count_ids(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=1,
        num_attention_heads=2,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def shrink(
    file: Path, folder: Path, student: Path, teacher: Path, url: str | None = None
) -> TeachConfig:
    """A checked-in configuration with tiny models, few rows and two steps a phase; servers of its
    own are one that is there, at `url`."""
    settings = load_teaching(file).model_dump(mode="json", by_alias=True)
    settings |= {"runs_dir": str(folder / "runs"), "evaluate": None}
    if settings["dataset"].endswith(".parquet"):
        rows = [row | {"domain": "maths"} for row in list_rows(folder)]
        settings["dataset"] = str(write_rows(folder / "train.parquet", rows))
    train = settings["train"]
    if train["objective"] in ACROSS:
        teacher = save_foreign_model(folder / "foreign")
    for model in settings["models"].values():
        model["model"] = str(teacher)
        if model["kind"] == "vllm":
            model |= {"model": "tiny", "base_url": url, "serve": None}
    if isinstance(train["student"], dict):
        kept = {"layers": [1]} if train["student"]["layers"] else {"fresh": {"hidden_size": 32}}
        train["student"] |= {"model": str(student), **kept}
    else:
        train["student"] = str(student)
    train |= {"batch_size": 4, "max_steps": 2, "save_steps": 1}
    train |= {"precision": "float32", "max_length": 512 if train["signal"] else 128}
    for part in (train, *train["phases"]):
        part["max_steps"] = 2
        if part["rollouts"] is not None:
            part["rollouts"]["max_new_tokens"] = 4
    if train["measure"] is not None:
        train["measure"] |= {"rows": 3, "every": None, "max_new_tokens": 4}
    return TeachConfig.model_validate_json(json.dumps(settings), strict=True)
