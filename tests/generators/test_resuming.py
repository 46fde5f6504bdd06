import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from generators.clients import (
    Failure,
    request_key,
)
from generators.journal_place import make_journal
from tests.generators.asking import ASK, ask_journalled, chat, error_body, expect, make_client
from tests.generators.loopback import Call, Fault, LoopbackServer, expected_text

pytestmark = pytest.mark.usefixtures("short_waits")


def test_no_more_requests_at_once_than_allowed(tmp_path: Path) -> None:
    requests = [chat(f"q{i}") for i in range(60)]
    with LoopbackServer(delay_s=0.02) as server:
        client = make_client(server.url, concurrency=8)
        outcomes = ask_journalled(client, requests, tmp_path / "j.sqlite")

    assert outcomes == [expect(f"q{i}") for i in range(60)]
    assert server.most_at_once == 8


def test_one_percent_of_bad_rows_cost_exactly_those_rows(tmp_path: Path) -> None:
    def fault(call: Call) -> Fault | None:
        if int(call.asked) % 100 == 7:
            return Fault(400, error_body(f"cannot take {call.asked}"))
        return Fault(500) if call.number % 50 == 3 else None

    requests = [chat(str(i)) for i in range(300)]
    with LoopbackServer(fault) as server:
        outcomes = ask_journalled(make_client(server.url), requests, tmp_path / "j.sqlite")

    failures = {i: o for i, o in enumerate(outcomes) if isinstance(o, Failure)}
    assert {i: (o.reason, o.message) for i, o in failures.items()} == {
        i: ("http_400", f"HTTP 400: cannot take {i}") for i in (7, 107, 207)
    }
    assert [o for o in outcomes if o.kind == "response"] == [
        expect(str(i)) for i in range(300) if i not in failures
    ]


def test_journal_hit_asks_nothing(tmp_path: Path) -> None:
    requests = [chat(f"q{i}") for i in range(20)]
    with LoopbackServer() as server:
        first = ask_journalled(make_client(server.url), requests, tmp_path / "j.sqlite")
    with LoopbackServer() as other:
        assert ask_journalled(make_client(other.url), requests, tmp_path / "j.sqlite") == first

    assert (len(server.calls), len(other.calls)) == (20, 0)


def test_damaged_row_is_asked_again(tmp_path: Path) -> None:
    path = tmp_path / "j.sqlite"
    requests = [chat(f"q{i}") for i in range(5)]
    with LoopbackServer() as server:
        first = ask_journalled(make_client(server.url), requests, path)
        connection = sqlite3.connect(path)
        with connection:
            connection.execute(
                "UPDATE outcomes SET outcome = replace(outcome, 'q3', 'q4') WHERE key = ?",
                (request_key("tiny@1", requests[3]),),
            )
        connection.close()
        assert ask_journalled(make_client(server.url), requests, path) == first

    assert [call.asked for call in server.calls[5:]] == ["q3"]


PROGRAM = ASK.format(
    imports="from generators.openai_compatible import OpenAICompatibleClient",
    client='OpenAICompatibleClient(settings, model_id="tiny@1")',
)


def test_three_kills_lose_nothing_double_nothing_and_cost_what_was_in_flight(place: str) -> None:
    kills, count, concurrency = 3, 200, 8
    with LoopbackServer(delay_s=0.02) as server:
        command = [sys.executable, "-c", PROGRAM, server.url, place, str(count)]
        for kill in range(1, kills + 1):
            run = subprocess.Popen(command)
            server.wait_for_calls(kill * 45)
            run.kill()
            assert run.wait(10) == -9
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)

    assert done.stdout.splitlines() == [expected_text(f"q{i}", i) for i in range(count)]
    assert {call.asked for call in server.calls} == {f"q{i}" for i in range(count)}
    assert count <= len(server.calls) <= count + kills * concurrency
    with make_journal(place) as journal:
        assert journal.stats().rows == count
