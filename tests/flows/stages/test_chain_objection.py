"""Right answers behind broken chains: which are stopped, and with what evidence."""

import pytest

from filters.verify import verify
from flows.stages.answer import object_to_chain
from generators.records import Check, ChoiceCheck, ConstraintCheck, ExactCheck, MathCheck
from tests.flows.stages.samples import answer, seed

SHORT = ConstraintCheck(
    constraints=(
        {"id": "length_constraints:number_words", "relation": "less than", "num_words": 90},
    )
)
CHOICE = ChoiceCheck(answer="B", options={"A": "18", "B": "19"})


def object_to(check: Check, completion: str) -> tuple[str, str, str, str | None] | None:
    prompt = seed("What is 12 + 7?", check)
    given = answer(prompt, completion, id="a")
    objection = object_to_chain(given, prompt, verify(check, completion, subject_id="a"))
    if objection is None:
        return None
    assert (objection.subject_id, objection.stage, objection.version) == ("a", "answer", "2")
    return objection.decision, objection.detector, objection.reason, objection.evidence


@pytest.mark.parametrize(
    ("completion", "evidence"),
    [
        ("12 + 8 = 19. The answer is 19.", "12 + 8 = 19"),
        ("12 + 8 = 20. The answer is 19.", "12 + 8 = 20, and the answer is 19"),
    ],
    ids=["step", "end"],
)
def test_right_answer_behind_a_broken_chain_is_quarantined(completion: str, evidence: str) -> None:
    objection = object_to(MathCheck(answer="19"), completion)
    assert objection == ("quarantine", "chain", "broken_chain", evidence)


@pytest.mark.parametrize(
    ("check", "completion"),
    [
        (MathCheck(answer="19"), "12 + 7 = 19. The answer is 19."),
        (MathCheck(answer="19"), "Nineteen of them: 19"),
        (MathCheck(answer="19"), "12 + 8 = 20. The answer is 20."),
        (ExactCheck(answer="19"), "19"),
        (CHOICE, "12 + 8 = 19, so the answer is B"),
        (SHORT, "12 + 8 = 19, or so they say."),
    ],
    ids=["sound", "prose", "wrong anyway", "bare", "choice", "constraint"],
)
def test_other_answers_are_left_to_their_verifier(check: Check, completion: str) -> None:
    assert object_to(check, completion) is None
