"""Operators that compute a child's key: constraints add up, procedural tasks are drawn anew."""

import math
import re
from typing import Any

import pytest

from generators import procedural
from generators.clients import Failure
from generators.constraint_conflicts import are_compatible
from generators.constraints import CATALOGUE, state
from generators.operators import Attempt, Draw, EvolveSettings, bare_text, evolve_by_key
from generators.procedural import TASKS, levels, make_entries, signature, split_of
from generators.records import ConstraintCheck, Message, ProceduralCheck, Prompt

SETTINGS = EvolveSettings(model="m")
GARDEN = "Describe how a kitchen garden changes with the seasons in Norway."
TURNS = (Message(role="system", content="Be brief."), Message(role="user", content=GARDEN))
EASIEST = {
    "chain_sum": {"num_terms": 2, "num_digits": 1},
    "gcd": {"num_numbers": 2, "max_value": 10},
    "template:bakery": {"num_steps": 1, "max_value": 10},
}
HARDEST = {
    "chain_sum": {"num_terms": 6, "num_digits": 4},
    "gcd": {"num_numbers": 5, "max_value": 1000},
    "template:bakery": {"num_steps": 3, "max_value": 500},
}
PARAMS: dict[str, dict[str, Any]] = {
    "chain_sum": {"min_terms": 3, "max_terms": 3, "min_digits": 2, "max_digits": 2},
    "products": {"min_terms": 2, "max_terms": 2, "min_digits": 2, "max_digits": 2},
    "gcd": {"min_numbers": 3, "max_numbers": 3, "max_value": 60},
    "template:bakery": {"num_steps": 2, "max_value": 50},
}


def at_round(round: int) -> Draw:
    return Draw(run_seed=7, cycle=1, round=round)


def make_writing() -> Prompt:
    return Prompt.seed(
        TURNS, check=None, domain="writing", licence="CC0-1.0", source="s:1", author="me"
    )


def make_procedural(task: str, **params: Any) -> Prompt:
    (entry,) = make_entries(task, params, 1, seed=3, split="train")
    return Prompt.seed(
        [Message(role="user", content=entry["question"])],
        check=ProceduralCheck(task=task, entry=entry),
        domain="maths",
        licence="CC0-1.0",
        source="s:1",
        author="me",
    )


def child_of(attempt: Attempt) -> Prompt:
    assert attempt.child is not None
    return attempt.child


def constraints_of(prompt: Prompt) -> tuple[dict[str, Any], ...]:
    return prompt.check.constraints if isinstance(prompt.check, ConstraintCheck) else ()


def check_of(prompt: Prompt) -> ProceduralCheck:
    assert isinstance(prompt.check, ProceduralCheck)
    return prompt.check


def evolve_procedural(parent: Prompt, round: int = 1) -> Attempt:
    return evolve_by_key(parent, "procedural", SETTINGS, at_round(round))


# Constraints


@pytest.mark.parametrize("cycle", range(20))
def test_constraints_add_up_and_can_be_met_together(cycle: int) -> None:
    prompt = make_writing()
    for round in (1, 2, 3):
        draw = Draw(run_seed=7, cycle=cycle, round=round)
        before, attempt = prompt, evolve_by_key(prompt, "constraint", SETTINGS, draw)
        if attempt.child is None:  # what it has leaves room for nothing else
            assert round > 1
            break
        prompt = attempt.child
        added = constraints_of(prompt)[len(constraints_of(before)) :]
        assert constraints_of(prompt) == (*constraints_of(before), *added)
        assert len(added) in ((1, 2) if round == 1 else (1,))
        assert are_compatible(constraints_of(prompt))
        assert prompt.text == f"{GARDEN}\n\n{state(constraints_of(prompt))}"
        assert bare_text(prompt) == GARDEN


def test_most_prompts_take_three_constraints() -> None:
    """So the test above seldom stops early."""
    took = 0
    for cycle in range(20):
        prompt: Prompt | None = make_writing()
        for round in (1, 2, 3):
            draw = Draw(run_seed=7, cycle=cycle, round=round)
            prompt = prompt and evolve_by_key(prompt, "constraint", SETTINGS, draw).child
        took += prompt is not None
    assert took >= 15


def test_a_constrained_task_knows_where_it_comes_from() -> None:
    seed = make_writing()
    attempt = evolve_by_key(seed, "constraint", SETTINGS, at_round(2))
    child = child_of(attempt)
    assert attempt == Attempt(seed, "constraint", 2, child)
    assert attempt.id == child.id
    assert (child.root_id, child.parent_id, child.round) == (seed.id, seed.id, 2)
    assert (child.operator, child.author, child.template_hash) == ("constraint", "tutelage", None)
    assert child.messages[:-1] == TURNS[:1]
    assert child_of(evolve_by_key(seed, "constraint", SETTINGS, at_round(2))) == child


def test_constraints_come_from_the_settings_so_many_at_a_time() -> None:
    ids = ("punctuation:no_comma", "detectable_format:title", "keywords:existence")
    settings = SETTINGS.model_copy(update={"constraints": ids, "constraints_per_prompt": 2})
    seen = set()
    for round in range(1, 20):
        child = child_of(evolve_by_key(make_writing(), "constraint", settings, at_round(round)))
        drawn = [constraint["id"] for constraint in constraints_of(child)]
        assert len(drawn) == len(set(drawn)) == 2
        seen |= set(drawn)
    assert seen == set(ids) < set(CATALOGUE)


def test_a_task_that_takes_no_more_constraints_says_so() -> None:
    settings = SETTINGS.model_copy(update={"constraints": ("detectable_format:title",)})
    child = child_of(evolve_by_key(make_writing(), "constraint", settings, at_round(1)))
    attempt = evolve_by_key(child, "constraint", settings, at_round(2))
    assert attempt.child is None
    assert attempt.failure is not None
    assert attempt.failure == Failure(
        reason="no_constraint_fits",
        message="no constraint fits that demands something and is not settled already",
        permanent=True,
    )


# Procedural tasks


def recompute(task: str, question: str) -> int:
    """The answer from the question alone."""
    numbers = [int(number) for number in re.findall(r"\d+", question)]
    match task:
        case "chain_sum":
            signs = re.findall(r"[+-](?= \d)", question)
            assert len(signs) == len(numbers) - 1
            return numbers[0] + sum(
                number if sign == "+" else -number
                for sign, number in zip(signs, numbers[1:], strict=True)
            )
        case "products":
            return math.prod(numbers)
        case "gcd":
            return math.gcd(*numbers)
        case _:
            rolls, rest = numbers[0] * numbers[1], [*numbers[2:], 0, 0]
            return rolls + rest[0] - rest[1]


@pytest.mark.parametrize("task", PARAMS)
def test_a_task_drawn_anew_has_its_own_answer(task: str) -> None:
    parent = make_procedural(task, **PARAMS[task])
    children = [child_of(evolve_procedural(parent, round)) for round in range(1, 9)]
    rungs = {axis.name: axis.rungs for axis in TASKS[task].axes}
    old = levels(check_of(parent))
    steps = set()
    for child in children:
        check = check_of(child)
        assert check.task == task
        assert child.messages == (Message(role="user", content=check.entry["question"]),)
        assert int(check.entry["answer"]) == recompute(task, child.text)
        assert split_of(signature(check)) == "train"
        (changed,) = ((name, level) for name, level in levels(check).items() if level != old[name])
        rung = rungs[changed[0]].index
        steps.add(rung(changed[1]) - rung(old[changed[0]]))
    assert steps == {-1, 1}


@pytest.mark.parametrize("levels_at_end", [EASIEST, HARDEST], ids=["easiest", "hardest"])
@pytest.mark.parametrize("task", EASIEST)
def test_at_the_end_of_the_ladder_it_turns_back(
    task: str, levels_at_end: dict[str, dict[str, int]]
) -> None:
    harder = levels_at_end is EASIEST
    parent = make_procedural(task, **PARAMS[task])
    check = check_of(parent)
    for seed in range(30):  # climb to the end first
        evolved = procedural.evolve_entry(check, harder=not harder, seed=seed, split="train")
        check = evolved.check if evolved else check
    assert levels(check) == levels_at_end[task]
    parent = parent.model_copy(update={"check": check})
    for round in range(1, 6):
        old, new = levels(check), levels(check_of(child_of(evolve_procedural(parent, round))))
        assert (sum(new.values()) > sum(old.values())) is harder
        assert sum(new[axis] != old[axis] for axis in old) == 1


def test_a_task_without_another_difficulty_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[bool] = []

    def find_nothing(check: ProceduralCheck, *, harder: bool, **options: Any) -> None:
        asked.append(harder)

    monkeypatch.setattr(procedural, "evolve_entry", find_nothing)
    attempt = evolve_procedural(make_procedural("gcd"))
    assert sorted(asked) == [False, True]
    assert attempt.child is None
    assert attempt.failure is not None
    assert attempt.failure == Failure(
        reason="no_other_difficulty",
        message="gcd has neither a harder nor an easier step",
        permanent=True,
    )


def test_a_procedural_child_knows_where_it_comes_from() -> None:
    seed = make_procedural("gcd", **PARAMS["gcd"])
    child = child_of(evolve_procedural(seed))
    grandchild = child_of(evolve_procedural(child, 2))
    assert (grandchild.root_id, grandchild.parent_id) == (seed.id, child.id)
    assert (grandchild.round, grandchild.operator) == (2, "procedural")
    assert (grandchild.author, grandchild.template_hash) == ("the generator of gcd", None)
    assert (grandchild.domain, grandchild.licence, grandchild.source) == (
        "maths",
        "CC0-1.0",
        "s:1",
    )
    assert child_of(evolve_procedural(seed)) == child
