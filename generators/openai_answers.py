"""What an OpenAI-compatible server's reply means: an answer, a failure, or the end of the run.

Servers that call themselves compatible differ, so whatever can be understood is taken: a missing
`usage` counts no tokens, tool arguments may be an object, `reasoning` is `reasoning_content`.
Whatever cannot be understood is a `Failure` with a reason code, never a crash. A status that is
about the endpoint and not about the request (a refused key, an unknown model) raises
`EndpointError`: remembered as the answer to one request, it would outlive its own repair.
"""

import json
from collections.abc import Mapping
from typing import Annotated, Any, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from generators.clients import Failure, Outcome, Response
from generators.errors import EndpointError
from generators.records import FinishReason, FunctionCall, ToolCall, Usage, canonical_json

TRANSIENT = frozenset({408, 409, 425, 429})
"""Client errors that may pass; so may every 5xx."""

REMEDIES = {
    401: "check the key in the environment variable that api_key_env names",
    402: "the account has no credit left; top it up and run again",
    403: "the key may not use this model; check its permissions",
    404: "check model (the server lists its own at /models) and base_url, which often ends in /v1",
    405: "check base_url: it is not the root of an OpenAI-compatible API",
}
"""Statuses that are about the endpoint and stop the run, and what to do about each."""

REMEDY_NO_LOGPROBS = "let this model give votes, or take one whose server tells top_logprobs"

CONTENT_FILTER_WORDS = ("content_filter", "content_policy", "policyviolation", "moderation")
CONTEXT_LENGTH_WORDS = ("context_length", "context length", "context size", "context window")
QUOTA_WORDS = ("insufficient_quota", "billing_hard_limit")

FINISH_REASONS: dict[str, FinishReason] = {
    "stop": "stop",
    "length": "length",
    "tool_calls": "tool_calls",
    "content_filter": "content_filter",
    "function_call": "tool_calls",
    "max_tokens": "length",
    "model_length": "length",
}
BROKEN_OFF = frozenset({"abort", "cancelled", "error"})
"""Finish reasons of servers that gave up in the middle: asked again, not taken for an answer."""


class Reply(NamedTuple):
    """What came back over HTTP; header names are looked up in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Expected(NamedTuple):
    """What was asked for."""

    max_tokens: int
    """Tells a full answer from a cut one where the server does not."""
    samples: int = 1
    logprobs: bool = False
    top_logprobs: bool = False
    """Whether the first token's alternatives are wanted."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class _Function(_Part):
    name: str
    arguments: str | dict[str, Any] | None = None


class _Call(_Part):
    id: str | None = None
    function: _Function


class _Said(_Part):
    content: str | None = None
    refusal: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    tool_calls: tuple[_Call, ...] | None = None


_Logprob = Annotated[float, Field(allow_inf_nan=False)]


class _Alternative(_Part):
    token: str
    logprob: _Logprob


class _Token(_Part):
    logprob: _Logprob
    top_logprobs: tuple[_Alternative, ...] | None = None


class _Logprobs(_Part):
    """Of a chat, or of a raw completion."""

    content: tuple[_Token, ...] | None = None
    token_logprobs: tuple[_Logprob, ...] | None = None
    top_logprobs: tuple[dict[str, _Logprob] | None, ...] | None = None


class _Choice(_Part):
    index: int | None = None
    logprobs: Any = None
    """Read only where they were asked for: some servers send what they like."""
    message: _Said | None = None
    text: str | None = None
    finish_reason: str | None = None


class _Tokens(_Part):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None


class _Body(_Part):
    choices: tuple[_Choice, ...] | None = None
    usage: _Tokens | None = None
    error: Any = None


def read_reply(reply: Reply, expected: Expected) -> Failure | list[Outcome]:
    """Turn a reply into an outcome for each sample, or a failure of all of them.

    Raises EndpointError for a status in `REMEDIES`, a redirect, or a used-up quota.
    """
    if 200 <= reply.status < 300:
        return _read_answer(reply, expected)
    return _read_refusal(reply.status, reply.body)


def _read_refusal(status: int, body: bytes) -> Failure:
    text = body.decode(errors="replace").lower()
    said = f"HTTP {status}: {_read_message(body)}"
    if status >= 500:
        return Failure(reason=f"http_{status}", message=said, permanent=False)
    if any(word in text for word in QUOTA_WORDS):
        raise EndpointError(f"{said}; {REMEDIES[402]}")
    if status in TRANSIENT:
        return Failure(reason=f"http_{status}", message=said, permanent=False)
    if any(word in text for word in CONTENT_FILTER_WORDS):
        return Failure(reason="content_filter", message=said, permanent=True)
    if status in REMEDIES:
        raise EndpointError(f"{said}; {REMEDIES[status]}")
    if status < 400:
        raise EndpointError(f"{said}; {REMEDIES[405]}")
    if any(word in text for word in CONTEXT_LENGTH_WORDS):
        return Failure(reason="context_length", message=said, permanent=True)
    return Failure(reason=f"http_{status}", message=said, permanent=True)


def _read_message(body: bytes) -> str:
    """What an error body says, wherever it says it, in one line of at most 500 characters."""
    text = body.decode(errors="replace")
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        found = text
    for name in ("error", "message", "detail"):
        if isinstance(found, dict) and found.get(name):
            found = found[name]
    words = found if isinstance(found, str) else canonical_json(found)
    return " ".join(words.encode(errors="replace").decode().split())[:500] or "(no text)"


def _read_answer(reply: Reply, expected: Expected) -> Failure | list[Outcome]:
    try:
        body = _Body.model_validate_json(_drop_half_characters(reply.body))
    except (ValueError, RecursionError) as error:
        return _explain_malformed(reply, error)
    if body.error and not body.choices:
        return _read_error_in_answer(body.error)
    if not body.choices:
        return _malformed("empty_choices", "the answer has no choices")
    outcomes = _deal_choices(body.choices, body.usage or _Tokens(), expected)
    for outcome in outcomes:
        if outcome.kind == "response" or outcome.permanent:
            return outcomes
    return next(outcome for outcome in outcomes if outcome.kind == "failure")


def _deal_choices(
    choices: tuple[_Choice, ...], tokens: _Tokens, expected: Expected
) -> list[Outcome]:
    """An outcome for each sample, by the choices' `index`.

    A server counts tokens for all choices together. The prompt's belong to the first answer; the
    completions' are split evenly, and what is left over belongs to the first.
    """
    if expected.samples == 1:
        found = {0: choices[0]}
    else:
        found = {place if c.index is None else c.index: c for place, c in enumerate(choices)}
        found = {i: found[i] for i in range(expected.samples) if i in found}
    share, rest = divmod(tokens.completion_tokens or 0, max(1, len(found)))
    first = Usage(prompt_tokens=tokens.prompt_tokens or 0, completion_tokens=share + rest)
    outcomes: list[Outcome] = []
    for i in range(expected.samples):
        usage = first if i == min(found, default=0) else Usage(completion_tokens=share)
        outcomes.append(
            _read_choice(found[i], usage, expected)
            if i in found
            else _malformed(
                "missing_choice",
                f"the server sent {len(found)} of {expected.samples} samples; if it never sends "
                "more than one, set samples_per_request to 1",
            )
        )
    return outcomes


def _read_choice(choice: _Choice, usage: Usage, expected: Expected) -> Outcome:
    if choice.finish_reason in BROKEN_OFF:
        return _malformed("broken_off", f"the server gave up: {choice.finish_reason}")
    cut = usage.completion_tokens >= expected.max_tokens
    finish = FINISH_REASONS.get(choice.finish_reason or "", "length" if cut else "stop")
    outcome = _compose_response(choice, usage, finish)
    wanted = expected.logprobs or expected.top_logprobs
    if outcome.kind == "failure" or not wanted:
        return outcome
    if choice.logprobs is None and not expected.top_logprobs:
        return outcome
    try:
        logprobs = _Logprobs.model_validate({} if choice.logprobs is None else choice.logprobs)
    except ValidationError as error:
        return _say_where("logprobs", error)
    found: dict[str, Any] = {}
    if expected.logprobs:
        found["logprobs"] = _list_logprobs(logprobs)
    if expected.top_logprobs:
        found["text_logprobs"] = _list_alternatives(logprobs)
    return outcome.model_copy(update=found)


def _list_logprobs(logprobs: _Logprobs) -> tuple[float, ...] | None:
    """Of each token that was sampled."""
    if logprobs.content is None:
        return logprobs.token_logprobs
    return tuple(token.logprob for token in logprobs.content)


def _list_alternatives(logprobs: _Logprobs) -> dict[str, float]:
    """Of the most probable first tokens, by their texts; none where no token was sampled. Of
    tokens that are parts of a character, and so have one text, the most probable counts.

    Raises EndpointError where the server tells no alternatives: it would tell as little about
    every other answer.
    """
    told = logprobs.top_logprobs if logprobs.content is None else logprobs.content
    if () in (told, logprobs.token_logprobs):
        return {}
    first = told[0] if told else None
    alternatives = first.top_logprobs if isinstance(first, _Token) else first
    if alternatives is None:
        raise EndpointError(f"the answer came without log-probabilities; {REMEDY_NO_LOGPROBS}")
    if isinstance(alternatives, dict):
        pairs = list(alternatives.items())
    else:
        pairs = [(one.token, one.logprob) for one in alternatives]
    return dict(sorted(pairs, key=lambda pair: pair[1]))


def _compose_response(choice: _Choice, usage: Usage, finish: FinishReason) -> Outcome:
    said = choice.message or _Said(content=choice.text)
    reasoning = said.reasoning_content or said.reasoning
    calls = tuple(_read_call(call, i) for i, call in enumerate(said.tool_calls or ()))
    text = said.content if said.content is not None else said.refusal
    if text is None and not calls:
        if finish == "content_filter":
            message = "the server's content filter withheld the answer"
            return Failure(reason="content_filter", message=message, permanent=True)
        if not reasoning:
            return _malformed("null_content", "the answer has neither content nor tool calls")
    return Response(
        text=text or "",
        reasoning=reasoning,
        tool_calls=calls,
        finish_reason="tool_calls" if calls and finish == "stop" else finish,
        usage=usage,
    )


def _read_call(call: _Call, index: int) -> ToolCall:
    written = call.function.arguments
    arguments = written if isinstance(written, str) else canonical_json(written or {})
    return ToolCall(
        id=call.id or f"call_{index}",
        function=FunctionCall(name=call.function.name, arguments=arguments),
    )


def _drop_half_characters(body: bytes) -> bytes:
    """Replace halves of surrogate pairs by `?`: a token limit inside an emoji leaves them."""
    if b"\\ud" not in body and b"\\uD" not in body:
        return body
    return json.dumps(json.loads(body), ensure_ascii=False).encode(errors="replace")


def _read_error_in_answer(error: Any) -> Failure:
    """An error under status 200, as gateways send when the server behind them fails."""
    body = canonical_json({"error": error}).encode(errors="replace")
    code = error.get("code") if isinstance(error, dict) else None
    if isinstance(code, int) and 400 <= code < 600:
        return _read_refusal(code, body)
    return _malformed("error_in_answer", _read_message(body))


def _explain_malformed(reply: Reply, error: Exception) -> Failure:
    if reply.body.lstrip()[:1] == b"<" or "html" in reply.headers.get("content-type", ""):
        return _malformed("html", "a web page came instead of JSON; does base_url end in /v1?")
    if isinstance(error, ValidationError) and error.errors()[0]["type"] != "json_invalid":
        return _say_where("", error)
    return _malformed("invalid_json", f"not a whole JSON text ({len(reply.body)} bytes)")


def _say_where(field: str, error: ValidationError) -> Failure:
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    where = ".".join(str(part) for part in (field, *first["loc"]) if part != "")
    return _malformed("malformed", f"{where or 'answer'}: {first['msg']}")


def _malformed(reason: str, message: str) -> Failure:
    return Failure(reason=reason, message=message, permanent=False)
