import random
import time
from threading import Thread

import pytest

from generators.clients import Failure
from generators.pacing import LONGEST_PAUSE_S, Breaker, Limits, Ticket
from tests.generators.asking import ask, chat, error_body, expect, make_client
from tests.generators.loopback import Call, Fault, LoopbackServer

pytestmark = pytest.mark.usefixtures("short_waits")


class Clock:
    """A clock that the test sets."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def send_when_allowed(limits: Limits, clock: Clock, tokens: int) -> float:
    """When a request goes that waits for nobody else."""
    ticket = Ticket(tokens)
    while obstacle := limits.take(ticket):
        clock.now += obstacle.sleep_s
    return clock.now


@pytest.mark.parametrize("limit", [1, 7, 60, 500])
def test_no_window_of_60_seconds_sees_more_requests_than_allowed(limit: int) -> None:
    clock = Clock()
    limits = Limits(limit, None, clock)
    sent = [send_when_allowed(limits, clock, 0) for _ in range(3 * limit)]

    for start in sent:
        assert len([at for at in sent if start <= at < start + 60]) <= limit
    assert sent[-1] - sent[0] < 60 * 3 * 1.1


def test_start_is_no_burst_of_a_whole_minute() -> None:
    clock = Clock()
    limits = Limits(60, None, clock)
    sent = [send_when_allowed(limits, clock, 0) - 1000 for _ in range(60)]

    assert [at for at in sent if at < 0.5] == [0.0] * 6
    assert sent[30] == pytest.approx(25, abs=3)


@pytest.mark.parametrize("seed", range(3))
def test_no_window_of_60_seconds_sees_more_tokens_than_allowed(seed: int) -> None:
    clock, draw = Clock(), random.Random(seed)
    limits = Limits(None, 6000, clock)
    sent = [(n, send_when_allowed(limits, clock, n)) for n in draw.choices(range(1, 2500), k=60)]

    for _, start in sent:
        assert sum(n for n, at in sent if start <= at < start + 60) <= 6000
    assert sum(n for n, _ in sent) / (sent[-1][1] - 1000) > 0.75 * 100


def test_tokens_that_were_not_used_make_room_at_once() -> None:
    clock = Clock()
    limits = Limits(None, 1000, clock)
    first, second = Ticket(1000), Ticket(600)
    assert limits.take(first) is None
    obstacle = limits.take(second)
    assert obstacle is not None
    assert obstacle.reason == "rate_limited_here"
    assert obstacle.wait_s < 1

    limits.settle(first, 50)
    assert limits.take(second) is None


def test_request_larger_than_the_limit_goes_alone() -> None:
    clock = Clock()
    limits = Limits(None, 1000, clock)
    assert send_when_allowed(limits, clock, 10) == 1000
    assert send_when_allowed(limits, clock, 5000) == pytest.approx(1060, abs=0.2)
    assert send_when_allowed(limits, clock, 10) > 1060 + 60


def test_requests_go_in_the_order_in_which_they_queued_and_count_those_ahead() -> None:
    clock = Clock()
    limits = Limits(1, None, clock)
    assert send_when_allowed(limits, clock, 0) == 1000
    first, second, third = Ticket(0), Ticket(0), Ticket(0)
    waits = [limits.take(ticket) for ticket in (first, second, third)]
    assert [wait and round(wait.wait_s) for wait in waits] == [60, 115, 175]

    limits.leave(second)
    clock.now += 60
    assert limits.take(third) is not None
    assert limits.take(first) is None
    clock.now += 60
    assert limits.take(third) is None


def fail(breaker: Breaker, count: int) -> None:
    for _ in range(count):
        breaker.note_failure(Ticket(0))


def test_circuit_opens_after_failures_in_a_row_only() -> None:
    breaker = Breaker(3, 30, Clock())
    fail(breaker, 2)
    breaker.note_life()
    fail(breaker, 2)
    assert breaker.enter(Ticket(0)) is None
    fail(breaker, 1)

    obstacle = breaker.enter(Ticket(0))
    assert obstacle is not None
    assert (obstacle.reason, obstacle.wait_s) == ("circuit_open", 30)
    assert obstacle.message == (
        "the server failed 3 times in a row; the next try is in 30 s, past deadline_s; "
        "is the server well?"
    )


def test_one_probe_at_a_time_and_pauses_double_to_their_bound() -> None:
    clock = Clock()
    breaker = Breaker(1, 30, clock)
    fail(breaker, 5)  # those after the first were under way when it opened
    for pause_s in (30, 60, 120, 240, LONGEST_PAUSE_S, LONGEST_PAUSE_S):
        probe, other = Ticket(0), Ticket(0)
        clock.now += pause_s - 0.5
        assert breaker.enter(probe) is not None
        clock.now += 0.5
        assert breaker.enter(probe) is None
        assert breaker.enter(probe) is None
        assert breaker.enter(other) is not None
        breaker.note_failure(other)
        breaker.note_failure(probe)

    clock.now += LONGEST_PAUSE_S
    assert breaker.enter(other) is None
    breaker.note_life()
    assert breaker.enter(probe) is None


def test_probe_that_is_given_up_leaves_its_place() -> None:
    clock = Clock()
    breaker = Breaker(1, 30, clock)
    fail(breaker, 1)
    clock.now += 30
    first, second = Ticket(0), Ticket(0)
    assert breaker.enter(first) is None
    breaker.leave(second)
    assert breaker.enter(second) is not None
    breaker.leave(first)
    assert breaker.enter(second) is None


def test_limit_holds_for_requests_of_all_event_loops() -> None:
    with LoopbackServer() as server:
        ask(make_client(server.url), chat("loads the HTTP library"))
        server.calls.clear()
        client = make_client(server.url, requests_per_minute=120)
        threads = [
            Thread(target=ask, args=(client, *(chat(f"{name}{i}") for i in range(7))))
            for name in "ab"
        ]
        begun = time.monotonic()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)

    at = sorted(call.at - begun for call in server.calls)
    assert len(at) == 14
    assert at[10] - at[0] < 0.4  # five seconds' share, and one
    # Then one each half second: none comes sooner, however late the first one was.
    assert all(when >= least for when, least in zip(at[11:], (0.5, 1.0, 1.5), strict=True))
    assert at[13] - at[0] < 4


@pytest.mark.parametrize("setting", ["requests_per_minute", "tokens_per_minute"])
def test_wait_for_a_limit_past_the_deadline_ends_at_once(setting: str) -> None:
    with LoopbackServer(lambda _: Fault(400, error_body("no"))) as server:
        client = make_client(server.url, deadline_s=20, **{setting: 1})
        ask(client, chat("spends all"))
        start = time.monotonic()
        (outcome,) = ask(client, chat("q"))

    assert time.monotonic() - start < 1
    assert len(server.calls) == 1
    assert isinstance(outcome, Failure)
    assert (outcome.reason, outcome.permanent) == ("rate_limited_here", False)
    assert outcome.message == (
        f"{setting} leaves no room before deadline_s is over; raise one of them"
    )


def test_reserved_tokens_that_were_not_used_let_the_next_request_go() -> None:
    with LoopbackServer(delay_s=0.1) as server:
        client = make_client(server.url, deadline_s=8, tokens_per_minute=600)
        outcomes = ask(client, *(chat(f"q{i}", max_tokens=500) for i in range(4)))

    assert outcomes == [expect(f"q{i}") for i in range(4)]
    assert server.most_at_once == 1


def test_dead_server_is_left_alone_and_found_again_by_one_probe() -> None:
    def fault(call: Call) -> Fault | None:
        return Fault(503) if call.number < 3 else None

    with LoopbackServer(fault, delay_s=0.2) as server:
        client = make_client(server.url, breaker_failures=2, breaker_pause_s=0.4, max_attempts=2)
        (outcome,) = ask(client, chat("opens the circuit"))
        assert isinstance(outcome, Failure)
        assert ask(client, *(chat(f"q{i}") for i in range(4))) == [
            expect(f"q{i}") for i in range(4)
        ]

    at = [call.at for call in server.calls]
    assert len(at) == 7
    assert at[2] - at[1] >= 0.2 + 0.4
    assert at[3] - at[2] >= 0.2 + 0.8  # the first probe failed, so the pause doubled
    assert at[4] - at[3] >= 0.2  # the others waited for the second


def test_open_circuit_past_the_deadline_is_a_failure_at_once() -> None:
    with LoopbackServer(lambda _: Fault(reset=True)) as server:
        client = make_client(server.url, breaker_failures=2)
        start = time.monotonic()
        outcomes = ask(client, chat("a")) + ask(client, chat("b"))

    assert [o.reason for o in outcomes if isinstance(o, Failure)] == ["circuit_open"] * 2
    assert not any(o.permanent for o in outcomes if isinstance(o, Failure))
    assert time.monotonic() - start < 5
    assert len(server.calls) == 2


def test_refusals_and_retry_after_are_signs_of_life() -> None:
    def fault(call: Call) -> Fault:
        faults = [Fault(500), Fault(400, error_body("no")), Fault(500)]
        return [*faults, Fault(429, headers={"Retry-After": "0"})][call.number % 4]

    with LoopbackServer(fault) as server:
        client = make_client(server.url, breaker_failures=2, max_attempts=1)
        reasons = [ask(client, chat(f"q{i}"))[0] for i in range(8)]

    assert [r.reason for r in reasons if isinstance(r, Failure)] == [
        *("http_500", "http_400", "http_500", "http_429")
    ] * 2


def test_probe_does_not_stand_in_the_queue_behind_those_that_wait_for_it() -> None:
    client = make_client(
        "http://127.0.0.1:9/v1", requests_per_minute=1, breaker_failures=1, breaker_pause_s=0.05
    )
    sent, queued, probe = Ticket(0), Ticket(0), Ticket(0)
    assert client._find_obstacle(sent) is None
    held = [client._find_obstacle(queued)]
    client._breaker.note_failure(sent)
    held.append(client._find_obstacle(queued))
    time.sleep(0.06)
    held.append(client._find_obstacle(probe))

    assert [obstacle and obstacle.reason for obstacle in held] == [
        *("rate_limited_here", "circuit_open", "rate_limited_here"),
    ]
    assert held[2] is not None
    assert held[2].wait_s <= 60  # behind the other it would be 115
