"""Other weights for a vLLM server of our own while it runs.

vLLM reads them in place from a folder that its workers can see (`reload_weights`, asked for by
`POST /collective_rpc`): that goes on processors and on GPUs, whole or split, and needs no process
group with the server. Its cache of prompts belongs to the old weights and is emptied
(`POST /reset_prefix_cache`). Both doors are open in development mode alone. Paths and answers are
those of vLLM 0.32.

A server that dies meanwhile is started again and reads the folder that it was begun with; whoever
changes weights sees to it that these are the new ones there (`Served.model` may be a link).
"""

import asyncio
import http.client
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from generators.errors import EndpointError
from generators.vllm_client import has_ended
from generators.vllm_server import Life, ManagedServer

DEVELOPMENT: Mapping[str, str] = {"VLLM_SERVER_DEV_MODE": "1"}
"""The environment in which a server lets its weights be changed."""
REMEDY = "See the server's log; vLLM 0.32 is known to take weights in this way."


async def load_weights(server: ManagedServer, folder: Path, *, timeout_s: float) -> None:
    """Have the server read the weights of a model folder; it must be asked nothing meanwhile.

    Raises EndpointError where it refuses, does not come up, or has died too often.
    """
    while True:
        life = await server.reach()
        try:
            await asyncio.to_thread(_load, life, folder, timeout_s)
        except (OSError, http.client.HTTPException) as error:
            if await has_ended(life):
                continue
            what = f"vllm serve: the new weights were not taken: {error}"
            raise EndpointError(f"{what}.\n{REMEDY}") from error
        return


def _load(life: Life, folder: Path, timeout_s: float) -> None:
    asked = {"method": "reload_weights", "kwargs": {"weights_path": str(folder)}}
    _post(life, "/collective_rpc", asked, timeout_s)
    emptied = _post(life, "/reset_prefix_cache", {}, timeout_s)
    if json.loads(emptied).get("success") is not True:
        raise OSError("its cache of prompts cannot be emptied while requests are under way")


def _post(life: Life, path: str, body: dict[str, Any], timeout_s: float) -> bytes:
    """The reply's body. Raises OSError for any status but 200."""
    connection = http.client.HTTPConnection(urlsplit(life.url).netloc, timeout=timeout_s)
    try:
        headers = {"Content-Type": "application/json"}
        connection.request("POST", path, json.dumps(body), headers)
        reply = connection.getresponse()
        text = reply.read()
    finally:
        connection.close()
    if reply.status != 200:
        said = " ".join(text.decode(errors="replace").split())[:500]
        raise OSError(f"{path}: HTTP {reply.status}: {said}")
    return text
