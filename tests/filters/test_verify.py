"""Every kind of check: what is right, what is wrong, and what is left to a person."""

import json
import threading
import warnings
from typing import Any

import pytest

from filters.verify import VERIFIERS, verify, verify_many
from filters.worker import SHARED
from generators.errors import InputError
from generators.records import VERIFIED_BY, ExactCheck, MathCheck

CITIES = {"A": "London", "B": "Paris", "C": "Rome"}
PERSON = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "born": {"type": "string", "format": "date"}},
    "required": ["name"],
    "additionalProperties": False,
}


@pytest.mark.parametrize(
    ("gold", "completion", "decision"),
    [
        ("Paris", "Paris", "accept"),
        ("Paris", ' "PARIS." \n', "accept"),
        ("Paris", "**Paris!**", "accept"),
        ("caf\u00e9", "Cafe\u0301", "accept"),
        ("Straße", "STRASSE", "accept"),
        ("(a)", "a", "accept"),
        ("!", "!", "accept"),
        ("Paris", "<think>Rome?</think>Paris", "accept"),
        ("Paris", "It is Paris.", "reject"),
        ("Paris", "Paris or Rome", "reject"),
        ("Paris", "", "reject"),
        ("-5", "5", "reject"),
        ("50%", "50", "reject"),
        ("C#", "C", "reject"),
        ("New York", "New  York", "reject"),
        ("", "x", "quarantine"),
        ("Paris", "<think>Paris", "quarantine"),
    ],
)
def test_exact(gold: str, completion: str, decision: str) -> None:
    assert verify({"kind": "exact", "answer": gold}, completion).decision == decision


@pytest.mark.parametrize(
    ("completion", "decision", "reason"),
    [
        ("B", "accept", "right"),
        ("(B)", "accept", "right"),
        ("b.", "accept", "right"),
        ("**B**", "accept", "right"),
        ("B) Paris", "accept", "right"),
        ("**B. Paris**", "accept", "right"),
        ("paris", "accept", "right"),
        ("Answer: B", "accept", "right"),
        ("Answer: b) paris", "accept", "right"),
        ("\\boxed{\\text{B}}", "accept", "right"),
        ("The answer is B.", "accept", "right"),
        ("The answer is Paris.", "accept", "right"),
        ("The correct option is (B) because it lies on the Seine.", "accept", "right"),
        ("The answer is B, not A.", "accept", "right"),
        ("A is far off. B is correct.", "accept", "right"),
        ("A. London\nB. Paris\nC. Rome\nThe answer is B.", "accept", "right"),
        ("B. It is the capital of France.", "accept", "right"),
        ("A", "reject", "wrong"),
        ("London", "reject", "wrong"),
        ("The answer is C.", "reject", "wrong"),
        ("B) Rome", "quarantine", "several_answers"),
        ("A: Paris", "quarantine", "several_answers"),
        ("The answer is B. The answer is C.", "quarantine", "several_answers"),
        ("\\boxed{A} \\boxed{B}", "quarantine", "several_answers"),
        ("The answer is B or C.", "quarantine", "several_answers"),
        ("B or C", "quarantine", "hedged"),
        ("Maybe B", "quarantine", "hedged"),
        ("I'm not sure. The answer is B.", "quarantine", "hedged"),
        ("The answer is B. Wait, actually C.", "quarantine", "hedged"),
        ("The answer is a city.", "quarantine", "no_answer"),
        ("The answer is not A.", "quarantine", "no_answer"),
        ("Parish", "quarantine", "no_answer"),
        ("", "quarantine", "no_answer"),
        ("<think>B", "quarantine", "unfinished"),
    ],
)
def test_choice(completion: str, decision: str, reason: str) -> None:
    verdict = verify({"kind": "choice", "answer": "B", "options": CITIES}, completion)
    assert (verdict.decision, verdict.reason) == (decision, reason)


def test_choice_whose_answer_is_no_option_is_a_bad_check() -> None:
    verdict = verify({"kind": "choice", "answer": "D", "options": CITIES}, "D")
    assert (verdict.decision, verdict.reason) == ("quarantine", "bad_check")


@pytest.mark.parametrize(
    ("completion", "decision", "reason"),
    [
        ('{"name": "Ann"}', "accept", "right"),
        (' {"name": "Ann", "born": "2001-02-03"}\n', "accept", "right"),
        ('```json\n{"name": "Ann"}\n```', "accept", "right"),
        ('```\n{"name": "Ann"}\n```', "accept", "right"),
        ('{"name": 1}', "reject", "schema_violation"),
        ('{"born": "2001-02-03"}', "reject", "schema_violation"),
        ('{"name": "Ann", "age": 3}', "reject", "schema_violation"),
        ('{"name": "Ann", "born": "2001-02-30"}', "reject", "schema_violation"),
        ('{"name": "Bob", "name": "Ann"}', "reject", "ambiguous_json"),
        ('{"name": NaN}', "reject", "ambiguous_json"),
        ('{"name": "Ann"', "reject", "not_json"),
        ('{"name": "Ann"} and that is it', "reject", "not_json"),
        ("", "reject", "not_json"),
        ("[" * 100_000, "reject", "not_json"),
        ('Here:\n```json\n{"name": "Ann"}\n```', "quarantine", "text_around_json"),
        ("```json\n{}\n```\n```json\n{}\n```", "quarantine", "several_answers"),
    ],
)
def test_json_schema(completion: str, decision: str, reason: str) -> None:
    verdict = verify({"kind": "json_schema", "schema": PERSON}, completion)
    assert (verdict.decision, verdict.reason) == (decision, reason)


@pytest.mark.parametrize(
    "schema",
    [{"type": "nope"}, {"$ref": "https://example.org/person.json"}, {"pattern": "("}],
)
def test_a_schema_that_cannot_be_used_is_a_bad_check(schema: dict[str, Any]) -> None:
    verdict = verify({"kind": "json_schema", "schema": schema}, '"1"')
    assert (verdict.decision, verdict.reason) == ("quarantine", "bad_check")


def test_constraints_are_all_met_or_named() -> None:
    words = {"id": "length_constraints:number_words", "relation": "at least", "num_words": 3}
    check = {"kind": "constraint", "constraints": [words, {"id": "punctuation:no_comma"}]}
    assert verify(check, "one two three").decision == "accept"
    broken = verify(check, "one, two")
    assert (broken.decision, broken.reason) == ("reject", "constraint_broken")
    assert broken.evidence == "length_constraints:number_words, punctuation:no_comma"
    unknown = verify({"kind": "constraint", "constraints": [{"id": "nope"}]}, "one")
    assert (unknown.decision, unknown.reason) == ("quarantine", "bad_check")


def _procedural(task: str) -> dict[str, Any]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SyntaxWarning)
        import reasoning_gym
    entry = reasoning_gym.create_dataset(task, seed=3, size=1)[0]
    return {"kind": "procedural", "task": task, "entry": json.loads(json.dumps(entry))}


@pytest.mark.parametrize(
    ("task", "completion", "decision", "reason"),
    [
        ("chain_sum", "GOLD", "accept", "right"),
        ("chain_sum", "The answer is GOLD.", "accept", "right"),
        ("chain_sum", "<answer>GOLD</answer>", "accept", "right"),
        ("chain_sum", "GOLD.0", "accept", "right"),
        ("chain_sum", "1GOLD", "reject", "wrong"),
        ("chain_sum", "GOLD or banana", "quarantine", "hedged"),
        ("chain_sum", "7, no, GOLD", "quarantine", "hedged"),
        ("countdown", "GOLD", "accept", "right"),
        ("countdown", "(GOLD)", "accept", "right"),
        ("countdown", "1+1", "reject", "wrong"),
        ("countdown", "GOLD or banana", "quarantine", "hedged"),
        ("countdown", "GOLD # banana", "quarantine", "lax_program"),
        ("knights_knaves", "GOLD", "accept", "right"),
        ("knights_knaves", "Answer: GOLD", "accept", "right"),
        ("knights_knaves", "GOLD banana", "reject", "wrong"),
        ("game_of_life_halting", "True", "reject", "wrong"),
        ("simple_integration", "9**9**9**9", "quarantine", "timeout"),
        ("simple_integration", "__import__('os').getcwd()", "quarantine", "looks_like_code"),
        ("spiral_matrix", "print('x')", "quarantine", "looks_like_code"),
        ("spiral_matrix", "<answer>GOLD</answer>", "accept", "right"),
        ("spiral_matrix", "<answer>1</answer><answer>2</answer>", "quarantine", "several_answers"),
        ("spiral_matrix", "", "quarantine", "no_answer"),
    ],
)
def test_procedural(task: str, completion: str, decision: str, reason: str) -> None:
    check = _procedural(task)
    verdict = verify(check, completion.replace("GOLD", str(check["entry"]["answer"])))
    assert (verdict.decision, verdict.reason) == (decision, reason)


def test_own_word_problems_are_scored_by_their_number() -> None:
    entry = {"question": "…", "answer": "12", "metadata": {"operands": [5, 7]}}
    check = {"kind": "procedural", "task": "template:unknown", "entry": entry}
    assert verify(check, "5 + 7 = 12").decision == "accept"
    assert verify(check, "5 + 7 = 13").decision == "reject"


def test_an_unknown_task_is_a_bad_check() -> None:
    check = {"kind": "procedural", "task": "nope", "entry": {"question": "", "answer": "a b"}}
    verdict = verify(check, "b a")
    assert (verdict.decision, verdict.reason) == ("quarantine", "bad_check")


@pytest.mark.parametrize(
    "check",
    [
        {"kind": "code", "entry_point": "f", "cases": [{"args": [], "expected": 1}]},
        {"kind": "judge", "rubric": "be kind"},
    ],
    ids=lambda check: check["kind"],
)
def test_kinds_without_a_verifier_are_quarantined(check: dict[str, Any]) -> None:
    verdict = verify(check, "anything")
    assert (verdict.decision, verdict.reason) == ("quarantine", "no_verifier")
    assert verdict.evidence == f"nothing verifies checks of kind {check['kind']} yet"


def test_an_unknown_kind_lists_the_choices_and_the_nearest() -> None:
    with pytest.raises(InputError) as caught:
        verify({"kind": "maths", "answer": "1"}, "1")
    assert str(caught.value) == (
        "check.kind: 'maths' is not a kind of check (did you mean math?); choose from math, exact, "
        "choice, json_schema, constraint, code, procedural, consensus, judge"
    )


def test_a_check_with_wrong_fields_names_them() -> None:
    with pytest.raises(InputError, match=r"check\.answer: .*\ncheck\.answr: "):
        verify({"kind": "math", "answr": "1"}, "1")


def test_every_verifier_is_of_a_kind_that_exists() -> None:
    assert set(VERIFIERS) <= set(VERIFIED_BY)


def test_a_verdict_says_who_judged_what() -> None:
    verdict = verify(MathCheck(answer="4"), "2 + 2 = 4", subject_id="a1")
    assert verdict.model_dump() == {
        "subject_id": "a1",
        "stage": "verify",
        "detector": "math",
        "version": "1",
        "decision": "accept",
        "reason": "right",
        "evidence": "4",
        "score": 1.0,
    }
    assert verify(MathCheck(answer="4"), "5").score == 0.0
    assert verify(MathCheck(answer="4"), "").score is None


def test_many_are_judged_in_order_and_the_worker_can_be_closed() -> None:
    verdicts = verify_many(
        [(MathCheck(answer="x+1"), "\\boxed{1+x}"), (ExactCheck(answer="a"), "b")]
    )
    assert SHARED._process is not None
    SHARED.close()
    assert [v.decision for v in verdicts] == ["accept", "reject"]
    assert SHARED._process is None


def test_any_thread_may_verify() -> None:
    found: list[str] = []
    check = MathCheck(answer="2x")
    thread = threading.Thread(target=lambda: found.append(verify(check, "\\boxed{x+x}").decision))
    thread.start()
    thread.join()
    assert found == ["accept"]
