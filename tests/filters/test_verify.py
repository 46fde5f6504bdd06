"""Every kind of check: what is right, what is wrong, and what is left to a person."""

import json
import threading
import warnings
from typing import Any

import pytest

from filters.verify import VERIFIERS, verify, verify_many
from filters.worker import CORES, SHARED
from generators.errors import InputError
from generators.records import VERIFIED_BY, Check, ExactCheck, MathCheck

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
        ("Paris", "Paris\nRome", "reject"),
        ("Paris", "Paris Paris", "reject"),
        ("Paris", "Par\u200bis", "accept"),
        ("Paris", "\u0420aris", "reject"),
        ("Paris", "<think>Paris</think>", "reject"),
        ("it's", "it\u2019s", "accept"),
        ("42", "42.0", "reject"),
        ("+1", "1", "reject"),
        ("x", "-x", "reject"),
        ("$5", "5", "reject"),
        ("1", "#1", "reject"),
        ("@a", "a", "reject"),
        ("*", "**", "reject"),
        ("..", "...", "reject"),
        ("a/b", "a / b", "reject"),
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
        ("Option B", "accept", "right"),
        ("The correct answer is B (Paris)", "accept", "right"),
        ("Answer: B. Answer: B.", "accept", "right"),
        ("B?", "quarantine", "hedged"),
        ("The answer is B, right?", "quarantine", "hedged"),
        ("(B) is false", "quarantine", "hedged"),
        ("B is wrong.", "quarantine", "hedged"),
        ("The answer is B? No, C.", "quarantine", "hedged"),
        ("A is correct. B is correct.", "quarantine", "several_answers"),
        ("The answer is: B) London", "quarantine", "several_answers"),
        ("Wrong answer: B", "quarantine", "no_answer"),
        ("Incorrect option: B", "quarantine", "no_answer"),
        ("The worst answer is B.", "quarantine", "no_answer"),
        ("A) London B) Paris C) Rome", "quarantine", "no_answer"),
        ("The answer is neither B nor C.", "quarantine", "no_answer"),
        ("I would never pick B", "quarantine", "no_answer"),
        ("Everything but B", "quarantine", "no_answer"),
        ("Both A and B", "quarantine", "no_answer"),
        ("AB", "quarantine", "no_answer"),
        ("B\nC", "quarantine", "no_answer"),
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
        ('<think>{"name": 1}</think>{"name": "Ann"}', "accept", "right"),
        ('```JSON\n{"name": "Ann"}\n```', "accept", "right"),
        ('```json\n{"name": "Ann"}\n', "reject", "not_json"),
        ('{"name": "Ann"}\n{"name": "Bob"}', "reject", "not_json"),
        ('{"name": "Ann",}', "reject", "not_json"),
        ("{'name': 'Ann'}", "reject", "not_json"),
        ('// Ann\n{"name": "Ann"}', "reject", "not_json"),
        ('\ufeff{"name": "Ann"}', "reject", "not_json"),
        ('[{"name": "Ann"}]', "reject", "schema_violation"),
        ('"{\\"name\\": \\"Ann\\"}"', "reject", "schema_violation"),
        ("null", "reject", "schema_violation"),
        ('{"name": "\\ud800"}', "reject", "ambiguous_json"),
        ('{"name": "\\ud83d\\ude00"}', "accept", "right"),
        ('{"name": -1e999}', "reject", "ambiguous_json"),
        ('Here:\n```json\n{"name": "Ann"}\n```', "quarantine", "text_around_json"),
        ("```json\n{}\n```\n```json\n{}\n```", "quarantine", "several_answers"),
    ],
)
def test_json_schema(completion: str, decision: str, reason: str) -> None:
    verdict = verify({"kind": "json_schema", "schema": PERSON}, completion)
    assert (verdict.decision, verdict.reason) == (decision, reason)


@pytest.mark.parametrize(
    ("schema", "completion", "decision", "reason"),
    [
        ({"$schema": 5}, "1", "quarantine", "bad_check"),
        ({"$schema": ["a"]}, "1", "quarantine", "bad_check"),
        ({"$id": 5}, "1", "quarantine", "bad_check"),
        (json.loads('{"not":' * 400 + "{}" + "}" * 400), "1", "quarantine", "bad_check"),
        ({"multipleOf": 0.1}, "1" + "0" * 400, "reject", "ambiguous_json"),
    ],
    ids=["number as draft", "list as draft", "number as id", "deep", "number beyond floats"],
)
def test_an_odd_schema_or_number_ends_as_a_verdict(
    schema: dict[str, Any], completion: str, decision: str, reason: str
) -> None:
    verdict = verify({"kind": "json_schema", "schema": schema}, completion)
    assert (verdict.decision, verdict.reason) == (decision, reason)


@pytest.mark.parametrize(
    ("format", "good", "bad"),
    [
        ("uri", "https://a.example/b", "not a uri"), ("uri-reference", "../b", "\\\\a"),
        ("duration", "P1DT2H", "two days"), ("json-pointer", "/a/0", "a/0"),
        ("hostname", "a.example", "-a-.b_"), ("uri-template", "/a/{b}", "/a/{b"),
        ("date-time", "2001-02-03T04:05:06Z", "2001-02-03 04:05"), ("time", "04:05:06Z", "25:99"),
        ("email", "ann@a.example", "ann"), ("uuid", "0" * 8 + "-0000-0000-0000-" + "0" * 12, "0"),
        ("ipv4", "127.0.0.1", "999.1.1.1"), ("ipv6", "::1", "1::2::3"), ("regex", "a+", "("),
    ],
)  # fmt: skip
def test_a_format_is_checked(format: str, good: str, bad: str) -> None:
    check = {"kind": "json_schema", "schema": {"type": "string", "format": format}}
    assert verify(check, json.dumps(good)).decision == "accept"
    assert verify(check, json.dumps(bad)).reason == "schema_violation"


@pytest.mark.parametrize(
    ("schema", "value"),
    [({"enum": [1]}, "true"), ({"const": 0}, "false"), ({"type": "number"}, "true")],
)
def test_true_and_false_are_no_numbers(schema: dict[str, Any], value: str) -> None:
    assert verify({"kind": "json_schema", "schema": schema}, value).reason == "schema_violation"


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
    german = [{"id": "language:response_language", "language": "de"}]
    short = verify({"kind": "constraint", "constraints": german}, "Ja.")
    assert (short.decision, short.reason, short.evidence) == ("quarantine", "undecided", "Ja.")
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


def test_kinds_without_a_verifier_are_quarantined() -> None:
    verdict = verify({"kind": "judge", "rubric": "be kind"}, "anything")
    assert (verdict.decision, verdict.reason) == ("quarantine", "no_verifier")
    assert verdict.evidence == "nothing verifies checks of kind judge yet"


def test_an_unknown_kind_lists_the_choices_and_the_nearest() -> None:
    with pytest.raises(InputError) as caught:
        verify({"kind": "maths", "answer": "1"}, "1")
    assert str(caught.value) == (
        "check.kind: 'maths' is not a kind of check (did you mean math?); choose from math, exact, "
        "choice, json_schema, constraint, code, procedural, consensus, judge"
    )


def test_a_check_with_wrong_fields_names_them() -> None:
    with pytest.raises(InputError) as caught:
        verify({"kind": "math", "answr": "1"}, "1")
    assert str(caught.value).split("\n") == [
        "check.answer: Field required",
        "check.answr: Extra inputs are not permitted",
    ]


def test_every_verifier_is_of_a_kind_that_exists() -> None:
    assert set(VERIFIERS) <= set(VERIFIED_BY)


def test_a_verdict_says_who_judged_what() -> None:
    verdict = verify(MathCheck(answer="4"), "2 + 2 = 4", subject_id="a1")
    assert verdict.model_dump() == {
        "subject_id": "a1",
        "stage": "verify",
        "detector": "math",
        "version": "3",
        "decision": "accept",
        "reason": "right",
        "evidence": "4",
        "score": 1.0,
    }
    assert verify(MathCheck(answer="4"), "5").score == 0.0
    assert verify(MathCheck(answer="4"), "").score is None


def test_many_are_judged_in_order_and_the_workers_can_be_closed() -> None:
    items: list[tuple[Check, str]] = [(ExactCheck(answer="a"), "b")]
    items += [(MathCheck(answer=f"x+{n % 3}"), "\\boxed{1+x}") for n in range(12)]
    verdicts = verify_many(items)
    assert 1 <= len(SHARED.children()) <= CORES
    SHARED.close()
    assert [v.decision for v in verdicts] == ["reject", *["reject", "accept", "reject"] * 4]
    assert SHARED.children() == []


def test_a_fault_in_one_check_is_raised_and_the_others_are_called_off() -> None:
    broken = MathCheck.model_construct(answer=None)
    with pytest.raises(TypeError) as caught:
        verify_many([(broken, "1"), (MathCheck(answer="1"), "1")])
    assert str(caught.value) == "'NoneType' object is not iterable"


def test_any_thread_may_verify() -> None:
    found: list[str] = []
    check = MathCheck(answer="2x")
    thread = threading.Thread(target=lambda: found.append(verify(check, "\\boxed{x+x}").decision))
    thread.start()
    thread.join()
    assert found == ["accept"]
