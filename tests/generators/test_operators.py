"""Parents, operators and the tasks that models rewrite: chosen by seed, never with an old key."""

import hashlib
from collections import Counter
from typing import Any

import pytest

from generators.clients import Failure, Request, Response, Sampling
from generators.constraint_forms import demands_something
from generators.constraints import state
from generators.operator_sets import GENERAL, METHOD, OPERATOR_SETS, OPERATORS
from generators.operators import (
    Attempt,
    Draw,
    EvolveSettings,
    bare_text,
    build_rewrite,
    choose_operator,
    clean_rewrite,
    fitting_operators,
    pick_parents,
    read_rewrite,
)
from generators.prompting import TEMPLATES
from generators.records import (
    Check,
    ConstraintCheck,
    JsonSchemaCheck,
    JudgeCheck,
    MathCheck,
    Message,
    ProceduralCheck,
    Prompt,
    Usage,
)

CODE, MATHS = list(OPERATOR_SETS["code"]), list(OPERATOR_SETS["maths"])
LLM_OPERATORS = [
    name
    for name, operator in OPERATORS.items()
    if operator.kind not in ("key", "turn") and name != METHOD
]
SETTINGS = EvolveSettings(model="m")
DRAW = Draw(run_seed=7, cycle=1, round=1)
NO_COMMA = {"id": "punctuation:no_comma"}
TITLE = {"id": "detectable_format:title"}
CONSTRAINED = ConstraintCheck(constraints=(NO_COMMA, TITLE))
TOOL = {"type": "function", "function": {"name": "add", "parameters": {"type": "object"}}}
GARDEN = "Describe a kitchen garden in winter."


def make_prompt(
    text: str = GARDEN, check: Check | None = None, domain: str = "writing", **fields: Any
) -> Prompt:
    fields = {"licence": "CC0-1.0", "source": "s.jsonl:1", "author": "me", **fields}
    return Prompt.seed([Message(role="user", content=text)], check=check, domain=domain, **fields)


def make_pool(**counts: int) -> list[Prompt]:
    return [
        make_prompt(f"{domain} task {i}", domain=domain)
        for i in range(max(counts.values()))
        for domain, count in counts.items()
        if i < count
    ]


def rewrite(
    parent: Prompt, text: str, finish_reason: Any = "stop", operator: str = "deepen"
) -> Attempt:
    outcome = Response(text=text, finish_reason=finish_reason, usage=Usage())
    return read_rewrite(
        parent, operator, outcome, form="complete", model="m@1", settings=SETTINGS, draw=DRAW
    )


def child_of(attempt: Attempt) -> Prompt:
    assert attempt.child is not None
    return attempt.child


# Parents


def test_every_prompt_evolves_unless_domains_are_named() -> None:
    pool = make_pool(writing=4, code=3)
    assert pick_parents(pool, SETTINGS, DRAW) == pool


def test_parents_are_drawn_domain_by_domain_in_the_pools_order() -> None:
    pool = make_pool(writing=30, code=20, maths=5, tools=5)
    settings = SETTINGS.model_copy(
        update={"parents": {"writing": 6, "code": 4, "maths": 9, "tools": 0}}
    )
    chosen = pick_parents(pool, settings, DRAW)
    assert Counter(prompt.domain for prompt in chosen) == {"writing": 6, "code": 4, "maths": 5}
    assert chosen == [prompt for prompt in pool if prompt in chosen]


def test_the_same_parents_are_drawn_from_the_same_pool_in_whatever_order() -> None:
    pool = make_pool(writing=30, code=20)
    settings = SETTINGS.model_copy(update={"parents": {"writing": 6}})
    chosen = pick_parents(pool, settings, DRAW)
    assert pick_parents(pool[::-1], settings, DRAW) == chosen[::-1]
    more = SETTINGS.model_copy(update={"parents": {"code": 2, "writing": 6}})
    assert [p for p in pick_parents(pool, more, DRAW) if p.domain == "writing"] == chosen


@pytest.mark.parametrize(
    "other", [{"run_seed": 8}, {"cycle": 2}, {"round": 2}], ids=lambda other: next(iter(other))
)
def test_another_round_draws_other_parents_and_operators(other: dict[str, int]) -> None:
    pool = make_pool(writing=60)
    settings = SETTINGS.model_copy(update={"parents": {"writing": 20}})
    draw = DRAW._replace(**other)
    assert pick_parents(pool, settings, draw) != pick_parents(pool, settings, DRAW)
    first, second = (
        [choose_operator(prompt, settings, each) for prompt in pool] for each in (DRAW, draw)
    )
    assert first != second
    assert first == [choose_operator(prompt, settings, DRAW) for prompt in pool]


def test_what_no_operator_fits_is_no_parent() -> None:
    settings = SETTINGS.model_copy(update={"operators": ("constraint",)})
    pool = make_pool(writing=1, code=1)
    assert pick_parents(pool, settings, DRAW) == pool[:1]
    bounded = settings.model_copy(update={"parents": {"code": 1, "writing": 1}})
    assert pick_parents(pool, bounded, DRAW) == pool[:1]


# Operators


@pytest.mark.parametrize(
    ("check", "domain", "operators"),
    [
        (None, "writing", [*GENERAL, "constraint"]),
        (CONSTRAINED, "explaining", [*GENERAL, "constraint"]),
        (CONSTRAINED, "code", CODE),
        (None, "maths", MATHS),
        (MathCheck(answer="5"), "maths", MATHS),
        (JsonSchemaCheck(schema={}), "writing", list(GENERAL)),
        (JudgeCheck(rubric="kind"), "writing", list(GENERAL)),
        (ProceduralCheck(task="gcd", entry={}), "maths", ["procedural"]),
        (ProceduralCheck(task="gcd", entry={}), "writing", ["procedural"]),
    ],
    ids=[
        "open",
        "open-constrained",
        "closed-constrained",
        "closed",
        "keyed",
        "open-keyed",
        "open-judged",
        "procedural",
        "open-procedural",
    ],
)
def test_operators_fit_the_kind_of_prompt(
    check: Check | None, domain: str, operators: list[str]
) -> None:
    assert fitting_operators(make_prompt(check=check, domain=domain), SETTINGS) == operators


def test_operators_named_by_hand_are_chosen_from_whatever_the_domain() -> None:
    some = SETTINGS.model_copy(update={"operators": ("procedural", "deepen", "constraint")})
    assert fitting_operators(make_prompt(), some) == ["deepen", "constraint"]
    assert fitting_operators(make_prompt(domain="maths"), some) == ["deepen"]


@pytest.mark.parametrize(
    ("domain", "count"), [("writing", 7), ("reasoning", 6), ("code", 5), ("maths", 2)]
)
def test_operators_are_chosen_uniformly(domain: str, count: int) -> None:
    each = 600
    prompts = [make_prompt(f"Task {i}", domain=domain) for i in range(count * each)]
    chosen = Counter(choose_operator(prompt, SETTINGS, DRAW) for prompt in prompts)
    assert set(chosen) == set(fitting_operators(prompts[0], SETTINGS))
    assert len(chosen) == count
    assert 500 < min(chosen.values()) <= each <= max(chosen.values()) < 700


def test_general_tasks_keep_the_draws_they_had() -> None:
    prompts = [make_prompt(f"Task {i}") for i in range(6)]
    assert [choose_operator(prompt, SETTINGS, DRAW) for prompt in prompts] == [
        *("concretise", "complicate_input", "breadth"),
        *("add_constraints", "increase_reasoning", "concretise"),
    ]


def test_every_operator_of_a_model_is_in_one_set() -> None:
    kinds = Counter(operator.kind for operator in OPERATORS.values())
    assert kinds == {"depth": 12, "breadth": 1, "downward": 1, "turn": 1, "key": 2}
    assert [*GENERAL, *CODE, *MATHS] == LLM_OPERATORS
    assert all(name == operator.name for name, operator in OPERATORS.items())


# Rewriting


def test_the_model_is_shown_the_task_without_its_constraints() -> None:
    parent = make_prompt(f"{GARDEN}\n\n{state(CONSTRAINED.constraints)}", CONSTRAINED)
    request = build_rewrite(parent, "deepen", "complete", SETTINGS, DRAW)
    assert request.text is not None
    assert request.text.endswith(f"\n\nTask: {GARDEN}\nNew task:")
    assert request == Request(
        text=request.text,
        sampling=Sampling(temperature=0.7, max_tokens=80, stop=("\n",)),
        seed=DRAW.seed(parent.id, "deepen", 0),
    )


def test_each_rewrite_has_a_seed_of_its_own() -> None:
    parents = make_pool(writing=3)
    seeds = {
        build_rewrite(parent, operator, "chat", SETTINGS, draw).seed
        for parent in parents
        for operator in LLM_OPERATORS
        for draw in (DRAW, DRAW._replace(round=2), DRAW._replace(cycle=2))
    }
    assert len(seeds) == 3 * 13 * 3


@pytest.mark.parametrize("operator", LLM_OPERATORS)
@pytest.mark.parametrize(
    "check", [MathCheck(answer="5"), JsonSchemaCheck(schema={}), CONSTRAINED], ids=lambda c: c.kind
)
def test_a_rewritten_task_of_a_closed_domain_has_lost_its_check(
    operator: str, check: Check
) -> None:
    parent = make_prompt("What is 2 + 3?", check, domain="maths")
    attempt = rewrite(parent, " What is 2 + 3 + x?", operator=operator)
    assert child_of(attempt).check is None
    assert child_of(attempt).text == "What is 2 + 3 + x?"


@pytest.mark.parametrize(
    "check", [None, CONSTRAINED, MathCheck(answer="5")], ids=["unkeyed", "constrained", "keyed"]
)
def test_a_rewritten_task_of_an_open_domain_gets_a_constraint_of_its_own(
    check: Check | None,
) -> None:
    task = "Describe a kitchen garden in winter, and say why it rests."
    child = child_of(rewrite(make_prompt(check=check), f"{task}\n"))
    assert isinstance(child.check, ConstraintCheck)
    assert 1 <= len(child.check.constraints) <= 2
    assert any(map(demands_something, child.check.constraints))
    assert child.text == f"{task}\n\n{state(child.check.constraints)}"
    assert bare_text(child) == task
    assert child.check == child_of(rewrite(make_prompt(check=check), task)).check


def test_a_rewritten_task_knows_where_it_comes_from() -> None:
    seed = make_prompt("What is 2 + 3?", MathCheck(answer="5"), domain="maths", tools=[TOOL])
    parent = child_of(rewrite(seed, "What is 2 + 3 + 4?", operator="breadth"))
    attempt = rewrite(parent, "What is 2 + 3 + 4, and why?", operator="concretise")
    file = (TEMPLATES / "complete/concretise.jinja").read_bytes()
    child = child_of(attempt)
    assert child.model_dump() == {
        "id": attempt.id,
        "root_id": seed.id,
        "parent_id": parent.id,
        "round": 1,
        "operator": "concretise",
        "messages": ({**seed.messages[0].model_dump(), "content": "What is 2 + 3 + 4, and why?"},),
        "tools": (TOOL,),
        "check": None,
        "domain": "maths",
        "licence": "CC0-1.0",
        "source": "s.jsonl:1",
        "author": "m@1",
        "template_hash": hashlib.sha256(file).hexdigest()[:16],
    }
    assert attempt == Attempt(parent, "concretise", 1, child)


def test_only_the_last_user_turn_is_rewritten() -> None:
    turns = (
        Message(role="system", content="Be brief."),
        Message(role="user", content="Hello"),
        Message(role="assistant", content="Hello!"),
        Message(role="user", content="What is 2 + 3?"),
        Message(role="assistant", content="5"),
    )
    parent = make_prompt(domain="maths").model_copy(update={"messages": turns})
    child = child_of(rewrite(parent, "What is 2 + 4?"))
    assert child.messages == (*turns[:3], Message(role="user", content="What is 2 + 4?"))


@pytest.mark.parametrize(("finish_reason", "ended"), [("stop", True), ("length", False)])
def test_it_is_remembered_whether_the_task_was_ended(finish_reason: str, ended: bool) -> None:
    assert rewrite(make_prompt(), "Describe a", finish_reason).ended is ended


def test_an_empty_rewrite_gets_no_check() -> None:
    child = child_of(rewrite(make_prompt(), ' "" '))
    assert (child.text, child.check) == ("", None)


def test_a_failure_stands_in_for_the_child_of_its_round() -> None:
    parent = make_prompt()
    failure = Failure(reason="http_400", message="no", permanent=True)
    first, second = (
        read_rewrite(
            parent, "deepen", failure, form="chat", model="m", settings=SETTINGS, draw=draw
        )
        for draw in (DRAW, DRAW._replace(round=2))
    )
    assert first == Attempt(parent, "deepen", 1, failure=failure)
    assert first.id == f"{parent.id}:deepen:1"
    assert second.id != first.id


@pytest.mark.parametrize(
    ("written", "task"),
    [
        ("  Sing.\n", "Sing."),
        ('"Sing."', "Sing."),
        ("“Sing.”", "Sing."),
        ("-----\nSing.\n-----", "Sing."),
        ('-----\n\n"Sing."\n-----\n', "Sing."),
        ('Say "no".', 'Say "no".'),
        ('"No" or "yes"?', '"No" or "yes"?'),
        ("“No” or “yes”?", "“No” or “yes”?"),
        ("- 4 plus 5?", "- 4 plus 5?"),
        ("-4 + 5 = ?", "-4 + 5 = ?"),
        ("- one\n-----\n- two", "- one\n-----\n- two"),
        ('"', '"'),
        ("-----", ""),
        ("", ""),
    ],
)
def test_what_is_set_around_a_task_is_dropped(written: str, task: str) -> None:
    assert clean_rewrite(written) == task
