"""tutelage as a run asks: probed, the loop in a thread of its own, the journal in a file."""

import asyncio

from chain import IN_FLIGHT, MAX_TOKENS, TEMPERATURE, read_chain, take_cost

from flows.request_loop import RequestLoop
from generators.clients import Request, Sampling, answer_requests, draw_seed
from generators.endpoint_settings import EndpointSettings
from generators.journal import SqliteJournal
from generators.openai_compatible import OpenAICompatibleClient
from generators.records import Message


def main() -> None:
    chain = read_chain()
    answers: list[str] = []
    settings = EndpointSettings(base_url=chain.url, model=chain.model, concurrency=IN_FLIGHT)
    client = OpenAICompatibleClient(settings, model_id=chain.model)
    slots = asyncio.Semaphore(IN_FLIGHT)
    sampling = Sampling(temperature=TEMPERATURE, max_tokens=MAX_TOKENS)
    loop = RequestLoop()
    loop.run(client.probe())
    with SqliteJournal("journal.sqlite", run="chain") as journal:
        with take_cost("tutelage", answers, chain.prompts):
            requests = [
                Request(
                    messages=(Message(role="user", content=prompt),),
                    sampling=sampling,
                    seed=draw_seed(0, "answer", prompt),
                )
                for prompt in chain.prompts
            ]
            outcomes = loop.run(answer_requests(client, requests, journal, slots=slots))
            answers += [outcome.text for outcome in outcomes if outcome.kind == "response"]
        assert journal.stats().rows == len(chain.prompts)
    loop.close([client])


if __name__ == "__main__":
    main()
