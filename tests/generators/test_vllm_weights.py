"""New weights for a server that runs: how they are asked for, and who does not take them."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from generators.errors import EndpointError
from generators.vllm_server import ManagedServer, Served, ServeSettings
from generators.vllm_weights import DEVELOPMENT, load_weights
from tests.generators.vllm_stand_in import make_environment, read_asked

WHERE = r"vllm serve: the new weights were not taken: "


@pytest.fixture(params=[{}], ids=["well"])
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ManagedServer]:
    """A stand-in with the options that a test names."""
    python = make_environment(tmp_path)
    settings = ServeSettings(
        python=python, options=request.param, env=dict(DEVELOPMENT), stop_timeout_s=1
    )
    server = ManagedServer(settings, Served(model="tiny", name="tiny"), tmp_path / "log")
    yield server
    server.stop()


def load(server: ManagedServer, folder: Path) -> None:
    asyncio.run(load_weights(server, folder, timeout_s=10))


def test_weights_are_read_and_cached_prompts_forgotten(
    server: ManagedServer, tmp_path: Path
) -> None:
    load(server, tmp_path)
    assert read_asked(tmp_path / "log") == [
        {
            "path": "/collective_rpc",
            "body": {"method": "reload_weights", "kwargs": {"weights_path": str(tmp_path)}},
        },
        {"path": "/reset_prefix_cache", "body": {}},
    ]


def test_a_server_that_refuses_is_told_with_what_it_said(
    server: ManagedServer, tmp_path: Path
) -> None:
    with pytest.raises(EndpointError) as caught:
        load(server, tmp_path / "nowhere")
    assert str(caught.value) == (
        'vllm serve: the new weights were not taken: /collective_rpc: HTTP 500: {"success": '
        "true}.\n"
        "See the server's log; vLLM 0.32 is known to take weights in this way."
    )


@pytest.mark.parametrize("server", [{"busy": True}], indirect=True, ids=["busy"])
def test_cached_prompts_must_go(server: ManagedServer, tmp_path: Path) -> None:
    with pytest.raises(EndpointError) as caught:
        load(server, tmp_path)
    assert str(caught.value) == (
        "vllm serve: the new weights were not taken: its cache of prompts cannot be emptied while "
        "requests are under way.\n"
        "See the server's log; vLLM 0.32 is known to take weights in this way."
    )
