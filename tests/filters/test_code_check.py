"""A program is right when every call returns what is expected; else the reason says how it fell."""

import json
from pathlib import Path
from typing import Any

import pytest

from filters import code_check, sandbox
from filters.check_trial import try_check
from filters.code_check import judge_program
from filters.rules import Objection
from filters.sandbox import Limits
from filters.verify import verify
from generators.errors import InputError
from generators.records import CHECK, CodeCheck

MEDIAN = {
    "kind": "code",
    "entry_point": "median",
    "cases": [{"args": [[3, 1, 2]], "expected": 2}, {"args": [[4, 1, 2, 3]], "expected": 2.5}],
}
SOLUTION = """\
def median(numbers):
    numbers.sort()
    half = len(numbers) // 2
    if len(numbers) % 2:
        return numbers[half]
    return (numbers[half - 1] + numbers[half]) / 2
"""


def check_of(entry_point: str, *cases: tuple[list[Any], Any]) -> dict[str, Any]:
    listed = [{"args": args, "expected": expected} for args, expected in cases]
    return {"kind": "code", "entry_point": entry_point, "cases": listed}


def judge(check: dict[str, Any], completion: str) -> tuple[str, str, str | None]:
    verdict = verify(check, completion)
    return verdict.decision, verdict.reason, verdict.evidence


@pytest.mark.parametrize(
    "completion",
    [
        pytest.param(SOLUTION, id="bare"),
        pytest.param(f"Sort them:\n```python\n{SOLUTION}```\nThat is all.", id="fenced"),
        pytest.param("from statistics import median", id="imported"),
        pytest.param(f"print('hello')\n{SOLUTION}print(median([1]))", id="prints"),
        pytest.param(f"{SOLUTION}if __name__ == '__main__':\n    raise OSError", id="own main"),
        pytest.param(f"import sys\nsys.stdout.close()\n{SOLUTION}", id="closes its output"),
        pytest.param(
            f"from functools import cache\nfrom typing import Any\n{SOLUTION}", id="typing"
        ),
    ],
)
def test_a_right_program_is_accepted(completion: str) -> None:
    if completion.startswith("from statistics"):
        completion = f"```python\n{completion} as find\nmedian = find\n```"
    assert judge(MEDIAN, completion) == ("accept", "right", "2 of 2 cases")


@pytest.mark.parametrize(
    ("program", "reason", "evidence"),
    [
        pytest.param(
            "def median(n): return sorted(n)[len(n) // 2]",
            *("wrong_result", "case 2 of 2: returned 3, expected 2.5"),
            id="wrong value",
        ),
        pytest.param(
            "def median(n): return str(sorted(n)[1])",
            *("wrong_result", "case 1 of 2: returned '2', expected 2"),
            id="wrong type",
        ),
        pytest.param(
            "def median(n): print(2)",
            *("wrong_result", "case 1 of 2: returned None, expected 2"),
            id="printed",
        ),
        pytest.param(
            "def median(n): yield 2",
            *("wrong_result", "case 1 of 2: returned an object of type 'generator', expected 2"),
            id="generator",
        ),
        pytest.param(
            "async def median(n): return 2",
            *("wrong_result", "case 1 of 2: returned an object of type 'coroutine', expected 2"),
            id="coroutine",
        ),
        pytest.param(
            "def median(n): return n.middle",
            "raised",
            "case 1 of 2: AttributeError: 'list' object has no attribute 'middle'; expected 2",
            id="exception",
        ),
        pytest.param(
            "def median(n): raise ValueError('\\x1b[2J\\n\\ud800 ä')",
            *("raised", "case 1 of 2: ValueError: \\x1b[2J\\n\\ud800 ä; expected 2"),
            id="exception with control characters",
        ),
        pytest.param(
            "def median(n): return median(n)",
            "raised",
            "case 1 of 2: RecursionError: maximum recursion depth exceeded; expected 2",
            id="deep recursion",
        ),
        pytest.param(
            "def median(n): return int(input())",
            *("raised", "case 1 of 2: EOFError: EOF when reading a line; expected 2"),
            id="reads input",
        ),
        pytest.param(
            "def median(n, m): return 2",
            "raised",
            "case 1 of 2: TypeError: median() missing 1 required positional argument: 'm'; "
            "expected 2",
            id="other parameters",
        ),
        pytest.param(
            "import numpy_of_nobody\ndef median(n): return 2",
            *("raised", "loading: ModuleNotFoundError: No module named 'numpy_of_nobody'"),
            id="a library that is not there",
        ),
        pytest.param(
            "def median(n) return 2",
            *("syntax_error", "loading: SyntaxError: expected ':' (candidate.py, line 1)"),
            id="no Python",
        ),
        pytest.param(
            "def median(n):\nreturn 2",
            "syntax_error",
            "loading: IndentationError: expected an indented block after function definition "
            "on line",
            id="badly indented",
        ),
        pytest.param(
            "median = 3", "no_entry_point", "median is no function", id="no function"
        ),
        pytest.param(
            "def median(n): return ' ' * (2 << 20)",
            *("too_much_output", "case 1 of 2: more than 1048576 bytes of results"),
            id="a huge result",
        ),
        pytest.param(
            "def median(n):\n  n.append(n)\n  return n",
            "raised",
            "case 1 of 2: RecursionError: maximum recursion depth exceeded; expected 2",
            id="a result within itself",
        ),
    ],
)  # fmt: skip
def test_a_wrong_program_is_rejected(program: str, reason: str, evidence: str) -> None:
    assert judge(MEDIAN, program) == ("reject", reason, evidence)


SHORT = Limits(cpu_seconds=1, wall_seconds=20.0)


@pytest.mark.parametrize(
    ("program", "limits", "judgement"),
    [
        pytest.param(
            "def median(n):\n  while True: pass",
            SHORT,
            ("reject", "too_slow", "case 1 of 2: no result after 1 s of work"),
            id="endless",
        ),
        pytest.param(
            "while True: pass\ndef median(n): return 2",
            SHORT,
            ("reject", "too_slow", "loading: no result after 1 s of work"),
            id="endless loading",
        ),
        pytest.param(
            "import time\ndef median(n): time.sleep(99)",
            Limits(wall_seconds=1.0),
            ("quarantine", "timeout", "case 1 of 2: no result after 1 s"),
            id="asleep",
        ),
    ],
)
def test_time_that_runs_out_is_told_apart(
    program: str, limits: Limits, judgement: tuple[str, str, str]
) -> None:
    check = CHECK.validate_python(MEDIAN)
    assert isinstance(check, CodeCheck)
    assert judge_program(check, program, limits) == judgement


def test_arguments_are_new_for_each_call() -> None:
    check = check_of("drain", ([[1, 2]], [2, 1]), ([[1, 2]], [2, 1]))
    program = "def drain(items): return [items.pop() for _ in range(len(items))]"
    assert judge(check, program)[0] == "accept"
    assert judge(check, "seen = []\ndef drain(items):\n  seen.append(1)\n  return seen")[1] == (
        "wrong_result"
    )


def test_values_that_json_lacks_go_in_and_out() -> None:
    cases = [
        ([{"$tuple": [1, 2]}], {"$tuple": ["tuple", {"$tuple": [1, 2]}]}),
        ([{"$set": [1]}], {"$tuple": ["set", {"$set": [1]}]}),
        ([{"$dict": [[1, 2]]}], {"$tuple": ["dict", {"$dict": [[1, 2]]}]}),
        ([{"$bytes": "ff"}], {"$tuple": ["bytes", {"$bytes": "ff"}]}),
        ([{"$float": "nan"}], {"$tuple": ["float", {"$float": "nan"}]}),
        ([{"$int": "0x100000000000000000"}], {"$tuple": ["int", 2**68]}),
        ([{"plain": None}], {"$tuple": ["dict", {"plain": None}]}),
    ]
    check = check_of("name", *cases)
    program = "def name(value): return type(value).__name__, value"
    assert judge(check, program) == ("accept", "right", "7 of 7 cases")


@pytest.mark.parametrize(
    ("program", "judgement"),
    [
        ("def f(n): return 1 // n", ("accept", "right", "2 of 2 cases")),
        (
            "def f(n): return n and 1",
            ("reject", "wrong_result", "case 2 of 2: returned 0, expected ArithmeticError"),
        ),
        (
            "def f(n):\n  if n: return 1\n  raise ValueError('none')",
            ("reject", "raised", "case 2 of 2: ValueError: none; expected ArithmeticError"),
        ),
    ],
    ids=["a kind of it", "nothing", "another"],
)
def test_an_exception_can_be_expected(program: str, judgement: tuple[str, str, str]) -> None:
    check = check_of("f", ([1], 1), ([0], {"$raises": "ArithmeticError"}))
    assert judge(check, program) == judgement


def test_a_counter_is_a_dictionary() -> None:
    check = check_of("count", (["aab"], {"a": 2, "b": 1}))
    program = "```python\nfrom collections import Counter\ndef count(t): return Counter(t)\n```"
    assert judge(check, program)[0] == "accept"


@pytest.mark.parametrize(
    ("check", "evidence"),
    [
        (check_of("a b", ([], 1)), "entry_point: 'a b' is not the name of a function"),
        (check_of("class", ([], 1)), "entry_point: 'class' is not the name of a function"),
        (check_of("f", ([], {"$set": 1})), "cases.0.expected: $set must hold a list"),
        (
            check_of("f", ([], {"$raises": "Oops"})),
            "cases.0.expected: $raises must hold the name of a built-in exception, not 'Oops'",
        ),
    ],
    ids=["no name", "a keyword", "no set", "no exception"],
)
def test_a_check_that_nothing_can_meet_is_at_fault(check: dict[str, Any], evidence: str) -> None:
    assert judge(check, "def f(): return 1") == ("quarantine", "bad_check", evidence)
    assert try_check(CHECK.validate_python(check)) == Objection("bad_check", evidence)


@pytest.mark.parametrize(
    ("solution", "cases", "objection"),
    [
        ("def adult(age): return age >= 18", [([17], False), ([18], True)], None),
        (
            "def adult(age): return age > 18",
            [([17], False), ([18], True)],
            Objection(
                "reference_fails", "wrong_result: case 2 of 2: returned False, expected True"
            ),
        ),
        (
            "def grown(age): return age >= 18",
            [([17], False), ([18], True)],
            Objection("reference_fails", "no_entry_point: adult is no function"),
        ),
        (
            "def adult(age): return age in (1, 2)",
            [([1], True), ([7], False)],
            None,
        ),
        (
            "def adult(age, share): return age * share",
            [([1, 1], 1), ([2, 1], 2)],
            Objection("cases_kill_no_mutant", "1 mutants: 0 crash, 1 pass all cases"),
        ),
    ],
    ids=["fit", "wrong", "another function", "fit though some survive", "tells nothing apart"],
)
def test_cases_are_tried_on_their_solution(
    solution: str, cases: list[tuple[list[Any], Any]], objection: Objection | None
) -> None:
    check = check_of("adult", *cases) | {"solution": solution}
    assert try_check(CHECK.validate_python(check)) == objection


def test_a_check_without_a_solution_is_written_without_one() -> None:
    check = CHECK.validate_python(check_of("f", ([1], 1)))
    assert set(check.model_dump()) == {"kind", "entry_point", "cases"}


def test_a_case_is_read_strictly() -> None:
    check = {"kind": "code", "entry_point": "f", "cases": [{"args": [1], "want": 2}]}
    with pytest.raises(InputError) as caught:
        verify(check, "def f(n): return n")
    assert str(caught.value).splitlines()[:2] == [
        "check.cases.0.expected: Field required",
        "check.cases.0.want: Extra inputs are not permitted",
    ]


@pytest.mark.parametrize(
    ("check", "objection"),
    [
        (MEDIAN, None),
        (check_of("f", ([1], 2)), Objection("constant_passes", "every case expects 2")),
        (
            check_of("f", ([1], {"$raises": "KeyError"})),
            Objection("constant_passes", "every case expects {'$raises': 'KeyError'}"),
        ),
        (
            check_of("f", ([1], 1), ([2], 2.0)),
            Objection("echo_passes", "every case expects its own argument"),
        ),
        (check_of("f", ([1], 1), ([2], 3)), None),
        (check_of("f", ([1], 1), ([0], {"$raises": "KeyError"})), None),
    ],
    ids=["sound", "one case", "always raises", "echo", "no echo", "raises once"],
)
def test_cases_that_a_program_passes_unread_are_unfit(
    check: dict[str, Any], objection: Objection | None
) -> None:
    assert try_check(CHECK.validate_python(check)) == objection


def test_without_a_sandbox_nothing_is_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    sandbox.find_obstacle.cache_clear()
    try:
        witness = tmp_path / "was-run"
        verdict = verify(MEDIAN, f"open({str(witness)!r}, 'w')\n{SOLUTION}")
        objection = try_check(CHECK.validate_python(MEDIAN))
    finally:
        sandbox.find_obstacle.cache_clear()
    assert (verdict.decision, verdict.reason) == ("quarantine", "unverifiable_here")
    assert verdict.evidence is not None
    assert verdict.evidence.endswith("; type: make system")
    assert objection == Objection("unverifiable_here", verdict.evidence)
    assert not witness.exists()


def test_a_sandbox_that_fails_to_start_judges_nobody() -> None:
    check = CHECK.validate_python(MEDIAN)
    assert isinstance(check, CodeCheck)
    starved = Limits(memory_bytes=1 << 20)
    assert judge_program(check, SOLUTION, starved)[:2] == ("quarantine", "sandbox_failed")


def test_a_machine_without_processes_to_spare_judges_nobody(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    assert sandbox.find_obstacle() is None
    monkeypatch.setattr(sandbox.subprocess, "Popen", refuse)
    before = len(list(Path("/proc/self/fd").iterdir()))
    assert judge(MEDIAN, SOLUTION) == (
        *("quarantine", "sandbox_failed"),
        "[Errno 11] Resource temporarily unavailable",
    )
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_the_runner_gets_calls_and_nothing_to_compare_with(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[Any] = []
    real = code_check.Sandbox

    def note(program: str, request: Any, *rest: Any, **more: Any) -> Any:
        sent.append(request)
        return real(program, request, *rest, **more)

    monkeypatch.setattr(code_check, "Sandbox", note)
    assert judge(check_of("f", ([5], 918273)), "def f(n): return 918273")[0] == "accept"
    assert "918273" not in json.dumps({**sent[0], "source": ""})
    assert sent[0].keys() == {"source", "entry_point", "calls"}
