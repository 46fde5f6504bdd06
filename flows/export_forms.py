"""The forms of a published row that other programs read: OpenAI's messages, Alpaca, ShareGPT.

A form is a function from a row to what it has to say. A row that a form has no words for is not
bent to fit: `Inexpressible` names the reason, and the caller counts it.
"""

import json
from collections.abc import Callable, Mapping
from typing import Any, Literal

FileForm = Literal["openai", "alpaca", "sharegpt"]
RowForm = Literal["datasets", "openai", "alpaca", "sharegpt"]

NEEDED = ("id", "root_id", "teacher", "verified_by", "licence", "source")
"""What every exported row must know of itself."""
PROVENANCE = (
    *("id", "root_id", "prompt_id", "cycle", "round", "operator", "domain"),
    *("verified_by", "teacher", "author", "licence", "source"),
)
"""What goes along with a row, as far as its dataset has it."""
SPEAKERS = {"system": "system", "user": "human", "assistant": "gpt"}
"""ShareGPT's names."""
REASONS = {
    "offers_tools": "the prompt offers tools, which Alpaca has no place for",
    "system_turn": "the prompt has a system turn, which Alpaca has no place for",
    "several_turns": "a conversation of several turns, which Alpaca has no place for",
    "tool_turn": "a tool speaks in the prompt; published turns do not keep which call it answers",
    "empty_turn": "a turn without text, as that of a tool call is; published turns keep no calls",
}
"""Why a row cannot be told in a form."""


class Inexpressible(ValueError):
    """A row that a form has no words for; its text is the reason's short code."""


def to_openai(row: Mapping[str, Any]) -> dict[str, Any]:
    """`messages`, and `tools` where the prompt offers some: a line of a fine-tuning file."""
    tools = _read_tools(row)
    return {"messages": _read_turns(row)} | ({"tools": tools} if tools else {})


def to_alpaca(row: Mapping[str, Any]) -> dict[str, Any]:
    """`instruction`, an `input` that is empty, and `output`: one question and its answer."""
    turns = _read_turns(row)
    if _read_tools(row):
        raise Inexpressible("offers_tools")
    if turns[0]["role"] == "system":
        raise Inexpressible("system_turn")
    if len(turns) != 2:
        raise Inexpressible("several_turns")
    return {"instruction": turns[0]["content"], "input": "", "output": turns[1]["content"]}


def to_sharegpt(row: Mapping[str, Any]) -> dict[str, Any]:
    """`conversations`, and `tools` as a JSON text where the prompt offers some."""
    said = [{"from": SPEAKERS[t["role"]], "value": t["content"]} for t in _read_turns(row)]
    tools = _read_tools(row)
    return {"conversations": said} | ({"tools": json.dumps(tools)} if tools else {})


FORMS: dict[FileForm, Callable[[Mapping[str, Any]], dict[str, Any]]] = {
    "openai": to_openai,
    "alpaca": to_alpaca,
    "sharegpt": to_sharegpt,
}


def tell_provenance(row: Mapping[str, Any]) -> dict[str, Any]:
    """Who made a row, out of what, and by what right it is there."""
    return {name: row[name] for name in PROVENANCE if name in row}


def _read_turns(row: Mapping[str, Any]) -> list[dict[str, str]]:
    """Prompt and completion. The published turns have no tool calls, so what a tool said, and a
    turn that was nothing but a call, cannot be told."""
    turns = [*row["prompt"], *row["completion"]]
    if any(turn["role"] not in SPEAKERS for turn in turns):
        raise Inexpressible("tool_turn")
    if any(not turn["content"].strip() for turn in turns):
        raise Inexpressible("empty_turn")
    return [{"role": turn["role"], "content": turn["content"]} for turn in turns]


def _read_tools(row: Mapping[str, Any]) -> list[dict[str, Any]]:
    tools = row.get("tools")
    return json.loads(tools) if tools else []


def tell_reason(reason: str) -> str:
    """Why rows were left out, in words."""
    way = reason.removeprefix("verified_by_")
    return REASONS.get(reason) or f"verified by {way}, which was not asked for"
