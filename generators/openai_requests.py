"""Requests as OpenAI-compatible servers take them, and a guess at their size."""

from collections.abc import Sequence
from typing import Any

from generators.clients import Divisible, Request
from generators.lines import find_schema_fault
from generators.records import Message, canonical_json, digest
from generators.structured import describe_format


def group_samples(requests: Sequence[Request], most: int) -> list[list[int]]:
    """Each request alone, or each `most` that differ in nothing but the seed. A request with a
    schema stays alone: its repair is a talk of its own."""
    if most == 1:
        return [[i] for i in range(len(requests))]
    alike: dict[str, list[int]] = {}
    for i, request in enumerate(requests):
        alone = request.json_schema is not None
        kind = str(i) if alone else digest(request.model_copy(update={"seed": 0}))
        alike.setdefault(kind, []).append(i)
    return [
        Divisible(indices[start : start + most])
        for indices in alike.values()
        for start in range(0, len(indices), most)
    ]


def compose_body(
    request: Request, *, model: str, samples: int, logprobs: bool, extra: dict[str, Any]
) -> tuple[str, dict[str, Any]]:
    """The path and the body of a request for so many samples.

    Raises ValueError for a schema that is none, or that a raw completion should follow, and for
    continuations, whose probabilities no server tells.
    """
    if request.continuations:
        raise ValueError("a server is asked for top_logprobs, not for continuations")
    sampling = request.sampling
    body: dict[str, Any] = {
        "model": model,
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "max_tokens": sampling.max_tokens,
        "seed": request.seed,
        "stop": list(sampling.stop) or None,
        "n": samples if samples > 1 else None,
    }
    if request.json_schema is not None:
        body["response_format"] = _ask_for_schema(request, request.json_schema)
    if request.text is not None:
        path, body["prompt"] = "/completions", request.text
        body["logprobs"] = request.top_logprobs or (1 if logprobs else None)
    else:
        path, body["messages"] = "/chat/completions", [_write(m) for m in request.messages]
        body["tools"] = list(request.tools) or None
        body["logprobs"] = logprobs or request.top_logprobs is not None or None
        body["top_logprobs"] = request.top_logprobs
    body |= extra
    return path, {name: value for name, value in body.items() if value is not None}


def estimate_tokens(body: dict[str, Any], max_tokens: int) -> int:
    """The most a request should cost: a token for four bytes of its prompt, and all it may write
    for each sample."""
    written = max_tokens * body.get("n", 1)
    prompt = body.get("prompt") or canonical_json([body["messages"], body.get("tools", [])])
    if isinstance(prompt, str):
        return -(-len(prompt.encode(errors="replace")) // 4) + written
    return len(prompt) + written


def _ask_for_schema(request: Request, schema: dict[str, Any]) -> dict[str, Any]:
    if request.text is not None:
        raise ValueError("a raw completion cannot be held to a json_schema; ask as a chat")
    if fault := find_schema_fault(schema):
        raise ValueError(f"json_schema: {fault}")
    return describe_format(schema)


def _write(message: Message) -> dict[str, Any]:
    """A message as servers take it. Earlier reasoning is left out: some refuse it."""
    left_out = {"reasoning_content"} if message.tool_calls else {"reasoning_content", "tool_calls"}
    return message.model_dump(mode="json", exclude=left_out, exclude_none=True)
