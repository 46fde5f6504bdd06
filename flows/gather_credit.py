"""Count what each operator has earned in each domain."""

from collections import defaultdict
from collections.abc import Iterator

from flows.facts_credit import CreditFacts
from flows.gather_difficulty import rate_prompts
from flows.intervals import Interval
from flows.stages.accepted import read_verified
from flows.stages.family import Family, answer_stages, read_stage
from flows.work import Context
from generators.records import Answer, Verdict
from trainers.evaluate import wilson_interval


def gather_credit(context: Context, family: Family) -> Iterator[CreditFacts]:
    """By operator and domain, in alphabetical order."""
    solved = {
        answer.prompt_id
        for stage in answer_stages(context)
        for verified in [read_verified(context, stage)]
        for answer in read_stage(context, stage, "answers-", Answer)
        if answer.id in verified
    }
    rates = rate_prompts(context)
    attempts: dict[tuple[str, str], list[Verdict]] = defaultdict(list)
    for id, verdict in family.verdicts.items():
        attempt = family.describe_attempt(id)
        attempts[attempt.operator, attempt.domain].append(verdict)
    for (operator, domain), verdicts in sorted(attempts.items()):
        alive = [v.subject_id for v in verdicts if v.decision == "accept"]
        verified = [id for id in alive if id in solved]
        in_band = sum(0 < rates.get(id, 0.0) < 1 for id in verified)
        yield CreditFacts(
            operator=operator,
            domain=domain,
            tried=len(verdicts),
            survived=len(alive),
            verified=len(verified),
            in_band=in_band if context.config.difficulty is not None else None,
            survival=_share(len(alive), len(verdicts)),
            verification=_share(len(verified), len(alive)) if alive else None,
        )


def _share(part: int, whole: int) -> Interval:
    return Interval.of(wilson_interval(part, whole))
