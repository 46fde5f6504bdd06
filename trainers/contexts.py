"""Worked examples before a dataset's prompts: what a student that teaches itself is shown.

A row's examples are those of its task, which its check names. They are put before the prompt in
one of three ways:

    turns      as earlier turns of the chat
    preamble   in the prompt's own turn, above it
    raw        as plain text that the completion goes on from, without the chat's markup

What a student says in a chat ends with the end-of-turn token and does not begin with white space.
Raw text is written so that the teacher expects the same: every example ends with that token, and
the white space before an answer belongs to what stands before it, where it is a token of its own.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from generators.errors import InputError
from generators.records import Message
from generators.seeds import Example, load_examples
from trainers.context_teacher import Shown, ShownPrompt, map_contexts, show_turns
from trainers.row_keys import PromptIds
from trainers.rows import (
    TokenRows,
    UnusableRow,
    choose_rows,
    read_messages,
    read_parquet,
    read_tools,
)
from trainers.signal_settings import ContextSignal, Put

NO_EXAMPLES = "no_examples"


def load_contexts(
    dataset: Path, signal: ContextSignal, tokenizer: Any
) -> dict[PromptIds, PromptIds]:
    """For the tokens of each prompt whose task has examples, those of the prompt behind them.

    Raises InputError where no row has any.
    """
    by_task: dict[str, list[Example]] = {}
    for example in load_examples(signal.examples):
        by_task.setdefault(example.task, []).append(example)
    shown: list[ShownPrompt] = []
    for row in read_parquet(dataset, ["prompt"]):
        examples = by_task.get(find_task(row), [])
        try:
            messages, tools = read_messages(row, "prompt"), read_tools(row)
        except UnusableRow:
            continue
        if examples and messages:
            behind = put_examples(messages, examples, signal.put, tokenizer)
            shown.append(ShownPrompt(messages, behind, tools))
    if not shown:
        raise InputError(
            f"{dataset}: no row has a task of which {signal.examples} has examples.\n"
            "Rows name their task in `check`; give examples of the same tasks."
        )
    return map_contexts(shown, tokenizer)


def find_task(row: Mapping[str, Any]) -> str:
    """The task that a row's check names; none is an empty text."""
    check = row.get("check")
    return json.loads(check).get("task", "") if check else ""


def put_examples(
    messages: Sequence[Message], examples: Sequence[Example], put: Put, tokenizer: Any
) -> Shown:
    """A prompt behind examples, of which there is at least one."""
    asked = messages[-1].content
    if put == "turns":
        turns = [
            turn
            for example in examples
            for turn in (
                Message(role="user", content=example.prompt),
                Message(role="assistant", content=example.completion.strip()),
            )
        ]
        return show_turns(messages, turns)
    end = tokenizer.eos_token if put == "raw" else ""
    text = "".join(f"{example.prompt}{example.completion}{end}\n" for example in examples) + asked
    if put == "raw":
        return text + _find_lead(examples, tokenizer)
    return [*messages[:-1], messages[-1].model_copy(update={"content": text})]


def _find_lead(examples: Sequence[Example], tokenizer: Any) -> str:
    """The white space before all the examples' answers; none where they differ in it, or where a
    token holds it together with what follows."""
    first = examples[0].completion
    lead = first[: len(first) - len(first.lstrip())]

    def encode(text: str) -> list[int]:
        return tokenizer(text, add_special_tokens=False)["input_ids"]

    for example in examples:
        before, whole = encode(example.prompt + lead), encode(example.prompt + example.completion)
        if not example.completion.startswith(lead) or whole[: len(before)] != before:
            return ""
    return lead


def keep_shown(data: TokenRows, contexts: Mapping[PromptIds, PromptIds]) -> TokenRows:
    """The rows whose prompts have examples; the others are counted as left out."""
    kept = [
        i
        for i, row in enumerate(data.rows)
        if tuple(row.input_ids[: row.prompt_length]) in contexts
    ]
    left_out = len(data.rows) - len(kept)
    chosen = choose_rows(data, kept)
    skipped = chosen.skipped | ({NO_EXAMPLES: left_out} if left_out else {})
    return chosen._replace(skipped=skipped)
