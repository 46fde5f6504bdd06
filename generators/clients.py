"""What every model looks like from outside, and how requests reach it past the journal.

A client says how requests are grouped into units that are answered together (`plan`) and
answers one unit (`generate`). A server's unit is one request. The embedded model's is a fixed
batch, because there the batch decides the floating-point rounding: a batch is redone whole, so a
run that was killed and resumed ends with the same answers. `answer_requests` drives any client:
what the journal holds is not asked again, and what a unit returns is journalled before its slot
is free.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from contextlib import nullcontext
from functools import partial
from typing import Any, Literal, Protocol

from pydantic import Field

from generators.records import FinishReason, Message, Record, ToolCall, Usage, digest


class Sampling(Record):
    """How to sample. Names are OpenAI's."""

    temperature: float = Field(default=0.7, ge=0)
    """0 is greedy."""
    top_p: float = Field(default=1.0, gt=0, le=1)
    max_tokens: int = Field(default=256, ge=1)
    stop: tuple[str, ...] = ()
    """Generation ends before the first of these."""


class Request(Record):
    """One draw from one model: either a chat (`messages`) or a raw completion (`text`)."""

    messages: tuple[Message, ...] = ()
    text: str | None = None
    tools: tuple[dict[str, Any], ...] = ()
    sampling: Sampling
    seed: int
    """Made of cycle, round, parent, operator and sample index: see `draw_seed`."""
    json_schema: dict[str, Any] | None = None
    """The answer must be one JSON value of this schema; for chats only."""
    choices: tuple[str, ...] = ()
    """The answer must be one of these; for vLLM only."""
    continuations: tuple[str, ...] = ()
    """Nothing is sampled: the probability of each of these texts after the prompt is asked for;
    for models in this process."""
    top_logprobs: int | None = None
    """The probabilities of so many most probable first tokens are asked for as well; for models
    behind a URL."""


class Response(Record):
    """What a model answered."""

    kind: Literal["response"] = "response"
    text: str
    reasoning: str | None = None
    tool_calls: tuple[ToolCall, ...] = ()
    finish_reason: FinishReason
    usage: Usage
    logprobs: tuple[float, ...] | None = None
    text_logprobs: dict[str, float] | None = None
    """In nats, by text: of the request's `continuations`, or of its `top_logprobs` first tokens."""


class Failure(Record):
    """Why there is no answer. `permanent` failures are this request's own (HTTP 400, a content
    filter) and are remembered; others may pass and are asked again by the next run."""

    kind: Literal["failure"] = "failure"
    reason: str
    message: str
    permanent: bool
    usage: Usage = Usage()
    """Of answers that came and could not be used."""


Outcome = Response | Failure


class Stopped(Exception):
    """The work was broken off; what is journalled stays."""


class Divisible(list[int]):
    """A planned unit whose requests may be answered apart: what the journal holds of it is left
    out, and only the others are asked again."""


class Client(Protocol):
    """A model that answers requests."""

    id: str
    """Name and revision; never a URL, which a restarted server changes."""
    concurrency: int
    """How many units may be under way at once."""

    def plan(self, requests: Sequence[Request]) -> list[list[int]]:
        """Group the requests' indices into units that are answered together; see `Divisible`."""
        ...

    async def generate(self, requests: Sequence[Request]) -> list[Outcome]:
        """Answer one unit. Expected failures are returned, not raised."""
        ...

    async def close(self) -> None:
        """Give back sockets and threads."""
        ...


class Journal(Protocol):
    """Every outcome ever paid for, by request key."""

    async def find(self, keys: Sequence[str]) -> dict[str, Outcome]:
        """Return the outcomes that are stored, by key."""
        ...

    async def record(self, outcomes: dict[str, Outcome], *, model: str) -> dict[str, Outcome]:
        """Store outcomes durably; keys that are stored already keep what they have, which is
        returned."""
        ...


LATER_FIELDS = ("json_schema", "choices", "continuations", "top_logprobs")
"""What requests could not ask for when the first journals were written."""


def draw_seed(*parts: str | int) -> int:
    """A 63-bit seed for one draw, out of cycle, round, parent, operator and sample index."""
    return int(digest("draw", *parts), 16) >> 1


def request_key(model: str, request: Request) -> str:
    """The journal's key: model id, messages or text, tools, params, the draw's seed, and whatever
    else is asked for.

    A request that asks for nothing else keeps the key that it had before there was more to ask.
    """
    left_out = {name for name in LATER_FIELDS if getattr(request, name) in (None, ())}
    return digest("request", model, request.model_dump(mode="json", exclude=left_out), length=64)


async def answer_requests(
    client: Client,
    requests: Sequence[Request],
    journal: Journal,
    on_progress: Callable[[int], None] | None = None,
    slots: asyncio.Semaphore | None = None,
) -> list[Outcome]:
    """Answer requests in order, asking the model only for what the journal does not hold.

    `on_progress` is called with the number of requests newly settled. Several calls at once keep
    the model's `concurrency` together if they have `slots` in common. Equal requests are asked
    once. Failures that may pass are returned but not journalled. Where an error ends the run (a
    refused key), it is raised as it is, and what was answered before is in the journal.
    """
    keys = [request_key(client.id, request) for request in requests]
    repeats = Counter(keys)
    distinct = dict(zip(keys, requests, strict=True))
    known = await journal.find(list(distinct))
    if on_progress is not None and known:
        on_progress(sum(repeats[key] for key in known))

    async def settle(unit: list[str]) -> None:
        async with slots or nullcontext():
            outcomes = await client.generate([distinct[key] for key in unit])
            answered = dict(zip(unit, outcomes, strict=True))
            fresh = {key: answered[key] for key in unit if key not in known}
            lasting = {k: o for k, o in fresh.items() if o.kind == "response" or o.permanent}
            # Another process may have been first; then what it stored is the outcome here too.
            known.update(fresh | await journal.record(lasting, model=client.id))
        if on_progress is not None:
            on_progress(sum(repeats[key] for key in fresh))

    asked, order = list(distinct.values()), list(distinct)
    units = []
    for unit in client.plan(asked):
        missing = [order[i] for i in unit if order[i] not in known]
        if missing:
            units.append(missing if isinstance(unit, Divisible) else [order[i] for i in unit])
    await _run_bounded([partial(settle, unit) for unit in units], client.concurrency)
    return [known[key] for key in keys]


async def _run_bounded(jobs: Sequence[Callable[[], Awaitable[None]]], limit: int) -> None:
    """Run the jobs, `limit` at a time; the first error ends them all and is raised as it is."""
    waiting = iter(jobs)

    async def work() -> None:
        for job in waiting:
            await job()

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(min(limit, len(jobs))):
                group.create_task(work())
    except ExceptionGroup as errors:
        raise errors.exceptions[0] from None
