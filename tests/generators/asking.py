"""How the tests ask the loopback server, and what they expect of it."""

import asyncio
import json
from pathlib import Path
from typing import Any

from generators.clients import (
    Client,
    Outcome,
    Request,
    Response,
    Sampling,
    answer_requests,
)
from generators.endpoint_settings import EndpointSettings
from generators.journal import SqliteJournal
from generators.openai_compatible import OpenAICompatibleClient
from generators.records import Message, Usage
from tests.generators.loopback import expected_text

KEY = "sk-secret-0123456789"
ASK = """
import asyncio, sys
from generators.clients import Request, Sampling, answer_requests
from generators.endpoint_settings import BatchSettings, EndpointSettings
from generators.journal_place import make_journal
{imports}

url, path, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
settings = EndpointSettings(base_url=url, model="tiny", concurrency=8)
client = {client}
requests = [Request(text=f"q{{i}}", sampling=Sampling(), seed=i) for i in range(count)]

async def run(journal):
    outcomes = await answer_requests(client, requests, journal)
    await client.close()
    print("\\n".join(outcome.text for outcome in outcomes))

with make_journal(path) as journal:
    asyncio.run(run(journal))
"""
"""A program that asks through a journal and prints the answers; for tests that kill it. Its
arguments are the server's URL, the journal's place and how many requests to send."""


def make_client(url: str, **settings: Any) -> OpenAICompatibleClient:
    settings = {"base_url": url, "model": "tiny", "deadline_s": 20, **settings}
    return OpenAICompatibleClient(EndpointSettings(**settings), model_id="tiny@1")


def chat(text: str, seed: int = 1, **sampling: Any) -> Request:
    message = Message(role="user", content=text)
    return Request(messages=(message,), sampling=Sampling(**sampling), seed=seed)


def ask(client: Client, *requests: Request) -> list[Outcome]:
    """Send all at once, past no journal."""

    async def run() -> list[Outcome]:
        try:
            answers = await asyncio.gather(*(client.generate([request]) for request in requests))
        finally:
            await client.close()
        return [outcome for answer in answers for outcome in answer]

    return asyncio.run(run())


def ask_journalled(
    client: OpenAICompatibleClient, requests: list[Request], path: Path
) -> list[Outcome]:
    async def run(journal: SqliteJournal) -> list[Outcome]:
        try:
            return await answer_requests(client, requests, journal)
        finally:
            await client.close()

    with SqliteJournal(path) as journal:
        return asyncio.run(run(journal))


def expect(text: str, seed: int = 1) -> Response:
    usage = Usage(prompt_tokens=7, completion_tokens=3)
    return Response(text=expected_text(text, seed), finish_reason="stop", usage=usage)


def choice(**fields: Any) -> str:
    return json.dumps({"choices": [{"finish_reason": "stop", **fields}]})


def error_body(message: str, code: str | None = None) -> str:
    return json.dumps({"error": {"message": message, "code": code}})
