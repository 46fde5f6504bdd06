import asyncio
from pathlib import Path
from typing import Any

import pytest

from generators.clients import Failure, Outcome, Request, Response, Sampling, answer_requests
from generators.errors import BudgetReached, TutelageError
from generators.journal import SqliteJournal
from generators.journal_place import make_journal
from generators.records import Message, Usage
from generators.spending import (
    FREE,
    Budget,
    Meter,
    MeteredClient,
    Price,
    bound_usage,
    read_spending,
)
from tests.generators.asking import chat, make_client
from tests.generators.journals import alter, store
from tests.generators.loopback import Call, LoopbackServer

PRICE = Price(input_usd_per_million=1, output_usd_per_million=10)
REQUESTS = [chat("Tell me more.", seed=seed, max_tokens=20) for seed in range(60)]
WORST = bound_usage(REQUESTS[:1])


def talk_on(call: Call) -> dict[str, Any]:
    """The longest answer that was allowed, to the longest prompt that was reckoned with."""
    usage = {"prompt_tokens": WORST.prompt_tokens, "completion_tokens": call.body["max_tokens"]}
    message = {"content": f"more {call.body['seed']}"}
    return {"choices": [{"message": message, "finish_reason": "length"}], "usage": usage}


def ask_on_budget(url: str, path: Path, budget: Budget) -> tuple[Meter, Exception | None]:
    """Ask everything, 16 at once; the meter afterwards, and what ended the asking."""

    async def run(journal: SqliteJournal) -> tuple[Meter, Exception | None]:
        inner = make_client(url, concurrency=16)
        meter = Meter(budget, {inner.id: PRICE}, read_spending(journal, "mine"))
        client = MeteredClient(inner, meter)
        try:
            await answer_requests(client, REQUESTS, journal)
        except BudgetReached as error:
            return meter, error
        finally:
            await client.close()
        return meter, None

    with SqliteJournal(path, run="mine") as journal:
        return asyncio.run(run(journal))


def read_spent(path: Path) -> dict[str, Usage]:
    with SqliteJournal(path) as journal:
        return read_spending(journal, "mine")


def test_worst_case_of_a_request_is_its_bytes_and_its_longest_answer() -> None:
    request = Request(text="é" * 30, sampling=Sampling(max_tokens=7), seed=1)
    assert bound_usage([request]) == Usage(prompt_tokens=24, completion_tokens=7)
    assert bound_usage([request] * 2) == Usage(prompt_tokens=48, completion_tokens=14)


def test_request_with_a_schema_may_be_sent_twice() -> None:
    message = Message(role="user", content="x")
    request = Request(messages=(message,), sampling=Sampling(max_tokens=50), seed=1)
    once = bound_usage([request])
    twice = bound_usage([request.model_copy(update={"json_schema": {"type": "object"}})])
    assert twice.completion_tokens == 100
    assert twice.prompt_tokens > 2 * once.prompt_tokens + 50


def test_spending_is_the_usage_of_the_runs_own_outcomes(place: str) -> None:
    text = '\0 {"usage":{"completion_tokens":70,"prompt_tokens":70}}'

    def respond(prompt: int, completion: int) -> Response:
        usage = Usage(prompt_tokens=prompt, completion_tokens=completion)
        return Response(text=text, finish_reason="stop", usage=usage)

    def record(run: str, model: str, outcomes: dict[str, Outcome]) -> None:
        store(place, outcomes, model, run)

    failure = Failure(reason="content_filter", message="no", permanent=True)
    record("other", "a", {"1": respond(100, 100)})
    record("mine", "a", {"1": respond(50, 50), "2": respond(1, 2), "3": respond(3, 4)})
    record("mine", "b", {"4": respond(5, 6)})
    record("mine", "c", {"5": failure})
    record("mine", "b", {"6": respond(7, 8)})
    alter(place, "UPDATE outcomes SET outcome = ? WHERE key = '6'", '{"usage":{')

    with make_journal(place) as journal:
        assert read_spending(journal, "mine") == {
            "a": Usage(prompt_tokens=4, completion_tokens=6),
            "b": Usage(prompt_tokens=5, completion_tokens=6),
            "c": Usage(),
        }
        assert read_spending(journal, "nobody") == {}


def test_price_is_by_the_million() -> None:
    assert PRICE.cost(Usage(prompt_tokens=500_000, completion_tokens=200_000)) == 2.5
    assert FREE.cost(Usage(prompt_tokens=500_000, completion_tokens=200_000)) == 0


@pytest.mark.parametrize("fits", [1, 7, 16, 40])
@pytest.mark.parametrize("setting", ["max_cost_usd", "max_tokens"])
def test_spent_never_exceeds_the_budget(tmp_path: Path, setting: str, fits: int) -> None:
    """Many at once, each reply as dear as it may be: exactly what fits is sent, and kept."""
    each = WORST.prompt_tokens + WORST.completion_tokens
    budget = Budget(max_tokens=fits * each + each - 1)
    if setting == "max_cost_usd":
        budget = Budget(max_cost_usd=fits * PRICE.cost(WORST) * 1.0001)
    path = tmp_path / "j.sqlite"
    with LoopbackServer(rule=talk_on, delay_s=0.005) as server:
        meter, ended = ask_on_budget(server.url, path, budget)
        assert len(server.calls) == fits
        assert isinstance(ended, TutelageError)
        assert meter.spent == read_spent(path)
        assert meter.count_tokens() == fits * each

        # Once more with the same limit: nothing is asked. With a greater one: only what is missing.
        _, again = ask_on_budget(server.url, path, budget)
        assert len(server.calls) == fits
        assert str(again) == str(ended)
        _, after = ask_on_budget(server.url, path, Budget(max_tokens=60 * each))
        assert after is None
    assert sorted(call.body["seed"] for call in server.calls) == list(range(60))


def test_requests_wait_for_those_under_way_before_they_give_up(tmp_path: Path) -> None:
    """Replies that cost a tenth of their worst case: nearly all fit, though few do at once."""
    each = WORST.prompt_tokens + WORST.completion_tokens
    with LoopbackServer(delay_s=0.002) as server:  # it says: 7 prompt and 3 completion tokens
        meter, ended = ask_on_budget(server.url, tmp_path / "j.sqlite", Budget(max_tokens=400))
    assert ended is not None
    assert meter.count_tokens() == 10 * len(server.calls)
    assert 400 - each < meter.count_tokens() <= 400


def test_end_says_what_was_spent_and_what_to_do(tmp_path: Path) -> None:
    price, worst = PRICE.cost(WORST), WORST.prompt_tokens + WORST.completion_tokens
    with LoopbackServer(rule=talk_on) as server:
        _, by_cost = ask_on_budget(server.url, tmp_path / "a", Budget(max_cost_usd=price / 2))
        _, by_tokens = ask_on_budget(server.url, tmp_path / "b", Budget(max_tokens=worst + 1))
    assert str(by_cost) == (
        f"the run has spent $0 of budget.max_cost_usd (${price / 2:g}), and the next request could "
        f"make it ${price:.6g}: raise budget.max_cost_usd and type the same command again; no "
        "answer is paid for twice"
    )
    assert str(by_tokens) == (
        f"the run has spent {worst} tokens of budget.max_tokens ({worst + 1}), and the next "
        f"request could make it {2 * worst}: raise budget.max_tokens and type the same command "
        "again; no answer is paid for twice"
    )


def test_answers_that_broke_their_schema_are_spent_too() -> None:
    request = chat("A list?", max_tokens=20).model_copy(update={"json_schema": {"type": "array"}})

    async def ask(url: str) -> tuple[Meter, Outcome]:
        inner = make_client(url)
        meter = Meter(Budget(max_tokens=10_000), {inner.id: PRICE}, {})
        client = MeteredClient(inner, meter)
        (outcome,) = await client.generate([request])
        await client.close()
        return meter, outcome

    with LoopbackServer(rule=talk_on) as server:
        meter, outcome = asyncio.run(ask(server.url))
    assert isinstance(outcome, Failure)
    assert outcome.reason == "schema"
    assert meter.count_tokens() == 2 * (WORST.prompt_tokens + 20)
