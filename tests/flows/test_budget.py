"""A run with a budget: it ends in time, loses nothing, and goes on when it may spend more."""

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from flows.config import RunConfig
from flows.pipeline import is_finished
from flows.stages.publish import hash_dataset
from generators.errors import BudgetReached, ConfigError
from generators.journal import SqliteJournal
from generators.spending import read_spending
from tests.flows.conftest import Finished
from tests.flows.small_run import (
    conduct_plainly,
    describe_run,
    read_settings,
    start_command,
    write_config,
)
from tests.flows.teacher import Teacher
from tests.generators.loopback import Call

TRAIN = "dataset/train.parquet"
PRICE = {"input_usd_per_million": 10.0, "output_usd_per_million": 50.0}


def describe_priced_run(folder: Path, url: str, **budget: Any) -> dict[str, Any]:
    settings = describe_run(folder, url) | {"budget": budget}
    for model in settings["models"].values():
        model["price"] = PRICE
    return settings


def count_spent_tokens(config: RunConfig) -> int:
    with SqliteJournal(config.journal_place) as journal:
        spent = read_spending(journal, config.name)
    return sum(usage.prompt_tokens + usage.completion_tokens for usage in spent.values())


def count_cost(config: RunConfig) -> float:
    with SqliteJournal(config.journal_place) as journal:
        spent = read_spending(journal, config.name).values()
    return sum(10 * u.prompt_tokens + 50 * u.completion_tokens for u in spent) / 1e6


def hide_sums(told: str) -> str:
    """A budget's message without what was spent, which hangs on what was under way at once."""
    told = re.sub(r"has spent \S+ ", "has spent … ", told)
    return re.sub(r"could make it \S+:", "could make it …:", told)


def draws_of(calls: list[Call]) -> Counter[str]:
    return Counter(json.dumps(call.body, sort_keys=True) for call in calls)


def test_run_stops_in_time_and_goes_on_with_more(
    finished: Finished, teacher: Teacher, tmp_path: Path
) -> None:
    """Three budgets one after another end as the run without one, and nothing is asked twice."""
    begin = len(teacher.calls)
    for budget in (0.03, 0.06):
        settings = describe_priced_run(tmp_path, teacher.url, max_cost_usd=budget)
        config = read_settings(tmp_path / "small.yaml", settings)
        before = len(teacher.calls)
        with pytest.raises(BudgetReached) as caught:
            conduct_plainly(config)
        assert hide_sums(str(caught.value)) == (
            f"the run has spent … of budget.max_cost_usd (${budget}), and the next request could"
            " make it …: raise budget.max_cost_usd and type the same command again; no answer is"
            " paid for twice"
        )
        assert len(teacher.asked_since(before)) > 10
        assert not is_finished(config)
        # One request of this run may cost a cent at most, so the budget is all but spent.
        assert budget - 0.0125 < count_cost(config) <= budget

    settings = describe_priced_run(tmp_path, teacher.url, max_cost_usd=10)
    config = read_settings(tmp_path / "small.yaml", settings)
    run, _ = conduct_plainly(config)
    assert hash_dataset(run.place(TRAIN)) == hash_dataset(finished.run.place(TRAIN))
    assert draws_of(teacher.asked_since(begin)) == draws_of(finished.requests)


def test_tokens_are_limited_too(teacher: Teacher, tmp_path: Path) -> None:
    settings = describe_priced_run(tmp_path, teacher.url, max_tokens=2000)
    config = read_settings(tmp_path / "small.yaml", settings)
    with pytest.raises(BudgetReached) as caught:
        conduct_plainly(config)
    assert hide_sums(str(caught.value)) == (
        "the run has spent … tokens of budget.max_tokens (2,000), and the next request could make"
        " it …: raise budget.max_tokens and type the same command again; no answer is paid for"
        " twice"
    )
    assert 1000 < count_spent_tokens(config) <= 2000


def test_budget_and_prices_make_no_other_run(teacher: Teacher, tmp_path: Path) -> None:
    plain = read_settings(tmp_path / "a.yaml", describe_run(tmp_path, teacher.url))
    priced = describe_priced_run(tmp_path, teacher.url, max_cost_usd=1)
    assert read_settings(tmp_path / "b.yaml", priced).digest == plain.digest


def test_command_says_it_in_a_line(teacher: Teacher, tmp_path: Path) -> None:
    settings = describe_priced_run(tmp_path, teacher.url, max_tokens=10)
    path = write_config(tmp_path / "small.yaml", settings)
    command = start_command("run", str(path), "--no-prefect", "--json")
    out, err = command.communicate(timeout=120)
    error = json.loads(out)["error"]
    assert (command.returncode, error["kind"]) == (1, "BudgetReached")
    assert error["message"].startswith("the run has spent 0 tokens of budget.max_tokens (10), and ")
    assert err == f"tutelage: {error['message']}\n"


def test_flow_ends_as_plain_calls_do(teacher: Teacher, prefect_api: str, tmp_path: Path) -> None:
    settings = describe_priced_run(tmp_path, teacher.url, max_tokens=2000)
    path = write_config(tmp_path / "small.yaml", settings)
    command = start_command("run", str(path), "--json", PREFECT_API_URL=prefect_api)
    out, _ = command.communicate(timeout=240)
    assert (command.returncode, json.loads(out)["error"]["kind"]) == (1, "BudgetReached")
    config = read_settings(path, settings)
    assert 1000 < count_spent_tokens(config) <= 2000


@pytest.mark.parametrize(
    ("budget", "message"),
    [
        pytest.param(
            {"max_cost_usd": 1.0},
            "models.weak.price: budget.max_cost_usd needs it: write "
            "`price: {input_usd_per_million: …, output_usd_per_million: …}`",
            id="no price",
        ),
        pytest.param(
            {}, "budget: sets no limit: name max_cost_usd or max_tokens", id="no limit at all"
        ),
        pytest.param(
            {"max_cost_usd": 0.0},
            "budget.max_cost_usd: must be greater than 0.0, got 0.0",
            id="nothing at all",
        ),
    ],
)
def test_budget_that_cannot_be_kept_is_refused(
    tmp_path: Path, budget: dict[str, Any], message: str
) -> None:
    settings = describe_run(tmp_path, "http://127.0.0.1:9/v1") | {"budget": budget}
    settings["models"]["strong"]["price"] = PRICE
    with pytest.raises(ConfigError) as raised:
        read_settings(tmp_path / "small.yaml", settings)
    assert str(raised.value).partition(": ")[2] == message
