"""Drawn constraints can be met together, are asked for in words, and can be checked."""

import json
import random
from typing import Any

import pytest

from filters.constraints import check_constraints
from generators.constraint_conflicts import are_compatible
from generators.constraint_forms import demands_something, validate_constraint
from generators.constraints import CATALOGUE, draw_constraints, state, without_statement
from generators.errors import ConfigError

TASK = "Describe how a kitchen garden changes with the seasons in Norway."
CONTENT_WORDS = {"kitchen", "garden", "changes", "seasons"}
WORDS = "length_constraints:number_words"
ANSWERS: dict[str, tuple[dict[str, Any], str, str]] = {
    WORDS: ({"relation": "at least", "num_words": 5}, "Snow covers every bed here.", "Snow falls."),
    "length_constraints:number_sentences": (
        {"relation": "at least", "num_sentences": 2},
        "Snow falls. Beds rest.",
        "Snow falls on the beds.",
    ),
    "length_constraints:number_paragraphs": (
        {"num_paragraphs": 2},
        "Snow falls.\n***\nBeds rest.",
        "Snow falls.\n\nBeds rest.",
    ),
    "keywords:existence": ({"keywords": ["garden"]}, "The garden rests.", "The bed rests."),
    "keywords:frequency": (
        {"keyword": "garden", "frequency": 2, "relation": "at least"},
        "A garden is a garden.",
        "A garden is a bed.",
    ),
    "keywords:forbidden_words": ({"forbidden_words": ["very"]}, "It is cold.", "It is very cold."),
    "detectable_format:number_bullet_lists": (
        {"num_bullets": 2},
        "* sow\n* reap",
        "* sow\n* water\n* reap",
    ),
    "detectable_format:number_highlighted_sections": (
        {"num_highlights": 1},
        "Sow *early*.",
        "Sow early.",
    ),
    "detectable_format:multiple_sections": (
        {"section_spliter": "Part", "num_sections": 2},
        "Part 1\nSow.\nPart 2\nReap.",
        "Part 2\nReap.\nPart 1\nSow.",
    ),
    "detectable_format:json_format": ({}, '{"spring": "sow"}', "spring: sow"),
    "detectable_format:title": ({}, "<<Seasons>>\nSow.", "Seasons\nSow."),
    "detectable_content:postscript": (
        {"postscript_marker": "P.S."},
        "Sow.\n\nP.S. Reap.",
        "P.S. Reap.\n\nSow.",
    ),
    "startend:end_checker": ({"end_phrase": "The end."}, "Sow. The end.", "The end. Sow."),
    "startend:quotation": ({}, '"Sow early."', "Sow early."),
    "change_case:english_lowercase": ({}, "sow early.", "Sow early."),
    "change_case:english_capital": ({}, "SOW EARLY.", "Sow EARLY."),
    "punctuation:no_comma": ({}, "Sow and reap.", "Sow, reap."),
}


def draws(number: int, **options: Any) -> list[tuple[dict[str, Any], ...]]:
    return [draw_constraints(TASK, random.Random(seed), **options) for seed in range(number)]


DEMANDING = {"id": "keywords:existence", "keywords": ["seeds"]}


def test_every_catalogue_entry_has_an_answer_here() -> None:
    assert ANSWERS.keys() == CATALOGUE.keys()
    assert len(CATALOGUE) == 17


@pytest.mark.parametrize("id", CATALOGUE)
def test_a_catalogue_entry_tells_good_answers_from_bad_ones(id: str) -> None:
    parameters, good, bad = ANSWERS[id]
    constraint = {"id": id, **parameters}
    assert validate_constraint(constraint) is None
    assert check_constraints([constraint], good) == (True, ())
    assert check_constraints([constraint], bad) == (False, (id,))
    assert check_constraints([constraint], "") == (False, (id,))


@pytest.mark.parametrize("id", CATALOGUE)
def test_a_catalogue_entry_is_drawn_valid_and_json_clean(id: str) -> None:
    existing = [] if id == "keywords:existence" else [DEMANDING]
    for (constraint,) in draws(20, ids=[id], existing=existing):
        assert constraint["id"] == id
        assert constraint.keys() == {"id", *ANSWERS[id][0]}
        assert validate_constraint(constraint) is None
        assert json.loads(json.dumps(constraint)) == constraint


def test_two_thousand_draws_are_compatible() -> None:
    seen = set()
    for drawn in draws(2000, count=3):
        ids = [c["id"] for c in drawn]
        seen.update(ids)
        assert 1 <= len(ids) == len(set(ids)) <= 4
        assert any(demands_something(c) for c in drawn)
        assert len(ids) < 4 or not any(demands_something(c) for c in drawn[:3])
        assert not {"change_case:english_lowercase", "change_case:english_capital"} <= set(ids)
        assert "detectable_format:json_format" not in ids or set(ids) <= {
            "detectable_format:json_format",
            "keywords:existence",
            "keywords:forbidden_words",
        }
        assert not {"startend:end_checker", "detectable_content:postscript"} <= set(ids)
        assert all(validate_constraint(c) is None for c in drawn)
        assert json.loads(json.dumps(drawn)) == list(drawn)
    assert seen == CATALOGUE.keys()


def test_a_draw_is_decided_by_its_seed() -> None:
    assert draws(50, count=2) == draws(50, count=2)
    assert len({json.dumps(drawn) for drawn in draws(50, count=2)}) > 25


def test_draws_go_on_from_what_a_task_carries() -> None:
    for existing in draws(200):
        drawn = draw_constraints(TASK, random.Random(1), count=2, existing=existing)
        assert len(drawn) > 0
        assert not {c["id"] for c in existing} & {c["id"] for c in drawn}
        assert are_compatible([*existing, *drawn])


@pytest.mark.parametrize(
    "ids", [["punctuation:no_comma"], ["change_case:english_capital", "keywords:forbidden_words"]]
)
def test_what_only_forbids_is_not_drawn_alone(ids: list[str]) -> None:
    assert draw_constraints(TASK, random.Random(0), ids=ids) == ()
    drawn = draw_constraints(TASK, random.Random(0), ids=[*ids[:1], WORDS])
    assert [c["id"] for c in drawn if not demands_something(c)] in ([], ids[:1])
    assert [c["num_words"] for c in drawn if c["id"] == WORDS and demands_something(c)] != []


def test_keywords_are_the_tasks_own_content_words() -> None:
    drawn = [c["keywords"] for (c,) in draws(100, ids=["keywords:existence"])]
    assert {word for words in drawn for word in words} == CONTENT_WORDS


def test_a_task_without_content_words_gets_no_keyword() -> None:
    assert draw_constraints("Say hi to Ann.", random.Random(0), ids=["keywords:existence"]) == ()


def test_words_of_the_task_are_not_forbidden() -> None:
    task = "Say why the Great Wall is very, really, just amazing and important."
    for seed in range(50):
        (drawn,) = draw_constraints(
            task, random.Random(seed), ids=["keywords:forbidden_words"], existing=[DEMANDING]
        )
        assert set(drawn["forbidden_words"]) <= {"things", "nice"}


@pytest.mark.parametrize(
    ("task", "id"),
    [
        pytest.param("Tell a story of 33 words.", WORDS, id="length-in-words"),
        pytest.param("Write a haiku on rain.", WORDS, id="short-form"),
        pytest.param(
            "List ten rivers in a table.", "detectable_format:number_bullet_lists", id="layout"
        ),
        pytest.param("Find a headline for it.", "detectable_format:title", id="title"),
        pytest.param("Answer in lower case.", "change_case:english_capital", id="case"),
    ],
)
def test_what_the_task_settles_is_not_drawn(task: str, id: str) -> None:
    assert draw_constraints(task, random.Random(0), ids=[id]) == ()


@pytest.mark.parametrize(
    ("first", "second"),
    [
        pytest.param(
            {"id": WORDS, "relation": "less than", "num_words": 9},
            {"id": "detectable_format:number_bullet_lists", "num_bullets": 5},
            id="no-room-for-bullets",
        ),
        pytest.param(
            {"id": WORDS, "relation": "at least", "num_words": 60},
            {
                "id": "length_constraints:number_sentences",
                "relation": "less than",
                "num_sentences": 2,
            },
            id="sixty-words-in-a-sentence",
        ),
        pytest.param(
            {"id": "keywords:existence", "keywords": ["Garden"]},
            {"id": "keywords:forbidden_words", "forbidden_words": ["garden"]},
            id="wanted-and-forbidden",
        ),
        pytest.param(
            {"id": "keywords:existence", "keywords": ["garden"]},
            {
                "id": "keywords:frequency",
                "keyword": "garden",
                "frequency": 1,
                "relation": "less than",
            },
            id="wanted-and-capped",
        ),
        pytest.param(
            {"id": "startend:end_checker", "end_phrase": "Well, well."},
            {"id": "punctuation:no_comma"},
            id="comma-in-the-end-phrase",
        ),
        pytest.param(
            {"id": WORDS, "relation": "at least", "num_words": 20},
            {"id": WORDS, "relation": "less than", "num_words": 60},
            id="same-id-twice",
        ),
        pytest.param(
            {"id": "detectable_format:json_format"},
            {"id": "detectable_format:number_bullet_lists", "num_bullets": 2},
            id="json-and-bullets",
        ),
    ],
)
def test_contradictions_are_seen_in_both_orders(
    first: dict[str, Any], second: dict[str, Any]
) -> None:
    assert are_compatible([first])
    assert are_compatible([second])
    assert not are_compatible([first, second])
    assert not are_compatible([second, first])


def test_room_is_measured_not_guessed() -> None:
    bullets = {"id": "detectable_format:number_bullet_lists", "num_bullets": 2}
    limit = {"id": WORDS, "relation": "less than"}
    assert are_compatible([bullets, {**limit, "num_words": 9}])
    assert not are_compatible([bullets, {**limit, "num_words": 8}])


def test_state_asks_for_all_of_them_in_one_paragraph() -> None:
    constraints = [
        {"id": WORDS, "relation": "less than", "num_words": 60},
        {"id": "keywords:existence", "keywords": ["garden", "snow"]},
        {"id": "keywords:forbidden_words", "forbidden_words": ["very", "just", "nice"]},
        {"id": "startend:end_checker", "end_phrase": "The end."},
    ]
    assert state(constraints) == (
        'Write fewer than 60 words. Include the words "garden" and "snow". '
        'Do not use the words "very", "just" or "nice". '
        'End with exactly these words and nothing after them: "The end."'
    )


def test_every_statement_is_one_line_that_names_every_parameter() -> None:
    for id, (parameters, _, _) in ANSWERS.items():
        text = state([{"id": id, **parameters}])
        assert "\n" not in text
        for name, value in parameters.items():
            if name != "relation":
                assert all(str(v) in text for v in (value if isinstance(value, list) else [value]))


def test_the_statement_can_be_taken_away_again() -> None:
    for drawn in draws(100, count=3):
        assert without_statement(f"{TASK}\n\n{state(drawn)}", drawn) == TASK
    assert without_statement(TASK, [{"id": "punctuation:no_comma"}]) == TASK
    assert without_statement(TASK, ()) == TASK


def test_an_unknown_id_names_the_choices() -> None:
    with pytest.raises(ConfigError) as caught:
        draw_constraints(TASK, random.Random(0), ids=["keywords:existense"])
    assert str(caught.value) == (
        "evolve.constraints: 'keywords:existense' is not a constraint to evolve with "
        f"(did you mean keywords:existence?) (there are: {', '.join(CATALOGUE)})"
    )
