"""What vLLM draws behind given token ids: the tokens, how likely each was, and whether they ended.

No text is sent and none is read: a student learns from exactly the tokens that were drawn, and a
text that is written out again may come to others. Log-probabilities are those of the model's own
distribution at temperature 1 (vLLM's `raw_logprobs`), whatever the draw was made at.
"""

from collections.abc import Collection
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from generators.clients import Failure, Sampling
from generators.openai_answers import Expected, Reply, read_reply
from generators.records import Record, Usage


class Draw(Record):
    """A completion that is wanted."""

    prompt: tuple[int, ...]
    """Its token ids."""
    seed: int
    sampling: Sampling
    end_ids: frozenset[int]
    """Each of these tokens ends it."""
    barred_ids: tuple[int, ...] = ()
    """Tokens that are not drawn."""


class SampledTokens(Record):
    """A completion, token by token."""

    token_ids: tuple[int, ...]
    """With the end token, where one ended it."""
    logprobs: tuple[float, ...]
    """One for each, in nats, at temperature 1."""
    ended: bool
    """False where it was cut off."""
    usage: Usage


class _Part(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class _Logprobs(_Part):
    token_logprobs: tuple[float, ...] = Field(min_length=1)


class _Choice(_Part):
    token_ids: tuple[int, ...] = Field(min_length=1)
    logprobs: _Logprobs
    finish_reason: str


class _Tokens(_Part):
    prompt_tokens: int
    completion_tokens: int


class _Body(_Part):
    choices: tuple[_Choice, ...] = Field(min_length=1)
    usage: _Tokens


def compose_draw(model: str, draw: Draw) -> dict[str, Any]:
    """The body of a request for a completion."""
    body: dict[str, Any] = {
        "model": model,
        "prompt": list(draw.prompt),
        "max_tokens": draw.sampling.max_tokens,
        "temperature": draw.sampling.temperature,
        "top_p": draw.sampling.top_p,
        "seed": draw.seed,
        "stop_token_ids": sorted(draw.end_ids),
        "logprobs": 0,  # of the drawn tokens, and of none beside them
        "return_token_ids": True,
    }
    if draw.barred_ids:
        body["logit_bias"] = dict.fromkeys(map(str, draw.barred_ids), -100)
    return body


def read_sample(
    reply: Reply, *, max_tokens: int, end_ids: Collection[int]
) -> Failure | list[SampledTokens | Failure]:
    """Turn a reply into the completion, or a failure. Raises EndpointError as `read_reply` does."""
    answered = read_reply(reply, Expected(max_tokens))
    if isinstance(answered, Failure):
        return answered
    try:
        body = _Body.model_validate_json(reply.body)
    except ValueError as error:
        return _complain(" ".join(str(error).split()[:24]))
    choice = body.choices[0]
    ids, logprobs = choice.token_ids, choice.logprobs.token_logprobs
    ended = ids[-1] in end_ids
    if len(ids) != len(logprobs) or len(ids) > max_tokens:
        return _complain(f"{len(ids)} tokens and {len(logprobs)} log-probabilities came")
    if ended != (choice.finish_reason == "stop"):
        return _complain(f"finish_reason is {choice.finish_reason!r} at token {ids[-1]}")
    usage = Usage(**body.usage.model_dump())
    return [SampledTokens(token_ids=ids, logprobs=logprobs, ended=ended, usage=usage)]


def _complain(what: str) -> Failure:
    message = f"no tokens with their log-probabilities came ({what}); the server must be vLLM"
    return Failure(reason="no_token_ids", message=message, permanent=False)
