"""The client for every OpenAI-compatible server: vLLM, llama.cpp, Ollama, hosted APIs.

The `openai` package's aiohttp transport carries the requests; its layers above cost as much CPU as
the rest of a request and are left out. Retries are our own, because they must keep a total
deadline, obey `Retry-After` for all requests at once, and end in a `Failure` that the run can go on
with. Nothing of the environment is sent along but the key that the settings name.
"""

import asyncio
import json
import os
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from threading import Lock
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from generators.clients import Failure, Outcome, Request, Response
from generators.endpoint_settings import EndpointSettings
from generators.errors import ConfigError, EndpointError
from generators.openai_answers import Expected, Reply, read_reply
from generators.openai_requests import compose_body, estimate_tokens, group_samples
from generators.pacing import Breaker, Limits, Obstacle, Ticket
from generators.records import Usage, digest
from generators.retries import draw_backoff, read_retry_after
from generators.structured import ask_for_repair, find_answer_faults

if TYPE_CHECKING:
    from httpx2 import URL, AsyncClient

CONNECT_TIMEOUT_S = 10.0


class Paid(Protocol):
    """Whatever a server sends for tokens."""

    @property
    def usage(self) -> Usage: ...


P = TypeVar("P", bound=Paid)
T = TypeVar("T")
Read = Callable[[Reply], Failure | list[P | Failure]]


@dataclass
class Errand(Generic[P]):
    """One request on its way, with all its attempts."""

    path: str
    body: dict[str, Any]
    read: Read[P]
    max_tokens: int
    """The most that one sample may be written in."""
    scope: asyncio.Timeout
    last: str = "no attempt was made"
    """How the last attempt failed."""

    def count_remaining_s(self) -> float:
        return (self.scope.when() or 0.0) - asyncio.get_running_loop().time()


class OpenAICompatibleClient:
    """A model behind an OpenAI-compatible API; a unit is one request to it.

    It may be used from several event loops, one after another or at once: each has connections of
    its own. `close` gives back those of the loop it is called in; asked again, they are reopened.
    """

    def __init__(self, settings: EndpointSettings, *, model_id: str) -> None:
        """Raises ConfigError if the key's environment variable is not set."""
        self.settings = settings
        self.id = identify_answers(settings, model_id)
        self.concurrency = settings.concurrency
        self._key = read_key(settings.api_key_env)
        self._connections: dict[asyncio.AbstractEventLoop, AsyncClient] = {}
        self._lock = Lock()
        self._reached = False
        self._not_before = 0.0  # the server asked for quiet until then (time.monotonic)
        self._limits = Limits(settings.requests_per_minute, settings.tokens_per_minute)
        self._breaker = Breaker(settings.breaker_failures, settings.breaker_pause_s)

    def plan(self, requests: Sequence[Request]) -> list[list[int]]:
        """Each request is a unit of its own, or each `samples_per_request` that differ in nothing
        but the seed. A request with a schema stays alone: its repair is a talk of its own."""
        return group_samples(requests, self.settings.samples_per_request)

    async def generate(self, requests: Sequence[Request]) -> list[Outcome]:
        """Answer one unit. Raises EndpointError if the server cannot be reached at first contact
        or refuses us altogether; everything else is an outcome."""
        outcomes: dict[int, Outcome] = {}
        for unit in self.plan(requests):
            answered = await self._answer([requests[i] for i in unit])
            outcomes |= zip(unit, answered, strict=True)
        return [outcomes[i] for i in range(len(requests))]

    async def probe(self) -> None:
        """Check that the server can be reached and lets us in; raises EndpointError if not."""
        reply = await self._send("GET", "/models")
        if isinstance(reply, Failure):
            raise self._complain(f"{reply.message}; is the server well?")
        if reply.status in (404, 405, 429):
            return  # A server without the list, or a busy one, is a server all the same.
        if reply.status >= 500:
            raise self._complain(f"HTTP {reply.status} at /models; wait until the server is ready")
        if reply.status < 300 and not _is_json(reply.body):
            raise self._complain("no JSON at /models; check base_url, which often ends in /v1")
        self._read(reply, partial(read_reply, expected=Expected(max_tokens=1)))

    async def close(self) -> None:
        """Close the connections of the running event loop."""
        with self._lock:
            connection = self._connections.pop(asyncio.get_running_loop(), None)
        if connection is not None:
            await connection.aclose()

    async def _answer(self, unit: Sequence[Request]) -> list[Outcome]:
        """The outcomes of requests that differ in nothing but the seed; the first one's is sent."""
        request = unit[0]
        path, body = self._compose(request, len(unit))
        expected = self._expect(request, len(unit))
        read = partial(read_reply, expected=expected)
        errand = self._prepare(path, body, read, expected.max_tokens)

        async def answer() -> Failure | list[Outcome]:
            outcomes = await self._ask(errand)
            if request.json_schema is not None and not isinstance(outcomes, Failure):
                return [await self._hold_to_schema(errand, outcomes[0], request)]
            return outcomes

        outcomes = await self._keep_deadline(errand, answer())
        return [outcomes] * len(unit) if isinstance(outcomes, Failure) else outcomes

    def _compose(self, request: Request, samples: int) -> tuple[str, dict[str, Any]]:
        """The path and the body of a request for so many samples."""
        if request.choices:
            raise ValueError("only vLLM can be held to choices; ask with its own client")
        settings = self.settings
        return compose_body(
            request,
            model=settings.model,
            samples=samples,
            logprobs=settings.logprobs,
            extra=settings.extra_body,
        )

    def _expect(self, request: Request, samples: int) -> Expected:
        logprobs, alternatives = self.settings.logprobs, request.top_logprobs is not None
        return Expected(request.sampling.max_tokens, samples, logprobs, alternatives)

    def _prepare(
        self, path: str, body: dict[str, Any], read: Read[P], max_tokens: int
    ) -> Errand[P]:
        return Errand(path, body, read, max_tokens, asyncio.timeout(self.settings.deadline_s))

    async def _keep_deadline(self, errand: Errand[Any], work: Awaitable[T]) -> T | Failure:
        """What the work for an errand brings, or a failure when its time is over."""
        try:
            async with errand.scope:
                return await work
        except TimeoutError:
            if not errand.scope.expired():
                raise
        message = f"no answer within {self.settings.deadline_s:g} s (last: {errand.last})"
        return Failure(reason="deadline", message=message, permanent=False)

    async def _hold_to_schema(
        self, errand: Errand[Response], said: Outcome, request: Request
    ) -> Outcome:
        """The answer, if it follows the schema; else what one repair round makes of it."""
        schema = request.json_schema or {}
        plea = compose_plea(said, schema)
        if plea is None:
            return said
        turns, fault = plea
        errand.body = errand.body | {"messages": errand.body["messages"] + turns}
        errand.last = f"the answer broke its schema: {fault}"
        outcomes = await self._ask(errand)
        repaired = outcomes if isinstance(outcomes, Failure) else outcomes[0]
        return judge_repair(said, repaired, schema)

    async def _ask(self, errand: Errand[P]) -> Failure | list[P | Failure]:
        """Send until there is an answer, a failure that will not pass, or no attempt is left."""
        tokens = 0
        if self.settings.tokens_per_minute is not None:
            tokens = estimate_tokens(errand.body, errand.max_tokens)
        attempt = 0
        while True:
            attempt += 1
            ticket = Ticket(tokens)
            try:
                if refusal := await self._wait_for_turn(errand, ticket):
                    return refusal
                outcomes = await self._attempt(errand, ticket)
            finally:
                self._limits.leave(ticket)
                self._breaker.leave(ticket)
            final = attempt == self.settings.max_attempts
            if not isinstance(outcomes, Failure) or outcomes.permanent or final:
                return outcomes
            errand.last = outcomes.message
            await asyncio.sleep(draw_backoff(attempt))

    async def _wait_for_turn(self, errand: Errand[Any], ticket: Ticket) -> Failure | None:
        """Wait until nothing holds the request back; a failure at once where that outlasts the
        deadline, so that a long pause neither holds the run up nor is broken by the next request.
        """
        while obstacle := self._find_obstacle(ticket):
            if obstacle.wait_s > errand.count_remaining_s():
                return Failure(reason=obstacle.reason, message=obstacle.message, permanent=False)
            await asyncio.sleep(obstacle.sleep_s)
        return None

    def _find_obstacle(self, ticket: Ticket) -> Obstacle | None:
        """A pause the server asked for, an open circuit, or one of our own limits."""
        obstacle = self._breaker.enter(ticket)
        pause_s = self._not_before - time.monotonic()
        if pause_s > 0:
            message = f"the server asked to wait {pause_s:.0f} s, past deadline_s"
            obstacle = Obstacle("told_to_wait", message, pause_s, pause_s + draw_backoff(1))
        if obstacle is None:
            return self._limits.take(ticket)
        # Out of the queue: the one that may probe must not stand behind those that wait for it.
        self._limits.leave(ticket)
        return obstacle

    async def _attempt(self, errand: Errand[P], ticket: Ticket) -> Failure | list[P | Failure]:
        reply = await self._send("POST", errand.path, errand.body)
        if isinstance(reply, Failure):
            self._breaker.note_failure(ticket)
            return reply
        outcomes = self._read(reply, errand.read)
        if isinstance(outcomes, Failure) and not outcomes.permanent:
            pause_s = read_retry_after(reply.headers)
            if pause_s is None:
                self._breaker.note_failure(ticket)
                return outcomes
            self._not_before = max(self._not_before, time.monotonic() + pause_s)
        # A server that refuses with a reason, or says when to come back, is not down.
        self._breaker.note_life()
        if not isinstance(outcomes, Failure) and (used := sum(o.usage.tokens for o in outcomes)):
            self._limits.settle(ticket, used)
        return outcomes

    async def _send(
        self,
        method: str,
        path: str,
        body: dict[str, Any] | None = None,
        form: dict[str, Any] | None = None,
    ) -> Reply | Failure:
        """One HTTP exchange: any reply, or a failure of the transport. `form` is sent as parts, as
        files are."""
        import httpx2
        from aiohttp import ClientError

        headers = {"Authorization": f"Bearer {self._key}"} if self._key else {}
        content = None
        if body is not None:
            headers["Content-Type"] = "application/json"
            content = json.dumps(body, separators=(",", ":")).encode()
        try:
            url = _locate(self.settings.base_url, path)
            response = await self._connect().request(
                method, url, content=content, files=form, headers=headers
            )
        except (httpx2.RequestError, ClientError) as error:
            return self._explain_transport(error)
        self._reached = True
        return Reply(response.status_code, response.headers, response.content)

    def _connect(self) -> "AsyncClient":
        """The running loop's connections, opened when first needed."""
        loop = asyncio.get_running_loop()
        with self._lock:
            if loop not in self._connections:
                for ended in [known for known in self._connections if known.is_closed()]:
                    del self._connections[ended]
                self._connections[loop] = _open_connections(self.settings)
            return self._connections[loop]

    def _explain_transport(self, error: Exception) -> Failure:
        """Why there was no reply. Raises EndpointError if the server was never reached."""
        from aiohttp import ClientConnectorError, ConnectionTimeoutError

        causes = _list_causes(error)
        message = self._hide(str(causes[-1]) or type(causes[-1]).__name__)
        unreached = any(
            isinstance(cause, ClientConnectorError | ConnectionTimeoutError) for cause in causes
        )
        if unreached and not self._reached:
            raise self._complain(f"cannot be reached ({message}); start it, or check base_url")
        if not unreached and any(isinstance(cause, TimeoutError) for cause in causes):
            message = f"the server was silent for {self.settings.timeout_s:g} s"
            return Failure(reason="timeout", message=message, permanent=False)
        return Failure(reason="connection", message=message, permanent=False)

    def _read(self, reply: Reply, read: Read[P]) -> Failure | list[P | Failure]:
        """Read a reply, with the endpoint named and the key hidden in all that is complained of."""
        try:
            outcomes = read(reply)
        except EndpointError as error:
            raise self._complain(str(error)) from None
        if isinstance(outcomes, Failure):
            return self._hide_in(outcomes)
        return [self._hide_in(o) if isinstance(o, Failure) else o for o in outcomes]

    def _hide_in(self, failure: Failure) -> Failure:
        return failure.model_copy(update={"message": self._hide(failure.message)})

    def _complain(self, what: str) -> EndpointError:
        return EndpointError(f"{self.settings.base_url}: {self._hide(what)}")

    def _hide(self, text: str) -> str:
        return text.replace(self._key, "***") if self._key else text


def compose_plea(said: Outcome, schema: dict[str, Any]) -> tuple[list[dict[str, Any]], str] | None:
    """The turns that send an answer back, and its first fault, if it breaks its schema."""
    if said.kind == "failure" or said.tool_calls:
        return None
    faults = find_answer_faults(said.text, schema)
    return (ask_for_repair(said.text, faults), faults[0]) if faults else None


def judge_repair(said: Outcome, repaired: Outcome, schema: dict[str, Any]) -> Outcome:
    """What came of an answer that broke its schema and was sent back once; both are paid for."""
    usage = said.usage + repaired.usage
    if repaired.kind == "failure" or repaired.tool_calls:
        return repaired.model_copy(update={"usage": usage})
    if faults := find_answer_faults(repaired.text, schema):
        message = f"the answer broke its schema twice: {faults[0]}"
        return Failure(reason="schema", message=message, permanent=False, usage=usage)
    return repaired.model_copy(update={"usage": usage})


def identify_answers(settings: EndpointSettings, model_id: str) -> str:
    """What the journal and every row call the model when it is asked with these settings: other
    fields make other answers, which must not be found under the same key."""
    shaped = [settings.extra_body] if settings.extra_body else []
    shaped += ["logprobs"] if settings.logprobs else []
    return f"{model_id}+{digest(*shaped, length=8)}" if shaped else model_id


def read_key(variable: str) -> str:
    """The key in an environment variable; none is named, none is wanted. Raises ConfigError."""
    if not variable:
        return ""
    key = os.environ.get(variable, "").strip()
    if not key:
        raise ConfigError(
            f"api_key_env: the environment variable {variable} is not set; export it, or leave "
            "api_key_env empty for a server that wants no key"
        )
    if not (key.isascii() and key.isprintable()):
        raise ConfigError(
            f"api_key_env: {variable} holds characters that no key has; copy the key again"
        )
    return key


def _open_connections(settings: EndpointSettings) -> "AsyncClient":
    import httpx2
    import openai

    return openai.DefaultAioHttpClient(
        timeout=httpx2.Timeout(
            settings.timeout_s, connect=min(CONNECT_TIMEOUT_S, settings.timeout_s), pool=None
        ),
        limits=httpx2.Limits(
            max_connections=settings.concurrency, max_keepalive_connections=settings.concurrency
        ),
        headers={"User-Agent": "tutelage"},
    )


@lru_cache(maxsize=64)
def _locate(base_url: str, path: str) -> "URL":
    """Where requests go: read once, because reading a URL costs as much as sending a request."""
    import httpx2

    return httpx2.URL(base_url.rstrip("/") + path)


def _list_causes(error: BaseException | None) -> list[BaseException]:
    causes = []
    while error is not None:
        causes.append(error)
        error = error.__cause__
    return causes


def _is_json(body: bytes) -> bool:
    try:
        json.loads(body)
    except ValueError:
        return False
    return True
