"""A vLLM server's log-probabilities, from a loopback server that answers as vLLM does."""

import math
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch

from generators.errors import ConfigError, EndpointError
from generators.vllm_client import VllmClient, VllmSettings
from tests.generators.asking import make_client
from tests.generators.loopback import Call, Fault, LoopbackServer
from tests.trainers.bigram_teacher import BigramTeacher, draw_rows, make_batch
from trainers.cached_teacher import CachedTeacher, write_signal
from trainers.remote_teacher import RemoteTeacher, ask_at_once
from trainers.rows import TokenRow
from trainers.signal_store import SignalHeader, Source, TopCut
from trainers.sparse import keep_top

VOCABULARY = 30
TEACHER = BigramTeacher(VOCABULARY)
ROWS = draw_rows(8, VOCABULARY)


def score(call: Call) -> dict[str, Any]:
    """What vLLM tells of a prompt of token ids: the likeliest of each place, and its own token."""
    ids, top = call.body["prompt"], call.body["prompt_logprobs"]
    places: list[dict[str, Any] | None] = [None]
    for before, own in pairwise(ids):
        log_probs = TEACHER.table_VV[before].log_softmax(dim=-1)
        ranks = {int(id): rank for rank, id in enumerate(log_probs.argsort(descending=True), 1)}
        told = [id for id, rank in ranks.items() if rank <= top or id == own]
        places.append({str(i): {"logprob": float(log_probs[i]), "rank": ranks[i]} for i in told})
    choice = {"text": "x", "prompt_token_ids": ids, "prompt_logprobs": places}
    usage = {"prompt_tokens": len(ids), "completion_tokens": 1}
    return {"choices": [choice], "usage": usage}


def teach(server: LoopbackServer, top: int = 5, **settings: Any) -> RemoteTeacher:
    settings = {"base_url": server.url, "model": "tiny", "deadline_s": 20, **settings}
    client = VllmClient(VllmSettings(**settings), model_id="tiny@1")
    return RemoteTeacher(client, VOCABULARY, top=top)


def test_the_likeliest_tokens_are_those_of_the_model() -> None:
    batch = make_batch(ROWS)
    with LoopbackServer(rule=score) as server, teach(server) as teacher:
        found = teacher.read(*batch)
    expected = keep_top(TEACHER.read(*batch), top_k=5)
    assert torch.equal(found.ids_NK, expected.ids_NK)
    torch.testing.assert_close(found.log_probs_NK, expected.log_probs_NK)
    assert (found.kept, found.temperature) == ("top", 1.0)


def test_the_rows_own_ids_are_sent_without_padding() -> None:
    with LoopbackServer(rule=score) as server, teach(server) as teacher:
        teacher.read(*make_batch(ROWS))
    sent = [call.body["prompt"] for call in server.calls]
    assert sorted(sent) == sorted(row.input_ids for row in ROWS)
    assert {call.body["prompt_logprobs"] for call in server.calls} == {5}


def test_own_tokens_are_scored_however_unlikely() -> None:
    batch = make_batch(ROWS)
    with LoopbackServer(rule=score) as server, teach(server) as teacher:
        found = teacher.score(*batch)
    own_N = torch.tensor([id for row in ROWS for id in row.input_ids[row.prompt_length :]])
    expected = TEACHER.read(*batch).log_softmax(dim=-1).gather(1, own_N[:, None])[:, 0]
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize(("concurrency", "at_once"), [(3, 3), (64, 8)])
def test_rows_are_asked_at_once_within_the_limit(concurrency: int, at_once: int) -> None:
    with (
        LoopbackServer(rule=score, delay_s=0.1) as server,
        teach(server, concurrency=concurrency) as teacher,
    ):
        teacher.read(*make_batch(ROWS))
    assert (server.most_at_once, len(server.calls)) == (at_once, 8)


def test_ids_that_the_tokenizer_lacks_are_dropped() -> None:
    def score_padded(call: Call) -> dict[str, Any]:
        answer = score(call)
        answer["choices"][0]["prompt_logprobs"][1]["31"] = {"logprob": -0.1, "rank": 0}
        return answer

    batch = make_batch([TokenRow([3, 4, 5], 1)])
    with LoopbackServer(rule=score_padded) as server, teach(server) as teacher:
        found = teacher.read(*batch)
    first = TEACHER.read(*batch).log_softmax(dim=-1)[0].topk(4)
    assert (found.ids_NK[0, 0], found.log_probs_NK[0, 0]) == (0, -math.inf)
    assert torch.equal(found.ids_NK[0, 1:], first.indices)
    torch.testing.assert_close(found.log_probs_NK[0, 1:], first.values)


def test_a_passing_fault_is_outlived() -> None:
    def stumble(call: Call) -> Fault | None:
        return Fault(status=503) if call.number == 2 else None

    batch = make_batch(ROWS)
    with LoopbackServer(stumble, rule=score) as server, teach(server) as teacher:
        found = teacher.read(*batch)
    assert len(server.calls) == 9
    assert torch.equal(found.ids_NK, keep_top(TEACHER.read(*batch), top_k=5).ids_NK)


def test_a_server_that_only_writes_is_refused() -> None:
    client = make_client("http://127.0.0.1:1/v1")
    with pytest.raises(ConfigError) as caught:
        RemoteTeacher(client, VOCABULARY)
    assert str(caught.value) == (
        "tiny@1: this server cannot score given token ids, only what it writes.\n"
        "Name a vLLM server, or train with the teacher's weights or a cache."
    )


def say_nothing(call: Call) -> dict[str, Any]:
    return {"choices": [{"text": "x"}], "usage": {"prompt_tokens": 1, "completion_tokens": 1}}


def read_other_tokens(call: Call) -> dict[str, Any]:
    body = call.body | {"prompt": [1, *call.body["prompt"]]}
    return score(call._replace(body=body))


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        (
            say_nothing,
            (
                "tiny@1: no log-probabilities of the text came (3 validation errors for _Body); "
                "the "
                "server must be vLLM.\n"
                "Name a vLLM server, or train with the teacher's weights or a cache."
            ),
        ),
        (
            read_other_tokens,
            (
                "tiny@1: the server read other tokens than were sent to it.\n"
                "Name a vLLM server, or train with the teacher's weights or a cache."
            ),
        ),
    ],
)
def test_a_server_that_cannot_score_these_ids_is_refused(
    rule: Callable[[Call], dict[str, Any]], message: str
) -> None:
    with (
        LoopbackServer(rule=rule) as server,
        teach(server, max_attempts=1) as teacher,
        pytest.raises(EndpointError) as caught,
    ):
        teacher.read(*make_batch(ROWS))
    assert str(caught.value) == message


def test_too_many_tokens_asked_for_name_the_option() -> None:
    body = '{"error": {"message": "Requested prompt logprobs of 200, which is greater than 20"}}'
    with (
        LoopbackServer(lambda _: Fault(status=400, body=body)) as server,
        teach(server, top=200) as teacher,
        pytest.raises(EndpointError) as caught,
    ):
        teacher.read(*make_batch(ROWS[:1]))
    assert str(caught.value) == (
        "tiny@1: HTTP 400: Requested prompt logprobs of 200, which is greater than 20.\n"
        "Start the server with --max-logprobs as large as top, or lower top."
    )


def test_a_place_that_no_token_follows_is_refused() -> None:
    ids_BT = torch.tensor([[3, 4]])
    with (
        LoopbackServer(rule=score) as server,
        teach(server) as teacher,
        pytest.raises(ValueError) as caught,
    ):
        teacher.read(ids_BT, torch.ones_like(ids_BT), ids_BT > 0)
    assert str(caught.value) == "a server tells nothing of the place after a row's last token"


def test_a_signal_can_be_written_from_a_server(tmp_path: Path) -> None:
    source = Source(teacher="tiny@1", template="a", vocabulary="b", vocabulary_size=VOCABULARY)
    header = SignalHeader(source=source, cut=TopCut(top_p=0.7, top_k=5))
    with LoopbackServer(rule=score, delay_s=0.1) as server, teach(server) as teacher:
        report = write_signal(teacher, ROWS, tmp_path, header, plan=ask_at_once)
        again = write_signal(teacher, ROWS, tmp_path, header, plan=ask_at_once)
    assert (server.most_at_once, len(server.calls)) == (8, 8)
    assert report == again
    batch = make_batch(ROWS[::-1])
    found = CachedTeacher(tmp_path, source).read(*batch)
    expected = keep_top(TEACHER.read(*batch), top_p=0.7, top_k=5)
    assert torch.equal(found.ids_NK, expected.ids_NK)
    torch.testing.assert_close(found.log_probs_NK, expected.log_probs_NK, rtol=2**-10, atol=1e-5)


def test_a_closed_teacher_leaves_no_thread() -> None:
    with LoopbackServer(rule=score) as server:
        teacher = teach(server)
        teacher.read(*make_batch(ROWS[:1]))
        teacher.close()
        teacher.close()
        assert not teacher._thread.is_alive()
