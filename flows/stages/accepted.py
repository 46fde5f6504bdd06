"""The answers that every stage behind the samplers' judges: verified, elected, judged right or
released."""

from collections.abc import Iterable

from flows.history import find_earlier_answers
from flows.stages.answer import is_verified
from flows.stages.consensus import CONSENSUS
from flows.stages.family import answer_stages, read_stage
from flows.stages.judge import read_judged_right
from flows.stages.release import RELEASE, list_quarantining, read_released
from flows.stages.watch import read_distrusted
from flows.work import Context
from generators.records import Answer, Verdict


def list_accepting(context: Context) -> list[str]:
    """The stages whose verdicts decide what is accepted, in order."""
    return [*list_quarantining(context), RELEASE]


def read_accepted(context: Context) -> list[Answer]:
    """All answers that a verifier or a judge accepted, a vote elected or a person released, by
    prompt and sample. Of those that a person released some may be of earlier cycles."""
    accepted: list[Answer] = []
    released, distrusted = read_released(context), read_distrusted(context)
    for stage in answer_stages(context):
        ids = (read_verified(context, stage) - distrusted) | released
        accepted += [a for a in read_stage(context, stage, "answers-", Answer) if a.id in ids]
    accepted += find_earlier_answers(context, released)
    return order_answers(accepted)


def read_verified(context: Context, stage: str) -> set[str]:
    """The answers of a sampler's stage that were accepted in the end: by a verifier, by vote or by
    a judge that may accept alone."""
    own = read_stage(context, stage, "verdicts-", Verdict)
    votes = read_stage(context, CONSENSUS, "verdicts-", Verdict)
    elected = {verdict.subject_id for verdict in votes if verdict.decision == "accept"}
    later = elected | read_judged_right(context)
    return {v.subject_id for v in own if is_verified(v) or v.subject_id in later}


def order_answers(answers: Iterable[Answer]) -> list[Answer]:
    """By prompt and sample: the order in which duplicates are sought and rows chosen."""
    return sorted(answers, key=lambda answer: (answer.prompt_id, answer.sample_index, answer.id))


def keep_accepted(context: Context, stage: str, answers: Iterable[Answer]) -> list[Answer]:
    """Those of the answers that a stage's verdicts let on, in their order."""
    verdicts = read_stage(context, stage, "verdicts-", Verdict)
    kept = {verdict.subject_id for verdict in verdicts if verdict.decision == "accept"}
    return [answer for answer in answers if answer.id in kept]
