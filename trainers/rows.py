"""Rows of a dataset as tokens: what the student reads, and what it must learn to say.

A row is conversational: `prompt` and `completion` are lists of `{role, content}`, and `tools` are
those that the prompt offers, if any. All are written out by the chat template, and the target is
what the completion adds to the text of the prompt. So the student is trained on just the token
sequence that it meets when it generates, and the end-of-turn token is a target like any other,
even where it doubles as the padding token: nothing is ever derived from the padding id.
"""

import json
import math
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from pydantic import ValidationError
from torch import Tensor

from generators.embedded import render_chat
from generators.errors import ConfigError, InputError
from generators.records import Message


class TokenRow(NamedTuple):
    """One prompt and its completion; `input_ids[prompt_length:]` are the targets."""

    input_ids: list[int]
    prompt_length: int
    weight: float = 1.0
    """Multiplies the loss of each of the row's tokens."""


class TokenRows(NamedTuple):
    rows: list[TokenRow]
    skipped: dict[str, int]
    """How many rows were left out, by reason."""
    checks: Sequence[str | None] = ()
    """Each row's check as JSON, if it has one; empty where rows know none."""
    domains: Sequence[str | None] = ()
    """Each row's domain, likewise."""


def choose_rows(data: TokenRows, places: Sequence[int]) -> TokenRows:
    """Some of the rows; what was left out before stays counted."""
    checks, domains = (
        [each[i] for i in places] if each else [] for each in (data.checks, data.domains)
    )
    return TokenRows([data.rows[i] for i in places], data.skipped, checks, domains)


def drop_completion(row: TokenRow) -> TokenRow:
    """The row's prompt alone."""
    return row._replace(input_ids=row.input_ids[: row.prompt_length])


def has_completions(dataset: Path) -> bool:
    """Whether a dataset has more than prompts."""
    import pyarrow.parquet as pq

    return "completion" in pq.read_schema(find_parquet_files(dataset)[0]).names


class UnusableRow(ValueError):
    """A row that cannot be trained on; its text is the reason's short code."""


def load_rows(
    dataset: Path, tokenizer: Any, *, max_length: int, prompts_only: bool = False
) -> TokenRows:
    """Open a Parquet file, or a folder of them, and encode its rows; of a row only the prompt if
    the student is to write the completions itself, and then none need be there.

    Rows that cannot be trained on are left out and counted by reason: `longer_than_window`,
    `empty_prompt`, `empty_completion`, `completion_is_not_one_answer`, `malformed_messages`,
    `malformed_tools` (no list of objects, nor the JSON of one), `malformed_weight` (negative, or no
    finite number), `template_rewrites_prompt`. Raises InputError where the file or its columns are
    missing, or no row is left, and ConfigError where the tokenizer has no chat template.
    """
    if not tokenizer.chat_template:
        raise ConfigError(
            "the student's tokenizer has no chat template, so its turns cannot be written out.\n"
            "Choose an instruction-tuned student, or save a template with its tokenizer."
        )
    rows: list[TokenRow] = []
    checks: list[str | None] = []
    domains: list[str | None] = []
    skipped: Counter[str] = Counter()
    encode = encode_prompt if prompts_only else encode_row
    for row in read_parquet(dataset, ["prompt"] if prompts_only else ["prompt", "completion"]):
        try:
            rows.append(encode(row, tokenizer, max_length=max_length))
            checks.append(row.get("check"))
            domains.append(row.get("domain"))
        except UnusableRow as unusable:
            skipped[str(unusable)] += 1
    if not rows:
        reasons = ", ".join(f"{n} {reason}" for reason, n in skipped.items()) or "it is empty"
        raise InputError(
            f"{dataset}: no row to train on ({reasons}).\n"
            f"Publish more rows, or raise max_length (now {max_length} tokens)."
        )
    return TokenRows(rows, dict(skipped), checks, domains)


def encode_row(row: Mapping[str, Any], tokenizer: Any, *, max_length: int) -> TokenRow:
    """Encode one row. Raises UnusableRow, which names the reason."""
    prompt, completion = read_messages(row, "prompt"), read_messages(row, "completion")
    if not prompt:
        raise UnusableRow("empty_prompt")
    if [message.role for message in completion] != ["assistant"]:
        raise UnusableRow("completion_is_not_one_answer")
    if not (completion[0].content.strip() or completion[0].tool_calls):
        raise UnusableRow("empty_completion")
    tools = read_tools(row)
    before = render_chat(tokenizer, prompt, tools)
    whole = tokenizer.apply_chat_template(
        [m.model_dump(mode="json", exclude_defaults=True) for m in (*prompt, *completion)],
        tools=tools or None,
        tokenize=False,
    )
    if not whole.startswith(before):
        raise UnusableRow("template_rewrites_prompt")
    prompt_ids = _encode(tokenizer, before)
    target_ids = _end_with_eos(_encode(tokenizer, whole[len(before) :]), tokenizer.eos_token_id)
    if len(prompt_ids) + len(target_ids) > max_length:
        raise UnusableRow("longer_than_window")
    return TokenRow(prompt_ids + target_ids, len(prompt_ids), _read_weight(row))


def encode_prompt(row: Mapping[str, Any], tokenizer: Any, *, max_length: int) -> TokenRow:
    """Encode a row's prompt alone, behind which something must fit. Raises UnusableRow."""
    prompt = read_messages(row, "prompt")
    if not prompt:
        raise UnusableRow("empty_prompt")
    ids = _encode(tokenizer, render_chat(tokenizer, prompt, read_tools(row)))
    if len(ids) >= max_length:
        raise UnusableRow("longer_than_window")
    return TokenRow(ids, len(ids), _read_weight(row))


def collate(rows: Sequence[TokenRow], *, pad_id: int) -> dict[str, Tensor]:
    """A batch padded on the right: input_ids, attention_mask, labels [B, T]; weights [B].

    Labels are -100 outside the completions. The padding's id does not matter: attention never
    reaches it and no label is taken from it.
    """
    length = max(len(row.input_ids) for row in rows)
    input_ids_BT = torch.full((len(rows), length), pad_id)
    attention_mask_BT = torch.zeros((len(rows), length), dtype=torch.long)
    labels_BT = torch.full((len(rows), length), -100)
    for b, row in enumerate(rows):
        ids, end = torch.tensor(row.input_ids), len(row.input_ids)
        input_ids_BT[b, :end] = ids
        attention_mask_BT[b, :end] = 1
        labels_BT[b, row.prompt_length : end] = ids[row.prompt_length :]
    return {
        "input_ids": input_ids_BT,
        "attention_mask": attention_mask_BT,
        "labels": labels_BT,
        "weights": torch.tensor([row.weight for row in rows], dtype=torch.float32),
    }


def read_messages(row: Mapping[str, Any], column: str) -> list[Message]:
    """A row's turns. Raises UnusableRow where they are none."""
    try:
        return _to_messages(row[column])
    except (ValidationError, AttributeError, TypeError):
        raise UnusableRow("malformed_messages") from None


def read_tools(row: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The tools that a row's prompt offers, in OpenAI's form: a JSON text, as rows are published
    with, or a list. Raises UnusableRow where they are neither."""
    tools = row.get("tools") or []
    try:
        tools = json.loads(tools) if isinstance(tools, str) else tools
    except ValueError:
        raise UnusableRow("malformed_tools") from None
    if not isinstance(tools, list) or not all(isinstance(tool, dict) for tool in tools):
        raise UnusableRow("malformed_tools")
    return tools


def _read_weight(row: Mapping[str, Any]) -> float:
    weight = row.get("weight")
    if weight is None:
        return 1.0
    if type(weight) not in (int, float) or not math.isfinite(weight) or weight < 0:
        raise UnusableRow("malformed_weight")
    return float(weight)


def _end_with_eos(ids: list[int], eos_id: int) -> list[int]:
    """End on the end-of-turn token: what templates write after it is never generated."""
    if eos_id in ids:
        return ids[: len(ids) - ids[::-1].index(eos_id)]
    return [*ids, eos_id]


def _encode(tokenizer: Any, text: str) -> list[int]:
    return tokenizer(text, add_special_tokens=False)["input_ids"]


def _to_messages(turns: Sequence[Mapping[str, Any]]) -> list[Message]:
    """Parquet fills the fields that only some turns have with nulls: they are dropped."""
    return [
        Message.model_validate({k: v for k, v in turn.items() if v is not None}) for turn in turns
    ]


def find_parquet_files(dataset: Path) -> list[Path]:
    """The file itself, or the Parquet files of a folder, sorted. Raises InputError if none."""
    files = sorted(dataset.glob("*.parquet")) if dataset.is_dir() else [dataset]
    if not files or not files[0].is_file():
        raise InputError(
            f"{dataset}: no Parquet file there.\nGive a published dataset (dataset/train.parquet)."
        )
    return files


def read_parquet(dataset: Path, needed: Sequence[str]) -> list[dict[str, Any]]:
    """All rows of a Parquet file or a folder of them. Raises InputError where it cannot be read
    or has not the columns that are needed."""
    from datasets import Dataset, disable_progress_bars, load_dataset

    disable_progress_bars()
    files = [str(file) for file in find_parquet_files(dataset)]
    with tempfile.TemporaryDirectory() as cache:
        try:
            table = load_dataset(
                "parquet", data_files=files, split="train", cache_dir=cache, keep_in_memory=True
            )
        except (OSError, ValueError) as error:
            raise InputError(f"{dataset}: cannot be read as Parquet: {error}") from error
        assert isinstance(table, Dataset)
        missing = sorted({*needed} - set(table.column_names))
        if missing:
            raise InputError(
                f"{dataset}: has no column {' and no column '.join(missing)}.\n"
                f"Training needs {' and '.join(needed)}: lists of {{role, content}}."
            )
        return table.to_list()
