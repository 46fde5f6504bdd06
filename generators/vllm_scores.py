"""What vLLM says of a given text's tokens: how likely each was, and which would have been likelier.

Each token but the first is judged after those before it. Of every place the likeliest tokens are
told with their ids, so that a teacher behind a URL can be followed token by token, if it has the
student's vocabulary.
"""

from pydantic import BaseModel, ConfigDict, Field

from generators.clients import Failure
from generators.openai_answers import Expected, Reply, read_reply
from generators.records import Record, Usage


class TokenScores(Record):
    """A text's tokens and their log-probabilities, in nats."""

    token_ids: tuple[int, ...]
    """All N of them."""
    logprobs: tuple[float, ...]
    """N - 1: of each token but the first, after those before it."""
    top_ids: tuple[tuple[int, ...], ...]
    """N - 1 times the likeliest tokens in the place of that one, the likeliest first."""
    top_logprobs: tuple[tuple[float, ...], ...]
    usage: Usage


class _Part(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class _Scored(_Part):
    logprob: float
    rank: int


class _Choice(_Part):
    prompt_logprobs: tuple[dict[int, _Scored] | None, ...] = Field(min_length=1)
    prompt_token_ids: tuple[int, ...]


class _Tokens(_Part):
    prompt_tokens: int
    completion_tokens: int


class _Body(_Part):
    choices: tuple[_Choice, ...] = Field(min_length=1)
    usage: _Tokens


def read_scores(reply: Reply, *, top: int) -> Failure | list[TokenScores | Failure]:
    """Turn a reply into the scores of the one text that was sent, or a failure.

    Raises EndpointError as `read_reply` does.
    """
    answered = read_reply(reply, Expected(max_tokens=1))
    if isinstance(answered, Failure):
        return answered
    try:
        body = _Body.model_validate_json(reply.body)
        return [_gather(body.choices[0], body.usage, top)]
    except (ValueError, LookupError) as error:
        first = str(error).splitlines()[0]
        message = f"no log-probabilities of the text came ({first}); the server must be vLLM"
        return Failure(reason="no_prompt_logprobs", message=message, permanent=False)


def _gather(choice: _Choice, tokens: _Tokens, top: int) -> TokenScores:
    places = [place or {} for place in choice.prompt_logprobs[1:]]
    ids = choice.prompt_token_ids
    # vLLM tells the text's own token as well, wherever it ranks.
    ranked = [sorted(place.items(), key=lambda scored: scored[1].rank)[:top] for place in places]
    return TokenScores(
        token_ids=ids,
        logprobs=tuple(p[i].logprob for i, p in zip(ids[1:], places, strict=True)),
        top_ids=tuple(tuple(i for i, _ in place) for place in ranked),
        top_logprobs=tuple(tuple(scored.logprob for _, scored in place) for place in ranked),
        usage=Usage(**tokens.model_dump()),
    )
