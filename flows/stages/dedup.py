"""Stage `dedup`: duplicates among the verified answers' prompts, and among the answers.

A prompt that repeats another one falls with all its answers; of equal answers to one prompt one
stays; and a long answer (at least 20 words) that repeats the answer to another prompt falls.
Prompts are compared by their whole conversation: the same question behind other turns is another.
Two prompts whose numbers differ are never duplicates: "12 + 7" and "12 + 8" are two tasks.

What earlier cycles published stays whatever comes, and new answers are compared with it; so they
are with what a person took out of the dataset.

With `dedup.semantic`, what is left is compared by meaning too: prompts, and long answers to other
prompts. A model may be wrong about that, so what says the same in other words is quarantined.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from filters import paraphrases
from filters.dedup import Duplicate, find_duplicates
from filters.paraphrases import Embed, find_semantic_duplicates, name_answer, name_numbers
from flows.encoders import Encoder, name_encoder
from flows.history import BASE, read_published, read_taken_out
from flows.overrides import OVERRIDES, overrule, read_overrides
from flows.stages.accepted import keep_accepted, list_accepting
from flows.stages.consensus import CONSENSUS, read_every_decided
from flows.stages.decontaminate import DECONTAMINATE, read_clean
from flows.stages.family import evolve_stages, read_family
from flows.stages.release import read_released
from flows.store import FileEntry
from flows.work import Context, Job, Tick
from generators.records import Answer, Prompt, Verdict

LONG_WORDS = 20
"""From so many words on, two prompts having the same answer is no coincidence."""


class Meaning(NamedTuple):
    """By what texts are found to say the same in other words."""

    embed: Embed
    threshold: float


class DedupStage:
    """Every accepted answer is kept, or falls as a duplicate that names its original."""

    name = "dedup"

    def plan(self, context: Context) -> list[Job]:
        settings: Any = context.config.dedup.model_dump()
        before = [*evolve_stages(context), *list_accepting(context), DECONTAMINATE, BASE]
        if (semantic := context.config.dedup.semantic) is not None:
            settings = [settings, name_encoder(semantic.model), paraphrases.VERSION]
            before += [CONSENSUS, OVERRIDES]
        key = context.key(self.name, settings, before)
        output = f"{context.folder}/verdicts-dedup.parquet"
        rows = len(read_clean(context))
        return [Job(stage=self.name, outputs=(output,), rows=rows, key=key)]

    def work(self, context: Context, job: Job, tick: Tick) -> list[FileEntry]:
        prompts = read_family(context).prompts | read_every_decided(context)
        released = read_released(context)
        threshold, semantic = context.config.dedup.threshold, context.config.dedup.semantic
        meaning = semantic and Meaning(Encoder(semantic.model).embed, semantic.threshold)
        accepted = read_clean(context)
        verified = [answer for answer in accepted if answer.id not in released]
        known = [*read_published(context), *read_taken_out(context)]
        kept = [answer for answer in known if answer.id not in released]
        verdicts = judge_duplicates(verified, prompts, threshold, kept=kept, meaning=meaning)
        unique = {verdict.subject_id for verdict in verdicts if verdict.decision == "accept"}
        # What a person let in never pushes out what was verified.
        verdicts += judge_duplicates(
            [answer for answer in accepted if answer.id in released],
            prompts,
            threshold,
            kept=[*kept, *(answer for answer in verified if answer.id in unique)],
            meaning=meaning,
        )
        tick(job.rows)
        overrides = read_overrides(context.run)
        verdicts = [overrule(verdict, overrides) for verdict in verdicts]
        return [context.write_records(job, job.outputs[0], Verdict, verdicts)]


def read_unique(context: Context) -> list[Answer]:
    """The verified answers that are no duplicates."""
    return keep_accepted(context, "dedup", read_clean(context))


def judge_duplicates(
    answers: Sequence[Answer],
    prompts: Mapping[str, Prompt],
    threshold: float,
    kept: Sequence[Answer] = (),
    meaning: Meaning | None = None,
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
    if meaning is not None:
        left = [answer for answer in left if answer.id not in same_answer]
        again = _find_restated_prompts(left, kept, prompts, meaning)
        left = [answer for answer in left if answer.prompt_id not in again]
        same_prompt |= again
        same_answer |= _find_restated_answers(left, kept, prompts, meaning)
    return [
        _judge(answer.id, same_prompt.get(answer.prompt_id), same_answer.get(answer.id))
        for answer in answers
    ]


def _find_long(answers: Iterable[Answer]) -> dict[str, str]:
    return {a.id: a.completion for a in answers if len(a.completion.split()) >= LONG_WORDS}


def _find_restated_prompts(
    answers: Sequence[Answer],
    kept: Sequence[Answer],
    prompts: Mapping[str, Prompt],
    meaning: Meaning,
) -> dict[str, Duplicate]:
    """The prompts, by id, that ask in other words what another one asks."""
    known = {a.prompt_id: prompts[a.prompt_id].conversation for a in kept}
    texts = {a.prompt_id: prompts[a.prompt_id].conversation for a in answers}
    texts = {id: text for id, text in texts.items() if id not in known}
    completions: dict[str, list[str]] = {}
    for answer in (*kept, *answers):
        completions.setdefault(answer.prompt_id, []).append(answer.completion)
    names = {id: _name(text, prompts[id], completions[id]) for id, text in (texts | known).items()}
    return find_semantic_duplicates(texts, names, meaning.embed, meaning.threshold, known=known)


def _find_restated_answers(
    answers: Sequence[Answer],
    kept: Sequence[Answer],
    prompts: Mapping[str, Prompt],
    meaning: Meaning,
) -> dict[str, Duplicate]:
    """The long answers that say in other words what the answer to another prompt says; those to
    one prompt are several on purpose."""
    texts, known = _find_long(answers), _find_long(kept)
    asked = {a.id: prompts[a.prompt_id] for a in (*answers, *kept)}
    names = {id: _name(text, asked[id], [text]) for id, text in (texts | known).items()}
    return find_semantic_duplicates(
        texts,
        names,
        meaning.embed,
        meaning.threshold,
        known=known,
        owners={id: prompt.id for id, prompt in asked.items()},
    )


def _name(text: str, prompt: Prompt, completions: Iterable[str]) -> Any:
    """What two texts must share that say the same: numbers and the verified answer."""
    answer = name_answer(prompt.check, completions)
    return None if answer is None else (name_numbers(text), answer)


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
    restated = duplicate is not None and duplicate.kind == "semantic"
    decision = "accept" if duplicate is None else "quarantine" if restated else "reject"
    return Verdict(
        subject_id=id,
        stage="dedup",
        detector="embeddings" if restated else "minhash",
        version=paraphrases.VERSION if restated else "1",
        decision=decision,
        reason=reason,
        evidence=None if duplicate is None else f"repeats {duplicate.of}",
        score=None if duplicate is None else duplicate.similarity,
    )
