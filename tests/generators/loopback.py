"""A real OpenAI-compatible server on 127.0.0.1 that answers by rule and misbehaves on command.

Its answers depend on the request alone, so that a resumed run can be compared with a whole one.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Mapping
from threading import Event, Lock, Thread
from types import MappingProxyType
from typing import Any, NamedTuple, Self

from aiohttp import web


class Call(NamedTuple):
    """One request as it arrived."""

    number: int
    """How many came before it."""
    at: float
    """When it came (time.monotonic)."""
    path: str
    headers: dict[str, str]
    body: dict[str, Any]

    @property
    def asked(self) -> str:
        """The last message, or the prompt."""
        return (
            self.body["prompt"] if "prompt" in self.body else self.body["messages"][-1]["content"]
        )

    @property
    def model(self) -> str:
        """The model that is asked; empty where none is."""
        return self.body.get("model", "")


class Fault(NamedTuple):
    """What the server does instead of answering well."""

    status: int = 200
    body: bytes | str | None = None
    """None is the good answer."""
    headers: Mapping[str, str] = MappingProxyType({})
    delay_s: float = 0
    reset: bool = False
    """Drop the connection without a word."""
    cut: bool = False
    """Drop it in the middle of the body."""
    drip: bool = False
    """Send a byte now and then, for ever."""


class LoopbackServer:
    """The server, in a thread of its own; `calls` is what it was asked."""

    def __init__(
        self,
        fault: Callable[[Call], Fault | None] = lambda _: None,
        *,
        delay_s: float = 0,
        rule: Callable[[Call], dict[str, Any]] | None = None,
    ) -> None:
        """`rule` makes the good answers; without it the server says what it was asked."""
        self.calls: list[Call] = []
        self.most_at_once = 0
        """Requests under way at once that one model was asked, at most."""
        self._fault = fault
        self._rule = rule or answer
        self._delay_s = delay_s
        self._at_once = Counter[str]()
        self._lock = Lock()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}/v1"

    def __enter__(self) -> Self:
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        ready = Event()
        self._thread = Thread(target=lambda: self._loop.run_until_complete(self._serve(ready)))
        self._thread.start()
        assert ready.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)
        self._loop.close()

    def wait_for_calls(self, count: int) -> None:
        """Wait until that many requests have arrived."""
        end = time.monotonic() + 60
        while len(self.calls) < count:
            assert time.monotonic() < end, f"only {len(self.calls)} of {count} requests came"
            time.sleep(0.005)

    async def _serve(self, ready: Event) -> None:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._handle)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        self._port = runner.addresses[0][1]
        ready.set()
        await self._stop.wait()
        await runner.cleanup()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        body = await request.json() if request.can_read_body else {}
        with self._lock:
            headers = {name.lower(): value for name, value in request.headers.items()}
            call = Call(len(self.calls), time.monotonic(), request.path, headers, body)
            self.calls.append(call)
        model = call.model
        self._at_once[model] += 1
        self.most_at_once = max(self.most_at_once, self._at_once[model])
        try:
            return await self._respond(request, call)
        finally:
            self._at_once[model] -= 1

    async def _respond(self, request: web.Request, call: Call) -> web.StreamResponse:
        fault = self._fault(call) or Fault()
        await asyncio.sleep(fault.delay_s or self._delay_s)
        if fault.cut or fault.drip:
            return await self._break_off(request, drip=fault.drip)
        if fault.reset:
            assert request.transport is not None
            request.transport.abort()
        if fault.body is None:
            return web.json_response(self._rule(call), status=fault.status, headers=fault.headers)
        return web.Response(body=fault.body, status=fault.status, headers=fault.headers)

    async def _break_off(self, request: web.Request, *, drip: bool) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": "1000"})
        await response.prepare(request)
        await response.write(b'{"choices": ')
        while drip:
            await asyncio.sleep(0.05)
            await response.write(b" ")
        assert request.transport is not None
        request.transport.abort()
        return response


def answer(call: Call) -> dict[str, Any]:
    """The good answer: what was asked, with the seed, so that each draw has its own text; further
    samples of one request count up behind the seed."""
    if call.path.endswith("/models"):
        return {"object": "list", "data": [{"id": "tiny", "object": "model"}]}
    samples, seed = call.body.get("n", 1), call.body.get("seed")
    choices = [_choose(call, i, seed if i == 0 else f"{seed}+{i}") for i in range(samples)]
    usage = {"prompt_tokens": 7, "completion_tokens": 3 * samples}
    return {"choices": choices, "usage": usage}


def _choose(call: Call, index: int, seed: int | str | None) -> dict[str, Any]:
    text = expected_text(call.asked, seed)
    said = {"text": text} if "prompt" in call.body else {"message": {"content": text}}
    return {"index": index, "finish_reason": "stop", **said}


def expected_text(asked: str, seed: int | str | None) -> str:
    return f"{asked} -> {seed}"
