"""Each constraint is judged by answers written by hand: good, bad, empty and shuffled."""

import time
from typing import Any

import pytest

from filters import constraints as judge
from filters.constraint_witness import write_witness
from filters.constraints import (
    ConstraintResult,
    check_constraints,
    count_sentences,
    validate_constraint,
)
from generators.constraint_forms import FORMS, LANGUAGES
from generators.constraints import CATALOGUE
from generators.errors import InputError

CASES: list[tuple[dict[str, Any], list[str], list[str]]] = [
    (
        {"id": "keywords:existence", "keywords": ["river", "Mona Lisa"]},
        ["A River runs behind the mona  lisa."],
        ["A river runs.", "Rivers and the Mona Lisa.", "The Lisa Mona by the river."],
    ),
    (
        {"id": "keywords:frequency", "keyword": "art", "frequency": 2, "relation": "at least"},
        ["Art for art's sake."],
        ["Start with art.", "Art."],
    ),
    (
        {"id": "keywords:frequency", "keyword": "art", "frequency": 2, "relation": "less than"},
        ["One art here.", "None here."],
        ["Start with art.", "Art and art."],
    ),
    (
        {"id": "keywords:forbidden_words", "forbidden_words": ["very", "just"]},
        ["Every adjustment is justified."],
        ["It is VERY good.", "Just so."],
    ),
    (
        {
            "id": "keywords:letter_frequency",
            "letter": "e",
            "let_frequency": 3,
            "let_relation": "at least",
        },
        ["Eleven trees"],
        ["One tale"],
    ),
    (
        {"id": "language:response_language", "language": "de"},
        [
            "Heute regnet es den ganzen Tag in Berlin.",
            "HEUTE REGNET ES DEN GANZEN TAG IN BERLIN.",
            "Heute regnet es den ganzen Tag in Berlin.\n\n```\nprint('all day long it rains')\n```",
        ],
        [
            "It rains all day long in Berlin today.",
            "Heute regnet es den ganzen Tag in Berlin.\n\nIt rains all day long in Berlin today.",
            "\u4eca\u65e5\u306f\u30d9\u30eb\u30ea\u30f3\u3067\u4e00\u65e5\u4e2d\u96e8\u3067\u3059",
        ],
    ),
    (
        {"id": "length_constraints:number_words", "relation": "at least", "num_words": 5},
        ["One two three four five."],
        ["One two three four."],
    ),
    (
        {"id": "length_constraints:number_words", "relation": "less than", "num_words": 5},
        [
            "One two three four.",
            "\u0938\u092d\u0940 \u092e\u0928\u0941\u0937\u094d\u092f \u0938\u092e\u093e\u0928",
        ],
        ["One two three four five."],
    ),
    (
        {"id": "length_constraints:number_sentences", "relation": "at least", "num_sentences": 2},
        ["Dr. Ames sat down. She slept!"],
        ["Dr. Ames sat down, e.g. on a chair.", "Sit. ..."],
    ),
    (
        {"id": "length_constraints:number_sentences", "relation": "less than", "num_sentences": 2},
        ["Only one.", "It costs 3.50 at J. Smith's"],
        ["One. Two."],
    ),
    (
        {"id": "length_constraints:number_paragraphs", "num_paragraphs": 2},
        ["First part.\n***\nSecond part.", "***\nFirst part.\n***\nSecond part.\n***"],
        ["First part.\n\nSecond part.", "a\n***\nb\n***\nc", "a\n***\n***\nb"],
    ),
    (
        {
            "id": "length_constraints:nth_paragraph_first_word",
            "num_paragraphs": 2,
            "nth_paragraph": 2,
            "first_word": "Later",
        },
        ["It began.\n\nLater, it ended.", 'It began.\n\n"Later" it ended.'],
        ["Later, it ended.\n\nIt began.", "It began.\n\nLater, it ended.\n\nBye.", "Later"],
    ),
    (
        {"id": "detectable_content:number_placeholders", "num_placeholders": 2},
        ["Dear [name], meet me at [place]."],
        ["Dear [name].", "A list: [] [ ]", "Dear ]name[ at ]place["],
    ),
    (
        {"id": "detectable_content:postscript", "postscript_marker": "P.S."},
        ["Dear Ann, all is well.\nP.S. Bring cake.", "Hello.\n\np. s. bring cake"],
        ["P.S. Bring cake.\n\nDear Ann, all is well.", "All is well. P.S. cake", "Hi.\nP.S."],
    ),
    (
        {"id": "detectable_content:postscript", "postscript_marker": "P.P.S"},
        ["Hello.\n\nP.P.S. Bring cake."],
        ["Hello.\n\nP.S. Bring cake."],
    ),
    (
        {"id": "detectable_format:number_bullet_lists", "num_bullets": 2},
        ["Buy:\n* bread\n* milk", "- bread\n- **fresh** milk\nThat is all."],
        ["* bread", "* a\n* b\n* c", "bread * milk *", "* bread\n- \n", "* a\n* b\n---"],
    ),
    (
        {"id": "detectable_format:constrained_response"},
        ["My answer is no."],
        ["No.", "My answer is no. My answer is yes."],
    ),
    (
        {"id": "detectable_format:number_highlighted_sections", "num_highlights": 2},
        ["Rest *well* and **eat** enough."],
        ["Rest *well* and eat.", "* bread\n* milk", "2 * 3 * 4 * 5", "**** ****"],
    ),
    (
        {
            "id": "detectable_format:multiple_sections",
            "section_spliter": "Section",
            "num_sections": 2,
        },
        ["Section 1\nRain.\n\nSection 2: Sun\nLight.", "## Section 1\nRain.\n**Section 2**\nSun."],
        [
            "Section 2\nSun.\n\nSection 1\nRain.",
            "Section 1\nRain.",
            "See Section 1 and Section 2.",
            "Section 1\nSection 2\n",
        ],
    ),
    (
        {"id": "detectable_format:json_format"},
        ['{"sky": "blue"}', '```json\n["a", "b"]\n```'],
        [
            'Here: {"sky": "blue"}',
            '"sky": "blue"',
            "42",
            '{"sky": NaN}',
            '}"sky": "blue"{',
            "[" * 9999,
        ],
    ),
    (
        {"id": "detectable_format:title"},
        ["<<Rain>>\nIt rains."],
        ["Rain\nIt rains.", "<< >> It rains.", ">>Rain<<", "<Rain>"],
    ),
    (
        {"id": "combination:two_responses"},
        ["Yes, gladly.\n******\nNo, sorry."],
        ["Yes.", "Yes.\n******\nYes.", "******\nYes. No.", "a ****** b ****** c"],
    ),
    (
        {"id": "combination:repeat_prompt", "prompt_to_repeat": "Why is the sky blue?"},
        ["Why is the sky blue? Light scatters."],
        ["Light scatters. Why is the sky blue?", "Why is the sky blue?"],
    ),
    (
        {"id": "startend:end_checker", "end_phrase": "That is all."},
        ["Rain falls. That is all.", '"Rain falls. that is all."'],
        ["That is all. Rain falls.", "Rain falls. That is all!"],
    ),
    (
        {"id": "startend:quotation"},
        ['"Rain falls."', ' "a" and "b" '],
        ["Rain falls.", '"Rain" falls.', '"'],
    ),
    (
        {
            "id": "change_case:capital_word_frequency",
            "capital_frequency": 2,
            "capital_relation": "at least",
        },
        ["NASA and ESA agree."],
        ["NASA and Esa agree.", "See you. P.S. Soon."],
    ),
    (
        {"id": "change_case:english_capital"},
        ["RAIN FALLS, 3 TIMES."],
        ["RAIN FALLs.", "123", "\u0414\u041e\u0416\u0414\u042c"],
    ),
    (
        {"id": "change_case:english_lowercase"},
        ["rain falls, 3 times."],
        ["Rain falls.", "123", "\u0434\u043e\u0436\u0434\u044c"],
    ),
    ({"id": "punctuation:no_comma"}, ["Rain falls."], ["Rain, snow."]),
]
GOOD = [(c, text) for c, good, _ in CASES for text in good]
BAD = [(c, text) for c, _, bad in CASES for text in [*bad, "", " \n", "..."]]


def name(value: object) -> str | None:
    return str(value["id"]) if isinstance(value, dict) else None


@pytest.mark.parametrize(("constraint", "answer"), GOOD, ids=name)
def test_a_good_answer_passes(constraint: dict[str, Any], answer: str) -> None:
    assert check_constraints([constraint], answer) == ConstraintResult(True, ())


@pytest.mark.parametrize(("constraint", "answer"), BAD, ids=name)
def test_a_bad_empty_or_shuffled_answer_fails(constraint: dict[str, Any], answer: str) -> None:
    assert check_constraints([constraint], answer) == ConstraintResult(False, (constraint["id"],))


@pytest.mark.parametrize("answer", ["Berlin.", "```\nprint(1)\n```", "tic tac toe, tic tac toe"])
def test_a_language_that_cannot_be_told_is_neither_passed_nor_failed(answer: str) -> None:
    asked = {"id": "language:response_language", "language": "de"}
    assert check_constraints([asked], answer) == ConstraintResult(False, ())
    broken = check_constraints([asked, {"id": "startend:quotation"}], answer)
    assert broken == ConstraintResult(False, ("startend:quotation",))


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_language_has_an_answer_that_meets_it_and_no_other(language: str) -> None:
    asked = [{"id": "language:response_language", "language": code} for code in LANGUAGES]
    witness = write_witness([c for c in asked if c["language"] == language])
    assert witness is not None
    assert [c["language"] for c in asked if check_constraints([c], witness).passed] == [language]


def test_every_form_has_a_checker_and_a_case() -> None:
    assert judge._CHECKERS.keys() == FORMS.keys() == {c["id"] for c, _, _ in CASES}
    assert len(FORMS) == 25
    assert CATALOGUE.keys() <= FORMS.keys()


def test_all_failed_constraints_are_named_in_order() -> None:
    constraints = [
        {"id": "punctuation:no_comma"},
        {"id": "length_constraints:number_words", "relation": "at least", "num_words": 2},
        {"id": "change_case:english_lowercase"},
    ]
    result = check_constraints(constraints, "Rain, snow")
    assert result == (False, ("punctuation:no_comma", "change_case:english_lowercase"))


def test_no_constraints_are_passed_by_nothing() -> None:
    assert check_constraints([], "Rain falls.") == ConstraintResult(False, ())


@pytest.mark.parametrize(
    "piece", [".", "*", "[", "<<", "-\n", "\n \n", "P.S. ", "a,", "Section 1\n", '{"a":']
)
def test_time_grows_no_faster_than_the_answer(piece: str) -> None:
    text = piece * (100_000 // len(piece)) + "x"
    start = time.process_time()
    failed = check_constraints([constraint for constraint, _, _ in CASES], text).failed
    assert time.process_time() - start < 3  # quadratic time takes minutes
    assert "detectable_format:json_format" in failed


@pytest.mark.parametrize(
    ("text", "count"),
    [
        pytest.param("One. Two! Three?", 3, id="three-marks"),
        pytest.param('"Stop!" she said. "No."', 3, id="closing-quotes"),
        pytest.param("Mr. and Mrs. J. Hill pay 3.50 etc. today.", 1, id="abbreviations"),
        pytest.param("1. Bread.\n2. Milk.", 2, id="list-numbers"),
        pytest.param("Wait... what?! No words: ??? ", 3, id="runs-of-marks"),
        pytest.param("No mark at all", 1, id="no-mark"),
        pytest.param("", 0, id="empty"),
    ],
)
def test_count_sentences(text: str, count: int) -> None:
    assert count_sentences(text) == count


@pytest.mark.parametrize("constraint", [c for c, _, _ in CASES], ids=name)
def test_every_case_is_valid(constraint: dict[str, Any]) -> None:
    assert validate_constraint(constraint) is None


@pytest.mark.parametrize(
    ("constraint", "error"),
    [
        pytest.param(
            {"id": "keywords:existance", "keywords": ["a"]},
            "id: no constraint 'keywords:existance' (did you mean keywords:existence?); "
            f"choose from {', '.join(sorted(FORMS))}",
            id="unknown-id",
        ),
        pytest.param(
            {"keywords": ["a"]},
            f"id: no constraint None; choose from {', '.join(sorted(FORMS))}",
            id="no-id",
        ),
        pytest.param(
            {"id": "length_constraints:number_words", "num_words": 5},
            'length_constraints:number_words: relation: missing; it must be "at least" or '
            '"less than"',
            id="missing",
        ),
        pytest.param(
            {"id": "length_constraints:number_words", "num_words": 5, "relation": "at most"},
            'length_constraints:number_words: relation: must be "at least" or "less than", '
            "not 'at most'",
            id="wrong-relation",
        ),
        pytest.param(
            {"id": "detectable_format:number_bullet_lists", "num_bullet": 5},
            "detectable_format:number_bullet_lists: num_bullet: not a parameter "
            "(did you mean num_bullets?); it takes num_bullets",
            id="unknown-parameter",
        ),
        pytest.param(
            {"id": "punctuation:no_comma", "count": 1},
            "punctuation:no_comma: count: not a parameter; it takes none",
            id="parameter-of-none",
        ),
        pytest.param(
            {"id": "detectable_format:number_bullet_lists", "num_bullets": True},
            "detectable_format:number_bullet_lists: num_bullets: must be a whole number from 1, "
            "not True",
            id="bool-is-no-count",
        ),
        pytest.param(
            {"id": "detectable_format:number_bullet_lists", "num_bullets": 0},
            "detectable_format:number_bullet_lists: num_bullets: must be a whole number from 1, "
            "not 0",
            id="zero",
        ),
        pytest.param(
            {"id": "keywords:existence", "keywords": "river"},
            "keywords:existence: keywords: must be a list of one or more texts, not 'river'",
            id="text-is-no-list",
        ),
        pytest.param(
            {"id": "startend:end_checker", "end_phrase": " "},
            "startend:end_checker: end_phrase: must be a text that is not blank, not ' '",
            id="blank-text",
        ),
        pytest.param(
            {
                "id": "length_constraints:nth_paragraph_first_word",
                "num_paragraphs": 2,
                "nth_paragraph": 3,
                "first_word": "so",
            },
            "length_constraints:nth_paragraph_first_word: nth_paragraph: must not exceed "
            "num_paragraphs (2)",
            id="paragraph-out-of-range",
        ),
    ],
)
def test_validate_says_what_is_wrong(constraint: dict[str, Any], error: str) -> None:
    assert validate_constraint(constraint) == error
    with pytest.raises(InputError) as caught:
        check_constraints([constraint], "Rain falls.")
    assert str(caught.value) == f"constraint {error}"


def test_a_language_is_one_of_those_that_are_told() -> None:
    assert validate_constraint({"id": "language:response_language", "language": "xx"}) == (
        "language:response_language: language: must be one of "
        f"{', '.join(sorted(LANGUAGES))}, not 'xx'"
    )


def test_a_null_parameter_counts_as_absent() -> None:
    assert validate_constraint({"id": "punctuation:no_comma", "num_words": None}) is None
    assert validate_constraint({"id": "startend:end_checker", "end_phrase": None}) == (
        "startend:end_checker: end_phrase: missing; it must be a text that is not blank"
    )
