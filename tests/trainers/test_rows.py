import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from generators.embedded import render_chat
from generators.errors import ConfigError, InputError
from generators.records import Message
from tests.trainers.templates import put_template
from trainers.rows import (
    TokenRow,
    UnusableRow,
    collate,
    encode_prompt,
    encode_row,
    load_rows,
)

USER = {"role": "user", "content": "What is 2 + 3?"}
ANSWER = {"role": "assistant", "content": "It is 5."}
TOOL = {"type": "function", "function": {"name": "add", "parameters": {"type": "object"}}}


@pytest.fixture
def tool_tokenizer(tokenizer: Any, tmp_path: Path) -> Any:
    """The tokenizer with a template that writes out the tools, as those of many models do."""
    told = "{% for t in tools or [] %}{{ t | tojson }}{% endfor %}"
    return put_template(tokenizer, told + tokenizer.chat_template, tmp_path)


def test_targets_are_the_completion_and_its_end_of_turn(tokenizer: Any) -> None:
    row = encode_row({"prompt": [USER], "completion": [ANSWER]}, tokenizer, max_length=512)
    assert tokenizer.decode(row.input_ids[row.prompt_length :]) == "It is 5.<|im_end|>"
    assert row.input_ids[-1] == tokenizer.eos_token_id == tokenizer.pad_token_id
    assert row.weight == 1.0


def test_prompt_tokens_are_those_met_at_generation(tokenizer: Any) -> None:
    row = encode_row({"prompt": [USER], "completion": [ANSWER]}, tokenizer, max_length=512)
    text = render_chat(tokenizer, [Message.model_validate(USER)])
    expected = tokenizer(text, add_special_tokens=False)["input_ids"]
    assert row.input_ids[: row.prompt_length] == expected


@pytest.mark.parametrize("tools", [json.dumps([TOOL]), [TOOL]], ids=["text", "list"])
def test_tools_are_read_as_they_are_at_generation(tool_tokenizer: Any, tools: Any) -> None:
    given = {"prompt": [USER], "completion": [ANSWER], "tools": tools}
    row = encode_row(given, tool_tokenizer, max_length=512)
    text = render_chat(tool_tokenizer, [Message.model_validate(USER)], [TOOL])
    assert '"name": "add"' in text
    prompt = tool_tokenizer(text, add_special_tokens=False)["input_ids"]
    assert row.input_ids[: row.prompt_length] == prompt
    assert tool_tokenizer.decode(row.input_ids[row.prompt_length :]) == "It is 5.<|im_end|>"
    assert encode_prompt(given, tool_tokenizer, max_length=512).input_ids == prompt


@pytest.mark.parametrize("tools", [None, "", "[]", []])
def test_no_tools_are_as_if_there_were_no_such_column(tool_tokenizer: Any, tools: Any) -> None:
    row = {"prompt": [USER], "completion": [ANSWER]}
    without = encode_row(row, tool_tokenizer, max_length=512)
    assert encode_row(row | {"tools": tools}, tool_tokenizer, max_length=512) == without


@pytest.mark.parametrize("tools", ["[{", '{"type": "function"}', '["add"]', 3, [None]])
def test_tools_that_are_none_are_refused(tokenizer: Any, tools: Any) -> None:
    row = {"prompt": [USER], "completion": [ANSWER], "tools": tools}
    for encode in (encode_row, encode_prompt):
        with pytest.raises(UnusableRow) as caught:
            encode(row, tokenizer, max_length=512)
        assert str(caught.value) == "malformed_tools"


def test_nulls_of_parquet_structs_are_dropped(tokenizer: Any) -> None:
    padded = {"prompt": [USER | {"tool_calls": None}], "completion": [ANSWER | {"name": None}]}
    plain = {"prompt": [USER], "completion": [ANSWER], "weight": None}
    assert encode_row(padded, tokenizer, max_length=512) == encode_row(
        plain, tokenizer, max_length=512
    )


@pytest.mark.parametrize(
    ("prompt", "completion", "reason"),
    [
        ([USER], [{"role": "assistant", "content": "  "}], "empty_completion"),
        ([USER], [ANSWER, USER, ANSWER], "completion_is_not_one_answer"),
        ([USER], [USER], "completion_is_not_one_answer"),
        ([], [ANSWER], "empty_prompt"),
        ([{"role": "human", "content": "Hi"}], [ANSWER], "malformed_messages"),
        (["Hi"], [ANSWER], "malformed_messages"),
        ([USER], [{"role": "assistant", "content": "word " * 300}], "longer_than_window"),
    ],
)
def test_unusable_rows_name_their_reason(
    tokenizer: Any, prompt: list[Any], completion: list[Any], reason: str
) -> None:
    with pytest.raises(UnusableRow) as caught:
        encode_row({"prompt": prompt, "completion": completion}, tokenizer, max_length=128)
    assert str(caught.value) == reason


def test_the_window_is_filled_to_its_last_token(tokenizer: Any) -> None:
    row = {"prompt": [USER], "completion": [ANSWER]}
    length = len(encode_row(row, tokenizer, max_length=512).input_ids)
    assert len(encode_row(row, tokenizer, max_length=length).input_ids) == length
    with pytest.raises(UnusableRow) as caught:
        encode_row(row, tokenizer, max_length=length - 1)
    assert str(caught.value) == "longer_than_window"


def test_a_template_that_rewrites_the_prompt_is_noticed(tokenizer: Any, tmp_path: Path) -> None:
    counting = "{{ messages | length }}{% for m in messages %}{{ m['content'] }}{% endfor %}"
    rewriting = put_template(tokenizer, counting, tmp_path)
    with pytest.raises(UnusableRow) as caught:
        encode_row({"prompt": [USER], "completion": [ANSWER]}, rewriting, max_length=512)
    assert str(caught.value) == "template_rewrites_prompt"


def test_an_end_is_added_where_the_template_writes_none(tokenizer: Any, tmp_path: Path) -> None:
    plain = "{% for m in messages %}{{ m['content'] }}\n{% endfor %}"
    bare = put_template(tokenizer, plain, tmp_path)
    row = encode_row({"prompt": [USER], "completion": [ANSWER]}, bare, max_length=512)
    assert tokenizer.decode(row.input_ids[row.prompt_length :]) == "It is 5.\n<|im_end|>"


def test_collate_pads_right_and_labels_only_completions() -> None:
    batch = collate([TokenRow([5, 6, 7, 2], 2), TokenRow([8, 2], 1, weight=0.5)], pad_id=2)
    assert batch["input_ids"].tolist() == [[5, 6, 7, 2], [8, 2, 2, 2]]
    assert batch["attention_mask"].tolist() == [[1, 1, 1, 1], [1, 1, 0, 0]]
    assert batch["labels"].tolist() == [[-100, -100, 7, 2], [-100, 2, -100, -100]]
    assert torch.equal(batch["weights"], torch.tensor([1.0, 0.5]))


def test_load_rows_counts_what_it_leaves_out(tmp_path: Path, tokenizer: Any) -> None:
    table = [
        {"prompt": [USER], "completion": [ANSWER], "weight": 0.25},
        {"prompt": [USER], "completion": [ANSWER | {"content": ""}], "weight": 1.0},
        {"prompt": [USER], "completion": [ANSWER | {"content": "so " * 200}], "weight": 1.0},
        {"prompt": [USER], "completion": [ANSWER | {"content": "very " * 200}], "weight": 1.0},
    ]
    pq.write_table(pa.Table.from_pylist(table), tmp_path / "train.parquet")
    loaded = load_rows(tmp_path, tokenizer, max_length=128)
    assert loaded.skipped == {"empty_completion": 1, "longer_than_window": 2}
    assert [row.weight for row in loaded.rows] == [0.25]


@pytest.mark.parametrize("weight", [float("nan"), float("inf"), -0.5, "heavy", True])
def test_a_weight_that_is_none_is_refused(tokenizer: Any, weight: Any) -> None:
    row = {"prompt": [USER], "completion": [ANSWER], "weight": weight}
    for encode in (encode_row, encode_prompt):
        with pytest.raises(UnusableRow) as caught:
            encode(row, tokenizer, max_length=512)
        assert str(caught.value) == "malformed_weight"
        assert encode(row | {"weight": 0}, tokenizer, max_length=512).weight == 0.0


def test_load_rows_names_a_missing_column(tmp_path: Path, tokenizer: Any) -> None:
    path = tmp_path / "train.parquet"
    pq.write_table(pa.Table.from_pylist([{"text": "hello"}]), path)
    with pytest.raises(InputError) as caught:
        load_rows(path, tokenizer, max_length=128)
    assert str(caught.value) == (
        f"{path}: has no column completion and no column prompt.\n"
        "Training needs prompt and completion: lists of {role, content}."
    )


def test_load_rows_refuses_what_is_no_parquet(tmp_path: Path, tokenizer: Any) -> None:
    path = tmp_path / "train.parquet"
    path.write_text("not a table")
    with pytest.raises(InputError) as caught:
        load_rows(path, tokenizer, max_length=128)
    assert str(caught.value) == (
        f"{path}: cannot be read as Parquet: Parquet magic bytes not found in footer. Either the "
        "file is corrupted or this is not a parquet file."
    )
    with pytest.raises(InputError) as caught:
        load_rows(tmp_path / "absent.parquet", tokenizer, max_length=128)
    assert str(caught.value) == (
        f"{tmp_path}/absent.parquet: no Parquet file there.\n"
        "Give a published dataset (dataset/train.parquet)."
    )


def test_load_rows_refuses_to_train_on_nothing(dataset: Path, tokenizer: Any) -> None:
    with pytest.raises(InputError) as caught:
        load_rows(dataset, tokenizer, max_length=8)
    assert str(caught.value) == (
        f"{dataset}: no row to train on (8 longer_than_window).\n"
        "Publish more rows, or raise max_length (now 8 tokens)."
    )


def test_load_rows_needs_a_chat_template(dataset: Path, tokenizer: Any, tmp_path: Path) -> None:
    base = put_template(tokenizer, None, tmp_path)
    with pytest.raises(ConfigError) as caught:
        load_rows(dataset, base, max_length=128)
    assert str(caught.value) == (
        "the student's tokenizer has no chat template, so its turns cannot be written out.\n"
        "Choose an instruction-tuned student, or save a template with its tokenizer."
    )
