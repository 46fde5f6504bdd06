"""A request as OpenAI-compatible servers take it, and a guess at its size."""

from typing import Any

from generators.clients import Request
from generators.lines import find_schema_fault
from generators.records import Message, canonical_json
from generators.structured import describe_format


def compose_body(
    request: Request, *, model: str, samples: int, logprobs: bool, extra: dict[str, Any]
) -> tuple[str, dict[str, Any]]:
    """The path and the body of a request for so many samples.

    Raises ValueError for a schema that is none, or that a raw completion should follow.
    """
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
        body["logprobs"] = 1 if logprobs else None
    else:
        path, body["messages"] = "/chat/completions", [_write(m) for m in request.messages]
        body["tools"] = list(request.tools) or None
        body["logprobs"] = logprobs or None
    body |= extra
    return path, {name: value for name, value in body.items() if value is not None}


def estimate_tokens(body: dict[str, Any], max_tokens: int) -> int:
    """The most a request should cost: a token for four bytes of its prompt, and all it may write
    for each sample."""
    prompt = body.get("prompt") or canonical_json([body["messages"], body.get("tools", [])])
    size = len(prompt.encode(errors="replace"))
    return -(-size // 4) + max_tokens * body.get("n", 1)


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
