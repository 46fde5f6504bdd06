"""What goes wrong around a batch: the way to the server, the server, and this process."""

import asyncio
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from generators.errors import EndpointError
from generators.journal import SqliteJournal
from generators.openai_batch import BatchClient
from tests.generators.asking import (
    ASK,
    KEY,
    ask_journalled,
    error_body,
)
from tests.generators.batch_server import BatchServer, Job, Visit
from tests.generators.loopback import Call, Fault, LoopbackServer, expected_text
from tests.generators.test_openai_batch import (
    CHATS,
    EXPECTED,
    ask_at,
    find_failures,
    make_batch_client,
)

pytestmark = pytest.mark.usefixtures("short_waits")

STORMS: list[Any] = [
    pytest.param("GET batch", Fault(500, error_body("oops")), id="polls fail"),
    pytest.param("GET batch", Fault(429, headers={"Retry-After": "0.1"}), id="polls are too many"),
    pytest.param("GET batch", Fault(body="<html>Bad gateway</html>"), id="polls bring a web page"),
    pytest.param("GET batch", Fault(reset=True), id="polls are cut off"),
    pytest.param("GET batches", Fault(503), id="the list fails"),
    pytest.param("GET content", Fault(500), id="downloads fail"),
    pytest.param("GET content", Fault(body="<html>Wait</html>"), id="downloads bring a web page"),
    pytest.param("GET content", Fault(reset=True), id="downloads are cut off"),
    pytest.param("POST files", Fault(503), id="uploads fail"),
    pytest.param("POST files", Fault(reset=True), id="uploads are cut off"),
    pytest.param("POST batches", Fault(500), id="making fails"),
    pytest.param("POST batches", Fault(429, error_body("slow down")), id="making too many"),
    pytest.param("POST batches", Fault(reset=True), id="made, but never told"),
]


@pytest.mark.parametrize(("kind", "fault"), STORMS)
def test_failures_on_the_way_lose_nothing_and_double_nothing(
    tmp_path: Path, kind: str, fault: Fault
) -> None:
    def disturb(visit: Visit) -> Fault | None:
        return fault if visit.kind == kind and visit.nth < 2 else None

    with BatchServer(disturb=disturb) as server:
        assert ask_at(server, CHATS, tmp_path) == EXPECTED
    # A batch that was made without our being told is found; then there is no third attempt.
    assert server.count(kind) >= (1 if kind == "POST batches" else 3)
    assert (len(server.jobs), len(server.calls)) == (1, 7)


def test_dead_server_ends_the_run_and_the_batch_is_found_later(tmp_path: Path) -> None:
    down = [True]

    def disturb(visit: Visit) -> Fault | None:
        return Fault(502) if down[0] and visit.kind == "GET batch" else None

    with BatchServer(disturb=disturb) as server:
        # Long enough for a busy machine: a batch whose making is given up is found in the list.
        client = make_batch_client(server.url, deadline_s=1.0)
        with pytest.raises(EndpointError) as caught:
            ask_journalled(client, CHATS, tmp_path / "j.sqlite")
        told = str(caught.value).replace("for 0 s", "for 1 s")  # as it rounds
        assert told == (
            f"{server.url}: nothing but failures for 1 s (GET /batches/batch_0: HTTP 502: (no "
            "text)); batches that are under way go on: type the same command again later"
        )
        down[0] = False
        assert ask_at(server, CHATS, tmp_path) == EXPECTED
    assert len(server.jobs) == 1


def test_refused_line_costs_itself_alone(tmp_path: Path) -> None:
    def forbid(line: dict[str, Any]) -> str:
        asked = line["body"]["messages"][0]["content"]
        return f"{KEY} may not ask {asked}" if asked in ("q1", "q4") else ""

    with BatchServer(forbid=forbid) as server, pytest.MonkeyPatch.context() as patch:
        patch.setenv("TINY_KEY", KEY)
        client = make_batch_client(server.url, api_key_env="TINY_KEY")
        outcomes = ask_journalled(client, CHATS, tmp_path / "j.sqlite")
        assert ask_at(server, CHATS, tmp_path) == outcomes

    assert find_failures(outcomes) == {
        1: ("batch_refused", "line 2: *** may not ask q1", True),
        4: ("batch_refused", "line 5: *** may not ask q4", True),
    }
    assert [len(job.lines) for job in server.jobs] == [7, 5]


REMEDY = (
    "nothing of it was asked. Put that right and type the same command again; where it is about "
    "enqueued tokens, set batch.max_requests or concurrency lower"
)


@pytest.mark.parametrize(
    ("forbidden", "said", "jobs"),
    [
        pytest.param(
            lambda _: "no such model",
            "the batch batch_0 was refused: line 1: no such model; line 2: no such model; "
            "line 3: no such model; and 4 more",
            1,
            id="every line",
        ),
        pytest.param(
            lambda is_first: "no such model" if is_first else "",
            "the batch batch_1 was refused: line 1: no such model",
            2,
            id="one line after another",
        ),
    ],
)
def test_refused_batch_ends_the_run(
    tmp_path: Path, forbidden: Callable[[bool], str], said: str, jobs: int
) -> None:
    """Where each batch is refused at its first line, the line is not what is wrong."""
    seen: list[str] = []

    def forbid(line: dict[str, Any]) -> str:
        seen.append(line["custom_id"])
        return forbidden(len(seen) in (1, len(CHATS) + 1))

    with BatchServer(forbid=forbid) as server:
        with pytest.raises(EndpointError) as raised:
            ask_at(server, CHATS, tmp_path)
        assert str(raised.value) == f"{server.url}: {said}; {REMEDY}"
    assert (len(server.jobs), len(server.calls)) == (jobs, 0)


@pytest.mark.parametrize(
    ("kind", "fault", "said"),
    [
        pytest.param(
            "POST batches",
            Fault(400, error_body("Billing hard limit has been reached")),
            "HTTP 400: Billing hard limit has been reached (POST /batches)",
            id="400",
        ),
        pytest.param(
            "GET batches",
            Fault(404),
            "HTTP 404 at /batches?limit=100; if the server has no Batch API, take `batch` out",
            id="no Batch API",
        ),
        pytest.param(
            "POST files",
            Fault(401, error_body(f"wrong key {KEY}")),
            "HTTP 401: wrong key ***; check the key in the environment variable that api_key_env "
            "names",
            id="401",
        ),
    ],
)
def test_refusal_ends_the_run_with_what_the_server_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, fault: Fault, said: str
) -> None:
    monkeypatch.setenv("TINY_KEY", KEY)
    with BatchServer(disturb=lambda v: fault if v.kind == kind else None) as server:
        client = make_batch_client(server.url, api_key_env="TINY_KEY")
        with pytest.raises(EndpointError) as raised:
            ask_journalled(client, CHATS, tmp_path / "j.sqlite")
        assert str(raised.value) == f"{server.url}: {said}"
    assert server.calls == []


def test_refusal_of_every_line_ends_the_run(tmp_path: Path) -> None:
    refused = Fault(404, error_body("no model tiny"))
    remedy = "check model (the server lists its own at /models) and base_url, which often ends in "
    with BatchServer(lambda _: refused) as server:
        with pytest.raises(EndpointError) as raised:
            ask_at(server, CHATS, tmp_path)
        assert str(raised.value) == f"{server.url}: HTTP 404: no model tiny; {remedy}/v1"


def test_answers_without_what_was_asked_for_are_paid_once(tmp_path: Path) -> None:
    requests = [request.model_copy(update={"top_logprobs": 5}) for request in CHATS]
    with BatchServer() as server:
        for _ in range(2):
            with pytest.raises(EndpointError) as raised:
                ask_at(server, requests, tmp_path)
            assert str(raised.value) == (
                f"{server.url}: the answer came without log-probabilities; let this model give "
                "votes, or take one whose server tells top_logprobs"
            )
    assert len(server.jobs) == 1


def test_probe_tells_of_a_server_without_batches() -> None:
    statuses = iter((404, 500, 429))

    def fault(call: Call) -> Fault | None:
        return Fault(next(statuses), "{}") if "batches" in call.path else None

    async def probe(client: BatchClient) -> None:
        try:
            await client.probe()
        finally:
            await client.close()

    with BatchServer() as server:
        asyncio.run(probe(make_batch_client(server.url)))
    with LoopbackServer(fault) as other:
        client = make_batch_client(other.url)
        for said in (
            "HTTP 404 at /batches?limit=1; if the server has no Batch API, take `batch` out",
            "HTTP 500: {} at /batches?limit=1; is the server well?",
        ):
            with pytest.raises(EndpointError) as raised:
                asyncio.run(probe(client))
            assert str(raised.value) == f"{other.url}: {said}"
        asyncio.run(probe(client))  # A busy server is a server all the same.
    assert next(statuses, None) is None


def put_aside(server: BatchServer, count: int, age_s: float) -> None:
    """Let the server have batches of other programs."""
    made = {"input_file_id": "f", "endpoint": "/v1/embeddings", "completion_window": "24h"}
    for i in range(count):
        created_at = time.time() - age_s - count + i
        server.jobs.append(Job(f"batch_{len(server.jobs)}", made, created_at, [], []))


def test_own_batch_is_found_behind_others(tmp_path: Path) -> None:
    day_s = 24 * 3600
    with BatchServer() as server:
        put_aside(server, 350, age_s=40 * day_s)
        ask_at(server, CHATS, tmp_path)
        # The newest come first, so a second page would be as old as the end of the first.
        assert server.count("GET batches") == 1
        server.jobs[-1].created_at -= 600
        put_aside(server, 250, age_s=0)
        (tmp_path / "j.sqlite").unlink()
        assert ask_at(server, CHATS, tmp_path) == EXPECTED
        assert server.count("GET batches") == 1 + 3
    assert len(server.jobs) == 350 + 1 + 250


PROGRAM = ASK.format(
    imports="from generators.openai_batch import BatchClient",
    client='BatchClient(settings, BatchSettings(poll_s=0.02, max_requests=20), model_id="tiny@1")',
)


@pytest.mark.parametrize("kind", ["POST files", "POST batches", "GET batch", "GET content"])
def test_kill_pays_nothing_twice(tmp_path: Path, kind: str) -> None:
    """Three batches under way, killed with SIGKILL while the server's reply is waited for."""
    slow = [True]

    def disturb(visit: Visit) -> Fault | None:
        return Fault(delay_s=0.5) if slow[0] and visit.kind == kind else None

    path = str(tmp_path / "j.sqlite")
    with BatchServer(disturb=disturb) as server:
        command = [sys.executable, "-c", PROGRAM, server.url, path, "60"]
        made = 0 if kind == "POST files" else 3
        run, end = subprocess.Popen(command), time.monotonic() + 60
        try:
            while server.count(kind) < 3 or len(server.jobs) < made:
                assert time.monotonic() < end, f"{server.count(kind)}, {len(server.jobs)} batches"
                time.sleep(0.005)
        finally:
            run.kill()
            assert run.wait(10) == -9
        assert len(server.jobs) == made
        slow[0] = False
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)

    assert done.stdout.splitlines() == [expected_text(f"q{i}", i) for i in range(60)]
    assert [len(job.lines) for job in server.jobs] == [20, 20, 20]
    assert sorted(call.asked for call in server.calls) == sorted(f"q{i}" for i in range(60))
    with SqliteJournal(Path(path)) as journal:
        assert journal.stats().rows == 60
