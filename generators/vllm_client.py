"""The client for vLLM: what it offers beyond other OpenAI-compatible servers, and a server of ours.

Beyond the others: answers held to one of several texts (`structured_outputs`, as vLLM 0.32 has it)
and log-probabilities of a given text's tokens (`prompt_logprobs`). With `serve` the server is
started by us when it is first asked. When it dies, what was under way is asked again of its next
life, and nobody above sees more than a pause.
"""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Self, TypeVar

from pydantic import Field, field_validator, model_validator

from generators.clients import Failure, Outcome, Request
from generators.embedded import identify_model, locate_model
from generators.endpoint_settings import EndpointSettings, check_url
from generators.errors import EndpointError
from generators.openai_compatible import OpenAICompatibleClient, identify_answers, read_key
from generators.openai_requests import group_samples
from generators.records import digest
from generators.vllm_samples import Draw, SampledTokens, compose_draw, read_sample
from generators.vllm_scores import TokenScores, read_scores
from generators.vllm_server import Life, ManagedServer, Served, ServeSettings

FAILURES_OF_THE_DYING = ("circuit_open", "connection", "deadline", "http_5", "timeout")
"""What requests end with when their server dies; but a live one brings these about, too."""
CONFIRM_S = 2.0
LOOK_S = 0.2
T = TypeVar("T")


class VllmSettings(EndpointSettings):
    """A vLLM server: one that is there (`base_url`), or one of our own (`serve`)."""

    base_url: str = ""
    """The root of its API, for example `http://127.0.0.1:8000/v1`."""
    model: str = Field(min_length=1)
    """The name by which the server knows the model; with `serve`, which model: a folder, a Hugging
    Face id, or the bundled one's name."""
    revision: str | None = None
    """Which state of the model the server has; part of the journal's key. With `serve`, the
    revision of a Hugging Face id."""
    serve: ServeSettings | None = None
    """How to start a server; left out where one is there."""

    @field_validator("base_url")
    @classmethod
    def _check_url(cls, url: str) -> str:
        return check_url(url) if url else ""

    @model_validator(mode="after")
    def _check_place(self) -> Self:
        if bool(self.base_url) == (self.serve is not None):
            raise ValueError(
                "name either base_url (a server that is there) or serve (one to be started; "
                "`serve: {}` starts it from .venv-vllm)"
            )
        return self


def identify_vllm(settings: VllmSettings) -> str:
    """Name and revision of the model, as rows and the journal call it; never a URL or a port.

    A server of our own answers by its options as well; they are part of the name.
    """
    if settings.serve is None:
        name, options = settings.model, {}
    else:
        name, options = f"{identify_model(settings.model)}+vllm", settings.serve.options
    if settings.revision:
        name = f"{name}@{settings.revision}"
    return f"{name}-{digest(options, length=8)}" if options else name


class VllmClient(OpenAICompatibleClient):
    """A vLLM server that is there."""

    async def score_tokens(self, text: str | Sequence[int], *, top: int) -> TokenScores | Failure:
        """The log-probability of each token of a text, or of token ids, after those before it, and
        of the `top` likeliest there, in nats. Raises EndpointError as `generate` does."""
        body = {
            "model": self.settings.model,
            "prompt": text if isinstance(text, str) else list(text),
            "max_tokens": 1,
            "temperature": 0,
            "prompt_logprobs": top,
            "return_token_ids": True,
        }
        errand = self._prepare("/completions", body, partial(read_scores, top=top), 1)
        found = await self._keep_deadline(errand, self._ask(errand))
        return found if isinstance(found, Failure) else found[0]

    async def sample_tokens(self, draw: Draw) -> SampledTokens | Failure:
        """A completion behind token ids, token by token. Raises EndpointError as `generate`
        does."""
        most = draw.sampling.max_tokens
        read = partial(read_sample, max_tokens=most, end_ids=draw.end_ids)
        body = compose_draw(self.settings.model, draw)
        errand = self._prepare("/completions", body, read, most)
        found = await self._keep_deadline(errand, self._ask(errand))
        return found if isinstance(found, Failure) else found[0]

    def _compose(self, request: Request, samples: int) -> tuple[str, dict[str, Any]]:
        path, body = super()._compose(request.model_copy(update={"choices": ()}), samples)
        if request.choices:
            body["structured_outputs"] = {"choice": list(request.choices)}
        return path, body


class ManagedVllmClient:
    """A vLLM server of our own; it runs from the first request until `close`."""

    def __init__(self, settings: VllmSettings, *, log: Path) -> None:
        """What the server writes is appended to `log`. Raises ModelError where there is no such
        model, and ConfigError if the key's environment variable is not set."""
        assert settings.serve is not None
        self.id = identify_answers(settings, identify_vllm(settings))
        self.concurrency = settings.concurrency
        self._settings = settings
        served = Served(
            model=locate_model(settings.model),
            name=settings.model,
            revision=settings.revision,
            key=read_key(settings.api_key_env),
        )
        self.server = ManagedServer(settings.serve, served, log)
        self._client: VllmClient | None = None
        self._life: Life | None = None

    def plan(self, requests: Sequence[Request]) -> list[list[int]]:
        """As any server's requests."""
        return group_samples(requests, self._settings.samples_per_request)

    async def generate(self, requests: Sequence[Request]) -> list[Outcome]:
        """Answer one unit. Raises EndpointError if the server does not come up, or has died too
        often; everything else is an outcome."""
        return await self._outlive(
            lambda client: client.generate(requests),
            lambda outcomes: any(map(_may_tell_death, outcomes)),
        )

    async def score_tokens(self, text: str | Sequence[int], *, top: int) -> TokenScores | Failure:
        """See `VllmClient.score_tokens`."""
        return await self._outlive(
            lambda client: client.score_tokens(text, top=top), _may_tell_death
        )

    async def sample_tokens(self, draw: Draw) -> SampledTokens | Failure:
        """See `VllmClient.sample_tokens`."""
        return await self._outlive(lambda client: client.sample_tokens(draw), _may_tell_death)

    async def probe(self) -> None:
        """Check that there is a vLLM to be started; it is not started."""
        self.server.check()

    async def close(self) -> None:
        """Stop the server; asked again, it is started anew."""
        if self._client is not None:
            await self._client.close()
        await asyncio.to_thread(self.server.stop)

    async def _outlive(
        self,
        ask: Callable[[VllmClient], Coroutine[Any, Any, T]],
        may_tell_death: Callable[[T], bool],
    ) -> T:
        """Ask until there is an answer that the death of the server has no part in."""
        while True:
            life = await self.server.reach()
            client = await self._attach(life)
            try:
                answer = await _ask_while_alive(life, ask(client))
            except EndpointError:
                if not await has_ended(life):
                    raise
                continue
            if answer is not None and not (may_tell_death(answer) and await has_ended(life)):
                return answer

    async def _attach(self, life: Life) -> VllmClient:
        """The client of this life; the last one's connections are closed."""
        if self._client is not None and self._life is life:
            return self._client
        last = self._client
        place: Any = self._settings.model_dump(exclude={"serve", "revision"})
        settings = EndpointSettings(**place | {"base_url": f"{life.url}/v1"})
        self._life, self._client = life, VllmClient(settings, model_id=self.id)
        attached = self._client
        if last is not None:
            await last.close()
        return attached


def _may_tell_death(outcome: object) -> bool:
    return isinstance(outcome, Failure) and outcome.reason.startswith(FAILURES_OF_THE_DYING)


async def _ask_while_alive(life: Life, asking: Coroutine[Any, Any, T]) -> T | None:
    """What the asking brings, or None if the server ends before."""
    task = asyncio.ensure_future(asking)
    try:
        while not task.done() and life.state != "ended":
            await asyncio.wait([task], timeout=LOOK_S)
        return task.result() if task.done() else None
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def has_ended(life: Life) -> bool:
    """Whether the server is dead, or is found to be within a moment."""
    end = asyncio.get_running_loop().time() + CONFIRM_S
    while life.state != "ended" and asyncio.get_running_loop().time() < end:
        await asyncio.sleep(LOOK_S)
    return life.state == "ended"
