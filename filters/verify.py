"""Verify a completion by the check of its prompt: right, wrong, or not to be judged.

A verifier is added by one function `(check, completion) -> Judgement` in a file of its own and one
line in `VERIFIERS`. Kinds of check without a verifier are quarantined, never guessed. All of it may
be called from any thread: what needs a process' main thread runs in the shared worker's.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from pydantic import ValidationError

from filters.choice_check import judge_choice
from filters.consensus_check import judge_consensus
from filters.constraint_check import judge_constraints
from filters.exact_check import judge_exact
from filters.json_check import judge_json
from filters.judgement import Judgement, quarantine
from filters.math_check import judge_math
from filters.procedural_check import judge_procedural
from generators.errors import InputError, nearest
from generators.records import CHECK, VERIFIED_BY, Check, Verdict

SCORES = {"accept": 1.0, "reject": 0.0, "quarantine": None}


class Verifier(NamedTuple):
    """What judges one kind of check; the version changes when its judgements may."""

    detector: str
    version: str
    judge: Callable[[Any, str], Judgement]


VERIFIERS: dict[str, Verifier] = {
    "math": Verifier("math", "1", judge_math),
    "exact": Verifier("exact", "1", judge_exact),
    "choice": Verifier("choice", "1", judge_choice),
    "json_schema": Verifier("json_schema", "1", judge_json),
    "constraint": Verifier("constraint", "1", judge_constraints),
    "procedural": Verifier("procedural", "1", judge_procedural),
    "consensus": Verifier("consensus", "2", judge_consensus),
}
VERSIONS = tuple(f"{kind}: {v.detector} {v.version}" for kind, v in sorted(VERIFIERS.items()))
"""What a verdict depends on besides its check and its answer: a new version judges anew."""


def verify(check: Check | Mapping[str, Any], completion: str, *, subject_id: str = "") -> Verdict:
    """Judge a completion by a check, given as a record or as its JSON object.

    Raises InputError for an object that is no check.
    """
    record = parse_check(check) if isinstance(check, Mapping) else check
    verifier = VERIFIERS.get(record.kind) or Verifier(record.kind, "0", _judge_without_verifier)
    decision, reason, evidence = verifier.judge(record, completion)
    return Verdict(
        subject_id=subject_id,
        stage="verify",
        detector=verifier.detector,
        version=verifier.version,
        decision=decision,
        reason=reason,
        evidence=evidence,
        score=SCORES[decision],
    )


def verify_many(items: Sequence[tuple[Check, str]]) -> list[Verdict]:
    """Judge many completions, each by its check, in order."""
    return [verify(check, completion) for check, completion in items]


def parse_check(value: Mapping[str, Any]) -> Check:
    """The check that a JSON object is. Raises InputError, with the choices for a kind unknown."""
    kind = value.get("kind")
    if kind not in VERIFIED_BY:
        choices = ", ".join(VERIFIED_BY)
        raise InputError(
            f"check.kind: {kind!r} is not a kind of check{nearest(str(kind), VERIFIED_BY)}; "
            f"choose from {choices}"
        )
    try:
        return CHECK.validate_python(dict(value))
    except ValidationError as error:
        faults = [f"check.{'.'.join(map(str, f['loc'][1:]))}: {f['msg']}" for f in error.errors()]
        raise InputError("\n".join(faults)) from error


def _judge_without_verifier(check: Check, completion: str) -> Judgement:
    return quarantine("no_verifier", f"nothing verifies checks of kind {check.kind} yet")
