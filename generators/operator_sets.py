"""The operators, and which of them a prompt's domain is evolved by.

General tasks evolve by the six operators of Evol-Instruct (Xu et al. 2023, arXiv:2304.12244),
programs by the five heuristics of WizardCoder (Luo et al. 2023, arXiv:2306.08568), mathematics
downward and upward as in WizardMath (Luo et al. 2023, arXiv:2308.09583). `follow_up` is in none of
the sets: who wants conversations of several turns names it. `method` is in every set once a method
file is given (`generators.method`).
"""

from typing import Literal, NamedTuple


class Operator(NamedTuple):
    name: str
    kind: Literal["depth", "breadth", "downward", "turn", "key"]
    """A model rewrites the task or (`turn`) asks on after a verified answer to it, or (`key`) a
    program makes a child with a key of its own."""


OPERATORS = {
    operator.name: operator
    for operator in (
        Operator("add_constraints", "depth"),
        Operator("deepen", "depth"),
        Operator("concretise", "depth"),
        Operator("increase_reasoning", "depth"),
        Operator("complicate_input", "depth"),
        Operator("breadth", "breadth"),
        Operator("code_add_constraints", "depth"),
        Operator("code_rare_requirement", "depth"),
        Operator("code_more_steps", "depth"),
        Operator("code_erroneous_code", "depth"),
        Operator("code_complexity", "depth"),
        Operator("maths_easier", "downward"),
        Operator("maths_harder", "depth"),
        Operator("method", "depth"),
        Operator("follow_up", "turn"),
        Operator("constraint", "key"),
        Operator("procedural", "key"),
    )
}

METHOD = "method"
"""The operator whose template is a file that the configuration names."""
GENERAL = (
    "add_constraints",
    "deepen",
    "concretise",
    "increase_reasoning",
    "complicate_input",
    "breadth",
)
OPERATOR_SETS: dict[str, tuple[str, ...]] = {
    "code": (
        "code_add_constraints",
        "code_rare_requirement",
        "code_more_steps",
        "code_erroneous_code",
        "code_complexity",
    ),
    "maths": ("maths_easier", "maths_harder"),
}
"""By domain; every other domain is general."""
FOLLOW_UP = "follow_up"
KEYED = tuple(name for name, operator in OPERATORS.items() if operator.kind == "key")


def list_operators(domain: str) -> tuple[str, ...]:
    """A domain's set, with the operators by key behind it."""
    return (*OPERATOR_SETS.get(domain, GENERAL), *KEYED)
