"""A real vLLM server with the bundled model, started once for these tests. `make test-vllm` runs
them; they are not collected otherwise."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from generators.embedded import BUNDLED
from generators.vllm_client import ManagedVllmClient, VllmClient, VllmSettings, identify_vllm
from generators.vllm_server import ServeSettings

SERVE: dict[str, Any] = {
    "python": str(Path(__file__).parents[2] / ".venv-vllm/bin/python"),
    # Without compilation it is slower at work and up in a fraction of the time.
    "options": {"max-model-len": 2048, "enforce-eager": True},
    "start_timeout_s": 1800,
}


@pytest.fixture(scope="module")
def managed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ManagedVllmClient]:
    """A client with a server of its own, which runs and computes as transformers does."""
    serve = ServeSettings(**SERVE | {"options": SERVE["options"] | {"dtype": "float32"}})
    settings = VllmSettings(model=BUNDLED, serve=serve, concurrency=16)
    client = ManagedVllmClient(settings, log=tmp_path_factory.mktemp("vllm") / "log")
    try:
        asyncio.run(client.server.reach())
        yield client
    finally:
        client.server.stop()


@pytest.fixture
def by_url(managed: ManagedVllmClient) -> VllmClient:
    """A client of the same server that only knows its URL."""
    return connect(managed)


def connect(managed: ManagedVllmClient, **changes: Any) -> VllmClient:
    url = asyncio.run(managed.server.reach()).url
    settings = VllmSettings(base_url=f"{url}/v1", model=BUNDLED, **changes)
    return VllmClient(settings, model_id=identify_vllm(settings))


def find_guards() -> list[psutil.Process]:
    """The guards that this process has started."""
    children = psutil.Process().children()
    return [p for p in children if any("server_guard" in word for word in p.cmdline())]


def find_server() -> psutil.Process:
    """The server that the only guard has started."""
    (guard,) = find_guards()
    (server,) = guard.children()
    return server


def find_engine(server: psutil.Process) -> psutil.Process:
    """The server's process that computes."""
    (engine,) = [p for p in server.children() if "EngineCore" in " ".join(p.cmdline())]
    return engine
