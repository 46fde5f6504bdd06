"""Operators are chosen by what their children came to, and the untried ones get their chance."""

import random
from collections import Counter
from pathlib import Path

import pytest

from generators.credit import Credit, draw_operator, dump_credit, load_credit
from generators.errors import InputError
from generators.operators import Draw, EvolveSettings, choose_operator
from generators.records import Message, Prompt

NAMES = ["deepen", "concretise", "breadth"]


def credit(operator: str, tried: int, verified: int, in_band: int | None = None) -> Credit:
    return Credit(
        operator=operator,
        domain="writing",
        tried=tried,
        survived=verified,
        verified=verified,
        in_band=in_band,
    )


def count_choices(*credits: Credit, domain: str = "writing") -> Counter[str]:
    known = {(c.operator, c.domain): c for c in credits}
    return Counter(draw_operator(NAMES, domain, known, random.Random(i)) for i in range(3000))


def test_the_better_operator_is_chosen_more_often() -> None:
    chosen = count_choices(
        credit("deepen", 50, 40), credit("concretise", 50, 25), credit("breadth", 50, 5)
    )
    assert chosen["deepen"] > 2900
    assert chosen["breadth"] == 0


def test_what_was_hardly_tried_is_still_chosen() -> None:
    chosen = count_choices(credit("deepen", 100, 60), credit("concretise", 100, 50))
    assert 900 < chosen["breadth"] < 1500  # uniform on [0, 1] against about .6
    assert chosen["deepen"] > chosen["concretise"]


def test_children_in_the_band_count_where_difficulty_was_measured() -> None:
    chosen = count_choices(
        credit("deepen", 60, 55, in_band=3),
        credit("concretise", 60, 30, in_band=28),
        credit("breadth", 60, 2, in_band=0),
    )
    assert chosen["concretise"] > 2900


def test_another_domain_knows_nothing_of_it() -> None:
    chosen = count_choices(credit("deepen", 500, 500), domain="maths")
    assert max(chosen.values()) < 1150


def test_a_prompts_choice_is_decided_by_its_seed() -> None:
    settings = EvolveSettings(model="m", operators=tuple(NAMES))
    credits = {("deepen", "writing"): credit("deepen", 20, 12)}
    prompts = [
        Prompt.seed(
            [Message(role="user", content=f"Write a line about day {i}.")],
            check=None,
            domain="writing",
            licence="CC0-1.0",
            source="s.jsonl:1",
            author="us",
        )
        for i in range(60)
    ]
    draw = Draw(run_seed=7, cycle=1, round=1)
    chosen = [choose_operator(p, settings, draw, credits) for p in prompts]
    assert chosen == [choose_operator(p, settings, draw, credits) for p in prompts]
    assert len(set(chosen)) == 3
    failed = {(name, "writing"): credit(name, 200, 0) for name in NAMES if name != "breadth"}
    chosen = [choose_operator(p, settings, draw, failed) for p in prompts]
    assert chosen.count("breadth") >= 58


def test_credit_is_written_and_read(tmp_path: Path) -> None:
    credits = [credit("deepen", 9, 4), credit("breadth", 3, 0, in_band=0)]
    file = tmp_path / "credit.json"
    file.write_text(dump_credit(credits), encoding="utf-8")
    assert [*load_credit(file).values()] == credits


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param("{}", "top: Input should be a valid array", id="no list"),
        pytest.param(
            '[{"operator": "deepen", "domain": "d", "tried": 2, "survived": 2, "verified": 3, '
            '"in_band": null}]',
            "0: Value error, deepen in d: [2, 2, 3, 0] do not descend",
            id="more verified than tried",
        ),
        pytest.param('[{"operator": "deepen"}]', "0.domain: Field required", id="no domain"),
    ],
)
def test_a_file_of_something_else_is_refused(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "credit.json"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(InputError) as caught:
        load_credit(file)
    assert str(caught.value) == (
        f"{file}: not the credit.json of a run: {message}. Give the file that lies in the run"
        " directory."
    )


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        load_credit(tmp_path / "none.json")
    assert str(caught.value) == f"{tmp_path}/none.json: cannot be read: No such file or directory"
