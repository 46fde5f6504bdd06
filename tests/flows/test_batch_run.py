"""Runs whose models are asked by the Batch API end as runs that ask them live."""

import signal
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from flows.estimate import estimate_run
from flows.run_settings import VllmModel
from flows.stages.publish import hash_dataset
from flows.store import RunDirectory
from flows.work import make_client
from generators.errors import BudgetReached, ConfigError
from generators.openai_batch import BatchClient
from tests.flows.conftest import Finished
from tests.flows.kills import run_to_its_end, run_until
from tests.flows.small_run import conduct_plainly, describe_run, read_settings, write_config
from tests.flows.teacher import teach
from tests.flows.test_budget import count_cost, describe_priced_run, draws_of, hide_sums
from tests.flows.test_refusals import change
from tests.generators.batch_server import BatchServer
from tests.generators.loopback import Call

URL = "http://127.0.0.1:9/v1"
TRAIN = "dataset/train.parquet"


def ask_in_batches(settings: dict[str, Any], **batch: Any) -> dict[str, Any]:
    """The same run, but its models are asked by the Batch API."""
    for name in settings["models"]:
        settings = change(settings, f"models.{name}.batch", {"poll_s": 0.02, **batch})
    return settings


def count_draws(calls: list[Call]) -> Counter[str]:
    return draws_of([call for call in calls if call.model])


def test_run_in_batches_is_the_live_run(finished: Finished, tmp_path: Path) -> None:
    with BatchServer(rule=teach) as server:
        settings = ask_in_batches(describe_run(tmp_path, server.url))
        config = read_settings(tmp_path / "small.yaml", settings)
        run, _ = conduct_plainly(config)

    assert hash_dataset(run.place(TRAIN)) == hash_dataset(finished.run.place(TRAIN))
    assert count_draws(server.calls) == count_draws(finished.requests)
    assert len(server.jobs) < len(finished.requests) / 4
    assert isinstance(make_client(config.models["weak"]), BatchClient)


def test_kills_in_mid_wait_pay_nothing_twice(finished: Finished, tmp_path: Path) -> None:
    with BatchServer(rule=teach, step_s=0.1) as server:
        settings = ask_in_batches(describe_run(tmp_path, server.url))
        config = write_config(tmp_path / "small.yaml", settings)
        for moment in (1, 9):
            killed = run_until(config, lambda m=moment: len(server.jobs) >= m)
            assert killed.code == -signal.SIGKILL
        assert run_to_its_end(config).code == 0

    run = RunDirectory(tmp_path / "runs" / "small")
    assert hash_dataset(run.place(TRAIN)) == hash_dataset(finished.run.place(TRAIN))
    assert count_draws(server.calls) == count_draws(finished.requests)


def test_run_begun_live_is_finished_in_batches(finished: Finished, tmp_path: Path) -> None:
    with BatchServer(rule=teach) as server:
        live = describe_run(tmp_path, server.url)
        config = write_config(tmp_path / "small.yaml", live)
        killed = run_until(config, lambda: len(server.calls) >= 80)
        assert (killed.code, server.jobs) == (-signal.SIGKILL, [])
        run, _ = conduct_plainly(read_settings(config, ask_in_batches(live)))

    assert hash_dataset(run.place(TRAIN)) == hash_dataset(finished.run.place(TRAIN))
    extra = count_draws(server.calls) - count_draws(finished.requests)
    assert extra.total() <= live["models"]["strong"]["concurrency"]
    assert len(server.jobs) > 0


def test_budget_and_estimate_hold_for_batches(tmp_path: Path) -> None:
    with BatchServer(rule=teach) as server:
        priced = describe_priced_run(tmp_path, server.url, max_cost_usd=0.06)
        live = read_settings(tmp_path / "small.yaml", priced)
        config = read_settings(tmp_path / "small.yaml", ask_in_batches(priced, max_requests=4))
        assert estimate_run(config) == estimate_run(live)
        with pytest.raises(BudgetReached) as caught:
            conduct_plainly(config)
        assert hide_sums(str(caught.value)) == (
            "the run has spent … of budget.max_cost_usd ($0.06), and the next request could make"
            " it …: raise budget.max_cost_usd and type the same command again; no answer is paid"
            " for twice"
        )

    usages = [told["response"]["body"]["usage"] for job in server.jobs for told in job.output]
    billed = sum(10 * u["prompt_tokens"] + 50 * u["completion_tokens"] for u in usages) / 1e6
    assert 0 < billed <= 0.06
    assert count_cost(config) == pytest.approx(billed)


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        pytest.param(
            "models.weak.batch.max_requests",
            50_001,
            "models.weak.batch.max_requests: must be at most 50000, got 50001",
            id="too many lines",
        ),
        pytest.param(
            "models.weak.batch.max_mb",
            201,
            "models.weak.batch.max_mb: must be at most 200.0, got 201",
            id="too many bytes",
        ),
        pytest.param(
            "models.weak.batch.poll",
            5,
            "models.weak.batch.poll: not a setting (did you mean poll_s?)",
            id="unknown",
        ),
        pytest.param(
            "models.weak.requests_per_minute",
            60,
            "models.weak.batch: requests_per_minute: would do nothing, requests go in one file; "
            "take it out",
            id="pace",
        ),
        pytest.param(
            "models.weak.breaker_failures",
            0,
            "models.weak.breaker_failures: must be at least 1, got 0",
            id="mistake elsewhere",
        ),
        pytest.param(
            "models.weak.kind",
            "vllm",
            f"models.weak.batch: not a setting: choose from {', '.join(VllmModel.model_fields)}",
            id="vLLM",
        ),
    ],
)
def test_mistake_in_the_settings(tmp_path: Path, place: str, value: Any, message: str) -> None:
    settings = change(ask_in_batches(describe_run(tmp_path, URL)), place, value)
    with pytest.raises(ConfigError) as caught:
        read_settings(tmp_path / "small.yaml", settings)
    assert str(caught.value).partition(": ")[2] == message


def test_how_a_model_is_asked_decides_nothing(tmp_path: Path) -> None:
    live = describe_run(tmp_path, URL)
    configs = [
        read_settings(tmp_path / "small.yaml", settings)
        for settings in (live, ask_in_batches(live))
    ]
    assert configs[0].digest == configs[1].digest
    ids = {make_client(config.models["weak"]).id for config in configs}
    assert ids == {"weak"}
