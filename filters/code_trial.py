"""What speaks against a code check before any program is judged by it.

Cases that all want the same value are passed by a program that reads nothing, as gibberish passes
a weak constraint. A solution that comes with the cases must pass them, and something nearly right
must not. Where there is no sandbox nothing could be judged, so it is said before answers are paid
for.
"""

from filters.code_cases import is_same, show_value
from filters.mutants import gate_cases
from filters.rules import Objection
from filters.sandbox import find_obstacle
from generators.case_values import RAISES, find_code_faults, find_tag
from generators.records import CodeCheck


def try_code(check: CodeCheck) -> Objection | None:
    """Object to a check as `bad_check`, `constant_passes`, `echo_passes` or `unverifiable_here`, or
    for what its solution and the mutants of it show (`filters.mutants`)."""
    for field, fault in find_code_faults(check):
        return Objection("bad_check", f"{field}: {fault}")
    first = check.cases[0].expected
    if all(_is_same_outcome(first, case.expected) for case in check.cases):
        return Objection("constant_passes", f"every case expects {_show(first)}")
    if all(len(case.args) == 1 and _is_echo(case.args[0], case.expected) for case in check.cases):
        return Objection("echo_passes", "every case expects its own argument")
    if obstacle := find_obstacle():
        return Objection("unverifiable_here", obstacle)
    return gate_cases(check.solution, check).objection if check.solution is not None else None


def _is_echo(argument: object, expected: object) -> bool:
    return find_tag(expected) != RAISES and is_same(expected, argument)


def _is_same_outcome(first: object, other: object) -> bool:
    if RAISES in (find_tag(first), find_tag(other)):
        return first == other
    return is_same(first, other)


def _show(expected: object) -> str:
    return str(expected) if find_tag(expected) == RAISES else show_value(expected)
