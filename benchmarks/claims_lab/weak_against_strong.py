"""Claim e: many samples of a weak model and a verifier, against few of a strong one's.

Bansal et al. 2024: at equal compute a weak sampler answers each prompt several times as often
(`generators.compute`). Both answer sums. One verifier looks at the result, however it came about,
so that broken chains pass it; another looks at the chain. The student begins as the weak sampler
and is taught on what either said, with either verifier and without one; or as the strong one, so
that it is taught by something weaker than itself. The prompts that the samplers have learned, those
that they are asked and the held-out ones have none in common.
"""

import functools
import math
import zlib
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from random import Random
from statistics import fmean
from typing import Any, Literal, NamedTuple

from claims_lab.evidence import ClaimResult, Contrast, Figures, is_less, is_more, tabulate
from claims_lab.kd_against_sft import SFT
from claims_lab.lab import (
    WINDOW,
    Key,
    Lesson,
    describe_shape,
    open_world,
    share_out,
    teach,
    write_rows,
)
from claims_lab.language import Text, draw_text, is_right, weigh
from claims_lab.pictures import draw_arms

from generators.clients import draw_seed
from generators.compute import Exchange, match_count
from generators.embedded import load_model, render_chat
from generators.model_size import count_parameters
from generators.records import Message
from trainers.rollouts import sample_rollouts
from trainers.settings import Student

WEAK, STRONG = "weak", "strong"
SHAPES = {WEAK: {"layers": 2, "width": 64}, STRONG: {"layers": 3, "width": 96}}
SUMS = 19_200
"""That a sampler has learned from, each read once."""
SAMPLES = 2
"""Of the strong one, to a prompt."""
PROMPTS, HELD_OUT = 600, 500
NEW_TOKENS, BATCH = 40, 600
SAMPLER = SFT.model_copy(update={"max_steps": SUMS // SFT.batch_size, "learning_rate": 5e-3})
STUDENT = SFT.model_copy(update={"max_steps": 120, "learning_rate": 3e-3})


class Sampler(NamedTuple):
    model: Path
    samples: int
    """To each prompt."""
    parameters: int
    """Those that work for every token."""


class Asked(NamedTuple):
    """Prompts that are put to a model so many times."""

    model: Path
    samples: int
    prompts: Sequence[str]
    seed: int


class Answer(NamedTuple):
    text: Text
    """Without words where it did not come to an end."""
    tokens: int


Said = list[Answer]


Part = Literal["learned", "asked", "held out"]
PARTS: tuple[Part, ...] = ("learned", "learned", "asked", "asked", "held out")
"""A prompt's digest says which it is of."""


def list_sums(part: Part, seed: int) -> Iterator[Text]:
    """Sums of this part, without end."""
    rng = Random(seed)
    while True:
        text = draw_text(rng)
        digest = zlib.crc32(text.prompt.encode())
        if text.prompt.startswith("add") and PARTS[digest % len(PARTS)] == part:
            yield text


def list_prompts(part: Part, seed: int, count: int) -> list[str]:
    """So many prompts, all different."""
    prompts: dict[str, None] = {}
    for text in list_sums(part, seed):
        prompts[text.prompt] = None
        if len(prompts) == count:
            break
    return list(prompts)


@functools.cache
def list_held_out() -> list[str]:
    return list_prompts("held out", 400, HELD_OUT)


@functools.cache
def open_samplers() -> dict[str, Sampler]:
    """Both, and how many samples cost the same; all seeds have them in common."""
    lessons = []
    sums = list_sums("learned", 300)
    rows = write_rows([next(sums) for _ in range(SUMS)], open_folder() / "sums.parquet")
    for name, shape in SHAPES.items():
        untrained = Student(
            model=str(open_world().teacher),
            fresh=describe_shape(**shape),
            reuse_embeddings=False,
        )
        lessons.append(Lesson(f"sampler-{name}", 0, SAMPLER, rows, untrained))
    models = teach(lessons)
    weak, strong = (models[f"sampler-{name}", 0] for name in SHAPES)
    sizes = [count_parameters(str(model)) for model in (weak, strong)]
    rate = Exchange("parameters", 2.0 * sizes[0], 2.0 * sizes[1]).rate
    return {
        WEAK: Sampler(weak, match_count(SAMPLES, rate), sizes[0]),
        STRONG: Sampler(strong, SAMPLES, sizes[1]),
    }


def open_folder() -> Path:
    return open_world().folder / "weak-against-strong"


def say(asked: Asked) -> Said:
    """Have a model answer each prompt so many times."""
    model, tokenizer = load_model(str(asked.model), "float32")
    prompts = [prompt for prompt in asked.prompts for _ in range(asked.samples)]
    said: Said = []
    for start in range(0, len(prompts), BATCH):
        batch = prompts[start : start + BATCH]
        rollouts = sample_rollouts(
            model,
            tokenizer,
            [_encode(tokenizer, prompt) for prompt in batch],
            [draw_seed("sums", asked.seed, start + i) for i in range(len(batch))],
            max_new_tokens=NEW_TOKENS,
            max_length=WINDOW,
        )
        for prompt, one in zip(batch, rollouts, strict=True):
            ids = one.row.input_ids[one.row.prompt_length :]
            words = tokenizer.decode(ids[:-1]).strip() if one.ended else ""
            said.append(Answer(Text(prompt, words), len(ids)))
    return said


def _encode(tokenizer: Any, prompt: str) -> list[int]:
    text = render_chat(tokenizer, [Message(role="user", content=prompt)])
    return tokenizer(text, add_special_tokens=False)["input_ids"]


def sample(seeds: Sequence[int]) -> dict[Key, Said]:
    """What both samplers say to each seed's prompts."""
    asked = {
        (name, seed): Asked(
            one.model, one.samples, list_prompts("asked", 200 + seed, PROMPTS), seed
        )
        for name, one in open_samplers().items()
        for seed in seeds
    }
    return dict(zip(asked, share_out(say, list(asked.values())), strict=True))


def teach_students(said: Mapping[Key, Said], seeds: Sequence[int]) -> dict[Key, Path]:
    """Each arm's student."""
    lessons = []
    for arm in ARMS:
        start = Student(model=str(open_samplers()[arm.start].model))
        for seed in seeds:
            taken = [one.text for one in said[arm.sampler, seed] if VERIFIERS[arm.kept](one)]
            file = open_folder() / f"{arm.name}-{seed}.parquet"
            rows = write_rows(list(dict.fromkeys(taken)), file)
            lessons.append(Lesson(arm.name, seed, STUDENT, rows, start))
    return teach(lessons)


def examine(models: Mapping[Key, Path]) -> dict[Key, Said]:
    """What each model says to the held-out prompts, once; models of one seed draw alike."""
    asked = [Asked(path, 1, list_held_out(), 1_000 + seed) for (_, seed), path in models.items()]
    return dict(zip(models, share_out(say, asked), strict=True))


def has_ended(answer: Answer) -> bool:
    """All that is known without a verifier."""
    return bool(answer.text.completion)


def has_result(answer: Answer) -> bool:
    return has_ended(answer) and is_right(answer.text)


def is_sound(answer: Answer) -> bool:
    """Whether the whole chain is of the language."""
    return has_ended(answer) and weigh(answer.text) > -math.inf


Verifier = Callable[[Answer], bool]
RESULT, CHAIN, NONE = "result verified", "chain verified", "unverified"
VERIFIERS: dict[str, Verifier] = {RESULT: has_result, CHAIN: is_sound, NONE: has_ended}


class Arm(NamedTuple):
    """A student: as whom it begins, by whose answers it is taught, and which of them."""

    start: str
    sampler: str
    kept: str

    @property
    def name(self) -> str:
        return "-".join(self).replace(" ", "-")

    @property
    def shown(self) -> str:
        return f"{self.start} student of {self.sampler}, {self.kept}"


ARMS = [
    *(Arm(WEAK, sampler, kept) for kept in VERIFIERS for sampler in SHAPES),
    *(Arm(STRONG, sampler, RESULT) for sampler in SHAPES),
    Arm(STRONG, WEAK, NONE),
]


def measure_right(said: Said) -> float:
    return fmean(map(has_result, said))


def measure_sound(said: Said) -> float:
    return fmean(map(is_sound, said))


def measure_coverage(said: Said) -> float:
    """The share of prompts with a right answer."""
    return fmean(bool(right) for right in _group_right(said).values())


def measure_distinct(said: Said) -> float:
    """Different right chains to a prompt."""
    return fmean(len(set(right)) for right in _group_right(said).values())


def measure_broken(said: Said) -> float:
    """Of the right answers, those behind a broken chain."""
    return fmean(not is_sound(one) for one in said if has_result(one))


def measure_tokens(said: Said) -> float:
    """Drawn for a prompt."""
    return sum(one.tokens for one in said) / len(_group_right(said))


def _group_right(said: Said) -> dict[str, list[str]]:
    by_prompt: defaultdict[str, list[str]] = defaultdict(list)
    for one in said:
        by_prompt[one.text.prompt] += [one.text.completion] if has_result(one) else []
    return by_prompt


Measure = Callable[[Said], float]
SAMPLED: dict[str, Measure] = {
    "right": measure_right,
    "coverage": measure_coverage,
    "distinct right chains": measure_distinct,
    "right behind a broken chain": measure_broken,
    "tokens per prompt": measure_tokens,
}
EXAMINED: dict[str, Measure] = {"right": measure_right, "sound chains": measure_sound}


def run(seeds: Sequence[int]) -> ClaimResult:
    said, samplers = sample(seeds), open_samplers()
    students = teach_students(said, seeds)
    untaught = {(name, seed): one.model for name, one in samplers.items() for seed in seeds}
    told = examine(untaught | students)
    taught = {arm.name: arm.shown for arm in ARMS}
    names = {name: f"{name} sampler" for name in SHAPES}
    sampled = read(said, names, SAMPLED, seeds)
    examined = read(told, names | taught, EXAMINED, seeds)
    return ClaimResult(
        "A weak sampler and a verifier teach more than a strong one at equal compute",
        describe_setting(samplers),
        [tabulate(sampled), tabulate(examined)],
        list_contrasts(sampled, examined["right"]),
        draw_arms(
            "claim-e-weak-against-strong.svg",
            "Weak and strong samplers at equal compute, and their students",
            examined,
            groups=(2, 2, 2, 2, 3),
        ),
    )


def read(
    said: Mapping[Key, Said],
    arms: Mapping[str, str],
    measures: Mapping[str, Measure],
    seeds: Sequence[int],
) -> Figures:
    return {
        title: {shown: [measure(said[arm, seed]) for seed in seeds] for arm, shown in arms.items()}
        for title, measure in measures.items()
    }


def describe_setting(samplers: Mapping[str, Sampler]) -> str:
    weak, strong = samplers[WEAK], samplers[STRONG]
    return (
        f"Sums alone. The strong sampler ({strong.parameters:,} parameters besides embeddings) says"
        f" {strong.samples} to each of {PROMPTS} prompts, the weak one ({weak.parameters:,})"
        f" {weak.samples}; both have learned from {SUMS:,} sums of other prompts. Students begin as"
        f" either sampler and learn for {STUDENT.max_steps} steps. They are examined at temperature"
        f" 1 on {HELD_OUT} held-out prompts. A chain is broken where the language could not have"
        " written it, though its result is right."
    )


def list_contrasts(sampled: Figures, right: Mapping[str, Sequence[float]]) -> list[Contrast]:
    weak, strong = f"{WEAK} sampler", f"{STRONG} sampler"

    def compare(judge: Callable[..., Contrast], one: Arm, other: Arm | str) -> Contrast:
        ones, others = one.shown, other.shown if isinstance(other, Arm) else other
        return judge(f"right: {ones} - {others}", right[ones], right[others])

    def of(sampler: str, kept: str, start: str = WEAK) -> Arm:
        return Arm(start, sampler, kept)

    return [
        *(
            is_more(f"{title}: {weak} - {strong}", sampled[title][weak], sampled[title][strong])
            for title in ("coverage", "distinct right chains")
        ),
        compare(is_more, of(WEAK, RESULT), of(STRONG, RESULT)),
        compare(is_more, of(WEAK, CHAIN), of(STRONG, CHAIN)),
        compare(is_more, of(WEAK, RESULT), weak),
        compare(is_more, of(WEAK, RESULT), of(WEAK, NONE)),
        compare(is_less, of(WEAK, NONE), of(STRONG, NONE)),
        compare(is_more, of(WEAK, RESULT, STRONG), of(STRONG, RESULT, STRONG)),
        compare(is_more, of(WEAK, RESULT, STRONG), strong),
        compare(is_more, of(WEAK, RESULT, STRONG), of(WEAK, NONE, STRONG)),
    ]
