"""Worked examples before a prompt, in their three forms, under the real tokenizer and template."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from generators.embedded import render_chat
from generators.errors import InputError
from generators.records import Message
from generators.seeds import Example
from tests.trainers.templates import put_template
from trainers.contexts import find_task, keep_shown, load_contexts, put_examples
from trainers.rows import TokenRow, TokenRows, encode_row
from trainers.signal_settings import ContextSignal, Put

SUMS = [("What is 1 + 1?", " 2"), ("What is 10 + 7?", " 17")]
CAPITALS = [("Capital of France?", " Paris"), ("Capital of Peru?", " Lima")]
ASKED = {"sums": "What is 2 + 3?", "capitals": "Capital of Italy?", "rivers": "Longest river?"}
ANSWERS = {"sums": "5", "capitals": "Rome", "rivers": "Nile"}


def show(task: str, pairs: list[tuple[str, str]]) -> list[Example]:
    return [Example(task=task, prompt=prompt, completion=said) for prompt, said in pairs]


def ask(text: str) -> list[Message]:
    return [Message(role="system", content="Be brief."), Message(role="user", content=text)]


def encode(tokenizer: Any, text: str) -> list[int]:
    return tokenizer(text, add_special_tokens=False)["input_ids"]


def test_turns_stand_between_the_system_turn_and_the_prompt(tokenizer: Any) -> None:
    shown = put_examples(ask("What is 2 + 3?"), show("sums", SUMS), "turns", tokenizer)
    assert [(turn.role, turn.content) for turn in shown if isinstance(turn, Message)] == [
        ("system", "Be brief."),
        ("user", "What is 1 + 1?"),
        ("assistant", "2"),
        ("user", "What is 10 + 7?"),
        ("assistant", "17"),
        ("user", "What is 2 + 3?"),
    ]


def test_a_preamble_stands_above_the_prompt_in_its_turn(tokenizer: Any) -> None:
    shown = put_examples(ask("What is 2 + 3?"), show("sums", SUMS), "preamble", tokenizer)
    assert shown == ask("What is 1 + 1? 2\nWhat is 10 + 7? 17\nWhat is 2 + 3?")


def test_raw_examples_end_as_a_chats_answers_do(tokenizer: Any) -> None:
    shown = put_examples(ask("What is 2 + 3?"), show("sums", SUMS), "raw", tokenizer)
    assert shown == ("What is 1 + 1? 2<|im_end|>\nWhat is 10 + 7? 17<|im_end|>\nWhat is 2 + 3? ")
    assert encode(tokenizer, "<|im_end|>") == [tokenizer.eos_token_id]


def test_raw_answers_are_the_tokens_of_a_chats_answers(tokenizer: Any) -> None:
    """The teacher reads the student's tokens where it would have written the same."""
    shown = put_examples(ask("What is 2 + 3?"), show("sums", SUMS), "raw", tokenizer)
    assert isinstance(shown, str)
    whole = encode(tokenizer, shown + "5<|im_end|>")
    assert whole == encode(tokenizer, shown) + encode(tokenizer, "5<|im_end|>")
    written = encode(tokenizer, "What is 10 + 7? 17<|im_end|>")
    assert written == encode(tokenizer, "What is 10 + 7? ") + encode(tokenizer, "17<|im_end|>")


@pytest.mark.parametrize(
    "pairs",
    [
        pytest.param(CAPITALS, id="a token holds the space and the word"),
        pytest.param([*SUMS, ("What is 4 + 4?", "8")], id="one example has no space"),
        pytest.param([("What is 4 + 4?", "8")], id="no example has a space"),
    ],
)
def test_white_space_that_is_no_token_of_its_own_stays_with_the_answer(
    tokenizer: Any, pairs: list[tuple[str, str]]
) -> None:
    shown = put_examples(ask("And what now?"), show("any", pairs), "raw", tokenizer)
    assert isinstance(shown, str)
    assert shown.endswith("<|im_end|>\nAnd what now?")


@pytest.fixture
def examples(tmp_path: Path) -> Path:
    file = tmp_path / "examples.jsonl"
    lines = [
        {"task": task, "prompt": prompt, "completion": said}
        for task, pairs in (("sums", SUMS), ("capitals", CAPITALS))
        for prompt, said in pairs
    ]
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return file


def make_row(task: str | None, *, prompt: str | None = None) -> dict[str, Any]:
    text = ASKED[task or "sums"] if prompt is None else prompt
    return {
        "prompt": [{"role": "user", "content": text}],
        "completion": [{"role": "assistant", "content": ANSWERS[task or "sums"]}],
        "check": None if task is None else json.dumps({"kind": "procedural", "task": task}),
    }


def write(folder: Path, rows: list[dict[str, Any]]) -> Path:
    file = folder / "train.parquet"
    pq.write_table(pa.Table.from_pylist(rows), file)
    return file


def make_signal(examples: Path, put: Put = "turns") -> ContextSignal:
    return ContextSignal(kind="context", examples=str(examples), put=put)


@pytest.mark.parametrize("put", ["turns", "preamble", "raw"])
def test_a_prompt_gets_the_examples_of_its_task(
    tokenizer: Any, examples: Path, tmp_path: Path, put: Put
) -> None:
    rows = [make_row(task) for task in ASKED]
    contexts = load_contexts(write(tmp_path, rows), make_signal(examples, put), tokenizer)
    expected = {}
    for task, pairs in (("sums", SUMS), ("capitals", CAPITALS)):
        own = [Message(role="user", content=ASKED[task])]
        shown = put_examples(own, show(task, pairs), put, tokenizer)
        text = shown if isinstance(shown, str) else render_chat(tokenizer, shown)
        key = tuple(encode(tokenizer, render_chat(tokenizer, own)))
        expected[key] = tuple(encode(tokenizer, text))
    assert contexts == expected


def test_tools_are_offered_to_the_teacher_as_to_the_student(
    tokenizer: Any, examples: Path, tmp_path: Path
) -> None:
    template = "{{ tools | tojson }}" + tokenizer.chat_template
    telling = put_template(tokenizer, template, tmp_path / "telling")
    tool = {"type": "function", "function": {"name": "add"}}
    row = make_row("sums") | {"tools": json.dumps([tool])}
    contexts = load_contexts(write(tmp_path, [row]), make_signal(examples), telling)
    encoded = encode_row(row, telling, max_length=512)
    ((own, shown),) = contexts.items()
    assert own == tuple(encoded.input_ids[: encoded.prompt_length])
    assert telling.decode(shown).startswith(json.dumps([tool]))
    assert telling.decode(shown).count("What is 1 + 1?") == 1


def test_a_row_that_cannot_be_read_has_no_context(
    tokenizer: Any, examples: Path, tmp_path: Path
) -> None:
    broken = {**make_row("sums"), "prompt": []}
    rows = [broken, make_row(None, prompt="Whose task is this?"), make_row("capitals")]
    contexts = load_contexts(write(tmp_path, rows), make_signal(examples), tokenizer)
    assert len(contexts) == 1
    assert tokenizer.decode(next(iter(contexts))).count("Capital of Italy?") == 1


def test_a_dataset_of_other_tasks_is_refused(
    tokenizer: Any, examples: Path, tmp_path: Path
) -> None:
    rows = [make_row("rivers"), make_row(None)]
    with pytest.raises(InputError) as caught:
        load_contexts(write(tmp_path, rows), make_signal(examples), tokenizer)
    assert str(caught.value) == (
        f"{tmp_path}/train.parquet: no row has a task of which {examples} has examples.\n"
        "Rows name their task in `check`; give examples of the same tasks."
    )


def test_rows_without_examples_are_left_out_and_counted(
    tokenizer: Any, examples: Path, tmp_path: Path
) -> None:
    rows = [make_row(task) for task in ("rivers", "sums", "capitals", "rivers")]
    contexts = load_contexts(write(tmp_path, rows), make_signal(examples), tokenizer)
    encoded = [encode_row(row, tokenizer, max_length=256) for row in rows]
    data = TokenRows(encoded, {"empty_prompt": 3}, ["r", "s", "c", "r"])
    kept = keep_shown(data, contexts)
    assert kept.rows == encoded[1:3]
    assert list(kept.checks) == ["s", "c"]
    assert kept.skipped == {"empty_prompt": 3, "no_examples": 2}


def test_where_all_rows_have_examples_none_is_counted_as_left_out() -> None:
    data = TokenRows([TokenRow([1, 2, 3], 2), TokenRow([1, 2, 4, 5], 2)], {})
    kept = keep_shown(data, {(1, 2): (9, 1, 2)})
    assert (kept.rows, kept.skipped) == (data.rows, {})


@pytest.mark.parametrize(
    ("row", "task"),
    [
        ({"check": '{"kind": "procedural", "task": "gcd"}'}, "gcd"),
        ({"check": '{"kind": "exact", "answer": "5"}'}, ""),
        ({"check": None}, ""),
        ({}, ""),
    ],
)
def test_a_rows_task_is_what_its_check_names(row: dict[str, Any], task: str) -> None:
    assert find_task(row) == task
