"""What fails in a later batch costs its rows alone; what lines cost in tokens and in memory."""

import tracemalloc
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from generators import openai_batch
from generators.clients import Failure, Response
from generators.errors import EndpointError
from generators.records import Usage
from tests.generators.asking import chat, choice, error_body, expect
from tests.generators.batch_server import BatchServer, Visit
from tests.generators.loopback import Call, Fault
from tests.generators.test_openai_batch import (
    CHATS,
    EXPECTED,
    ask_at,
    ask_for_json,
    find_failures,
    say_numbers,
)
from tests.generators.test_openai_top_logprobs import tell, weigh

pytestmark = pytest.mark.usefixtures("short_waits")

FORBIDDEN = Fault(403, error_body("not you"))
REFUSAL = "HTTP 403: not you; the key may not use this model; check its permissions"


def test_refusal_in_a_further_batch_costs_its_row_alone(tmp_path: Path) -> None:
    """The last line fails for now in the first batch, and is refused in the second."""
    faults = [Fault(500, error_body("oops")), FORBIDDEN]

    def fault(call: Call) -> Fault | None:
        return faults.pop(0) if call.asked == "q6" and faults else None

    with BatchServer(fault) as server:
        outcomes = ask_at(server, CHATS, tmp_path)
        assert outcomes[:6] == EXPECTED[:6]
        assert find_failures(outcomes) == {6: ("endpoint", f"{server.url}: {REFUSAL}", False)}
        assert [len(job.lines) for job in server.jobs] == [7, 1]
        assert ask_at(server, CHATS, tmp_path) == EXPECTED
    assert [len(job.lines) for job in server.jobs] == [7, 1, 1]


def test_unit_of_which_nothing_lasts_ends_the_run_at_its_first_batch(tmp_path: Path) -> None:
    def fault(call: Call) -> Fault:
        return Fault(500, error_body("oops")) if call.asked == "q0" else FORBIDDEN

    with BatchServer(fault) as server:
        with pytest.raises(EndpointError) as raised:
            ask_at(server, CHATS, tmp_path)
        assert str(raised.value) == f"{server.url}: {REFUSAL}"
    assert len(server.jobs) == 1


def test_useless_answer_in_a_further_batch_is_paid_once(tmp_path: Path) -> None:
    tries: Counter[str] = Counter()

    def fault(call: Call) -> Fault | None:
        tries[call.asked] += 1
        if call.asked != "q1":
            return None
        useless = Fault(body=choice(message={"content": "joy"}))
        return Fault(500, "{}") if tries["q1"] == 1 else useless

    requests = [weigh(f"q{i}") for i in range(3)]
    with BatchServer(fault, rule=tell) as server:
        outcomes = ask_at(server, requests, tmp_path)
        assert {i: f[0] for i, f in find_failures(outcomes).items()} == {1: "endpoint_answer"}
        (tmp_path / "j.sqlite").unlink()
        assert ask_at(server, requests, tmp_path) == outcomes
    assert [len(job.lines) for job in server.jobs] == [3, 1]


def test_refusal_of_all_that_is_sent_back_costs_those_rows_alone(tmp_path: Path) -> None:
    requests = [ask_for_json(f"q{i}") for i in range(3)]

    def fault(call: Call) -> Fault | None:
        return FORBIDDEN if len(call.body["messages"]) > 1 else None

    with BatchServer(fault, rule=say_numbers) as server:
        outcomes = ask_at(server, requests, tmp_path)
    once = Usage(prompt_tokens=10, completion_tokens=4)
    message = f"{server.url}: {REFUSAL}"
    refused = Failure(reason="endpoint", message=message, permanent=False, usage=once)
    answered = Response(text='{"n": 4}', finish_reason="stop", usage=once)
    assert outcomes == [answered, refused, refused]
    assert [len(job.lines) for job in server.jobs] == [3, 2]


def test_blamed_line_that_was_sent_back_tells_what_its_answer_cost(tmp_path: Path) -> None:
    def forbid(line: dict[str, Any]) -> str:
        turns = line["body"]["messages"]
        return "too long" if len(turns) > 1 and turns[0]["content"] == "q2" else ""

    with BatchServer(rule=say_numbers, forbid=forbid) as server:
        outcomes = ask_at(server, [ask_for_json(f"q{i}") for i in range(3)], tmp_path)
    assert outcomes[2] == Failure(
        reason="batch_refused",
        message="line 2: too long",
        permanent=True,
        usage=Usage(prompt_tokens=10, completion_tokens=4),
    )
    assert find_failures(outcomes).keys() == {2}
    assert [len(job.lines) for job in server.jobs] == [3, 2, 1]


def test_file_is_not_kept_in_memory_while_its_batch_is_under_way(tmp_path: Path) -> None:
    held: list[int] = []

    def weigh_memory(visit: Visit) -> None:
        if visit.kind == "GET batch":
            ours = tracemalloc.Filter(True, openai_batch.__file__)
            traces = tracemalloc.take_snapshot().filter_traces([ours]).traces
            held.append(sum(trace.size for trace in traces))

    text = "x" * 1_000_000
    tracemalloc.start()
    try:
        with BatchServer(disturb=weigh_memory) as server:
            assert ask_at(server, [chat(text)], tmp_path) == [expect(text)]
    finally:
        tracemalloc.stop()
    assert held
    assert max(held) < len(text) / 10
