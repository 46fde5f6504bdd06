import io
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from filters.equality import build_comparison
from flows import cli
from flows.console import Console
from flows.estimate import Estimate, StageEstimate, estimate_run, show_estimate
from generators.clients import Request, Sampling
from generators.records import Message
from generators.spending import bound_usage
from tests.flows.conftest import Finished
from tests.flows.small_run import conduct_plainly, describe_run, read_settings, write_config
from tests.flows.teacher import LABELS, Teacher
from tests.generators.loopback import Call


def count_by_model(estimate: Estimate) -> Counter[str]:
    counts: Counter[str] = Counter()
    for stage in estimate.stages:
        counts[stage.model] += stage.requests
    return counts


def asked_of(calls: list[Call]) -> Counter[str]:
    return Counter(call.body["model"] for call in calls)


def read_request(call: Call) -> Request:
    """What a call asked."""
    messages = tuple(Message.model_validate(message) for message in call.body["messages"])
    return Request(messages=messages, sampling=Sampling(), seed=call.body["seed"])


def describe_simple_run(folder: Path, url: str) -> dict[str, Any]:
    """No evolution, one sampler."""
    settings = describe_run(folder, url)
    del settings["evolve"]
    settings["answer"]["samplers"] = settings["answer"]["samplers"][:1]
    return settings


def test_small_run_asks_no_more_than_was_estimated(finished: Finished) -> None:
    estimated, asked = count_by_model(estimate_run(finished.config)), asked_of(finished.requests)
    assert set(estimated) == set(asked) == {"weak", "strong"}
    assert all(asked[model] <= estimated[model] for model in asked)


def test_run_without_evolution_asks_just_what_was_estimated(
    teacher: Teacher, tmp_path: Path
) -> None:
    settings = describe_simple_run(tmp_path, teacher.url)
    config = read_settings(tmp_path / "small.yaml", settings)
    estimate, before = estimate_run(config), len(teacher.calls)
    conduct_plainly(config)
    asked = teacher.asked_since(before)
    assert count_by_model(estimate) == asked_of(asked) == {"weak": 2 * 24}
    assert estimate.prompt_tokens == sum(
        bound_usage([read_request(c)]).prompt_tokens for c in asked
    )
    assert estimate.completion_tokens == 200 * 2 * 24


def test_nothing_is_sent_and_no_folder_made(teacher: Teacher, tmp_path: Path) -> None:
    config = read_settings(tmp_path / "small.yaml", describe_run(tmp_path, teacher.url))
    before, files = len(teacher.calls), sorted(tmp_path.iterdir())
    estimate_run(config)
    assert len(teacher.calls) == before
    assert sorted(tmp_path.iterdir()) == files


def test_labelled_pairs_are_counted_before_the_first_round(tmp_path: Path) -> None:
    settings = describe_run(tmp_path, "http://127.0.0.1:9/v1")
    row = estimate_run(read_settings(tmp_path / "small.yaml", settings)).stages[0]
    asked = [build_comparison("chat", first, second) for first, second in LABELS]
    assert row == StageEstimate(
        stage="calibrate",
        model="strong",
        requests=188,
        prompt_tokens=bound_usage(asked).prompt_tokens,
        completion_tokens=4 * 188,
        cost_usd=None,
    )


def test_judge_that_is_off_asks_nothing(tmp_path: Path) -> None:
    settings = describe_run(tmp_path, "http://127.0.0.1:9/v1")
    settings["evolve"] |= {"equality_judge": False, "parents": {"writing": 3}}
    estimate = estimate_run(read_settings(tmp_path / "small.yaml", settings))
    told = [(stage.stage, stage.requests) for stage in estimate.stages[:2]]
    assert told == [("evolve-1", 3), ("evolve-2", 3)]


@pytest.mark.parametrize("form", ["chat", "complete"])
def test_what_grows_from_round_to_round_is_counted(tmp_path: Path, form: str) -> None:
    """Each rewrite reads one answer more than in the round before; its judge reads two."""
    settings = describe_run(tmp_path, "http://127.0.0.1:9/v1")
    settings["models"]["strong"]["form"] = form
    settings["evolve"] |= {"parents": {"writing": 5}, "sampling": {"max_tokens": 70}}
    estimate = estimate_run(read_settings(tmp_path / "small.yaml", settings))
    first, second = (s.prompt_tokens for s in estimate.stages if s.stage.startswith("evolve"))
    assert second - first == 5 * 70 + 5 * 2 * 70


def test_model_that_asks_on_reads_what_was_said_before(tmp_path: Path) -> None:
    """Each round adds a turn of at most 70 tokens, and an answer of the first sampler to it."""
    settings = describe_run(tmp_path, "http://127.0.0.1:9/v1")
    settings["evolve"] |= {"operators": ["follow_up"], "sampling": {"max_tokens": 70}}
    settings["evolve"] |= {"equality_judge": False, "parents": {"maths": 4}}
    answer = settings["answer"]["samplers"][0]["sampling"]["max_tokens"]
    estimate = estimate_run(read_settings(tmp_path / "small.yaml", settings))
    first, second = (s for s in estimate.stages if s.stage.startswith("evolve"))
    assert first.requests == second.requests == 4
    assert second.prompt_tokens - first.prompt_tokens == 4 * (70 + answer)


def test_conversations_and_difficulty_are_counted(tmp_path: Path) -> None:
    """A run that carries conversations on, and has the student try them, asks no more."""
    with Teacher() as teacher:
        settings = describe_run(tmp_path, teacher.url)
        settings["evolve"] |= {"operators": ["follow_up", "constraint"], "rounds": 3}
        settings["consensus"] = {"domains": ["maths"], "threshold": 0.6}
        settings["models"]["student"] = settings["models"]["weak"] | {"revision": "student"}
        settings["difficulty"] = {"model": "student", "k": 3}
        config = read_settings(tmp_path / "small.yaml", settings)
        estimate = estimate_run(config)
        conduct_plainly(config)
        sent = teacher.asked_since(0)
    asked_of_stage = {(s.stage, s.model): s.requests for s in estimate.stages}
    # The student tries what the first sampler answers, three times where that one draws two.
    assert asked_of_stage["difficulty", "student"] * 2 == asked_of_stage["answer-cheap", "weak"] * 3
    of = count_by_model(estimate)
    asked = asked_of(sent)
    assert asked["weak"] <= of["weak"] + of["student"]
    assert asked["strong"] <= of["strong"]
    assert any(len(call.body["messages"]) == 3 for call in sent)
    assert bound_usage([read_request(call) for call in sent]).prompt_tokens <= (
        estimate.prompt_tokens
    )


def test_domain_limits_bound_the_rounds(tmp_path: Path) -> None:
    """At most two of maths and three of writing are rewritten and judged in each round."""
    settings = describe_run(tmp_path, "http://127.0.0.1:9/v1")
    settings["evolve"] |= {"parents": {"maths": 2, "writing": 3}, "operators": ["deepen"]}
    estimate = estimate_run(read_settings(tmp_path / "small.yaml", settings))
    rounds = [s.requests for s in estimate.stages if s.stage.startswith("evolve")]
    assert rounds == [2 * 5, 2 * 5]
    answers = [s.requests for s in estimate.stages if s.stage.startswith("answer")]
    assert answers == [2 * (24 + 2 * 5), 3 * (24 + 2 * 5)]


def test_price_is_bounded_where_it_is_stated(tmp_path: Path) -> None:
    settings = describe_run(tmp_path, "http://127.0.0.1:9/v1")
    price = {"input_usd_per_million": 2.0, "output_usd_per_million": 8.0}
    settings["models"]["strong"]["price"] = price
    estimate = estimate_run(read_settings(tmp_path / "small.yaml", settings))
    for stage in estimate.stages:
        cost = (2 * stage.prompt_tokens + 8 * stage.completion_tokens) / 1e6
        assert stage.cost_usd == (pytest.approx(cost) if stage.model == "strong" else None)
    assert estimate.cost_usd is None

    settings["models"]["weak"]["price"] = price
    estimate = estimate_run(read_settings(tmp_path / "small.yaml", settings))
    assert estimate.cost_usd == pytest.approx(sum(s.cost_usd or 0 for s in estimate.stages))


def test_model_in_this_process_costs_nothing(tmp_path: Path) -> None:
    settings = describe_simple_run(tmp_path, "http://127.0.0.1:9/v1")
    terms = {"licence": "apache-2.0", "outputs_may_train": "yes"}
    settings["models"]["weak"] = {"kind": "embedded", **terms}
    estimate = estimate_run(read_settings(tmp_path / "small.yaml", settings))
    assert (estimate.requests, estimate.cost_usd) == (48, 0)


def test_people_see_a_table() -> None:
    tokens = {"requests": 3, "prompt_tokens": 4000, "completion_tokens": 50}
    stages = (
        StageEstimate(stage="evolve-1", model="weak", **tokens, cost_usd=None),
        StageEstimate(stage="answer-a", model="dear", **tokens, cost_usd=0.25),
    )
    out = io.StringIO()
    show_estimate(Estimate(stages=stages, **tokens, cost_usd=None), Console(out=out, err=out))
    title, head, weak, dear, total = out.getvalue().splitlines()
    assert title == "At most"
    assert head.split() == [
        "stage",
        "model",
        "requests",
        "prompt",
        "tokens",
        "completion",
        "tokens",
        "USD",
    ]
    assert weak.split() == ["evolve-1", "weak", "3", "4,000", "50", "no", "price", "stated"]
    assert dear.split() == ["answer-a", "dear", "3", "4,000", "50", "0.2500"]
    assert total == (
        "3 requests, 4,000 prompt tokens and 50 completion tokens at most, no price stated"
    )


def test_verb_prints_one_document(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings = describe_run(tmp_path, "http://127.0.0.1:9/v1")
    path = write_config(tmp_path / "small.yaml", settings)
    assert cli.main(["estimate", str(path), "--json"]) == 0
    estimate = estimate_run(read_settings(path, settings))
    assert json.loads(capsys.readouterr().out) == estimate.model_dump(mode="json")
