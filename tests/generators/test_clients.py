import asyncio
from collections.abc import Sequence

import pytest

from generators.clients import (
    Failure,
    Outcome,
    Request,
    Response,
    Sampling,
    answer_requests,
    draw_seed,
    request_key,
)
from generators.errors import EndpointError
from generators.records import Message, Usage


class DictJournal:
    """A journal in memory that remembers what it was told."""

    def __init__(self) -> None:
        self.rows: dict[str, Outcome] = {}

    async def find(self, keys: Sequence[str]) -> dict[str, Outcome]:
        return {key: self.rows[key] for key in keys if key in self.rows}

    async def record(self, outcomes: dict[str, Outcome], *, model: str) -> dict[str, Outcome]:
        first = {key: self.rows[key] for key in outcomes if key in self.rows}
        self.rows = outcomes | self.rows
        return first


class UnitsOfThree:
    """Answers three at a time, and marks each answer with the number of its unit."""

    id = "three"
    concurrency = 2

    def __init__(self, outcomes: dict[str, Failure | Exception] | None = None) -> None:
        self.units: list[list[str]] = []
        self._outcomes = outcomes or {}

    def plan(self, requests: Sequence[Request]) -> list[list[int]]:
        return [
            list(range(i, min(i + 3, len(requests)))) for i in reversed(range(0, len(requests), 3))
        ]

    async def generate(self, requests: Sequence[Request]) -> list[Outcome]:
        texts = [request.text or "" for request in requests]
        self.units.append(texts)
        await asyncio.sleep(0.001 * len(self.units))
        return [self._answer(text, len(self.units)) for text in texts]

    def _answer(self, text: str, unit: int) -> Outcome:
        outcome = self._outcomes.get(text)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome or respond(f"{text} answered")

    async def close(self) -> None:
        pass


def respond(text: str) -> Response:
    return Response(text=text, finish_reason="stop", usage=Usage())


def ask(text: str, seed: int = 0) -> Request:
    return Request(text=text, sampling=Sampling(), seed=seed)


def test_answers_keep_the_order_of_the_requests() -> None:
    client = UnitsOfThree()
    outcomes = asyncio.run(answer_requests(client, [ask(f"q{i}") for i in range(8)], DictJournal()))

    assert outcomes == [respond(f"q{i} answered") for i in range(8)]
    assert client.units[0] == ["q6", "q7"]


def test_partly_journalled_unit_is_redone_whole_and_stored_values_win() -> None:
    journal = DictJournal()
    requests = [ask(f"q{i}") for i in range(6)]
    stored = respond("stored")
    journal.rows[request_key("three", requests[1])] = stored
    client = UnitsOfThree()
    asyncio.run(answer_requests(client, requests[3:], journal))
    client.units.clear()

    outcomes = asyncio.run(answer_requests(client, requests, journal))

    assert client.units == [["q0", "q1", "q2"]]
    assert outcomes[:3] == [respond("q0 answered"), stored, respond("q2 answered")]
    assert journal.rows[request_key("three", requests[1])] == stored


def test_outcome_that_another_process_stored_first_wins() -> None:
    journal = DictJournal()
    request = ask("q")
    stored = respond("theirs")

    class Overtaken(UnitsOfThree):
        async def generate(self, requests: Sequence[Request]) -> list[Outcome]:
            journal.rows[request_key("three", request)] = stored
            return await super().generate(requests)

    assert asyncio.run(answer_requests(Overtaken(), [request], journal)) == [stored]


def test_calls_with_slots_in_common_hold_them_until_what_came_is_stored() -> None:
    under_way, most = 0, 0

    class Counting(UnitsOfThree):
        async def generate(self, requests: Sequence[Request]) -> list[Outcome]:
            nonlocal under_way, most
            under_way += 1
            most = max(most, under_way)
            return await super().generate(requests)

    class SlowJournal(DictJournal):
        async def record(self, outcomes: dict[str, Outcome], *, model: str) -> dict[str, Outcome]:
            nonlocal under_way
            await asyncio.sleep(0.005)
            under_way -= 1
            return await super().record(outcomes, model=model)

    async def ask_twice() -> None:
        client, journal, slots = Counting(), SlowJournal(), asyncio.Semaphore(2)
        shards = [[ask(f"{name}{i}") for i in range(12)] for name in "ab"]
        calls = (answer_requests(client, shard, journal, slots=slots) for shard in shards)
        await asyncio.gather(*calls)
        assert len(client.units) == 8

    asyncio.run(ask_twice())
    assert most == 2


def test_failures_that_may_pass_are_returned_but_asked_again() -> None:
    passing = Failure(reason="http_503", message="busy", permanent=False)
    lasting = Failure(reason="http_400", message="bad", permanent=True)
    journal = DictJournal()
    requests = [ask("good"), ask("busy"), ask("bad")]

    first = asyncio.run(
        answer_requests(UnitsOfThree({"busy": passing, "bad": lasting}), requests, journal)
    )
    second = asyncio.run(answer_requests(UnitsOfThree(), requests, journal))

    assert first == [respond("good answered"), passing, lasting]
    assert second == [respond("good answered"), respond("busy answered"), lasting]


def test_equal_requests_are_asked_once_and_all_counted() -> None:
    client, settled = UnitsOfThree(), []
    requests = [ask("q"), ask("r"), ask("q"), ask("q")]
    outcomes = asyncio.run(answer_requests(client, requests, DictJournal(), settled.append))

    assert client.units == [["q", "r"]]
    assert [o.text for o in outcomes if o.kind == "response"] == [
        f"{text} answered" for text in "qrqq"
    ]
    assert sum(settled) == 4


def test_progress_counts_what_the_journal_held() -> None:
    journal, settled = DictJournal(), []
    requests = [ask(f"q{i}") for i in range(5)]
    asyncio.run(answer_requests(UnitsOfThree(), requests[:2], journal))
    asyncio.run(answer_requests(UnitsOfThree(), requests, journal, settled.append))

    assert settled[0] == 2
    assert sum(settled) == 5


def test_error_is_raised_as_it_is_and_what_was_answered_stays() -> None:
    journal = DictJournal()
    client = UnitsOfThree({"q0": EndpointError("http://x: HTTP 401")})
    client.concurrency = 1

    with pytest.raises(EndpointError) as caught:
        asyncio.run(answer_requests(client, [ask(f"q{i}") for i in range(6)], journal))
    assert str(caught.value) == "http://x: HTTP 401"

    assert {o.text for o in journal.rows.values() if o.kind == "response"} == {
        "q3 answered",
        "q4 answered",
        "q5 answered",
    }


def test_no_requests_need_no_model() -> None:
    client = UnitsOfThree()
    assert asyncio.run(answer_requests(client, [], DictJournal())) == []
    assert client.units == []


def test_draw_seed_is_stable_and_fits_63_bits() -> None:
    seeds = {draw_seed("cycle", 1, "evolve", i) for i in range(1000)}

    assert draw_seed("cycle-1", 2, "p", "deepen", 0) == 3347223711093177068
    assert len(seeds) == 1000
    assert max(seeds) < 2**63
    assert draw_seed(1, 23) != draw_seed(12, 3)


@pytest.mark.parametrize(
    "other",
    [
        pytest.param({"text": "other"}, id="text"),
        pytest.param({"seed": 2}, id="seed"),
        pytest.param({"sampling": Sampling(temperature=0)}, id="sampling"),
        pytest.param({"messages": (Message(role="user", content="q"),)}, id="messages"),
        pytest.param({"tools": ({"type": "function"},)}, id="tools"),
    ],
)
def test_request_key_changes_with_everything_that_changes_the_answer(other: dict) -> None:
    request = ask("q", seed=1)

    assert request_key("m", request) == request_key("m", request.model_copy())
    assert request_key("m", request) != request_key("m", request.model_copy(update=other))
    assert request_key("m", request) != request_key("n", request)
    assert len(request_key("m", request)) == 64
