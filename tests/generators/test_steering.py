"""What a student fails at gets more of the next cycle."""

import random
from collections import Counter

import pytest

from generators.operators import Draw, EvolveSettings, pick_parents
from generators.records import ExactCheck, Message, ProceduralCheck, Prompt
from generators.seeds import load_seeds
from generators.steering import (
    draw_weighted,
    kind_of,
    scale_draws,
    share_parents,
    weigh_kinds,
)


def make_prompt(number: int, domain: str = "maths", task: str | None = None) -> Prompt:
    check = ExactCheck(kind="exact", answer=str(number))
    made = ProceduralCheck(task=task, entry={"answer": str(number)}) if task else check
    return Prompt.seed(
        (Message(role="user", content=f"Prompt {number} of {domain} {task}"),),
        check=made,
        domain=domain,
        licence="CC0-1.0",
        source="test",
        author="test",
    )


def test_kinds_are_tasks_or_domains() -> None:
    assert kind_of(make_prompt(1, "maths", "chain_sum")) == "chain_sum"
    assert kind_of(make_prompt(1, "writing")) == "writing"


def test_weight_is_the_share_of_failures_by_the_rule_of_succession() -> None:
    weights = weigh_kinds({"solved": (98, 98), "failed": (8, 0), "half": (10, 5)})
    assert weights == {"solved": 0.01, "failed": 0.9, "half": 0.5}


def test_draws_are_only_ever_made_fewer() -> None:
    assert scale_draws({"a": 0.9, "b": 0.45, "c": 0.09}) == pytest.approx(
        {"a": 1.0, "b": 0.5, "c": 0.1}
    )
    assert scale_draws({}) == {}


def test_parents_move_to_what_is_failed_at_and_their_number_stays() -> None:
    pool = [make_prompt(i, d) for d in ("maths", "writing", "code") for i in range(4)]
    wanted = {"maths": 10, "writing": 10, "code": 7}
    shares = share_parents(wanted, pool, {"maths": 0.75, "writing": 0.25})
    assert shares == {"maths": 15, "writing": 5, "code": 7}


@pytest.mark.parametrize("weights", [{}, {"elsewhere": 0.5}], ids=["none", "of-others"])
def test_parents_stay_where_nothing_is_known(weights: dict[str, float]) -> None:
    pool = [make_prompt(i) for i in range(4)]
    assert share_parents({"maths": 3}, pool, weights) == {"maths": 3}


def test_shares_that_are_no_whole_numbers_add_up() -> None:
    pool = [make_prompt(i, d) for d in ("a", "b", "c") for i in range(2)]
    shares = share_parents({"a": 5, "b": 5, "c": 5}, pool, {"a": 0.3, "b": 0.31, "c": 0.32})
    assert sum(shares.values()) == 15
    assert shares["c"] >= shares["b"] >= shares["a"]


def test_prompts_are_drawn_as_often_as_their_kind_weighs() -> None:
    prompts = [make_prompt(i, task=task) for task in ("easy", "hard") for i in range(5)]
    drawn: Counter[str] = Counter()
    for seed in range(600):
        (one,) = draw_weighted(prompts, 1, {"easy": 0.2, "hard": 0.8}, random.Random(seed))
        drawn[kind_of(one)] += 1
    assert drawn["hard"] / 600 == pytest.approx(0.8, abs=0.05)


def test_kind_that_was_not_tried_weighs_as_the_average() -> None:
    prompts = [make_prompt(i, task=task) for task in ("tried", "new") for i in range(5)]
    drawn: Counter[str] = Counter()
    for seed in range(600):
        (one,) = draw_weighted(prompts, 1, {"tried": 0.9, "other": 0.3}, random.Random(seed))
        drawn[kind_of(one)] += 1
    assert drawn["new"] / 600 == pytest.approx(0.4, abs=0.05)


def test_parents_of_a_domain_are_those_of_the_failed_kind() -> None:
    pool = [make_prompt(i, task=task) for task in ("easy", "hard") for i in range(40)]
    settings = EvolveSettings(model="m", operators=("procedural",), parents={"maths": 20})
    draw = Draw(run_seed=3, cycle=2, round=1)
    plain = Counter(kind_of(p) for p in pick_parents(pool, settings, draw))
    steered = Counter(
        kind_of(p) for p in pick_parents(pool, settings, draw, {"easy": 0.02, "hard": 0.98})
    )
    assert plain["easy"] > 4
    assert (steered["hard"], steered["easy"]) == (20, 0)
    assert pick_parents(pool, settings, draw, {}) == pick_parents(pool, settings, draw)


def test_seeds_of_solved_tasks_are_drawn_less() -> None:
    every = Counter(kind_of(p) for p in load_seeds("seeds/arithmetic.jsonl", split="train"))
    task = next(iter(every))
    few = Counter(
        kind_of(p) for p in load_seeds("seeds/arithmetic.jsonl", split="train", shares={task: 0.25})
    )
    assert few[task] < every[task] / 2
    assert {kind: n for kind, n in few.items() if kind != task} == {
        kind: n for kind, n in every.items() if kind != task
    }
