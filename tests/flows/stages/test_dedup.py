"""Duplicates among prompts with verified answers, and among the answers."""

from collections.abc import Callable, Sequence

import numpy as np
import pytest

from flows.stages.dedup import Meaning, judge_duplicates
from generators.records import Answer, ExactCheck, Prompt
from tests.flows.stages.samples import answer, seed, sum_of, tell

LONG = (
    "The ferry left at noon with forty people on board and reached the far island before the "
    "rain began, so everybody stayed dry."
)
UNIQUE = ("accept", "unique", None)


def judge(*answers: tuple[Prompt, Answer]) -> dict[str, tuple[str, str, str | None]]:
    prompts = {prompt.id: prompt for prompt, _ in answers}
    return tell(judge_duplicates([a for _, a in answers], prompts, 0.7))


def in_order_of_ids(*prompts: Prompt) -> list[Prompt]:
    return sorted(prompts, key=lambda prompt: prompt.id)


def test_unlike_answers_stay() -> None:
    one, two = sum_of(1, 2), sum_of(3, 4)
    assert judge(
        (one, answer(one, "3", id="a")),
        (one, answer(one, "It is 3.", id="b", sample=1)),
        (two, answer(two, "7", id="c")),
    ) == {"a": UNIQUE, "b": UNIQUE, "c": UNIQUE}


def test_equal_answers_to_one_prompt_fall_but_for_one() -> None:
    prompt = seed("Name a colour.")
    assert judge(
        (prompt, answer(prompt, "Blue.", id="a")),
        (prompt, answer(prompt, " blue. ", id="b", sample=1)),
        (prompt, answer(prompt, "Red.", id="c", sample=2)),
    ) == {"a": UNIQUE, "b": ("reject", "exact_duplicate_answer", "repeats a"), "c": UNIQUE}


def test_equal_short_answers_to_two_prompts_stay() -> None:
    one, two = sum_of(1, 2), seed("How many sides has a triangle?")
    assert judge((one, answer(one, "3", id="a")), (two, answer(two, "3", id="b"))) == {
        "a": UNIQUE,
        "b": UNIQUE,
    }


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (str.upper, "exact_duplicate_answer"),
        (lambda text: text.replace("dry", "warm"), "near_duplicate_answer"),
    ],
    ids=["same words", "nearly"],
)
def test_long_answer_that_repeats_another_prompts_falls(
    change: Callable[[str], str], reason: str
) -> None:
    one, two = seed("Tell of a journey."), seed("Describe the weather at sea.")
    judged = judge((one, answer(one, LONG, id="a")), (two, answer(two, change(LONG), id="b")))
    assert judged == {"a": UNIQUE, "b": ("reject", reason, "repeats a")}


@pytest.mark.parametrize(
    ("texts", "reason"),
    [
        (("Name a colour.", "name  a COLOUR."), "exact_duplicate_prompt"),
        (
            (
                "Describe a quiet harbour early in the morning of a day in May.",
                "Describe a quiet harbour early in the morning of a day in June.",
            ),
            "near_duplicate_prompt",
        ),
    ],
    ids=["exact", "near"],
)
def test_repeated_prompt_falls_with_all_its_answers(texts: tuple[str, str], reason: str) -> None:
    first, second = in_order_of_ids(*map(seed, texts))
    assert judge(
        (second, answer(second, "one", id="a")),
        (second, answer(second, "two", id="b", sample=1)),
        (first, answer(first, "three", id="c")),
    ) == {
        "a": ("reject", reason, f"repeats {first.id}"),
        "b": ("reject", reason, f"repeats {first.id}"),
        "c": UNIQUE,
    }


def test_prompts_whose_numbers_differ_are_two_tasks() -> None:
    texts = [f"How many euros are left of {n} euros after a lunch for 9 euros?" for n in (40, 50)]
    one, two = map(seed, texts)
    assert judge((one, answer(one, "31", id="a")), (two, answer(two, "41", id="b"))) == {
        "a": UNIQUE,
        "b": UNIQUE,
    }


def test_threshold_decides_what_is_near() -> None:
    first, second = in_order_of_ids(
        seed("Describe a quiet harbour early in the morning of a day in May."),
        seed("Describe a quiet harbour early in the morning of a day in June."),
    )
    answers = [answer(first, "one", id="a"), answer(second, "two", id="b")]
    prompts = {first.id: first, second.id: second}
    (_, near), (_, far) = (judge_duplicates(answers, prompts, t) for t in (0.8, 0.95))
    assert (near.reason, near.score) == ("near_duplicate_prompt", 10 / 12)
    assert (far.reason, far.score) == ("unique", None)


def test_what_was_kept_before_never_falls_for_what_comes() -> None:
    """Whatever the ids' order, the newcomer is the one that repeats."""
    first, second = in_order_of_ids(seed("Tell of a journey."), seed("tell of  a JOURNEY."))
    other, third = seed("Name a colour."), seed("Describe the weather at sea.")
    kept = [answer(second, LONG, id="m"), answer(other, "Blue.", id="n")]
    new = [
        answer(first, "By ship.", id="a"),
        answer(other, "blue", id="b"),
        answer(other, "Red.", id="c"),
        answer(third, LONG.upper(), id="d"),
    ]
    prompts = {prompt.id: prompt for prompt in (first, second, other, third)}
    assert tell(judge_duplicates(new, prompts, 0.7, kept=kept)) == {
        "a": ("reject", "exact_duplicate_prompt", f"repeats {second.id}"),
        "b": ("reject", "exact_duplicate_answer", "repeats n"),
        "c": UNIQUE,
        "d": ("reject", "exact_duplicate_answer", "repeats m"),
    }


def embed(texts: Sequence[str]) -> np.ndarray:
    """To this model texts with the same last word are the same, and others have nothing alike."""
    ends = [text.split()[-1].strip(".?").casefold() for text in texts]
    return np.eye(len(ends), dtype=np.float32)[[ends.index(end) for end in ends]]


MEANING = Meaning(embed, 0.92)


def judge_by_meaning(
    *answers: tuple[Prompt, Answer], kept: Sequence[tuple[Prompt, Answer]] = ()
) -> dict[str, tuple[str, str, str | None]]:
    prompts = {prompt.id: prompt for prompt, _ in (*answers, *kept)}
    before = [a for _, a in kept]
    own = [a for _, a in answers]
    verdicts = judge_duplicates(own, prompts, 0.7, before, MEANING)
    for verdict in verdicts:
        restated = verdict.reason.startswith("semantic")
        assert (verdict.detector == "embeddings") is restated
        assert verdict.score == 1.0 or not restated
    return tell(verdicts)


def test_a_restated_prompt_is_quarantined_with_all_its_answers() -> None:
    first, second = in_order_of_ids(
        seed("Add 17 and 25 please.", ExactCheck(answer="42")),
        seed("What do 25 and 17 make, please?", ExactCheck(answer="42.0")),
    )
    evidence = f"repeats {first.id}"
    assert judge_by_meaning(
        (second, answer(second, "42", id="a")),
        (second, answer(second, "It is 42.", id="b", sample=1)),
        (first, answer(first, "42", id="c")),
    ) == {
        "a": ("quarantine", "semantic_duplicate_prompt", evidence),
        "b": ("quarantine", "semantic_duplicate_prompt", evidence),
        "c": UNIQUE,
    }


@pytest.mark.parametrize(
    ("text", "right"),
    [("What do 26 and 17 make, please?", "42"), ("What do 25 and 17 make, please?", "43")],
    ids=["other numbers", "another answer"],
)
def test_near_prompts_with_other_numbers_or_answers_are_two_tasks(text: str, right: str) -> None:
    one = seed("Add 17 and 25 please.", ExactCheck(answer="42"))
    two = seed(text, ExactCheck(answer=right))
    assert judge_by_meaning(
        (one, answer(one, "42", id="a")), (two, answer(two, right, id="b"))
    ) == {
        "a": UNIQUE,
        "b": UNIQUE,
    }


def test_a_long_answer_that_restates_another_prompts_is_quarantined() -> None:
    check = ExactCheck(answer="x")
    one, two = seed("Tell of a journey.", check), seed("Describe the weather at sea.", check)
    again = (
        f"Well before any drops came down {'all ' * 20}were on land, so none was other than dry."
    )
    told = answer(one, again, id="b", sample=1)
    assert judge_by_meaning(
        (one, answer(one, LONG, id="a")), (one, told), (two, answer(two, again + "\n\nDry", id="c"))
    ) == {
        "a": UNIQUE,
        "b": UNIQUE,  # several answers to one prompt may say the same
        "c": ("reject", "near_duplicate_answer", "repeats b"),
    }
    assert judge_by_meaning(
        (one, answer(one, LONG, id="a")), (two, answer(two, again, id="c"))
    ) == {"a": UNIQUE, "c": ("quarantine", "semantic_duplicate_answer", "repeats a")}


def test_what_repeats_the_words_is_rejected_and_only_the_rest_quarantined() -> None:
    texts = ("Name one colour of the sea.", "name one  colour of the SEA", "Of what hue is a sea?")
    asked = [seed(text, ExactCheck(answer="blue")) for text in texts]
    judged = judge_by_meaning(*((p, answer(p, "blue", id=p.id)) for p in asked))
    found = {reason: (decision, id) for id, (decision, reason, _) in judged.items()}
    assert {reason: decision for reason, (decision, _) in found.items()} == {
        "exact_duplicate_prompt": "reject",
        "semantic_duplicate_prompt": "quarantine",
        "unique": "accept",
    }
    assert found["exact_duplicate_prompt"][1] == max(asked[0].id, asked[1].id)


def test_meaning_leaves_alone_what_was_kept_before() -> None:
    first, second = in_order_of_ids(
        *(seed(text, ExactCheck(answer="blue")) for text in ("Name a sea.", "Which one is a sea?"))
    )
    kept = [(second, answer(second, "blue", id="m"))]
    assert judge_by_meaning((first, answer(first, "blue", id="a")), kept=kept) == {
        "a": ("quarantine", "semantic_duplicate_prompt", f"repeats {second.id}")
    }
