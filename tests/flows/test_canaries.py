"""Canaries in a run: asked before and after the training, compared, and told in the report."""

import re
from pathlib import Path
from typing import Any

import pytest

from filters.canaries import CanaryAnswer
from flows.facts import Facts
from flows.facts_canaries import CanaryArm, CanaryFacts
from flows.gather import gather_facts
from flows.gather_canaries import sum_up
from flows.intervals import Interval
from flows.report import render_report
from flows.stages.evaluate import ArmResult
from flows.work import open_context
from generators.errors import HeldOutError
from tests.flows.conftest import Finished, finish
from tests.flows.small_run import (
    LICENSED,
    add_training,
    conduct_plainly,
    describe_run,
    list_seeds,
    read_settings,
    write_lines,
)
from tests.flows.teacher import Teacher

QUESTIONS = ["Who are you?", "Which tea is best?", "How many days does a week have?"]


def plant(settings: dict[str, Any], folder: Path, questions: list[str]) -> dict[str, Any]:
    """The same run with canaries; the last question's answer is known."""
    lines: list[dict[str, Any]] = [
        {"prompt": text, "domain": "advice"} | LICENSED for text in questions
    ]
    lines[-1]["check"] = {"kind": "math", "answer": "7"}
    write_lines(folder / "canaries.jsonl", lines)
    evaluate = settings["evaluate"] | {
        "canaries": str(folder / "canaries.jsonl"),
        "canary_tokens": 6,
    }
    return settings | {"evaluate": evaluate}


@pytest.fixture(scope="module")
def watched(
    teacher: Teacher, tiny_model_dir: Path, tmp_path_factory: pytest.TempPathFactory
) -> Finished:
    folder = tmp_path_factory.mktemp("watched")
    settings = add_training(describe_run(folder, teacher.url), folder, tiny_model_dir)
    settings["train"] |= {"max_steps": 10}
    return finish(plant(settings, folder, QUESTIONS), folder, teacher)


@pytest.fixture(scope="module")
def facts(watched: Finished) -> Facts:
    with open_context(watched.run.root, watched.config) as context:
        return gather_facts(context)


def read_arm(finished: Finished, arm: str) -> ArmResult:
    place = finished.run.place(f"evaluation/{arm}.json")
    return ArmResult.model_validate_json(place.read_bytes())


def test_zero_shot_arms_ask_all_canaries(watched: Finished) -> None:
    for arm in ("before", "after"):
        result = read_arm(watched, arm)
        assert [answer.question for answer in result.canaries] == QUESTIONS
        assert [answer.passed is None for answer in result.canaries] == [True, True, False]
    assert read_arm(watched, "few-shot").canaries == ()


def test_changed_answers_are_counted(watched: Finished, facts: Facts) -> None:
    before, after = (read_arm(watched, arm).canaries for arm in ("before", "after"))
    changed = sum(a.answer.strip() != b.answer.strip() for a, b in zip(before, after, strict=True))
    assert facts.canaries is not None
    assert (facts.canaries.asked, facts.canaries.changed) == (3, changed)
    assert changed > 0
    page = watched.run.place("report.html").read_text()
    assert "The same 3 questions before and after the training" in page


def test_suspect_student_is_told(facts: Facts) -> None:
    low, high = (sum_up([answer(found) for found in range(20)]) for answer in (_clean, _planted))
    assert (low.found.value, high.found.value) == (0.0, 1.0)
    assert facts.canaries is not None
    suspect = facts.canaries.model_copy(update={"before": low, "after": high})
    assert suspect.is_suspect
    page = render_report(facts.model_copy(update={"canaries": suspect}))
    assert "After the training the audit objects to more of the answers than before." in page
    assert not facts.canaries.model_copy(update={"before": high, "after": low}).is_suspect


def test_difference_within_chance_is_not_suspect() -> None:
    arms = [
        CanaryArm(found=Interval(value=value, low=value - 0.1, high=value + 0.1), right=None)
        for value in (0.2, 0.3)
    ]
    assert not CanaryFacts(
        path="canaries.jsonl", asked=40, before=arms[0], after=arms[1], changed=9, new=()
    ).is_suspect


def test_canary_that_is_trained_on_stops_the_run(
    teacher: Teacher, tiny_model_dir: Path, tmp_path: Path
) -> None:
    settings = add_training(describe_run(tmp_path, teacher.url), tmp_path, tiny_model_dir)
    settings = plant(settings | {"evolve": None}, tmp_path, [list_seeds()[0]["prompt"], *QUESTIONS])
    settings["evaluate"] |= {"k_prompts": 0, "text": None, "examples": None}
    with pytest.raises(HeldOutError) as caught:
        conduct_plainly(read_settings(tmp_path / "small.yaml", settings))
    assert re.sub(r"\b[0-9a-f]{16}\b", "ID", str(caught.value)) == (
        '1 of 16 held-out prompts occur in training: ID ("What is 11 + 19? Answer with the number'
        ' only.") is trained on as ID. Take them out of the seeds, or draw both sets anew with'
        " splits 'train' and 'heldout'."
    )


def _clean(number: int) -> CanaryAnswer:
    return CanaryAnswer(prompt_id=str(number), question="Who?", answer="Nobody.")


def _planted(number: int) -> CanaryAnswer:
    return _clean(number).model_copy(update={"findings": ("identity_claim",)})
