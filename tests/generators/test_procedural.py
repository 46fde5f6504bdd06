"""Procedural tasks: drawing, splits, evolution, scoring."""

import itertools
import math
import re
import warnings
from collections import Counter
from typing import Any

import pytest

from generators.errors import InputError
from generators.procedural import (
    TASKS,
    Signature,
    evolve_entry,
    levels,
    make_entries,
    prompt_of,
    score,
    signature,
    split_of,
)
from generators.records import ProceduralCheck
from generators.word_problems import STORIES

WIDE: dict[str, dict[str, Any]] = {
    "chain_sum": {"max_terms": 4, "max_digits": 3},
    "products": {"max_terms": 3, "max_digits": 2},
    "gcd": {"max_numbers": 3, "max_value": 100},
    **{f"template:{story}": {"num_steps": 2, "max_value": 50} for story in STORIES},
}

KNOWN = ", ".join(sorted(WIDE))


def _checks(task: str, count: int, *, split: Any = "train", **params: Any) -> list[ProceduralCheck]:
    entries = make_entries(task, params, count, seed=3, split=split)
    return [ProceduralCheck(task=task, entry=entry) for entry in entries]


def _recompute(check: ProceduralCheck) -> int:
    """The answer from the question alone."""
    question = prompt_of(check)
    numbers = [int(n) for n in re.findall(r"\d+", question)]
    match check.task:
        case "chain_sum" | "products":
            expression = re.search(r": (.+?)(?: =|\.$)", question)
            assert expression
            return eval(expression[1], {"__builtins__": {}})
        case "gcd":
            return math.gcd(*numbers)
        case "template:apples":
            signs = (1, 1, -1, 1)
        case "template:bus":
            signs = (1, -1, 1, 1)
        case "template:savings":
            signs = (1, 1, 1, -1)
        case _:
            product, numbers = numbers[0] * numbers[1], numbers[2:]
            return product + sum(s * n for s, n in zip((1, -1), numbers, strict=False))
    return sum(s * n for s, n in zip(signs, numbers, strict=False))


@pytest.mark.parametrize("task", TASKS)
def test_answers_are_right_and_entries_distinct(task: str) -> None:
    checks = _checks(task, 150, **WIDE[task])
    assert len({signature(check) for check in checks}) == 150
    assert [int(check.entry["answer"]) for check in checks] == [_recompute(c) for c in checks]


@pytest.mark.parametrize("task", TASKS)
def test_entries_keep_their_operands_and_params(task: str) -> None:
    [check] = _checks(task, 1, **WIDE[task])
    numbers = [int(n) for n in re.findall(r"\d+", prompt_of(check))]
    metadata = check.entry["metadata"]
    assert metadata["operands"] == numbers
    assert metadata["params"] == TASKS[task].params(**WIDE[task]).model_dump()
    assert ProceduralCheck.model_validate_json(check.model_dump_json()) == check


@pytest.mark.parametrize("task", TASKS)
def test_splits_are_disjoint_over_thousands_of_draws(task: str) -> None:
    drawn: dict[str, set[Signature]] = {
        split: {signature(check) for check in _checks(task, count, split=split, **WIDE[task])}
        for split, count in (("train", 1000), ("heldout", 400), ("examples", 40))
    }
    for split, signatures in drawn.items():
        assert {split_of(one) for one in signatures} == {split}
    assert not any(a & b for a, b in itertools.combinations(drawn.values(), 2))


def test_without_a_split_the_examples_stay_out() -> None:
    drawn = Counter(split_of(signature(check)) for check in _checks("products", 51, split=None))
    assert drawn == {"train": 36, "heldout": 15}


def test_split_shares() -> None:
    pairs = itertools.combinations_with_replacement(range(1, 101), 2)
    shares = Counter(split_of(("gcd", pair)) for pair in pairs)
    total = shares.total()
    assert {split: round(count / total, 2) for split, count in shares.items()} == pytest.approx(
        {"train": 0.70, "heldout": 0.26, "examples": 0.04}, abs=0.015
    )


def test_order_and_sign_do_not_make_another_signature() -> None:
    def check(operands: list[int]) -> ProceduralCheck:
        entry = {"question": "", "answer": "", "metadata": {"operands": operands}}
        return ProceduralCheck(task="chain_sum", entry=entry)

    assert signature(check([3, 4])) == signature(check([4, -3])) == ("chain_sum", (3, 4))


def test_draws_depend_on_the_seed_only() -> None:
    params = {"min_digits": 2, "max_digits": 2}
    first = make_entries("chain_sum", params, 40, seed=1, split="train")
    assert first == make_entries("chain_sum", params, 40, seed=1, split="train")
    second = make_entries("chain_sum", params, 40, seed=2, split="train")
    questions = [{entry["question"] for entry in entries} for entries in (first, second)]
    assert len(questions[0] & questions[1]) < 5


def test_avoided_signatures_are_not_drawn() -> None:
    first = _checks("products", 20)
    taken = {signature(check) for check in first}
    rest = make_entries("products", {}, 16, seed=9, split="train", avoid=taken)
    assert not taken & {signature(ProceduralCheck(task="products", entry=e)) for e in rest}


@pytest.mark.parametrize(
    ("task", "params", "count", "message"),
    [
        (
            "product",
            {},
            1,
            f"task: 'product' is not known; choose from {KNOWN} (did you mean products?)",
        ),
        ("products", {"max_terms": "3"}, 1, "params.max_terms: input should be a valid integer"),
        (
            "gcd",
            {"min_value": 9, "max_value": 9},
            1,
            "params: min_value and max_value are the same; leave a range between them",
        ),
        (
            "products",
            {},
            37,
            "products has only 36 distinct entries left in the train split with these params, not "
            "37; lower the count or widen the params",
        ),
    ],
    ids=["task", "type", "no range", "too many"],
)
def test_impossible_draws_are_refused(
    task: str, params: dict[str, Any], count: int, message: str
) -> None:
    with pytest.raises(InputError) as refused:
        make_entries(task, params, count, seed=0, split="train")
    assert str(refused.value) == message


@pytest.mark.parametrize("harder", [True, False], ids=["harder", "easier"])
@pytest.mark.parametrize("task", TASKS)
def test_evolving_moves_one_axis_by_one_rung(task: str, harder: bool) -> None:
    moved: Counter[str] = Counter()
    for seed, check in enumerate(_checks(task, 40, **WIDE[task])):
        evolved = evolve_entry(check, harder=harder, seed=seed, split="train")
        if evolved is None:
            continue
        old, new = levels(check), levels(evolved.check)
        [axis] = [name for name in old if old[name] != new[name]]
        rungs = next(one.rungs for one in TASKS[task].axes if one.name == axis)
        assert rungs.index(new[axis]) - rungs.index(old[axis]) == (1 if harder else -1)
        assert evolved.change == f"{axis} {old[axis]} -> {new[axis]}"
        assert int(evolved.check.entry["answer"]) == _recompute(evolved.check)
        assert split_of(signature(evolved.check)) == "train"
        moved[axis] += 1
    assert moved.total() >= 25
    assert moved.keys() == {axis.name for axis in TASKS[task].axes}


def test_evolving_is_repeatable_and_stays_in_the_heldout_split() -> None:
    for check in _checks("gcd", 30, split="heldout"):
        evolved = evolve_entry(check, harder=True, seed=5, split="heldout")
        assert evolved is not None
        assert split_of(signature(evolved.check)) == "heldout"
        assert evolved == evolve_entry(check, harder=True, seed=5, split="heldout")


@pytest.mark.parametrize("harder", [True, False], ids=["harder", "easier"])
@pytest.mark.parametrize("task", TASKS)
def test_evolution_ends_at_the_end_of_all_ladders(task: str, harder: bool) -> None:
    [check] = _checks(task, 1, **WIDE[task])
    for seed in range(30):
        evolved = evolve_entry(check, harder=harder, seed=seed, split="train")
        if evolved is None:
            break
        check = evolved.check
    end = -1 if harder else 0
    assert levels(check) == {axis.name: axis.rungs[end] for axis in TASKS[task].axes}


def test_params_of_a_child_say_how_it_was_drawn() -> None:
    [check] = _checks("products", 1)
    evolved = evolve_entry(check, harder=True, seed=0, split="train")
    assert evolved is not None
    params = evolved.check.entry["metadata"]["params"]
    level = levels(evolved.check)
    assert (params["min_terms"], params["max_terms"]) == (level["num_terms"],) * 2
    assert (params["min_digits"], params["max_digits"]) == (level["num_digits"],) * 2


@pytest.mark.parametrize("task", TASKS)
def test_only_the_right_answer_scores_one(task: str) -> None:
    for check in _checks(task, 20, **WIDE[task]):
        answer = int(check.entry["answer"])
        assert score(check, str(answer)) == 1.0
        assert score(check, str(answer + 1)) < 1.0
        assert score(check, f"{answer} or {answer + 1}") < 1.0
        assert score(check, "") == 0.0


@pytest.mark.parametrize("text", ["12.0", "twelve", "1" * 5000, "१२", "12 apples"])
def test_story_wants_a_whole_number(text: str) -> None:
    entry = {"question": "?", "answer": "12", "metadata": {"operands": [5, 7]}}
    check = ProceduralCheck(task="template:apples", entry=entry)
    assert score(check, " 12 ") == 1.0
    assert score(check, text) == 0.0


def test_scoring_knows_all_of_reasoning_gym_and_names_what_it_does_not() -> None:
    check = ProceduralCheck(task="lcm", entry={"question": "?", "answer": "12", "metadata": {}})
    assert score(check, "12") == 1.0
    for task, message in (
        ("gdc", "'gdc' is no task of reasoning-gym (did you mean gcd?)"),
        (
            "template:apple",
            f"task 'template:apple' is not known; choose from {KNOWN} (did you mean "
            "template:apples?)",
        ),
    ):
        with pytest.raises(InputError) as refused:
            score(ProceduralCheck(task=task, entry=check.entry), "12")
        assert str(refused.value) == message


def test_no_story_takes_away_more_than_there_is() -> None:
    for story in STORIES:
        checks = _checks(f"template:{story}", 300, num_steps=3, max_value=50)
        assert min(int(check.entry["answer"]) for check in checks) >= 0


def test_reasoning_gym_is_imported_quietly() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert make_entries("gcd", {}, 1, seed=0)[0]["metadata"]["source_dataset"] == "gcd"
