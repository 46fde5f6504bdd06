"""The bare loop: aiohttp and a semaphore, nothing stored, nothing tried again."""

import asyncio

from aiohttp import ClientSession, TCPConnector
from chain import IN_FLIGHT, MAX_TOKENS, TEMPERATURE, read_chain, take_cost


async def main() -> None:
    chain = read_chain()
    answers: list[str] = []
    slots = asyncio.Semaphore(IN_FLIGHT)

    async def ask(session: ClientSession, prompt: str) -> str:
        body = {
            "model": chain.model,
            "messages": [{"role": "user", "content": prompt}],
            "temperature": TEMPERATURE,
            "max_tokens": MAX_TOKENS,
        }
        async with slots, session.post(f"{chain.url}/chat/completions", json=body) as response:
            reply = await response.json()
        return reply["choices"][0]["message"]["content"]

    with take_cost("aiohttp", answers, chain.prompts):
        async with ClientSession(connector=TCPConnector(limit=IN_FLIGHT)) as session:
            answers += await asyncio.gather(*(ask(session, prompt) for prompt in chain.prompts))


if __name__ == "__main__":
    asyncio.run(main())
