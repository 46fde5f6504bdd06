"""What can be told of an evolved prompt from its text alone."""

import pytest

from flows.stages.evolve import judge_text
from generators.clients import Failure
from generators.operators import Attempt, state_check
from generators.records import Check, ConstraintCheck
from tests.flows.stages.samples import CAPITALS, child_of, seed

PARENT = seed("Describe a harbour.")
SHOUTED = "Answer in capitals."


@pytest.mark.parametrize(
    ("text", "check", "decision", "reason", "evidence"),
    [
        ("Describe a harbour at night.", CAPITALS, "accept", "survived", None),
        (
            "Describe a harbour at night.",
            None,
            "quarantine",
            "no_check",
            "the rewritten task has no check",
        ),
        ("describe a harbour", CAPITALS, "reject", "unchanged", "describe a harbour"),
        ("Describe.", CAPITALS, "reject", "no_gain", "Describe."),
        ("", CAPITALS, "reject", "empty_prompt", ""),
        (
            "New task: Describe a lake.",
            CAPITALS,
            "reject",
            "template_leak",
            "New task:",
        ),
        ("", None, "reject", "empty_prompt", ""),
    ],
    ids=["good", "no check", "unchanged", "shortened", "empty", "leak", "empty without a check"],
)
def test_rewritten_text_is_judged(
    text: str, check: Check | None, decision: str, reason: str, evidence: str | None
) -> None:
    child = child_of(PARENT, text, check)
    verdict = judge_text(Attempt(PARENT, "deepen", 1, child))
    told = (verdict.decision, verdict.reason, verdict.evidence)
    assert told == (decision, reason, evidence)
    assert (verdict.subject_id, verdict.stage) == (child.id, "evolve")


def test_statement_of_constraints_is_no_gain_of_its_own() -> None:
    """A rewrite is judged without the constraint that was stated below it."""
    stated = ConstraintCheck(constraints=({"id": "punctuation:no_comma"},))
    child = child_of(PARENT, state_check("Describe a harbour.", stated), stated)
    assert judge_text(Attempt(PARENT, "deepen", 1, child)).reason == "unchanged"


def test_text_that_the_model_did_not_end_falls() -> None:
    child = child_of(PARENT, "Describe a harbour and everything that", CAPITALS)
    verdict = judge_text(Attempt(PARENT, "deepen", 1, child, ended=False))
    assert (verdict.decision, verdict.reason) == ("reject", "unfinished")
    assert verdict.evidence == "Describe a harbour and everything that"


def test_what_a_program_made_is_not_judged_as_text() -> None:
    child = child_of(PARENT, "Describe a harbour.", CAPITALS, operator="constraint")
    verdict = judge_text(Attempt(PARENT, "constraint", 1, child))
    assert (verdict.subject_id, verdict.decision, verdict.reason) == (child.id, "accept", "by_key")


def test_failure_is_named_after_its_parent_operator_and_round() -> None:
    failure = Failure(reason="http_400", message="HTTP 400: no", permanent=True)
    attempts = [Attempt(PARENT, "deepen", round, failure=failure) for round in (1, 2)]
    first, second = map(judge_text, attempts)
    assert (first.decision, first.reason) == ("quarantine", "http_400")
    assert first.evidence == "HTTP 400: no"
    assert (first.subject_id, second.subject_id) == (
        f"{PARENT.id}:deepen:1",
        f"{PARENT.id}:deepen:2",
    )
