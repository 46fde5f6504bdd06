"""Stage `dedup`: duplicates among the verified answers' prompts, and among the answers.

A prompt that repeats another one falls with all its answers; of equal answers to one prompt one
stays; and a long answer (at least 20 words) that repeats the answer to another prompt falls.
Prompts are compared by their whole conversation: the same question behind other turns is another.
Two prompts whose numbers differ are never duplicates: "12 + 7" and "12 + 8" are two tasks.
"""

from collections.abc import Iterable, Mapping, Sequence

from filters.dedup import Duplicate, find_duplicates
from flows.stages.accepted import keep_accepted, list_accepting
from flows.stages.decontaminate import DECONTAMINATE, read_clean
from flows.stages.family import evolve_stages, read_family
from flows.stages.release import read_released
from flows.store import FileEntry
from flows.work import Context, Job, Tick
from generators.records import Answer, Prompt, Verdict

LONG_WORDS = 20
"""From so many words on, two prompts having the same answer is no coincidence."""


class DedupStage:
    """Every accepted answer is kept, or rejected as a duplicate that names its original."""

    name = "dedup"

    def plan(self, context: Context) -> list[Job]:
        before = [*evolve_stages(context), *list_accepting(context), DECONTAMINATE]
        key = context.key(self.name, context.config.dedup.model_dump(), before)
        output = f"{context.folder}/verdicts-dedup.parquet"
        rows = len(read_clean(context))
        return [Job(stage=self.name, outputs=(output,), rows=rows, key=key)]

    def work(self, context: Context, job: Job, tick: Tick) -> list[FileEntry]:
        prompts, released = read_family(context).prompts, read_released(context)
        threshold = context.config.dedup.threshold
        accepted = read_clean(context)
        verified = [answer for answer in accepted if answer.id not in released]
        verdicts = judge_duplicates(verified, prompts, threshold)
        unique = {verdict.subject_id for verdict in verdicts if verdict.decision == "accept"}
        # What a person let in never pushes out what was verified.
        verdicts += judge_duplicates(
            [answer for answer in accepted if answer.id in released],
            prompts,
            threshold,
            kept=[answer for answer in verified if answer.id in unique],
        )
        tick(job.rows)
        return [context.write_records(job, job.outputs[0], Verdict, verdicts)]


def read_unique(context: Context) -> list[Answer]:
    """The verified answers that are no duplicates."""
    return keep_accepted(context, "dedup", read_clean(context))


def judge_duplicates(
    answers: Sequence[Answer],
    prompts: Mapping[str, Prompt],
    threshold: float,
    kept: Sequence[Answer] = (),
) -> list[Verdict]:
    """One verdict for each accepted answer; those that were `kept` before stay whatever comes."""
    known = {a.prompt_id: prompts[a.prompt_id].conversation for a in kept}
    texts = {
        a.prompt_id: prompts[a.prompt_id].conversation for a in answers if a.prompt_id not in known
    }
    same_prompt = find_duplicates(texts, threshold=threshold, numbers_must_agree=True, known=known)
    left = [answer for answer in answers if answer.prompt_id not in same_prompt]
    same_answer = _find_repeated_samples(left, kept)
    long = _find_long(answer for answer in left if answer.id not in same_answer)
    same_answer |= find_duplicates(long, threshold=threshold, known=_find_long(kept))
    return [
        _judge(answer.id, same_prompt.get(answer.prompt_id), same_answer.get(answer.id))
        for answer in answers
    ]


def _find_long(answers: Iterable[Answer]) -> dict[str, str]:
    return {a.id: a.completion for a in answers if len(a.completion.split()) >= LONG_WORDS}


def _find_repeated_samples(
    answers: Sequence[Answer], kept: Sequence[Answer]
) -> dict[str, Duplicate]:
    """Answers to one prompt that say the same in the same words."""
    found: dict[str, Duplicate] = {}
    known, by_prompt = _group_samples(kept), _group_samples(answers)
    for prompt, texts in by_prompt.items():
        repeats = find_duplicates(texts, threshold=1.0, known=known.get(prompt))
        found |= {id: repeat for id, repeat in repeats.items() if repeat.kind == "exact"}
    return found


def _group_samples(answers: Iterable[Answer]) -> dict[str, dict[str, str]]:
    """The answers' texts by prompt and id."""
    by_prompt: dict[str, dict[str, str]] = {}
    for answer in answers:
        by_prompt.setdefault(answer.prompt_id, {})[answer.id] = answer.completion
    return by_prompt


def _judge(id: str, prompt: Duplicate | None, answer: Duplicate | None) -> Verdict:
    duplicate = prompt or answer
    reason = "unique"
    if duplicate is not None:
        reason = f"{duplicate.kind}_duplicate_{'prompt' if prompt else 'answer'}"
    return Verdict(
        subject_id=id,
        stage="dedup",
        detector="minhash",
        version="1",
        decision="accept" if duplicate is None else "reject",
        reason=reason,
        evidence=None if duplicate is None else f"repeats {duplicate.of}",
        score=None if duplicate is None else duplicate.similarity,
    )
