"""Planted faults: what is planted is a fault, the answer stays, and the auditor finds it."""

import random
from collections import Counter

import pytest

from filters.chain_faults import plant_faults
from filters.chains import audit_chain
from filters.final_answer import extract_final_answer
from generators.word_problems import STORIES, draw_entries

STYLES = (
    "{a} {sign} {b} = {c}",
    "So far {a} {unit} {sign} {b} {unit} = {c} {unit}",
    "That makes {a}{sign}{b}={c}",
    "- {a} {sign} {b} = **{c}**",
)
SIGNS = {"add": "+", "sub": "-", "mul": "*"}


def write_chain(story: str, operands: list[int], rng: random.Random) -> tuple[str, str]:
    """A worked answer to a word problem, in a style drawn by chance, and its final answer."""
    style, lines, total = rng.choice(STYLES), [], operands[0]
    for step, n in zip(STORIES[story].steps, operands[1:], strict=False):
        sign, after = SIGNS[step.apply.__name__], step.apply(total, n)
        shown = {"*": rng.choice("*×"), "-": "-"}.get(sign, sign)  # noqa: RUF001
        lines.append(style.format(a=total, sign=shown, b=n, c=after, unit=story))
        total = after
    ending = rng.choice(("#### {}", "The answer is {}.", "Answer: {}"))
    return "\n".join([*(f"{line}." for line in lines), ending.format(total)]), str(total)


def list_chains() -> list[tuple[str, str]]:
    """Two hundred sound chains of two and three steps."""
    rng = random.Random(0)
    chains = []
    for story in STORIES:
        for steps in (2, 3):
            entries = draw_entries(story, num_steps=steps, min_value=2, max_value=60, seed=steps)
            for _ in range(25):
                chains.append(write_chain(story, next(entries)["metadata"]["operands"], rng))
    return chains


def test_sound_chains_are_not_called_broken() -> None:
    audits = [audit_chain(text, answer) for text, answer in list_chains()]
    assert [audit.broken for audit in audits] == [None] * 200
    assert Counter(len(audit.steps) for audit in audits) == {2: 100, 3: 100}


def test_nearly_all_planted_faults_are_found() -> None:
    rng = random.Random(1)
    planted = [(plant_faults(text, rng), answer) for text, answer in list_chains()]
    spoiled = [(text, answer) for text, answer in planted if text is not None]
    found = [audit_chain(text, answer).broken is not None for text, answer in spoiled]
    assert len(spoiled) == 200
    assert sum(found) / len(found) >= 0.98


def test_final_answer_stays_right() -> None:
    rng = random.Random(2)
    for text, answer in list_chains():
        spoiled = plant_faults(text, rng)
        assert spoiled is not None
        assert spoiled != text
        assert extract_final_answer(spoiled).text == answer


def test_every_kind_of_fault_is_planted() -> None:
    """Of one step: another result, operand or sign, or another end."""
    text = "12 + 7 = 19. The answer is 19."
    planted = {plant_faults(text, random.Random(seed)) for seed in range(200)}
    steps = [str(one).split(". ")[0].split() for one in planted]
    right = ["12", "+", "7", "=", "19"]
    changed = {tuple(a != b for a, b in zip(step, right, strict=True)) for step in steps}
    assert changed == {
        (False, False, False, False, True),
        (True, False, False, False, False),
        (False, False, True, False, False),
        (False, True, False, False, False),
        (True, False, False, False, True),
    }


@pytest.mark.parametrize(
    "text",
    ["Nineteen apples.", "12 + 7 = 20. The answer is 20.", "x + 7 = 19, so 12.", "", "3 < 19"],
    ids=["prose", "broken already", "equation", "nothing", "comparison"],
)
def test_nothing_is_planted_where_no_step_holds(text: str) -> None:
    assert plant_faults(text, random.Random(0)) is None
