"""The answers that every stage behind the samplers' judges: verified, elected, judged right or
released."""

from collections.abc import Iterable

from flows.stages.consensus import read_verified
from flows.stages.family import answer_stages, read_stage
from flows.stages.release import read_released
from flows.stages.watch import read_distrusted
from flows.work import Context
from generators.records import Answer, Verdict


def read_accepted(context: Context) -> list[Answer]:
    """All answers that a verifier or a judge accepted, a vote elected or a person released, by
    prompt and sample."""
    accepted: list[Answer] = []
    released, distrusted = read_released(context), read_distrusted(context)
    for stage in answer_stages(context):
        ids = (read_verified(context, stage) - distrusted) | released
        accepted += [a for a in read_stage(context, stage, "answers-", Answer) if a.id in ids]
    return order_answers(accepted)


def order_answers(answers: Iterable[Answer]) -> list[Answer]:
    """By prompt and sample: the order in which duplicates are sought and rows chosen."""
    return sorted(answers, key=lambda answer: (answer.prompt_id, answer.sample_index, answer.id))


def keep_accepted(context: Context, stage: str, answers: Iterable[Answer]) -> list[Answer]:
    """Those of the answers that a stage's verdicts let on, in their order."""
    verdicts = read_stage(context, stage, "verdicts-", Verdict)
    kept = {verdict.subject_id for verdict in verdicts if verdict.decision == "accept"}
    return [answer for answer in answers if answer.id in kept]
