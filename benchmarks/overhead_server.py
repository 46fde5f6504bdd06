"""The server of `client_overhead.py`: answers a chat after a while, and does nothing else.

The model's name says how long: `steady` takes 200 ms, `lognormal` a time with median 200 ms and
sigma 0.5. The time is drawn from the prompt, so that every client meets the same ones. It prints
its URL and serves until its standard input ends.

    python benchmarks/overhead_server.py
"""

import asyncio
import math
import random
import sys

from aiohttp import web
from overhead_peers.chain import answer_to

MEDIAN_S, SIGMA = 0.2, 0.5


def draw_latency(model: str, prompt: str) -> float:
    """Seconds until the answer."""
    if model == "steady":
        return MEDIAN_S
    return random.Random(prompt).lognormvariate(math.log(MEDIAN_S), SIGMA)


def read_text(content: str | list[dict[str, str]]) -> str:
    """A message's text; some clients send it as a list of parts."""
    return content if isinstance(content, str) else "".join(part["text"] for part in content)


async def list_models(_: web.Request) -> web.Response:
    data = [{"id": name, "object": "model"} for name in ("steady", "lognormal")]
    return web.json_response({"object": "list", "data": data})


async def answer(request: web.Request) -> web.Response:
    body = await request.json()
    prompt = read_text(body["messages"][-1]["content"])
    await asyncio.sleep(draw_latency(body["model"], prompt))
    message = {"role": "assistant", "content": answer_to(prompt)}
    reply = {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": body["model"],
        "choices": [{"index": 0, "finish_reason": "stop", "message": message}],
        "usage": {"prompt_tokens": 70, "completion_tokens": 150, "total_tokens": 220},
    }
    return web.json_response(reply)


async def main() -> None:
    app = web.Application()
    app.router.add_get("/v1/models", list_models)
    app.router.add_post("/v1/chat/completions", answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    print(f"http://127.0.0.1:{runner.addresses[0][1]}/v1", flush=True)
    await asyncio.to_thread(sys.stdin.read)
    await runner.cleanup()


if __name__ == "__main__":
    asyncio.run(main())
