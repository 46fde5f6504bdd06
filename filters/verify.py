"""Verify a completion by the check of its prompt: right, wrong, or not to be judged.

A verifier is added by one function `(check, completion) -> Judgement` in a file of its own and one
line in `VERIFIERS`. Kinds of check without a verifier are quarantined, never guessed. All of it may
be called from any thread: what needs a process' main thread runs in a shared worker's.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from typing import Any, NamedTuple

from pydantic import ValidationError

from filters.choice_check import judge_choice
from filters.code_check import judge_code
from filters.consensus_check import judge_consensus
from filters.constraint_check import judge_constraints
from filters.exact_check import judge_exact
from filters.json_check import judge_json
from filters.judgement import Judgement, quarantine
from filters.math_check import judge_math
from filters.procedural_check import judge_procedural
from filters.worker import CORES
from generators.errors import InputError, nearest
from generators.records import CHECK, VERIFIED_BY, Check, Verdict

MOST_TOGETHER = 8
"""Answers to one check that a thread judges before others may have their turn."""
SCORES = {"accept": 1.0, "reject": 0.0, "quarantine": None}


class Verifier(NamedTuple):
    """What judges one kind of check; the version changes when its judgements may."""

    detector: str
    version: str
    judge: Callable[[Any, str], Judgement]
    works_outside: bool = False
    """Whether another process does the work, so that threads have several judged at once."""


VERIFIERS: dict[str, Verifier] = {
    "math": Verifier("math", "3", judge_math, works_outside=True),
    "exact": Verifier("exact", "2", judge_exact),
    "choice": Verifier("choice", "3", judge_choice),
    "json_schema": Verifier("json_schema", "3", judge_json),
    "constraint": Verifier("constraint", "2", judge_constraints),
    "code": Verifier("code", "2", judge_code, works_outside=True),
    "procedural": Verifier("procedural", "3", judge_procedural, works_outside=True),
    "consensus": Verifier("consensus", "3", judge_consensus),
}
_OUTSIDE = frozenset(kind for kind, verifier in VERIFIERS.items() if verifier.works_outside)
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
    """Judge many completions, each by its check, in order; several at once where that pays."""
    if not any(check.kind in _OUTSIDE for check, _ in items):
        return [verify(check, completion) for check, completion in items]
    threads = ThreadPoolExecutor(CORES)
    try:
        judged = threads.map(lambda group: [verify(*item) for item in group], _group(items))
        return list(chain.from_iterable(judged))
    finally:
        threads.shutdown(cancel_futures=True)


def _group(items: Sequence[tuple[Check, str]]) -> Iterator[Sequence[tuple[Check, str]]]:
    """Items of one check together, as far as they follow each other: what a child has read of the
    reference serves the next answer to it."""
    start = 0
    for end in range(1, len(items) + 1):
        is_full = end - start == MOST_TOGETHER
        if end == len(items) or is_full or items[end][0] != items[start][0]:
            yield items[start:end]
            start = end


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
