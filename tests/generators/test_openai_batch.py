"""The Batch API against a loopback server that behaves as its documentation says."""

import json
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

from generators.clients import (
    Divisible,
    Failure,
    Outcome,
    Request,
    Response,
    Sampling,
    request_key,
)
from generators.endpoint_settings import BatchSettings, EndpointSettings
from generators.openai_batch import BatchClient
from generators.records import Usage
from tests.generators.asking import (
    ask,
    ask_journalled,
    chat,
    choice,
    error_body,
    expect,
    make_client,
)
from tests.generators.batch_server import BatchServer
from tests.generators.loopback import Call, Fault, LoopbackServer

pytestmark = pytest.mark.usefixtures("short_waits")

SCHEMA = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
CHATS = [chat(f"q{i}") for i in range(7)]
EXPECTED = [expect(f"q{i}") for i in range(7)]


def make_batch_client(
    url: str, batch: Mapping[str, Any] = MappingProxyType({}), **settings: Any
) -> BatchClient:
    settings = {"base_url": url, "model": "tiny", "deadline_s": 20, **settings}
    bounds = BatchSettings(**{"poll_s": 0.01, **batch})
    return BatchClient(EndpointSettings(**settings), bounds, model_id="tiny@1")


def ask_at(server: LoopbackServer, requests: list[Request], folder: Path) -> list[Outcome]:
    """Ask as a new process would: by a client of its own, through the journal in the folder."""
    return ask_journalled(make_batch_client(server.url), requests, folder / "j.sqlite")


def find_failures(outcomes: list[Outcome]) -> dict[int, tuple[str, str, bool]]:
    return {
        i: (o.reason, o.message, o.permanent)
        for i, o in enumerate(outcomes)
        if isinstance(o, Failure)
    }


def test_requests_go_in_one_file_and_answers_come_back_in_order(tmp_path: Path) -> None:
    with BatchServer() as server:
        assert ask_at(server, CHATS, tmp_path) == EXPECTED
        live = ask(make_client(server.url), *CHATS)

    assert live == EXPECTED
    (job,) = server.jobs
    assert [line["custom_id"] for line in job.lines] == [request_key("tiny@1", r) for r in CHATS]
    assert {(line["method"], line["url"]) for line in job.lines} == {
        ("POST", "/v1/chat/completions")
    }
    asked_live = [call.body for call in server.calls[7:]]
    assert [line["body"] for line in job.lines] == asked_live
    assert [told["custom_id"] for told in job.output] != [line["custom_id"] for line in job.lines]
    assert job.made["endpoint"] == "/v1/chat/completions"
    assert job.made["completion_window"] == "24h"
    assert job.made["metadata"]["made_by"] == "tutelage"


def test_live_and_batch_share_their_answers(tmp_path: Path) -> None:
    with BatchServer() as server:
        live = make_client(server.url)
        ask_journalled(live, CHATS[:3], tmp_path / "j.sqlite")
        assert ask_at(server, CHATS, tmp_path) == EXPECTED
        assert ask_journalled(live, CHATS, tmp_path / "j.sqlite") == EXPECTED

    assert [call.asked for call in server.calls] == [f"q{i}" for i in range(7)]
    assert len(server.jobs[0].lines) == 4


@pytest.mark.parametrize(
    ("batch", "settings", "units"),
    [
        pytest.param({}, {}, [[0, 1, 3, 5], [2, 4]], id="one for each path"),
        pytest.param({"max_requests": 3}, {}, [[0, 1, 3], [2, 4], [5]], id="by lines"),
        pytest.param({"max_mb": 0.0006}, {}, [[0, 1], [2, 4], [3, 5]], id="by bytes"),
        pytest.param({"max_mb": 1e-6}, {}, [[i] for i in range(6)], id="no line fits"),
        pytest.param(
            {"max_requests": 2},
            {"samples_per_request": 2},
            [[0, 1, 3], [2, 4], [5]],
            id="draws in one line",
        ),
    ],
)
def test_units_fit_into_a_batch(
    batch: dict[str, Any], settings: dict[str, Any], units: list[list[int]]
) -> None:
    raw = [Request(text="2 + 2 =", sampling=Sampling(), seed=i) for i in range(2)]
    requests = [chat("a", 1), chat("a", 2), raw[0], chat("b"), raw[1], chat("c")]
    planned = make_batch_client("http://127.0.0.1:9/v1", batch, **settings).plan(requests)
    assert planned == units
    assert all(isinstance(unit, Divisible) for unit in planned)


def test_many_batches_of_both_paths_are_under_way_at_once(tmp_path: Path) -> None:
    raw = [Request(text=f"t{i}", sampling=Sampling(), seed=i) for i in range(5)]
    requests = [r for pair in zip(CHATS, raw, strict=False) for r in pair]
    with BatchServer(step_s=0.2) as server:
        client = make_batch_client(server.url, {"max_requests": 2}, concurrency=6)
        began = time.monotonic()
        outcomes = ask_journalled(client, requests, tmp_path / "j.sqlite")
        took_s = time.monotonic() - began

    assert [o.text for o in outcomes if isinstance(o, Response)] == [
        text for i in range(5) for text in (f"q{i} -> 1", f"t{i} -> {i}")
    ]
    assert sorted(len(job.lines) for job in server.jobs) == [1, 1, 2, 2, 2, 2]
    assert took_s < 2 * 3 * 0.2 + 2


def test_draws_of_one_prompt_share_a_line(tmp_path: Path) -> None:
    requests = [chat("a", seed) for seed in range(3)] + [chat("b", 9)]
    with BatchServer() as server:
        client = make_batch_client(server.url, samples_per_request=3)
        outcomes = ask_journalled(client, requests, tmp_path / "j.sqlite")

    texts = [o.text for o in outcomes if isinstance(o, Response)]
    assert texts == ["a -> 0", "a -> 0+1", "a -> 0+2", "b -> 9"]
    used = sum((outcome.usage for outcome in outcomes), Usage())
    assert used == Usage(prompt_tokens=14, completion_tokens=12)
    assert [line["body"].get("n") for line in server.jobs[0].lines] == [3, None]


def test_failed_lines_cost_their_rows_alone(tmp_path: Path) -> None:
    faults = {
        "q1": Fault(400, error_body("cannot take q1")),
        "q2": Fault(400, error_body("no", "content_filter")),
        "q3": Fault(500, error_body("oops")),
        "q4": Fault(429, error_body("over", "insufficient_quota")),
        "q5": Fault(body="{}"),
    }
    with BatchServer(lambda call: faults.get(call.asked)) as server:
        outcomes = ask_at(server, CHATS, tmp_path)
        quota = "HTTP 429: over; the account has no credit left; top it up and run again"
        assert find_failures(outcomes) == {
            1: ("http_400", "HTTP 400: cannot take q1", True),
            2: ("content_filter", "HTTP 400: no", True),
            3: ("http_500", "HTTP 500: oops", False),
            4: ("endpoint", f"{server.url}: {quota}", False),
            5: ("empty_choices", "the answer has no choices", False),
        }
        assert [outcomes[0], outcomes[6]] == [EXPECTED[0], EXPECTED[6]]

        faults.clear()
        again = ask_at(server, CHATS, tmp_path)
    assert find_failures(again).keys() == {1, 2}
    asked = [[line["body"]["messages"][0]["content"] for line in job.lines] for job in server.jobs]
    assert asked == [[f"q{i}" for i in range(7)], ["q3", "q5"], ["q3", "q4", "q5"]]


@pytest.mark.parametrize(
    ("fate", "reason", "message", "sizes"),
    [
        pytest.param(
            "expired",
            "batch_expired",
            "This request could not be executed before the completion window expired.",
            [7, 2, 2],
            id="expired",
        ),
        pytest.param(
            "cancelled", "batch_cancelled", "This request was cancelled.", [7, 2], id="cancelled"
        ),
        pytest.param(
            "lost",
            "batch_no_answer",
            "the batch batch_1 ended without this request: completed",
            [7, 2, 2],
            id="in no file",
        ),
    ],
)
def test_lines_that_were_not_answered_are_asked_by_the_next_run(
    tmp_path: Path, fate: str, reason: str, message: str, sizes: list[int]
) -> None:
    unlucky = {"q2", "q5"}
    with BatchServer(fate=lambda call: fate if call.asked in unlucky else "") as server:
        outcomes = ask_at(server, CHATS, tmp_path)
        assert find_failures(outcomes) == dict.fromkeys((2, 5), (reason, message, False))
        unlucky.clear()
        assert ask_at(server, CHATS, tmp_path) == EXPECTED

    assert [len(job.lines) for job in server.jobs] == sizes
    assert sorted(call.asked for call in server.calls) == [f"q{i}" for i in range(7)]


def test_lines_that_failed_for_now_go_into_further_batches(tmp_path: Path) -> None:
    """As long as a batch brings anything, and `max_attempts` allows."""
    tries: Counter[str] = Counter()

    def fate(call: Call) -> str:
        tries[call.asked] += 1
        return "expired" if tries[call.asked] <= int(call.asked[1]) else ""

    with BatchServer(fate=fate) as server:
        outcomes = ask_at(server, CHATS, tmp_path)
        assert [len(job.lines) for job in server.jobs] == [7, 6, 5, 4, 3, 2]
        assert outcomes[:6] == EXPECTED[:6]
        assert {i: f[0] for i, f in find_failures(outcomes).items()} == {6: "batch_expired"}
        (tmp_path / "j.sqlite").unlink()
        assert ask_at(server, CHATS, tmp_path) == outcomes
    assert len(server.jobs) == 6


def test_batch_that_brought_nothing_is_not_taken_for_the_answer(tmp_path: Path) -> None:
    """Else the same batch would be found for 30 days, with the same failures."""
    fates = ["expired"]
    with BatchServer(fate=lambda _: fates[0]) as server:
        assert {f[0] for f in find_failures(ask_at(server, CHATS, tmp_path)).values()} == {
            "batch_expired"
        }
        fates[0] = ""
        assert ask_at(server, CHATS, tmp_path) == EXPECTED
    assert [job.ends for job in server.jobs] == ["expired", "completed"]


def test_lost_journal_does_not_pay_again(tmp_path: Path) -> None:
    with BatchServer() as server:
        ask_at(server, CHATS, tmp_path)
        (tmp_path / "j.sqlite").unlink()
        assert ask_at(server, CHATS, tmp_path) == EXPECTED
    assert (len(server.jobs), len(server.calls)) == (1, 7)


def ask_for_json(text: str) -> Request:
    return chat(text).model_copy(update={"json_schema": SCHEMA})


def say_numbers(call: Call) -> dict[str, Any]:
    """Says no JSON at first, and none the second time either when asked about q2."""
    sent_back = len(call.body["messages"]) > 1
    first = call.body["messages"][0]["content"]
    good = first == "q0" or (sent_back and first == "q1")
    said = json.loads(choice(message={"content": '{"n": 4}' if good else "four"}))
    return said | {"usage": {"prompt_tokens": 10, "completion_tokens": 4}}


def test_broken_answers_are_sent_back_in_a_second_batch(tmp_path: Path) -> None:
    requests = [ask_for_json(f"q{i}") for i in range(3)]
    with BatchServer(rule=say_numbers) as server:
        outcomes = ask_at(server, requests, tmp_path)
        once, twice = (Usage(prompt_tokens=10 * i, completion_tokens=4 * i) for i in (1, 2))
        assert outcomes == [
            Response(text='{"n": 4}', finish_reason="stop", usage=once),
            Response(text='{"n": 4}', finish_reason="stop", usage=twice),
            Failure(
                reason="schema",
                message="the answer broke its schema twice: is not JSON: Expecting value: line 1 "
                "column 1 (char 0)",
                permanent=False,
                usage=twice,
            ),
        ]
        assert [len(job.lines) for job in server.jobs] == [3, 2]
        plea = server.jobs[1].lines[0]["body"]["messages"]
        assert [turn["role"] for turn in plea] == ["user", "assistant", "user"]

        ask_at(server, requests, tmp_path)
        assert [len(job.lines) for job in server.jobs] == [3, 2, 1, 1]
        # What was sent back to no avail is sent back anew; the answer that it is about is known.
        ask_at(server, requests, tmp_path)
        assert [len(job.lines) for job in server.jobs] == [3, 2, 1, 1, 1]
