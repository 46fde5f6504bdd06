"""The lab: one small world, in which students are taught by the project's own trainers.

The world is the language of `claims_lab.language`, a tokenizer of a word a token, and a teacher
that was trained on the language from scratch. A claim (a module of this folder with a function
`run(seeds)`) describes trainings as lessons, has them taught, has the students scored, and judges.

    world = open_world()
    students = teach([Lesson("sft", seed, SFT, rows, fresh(seed)) for seed in seeds])
    scores = score(students)             # by (arm, seed)

Lessons and scores of one call are shared among as many processes as there are cores, a thread
each. Models are so small that more threads would only wait for one another. A lesson that another
claim has had taught before is not taught again.

With CLAIMS_FOLDER set, the world is kept there and found again by the next run, which helps who
writes a claim. Empty it when anything in `trainers/` changes.
"""

import functools
import multiprocessing
import os
import random
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from claims_lab.evidence import Figures
from claims_lab.language import WORDS, Text, draw_text, draw_texts, is_right, weigh
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast
from transformers.utils.logging import disable_progress_bar

from generators.clients import draw_seed
from generators.embedded import LoadedModel, load_model
from generators.records import Record
from trainers.rollouts import sample_rollouts
from trainers.rows import TokenRow, load_rows
from trainers.settings import Student, TrainResult, TrainSettings
from trainers.student_metrics import (
    SampleScore,
    StudentScore,
    measure_samples,
    measure_student,
)
from trainers.train import train_student

SPECIAL = ("<unk>", "<ask>", "<say>", "<end>")
TEMPLATE = (
    "{% for m in messages %}{% if m.role == 'user' %}<ask> {{ m.content }} "
    "{% else %}<say> {{ m.content }} <end> {% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<say> {% endif %}"
)
WINDOW = 96
NEW_TOKENS = 64
HELD_OUT = 400
"""Texts that nobody is taught on, and as many prompts for samples. Of sums nobody sees the prompt
either; of stories there are few prompts, so all are known."""
HELD_OUT_SEED, TEACHER_SEED = 1, 2
TEACHER_SHAPE = {"layers": 3, "width": 96}
STUDENT_SHAPE = {"layers": 2, "width": 48}
TEACHING = TrainSettings(
    learning_rate=4e-3,
    schedule="cosine",
    warmup=0.05,
    batch_size=24,
    max_length=WINDOW,
    precision="float32",
    save_steps=1_000_000,
)
TEACHER_TEXTS = 36_000
"""Each is seen once."""


class World(NamedTuple):
    folder: Path
    teacher: Path
    """A model's folder, with the tokenizer of all."""
    held_out: Path
    teacher_nll: float
    """On the held-out texts, in nats per token."""
    entropy: float
    """What nobody could better there."""


class Lesson(NamedTuple):
    """One student's training."""

    arm: str
    """How it is taught: with the seed, the student's name."""
    seed: int
    settings: TrainSettings
    """`seed` and, where one is followed, the teacher are filled in."""
    rows: Path
    student: Student


class Score(Record):
    """What is known of a student."""

    held_out: StudentScore
    """On texts of the language."""
    own: StudentScore
    """At the prefixes that it writes itself, to the same prompts; `nll` is of its own tokens."""
    samples: SampleScore
    sums: float
    """The share of sums whose result is right."""
    stories: float
    """The share of stories that the language could have told."""
    tokens: int
    """That the training learned from."""


Key = tuple[str, int]
"""Arm and seed."""
Measure = Callable[[Score], float]


@functools.cache
def open_world() -> World:
    """The world; made when it is first asked for."""
    kept = os.environ.get("CLAIMS_FOLDER")
    folder = Path(kept) if kept else Path(_make_scratch().name)
    held_out = write_rows(draw_texts(HELD_OUT, HELD_OUT_SEED), folder / "held-out.parquet")
    rows = write_rows(draw_apart(TEACHER_TEXTS, TEACHER_SEED), folder / "teacher.parquet")
    start = _save_untrained(folder / "untrained")
    _limit_threads()
    teacher = train_student(TEACHING, rows, str(start), folder / "teacher").output
    world = World(folder, teacher, held_out, 0.0, 0.0)
    texts = read_texts(held_out)
    tokens = sum(len(text.completion.split()) + 1 for text in texts)
    told = score_student(world, teacher)
    return world._replace(teacher_nll=told.held_out.nll, entropy=-sum(map(weigh, texts)) / tokens)


@functools.cache
def _make_scratch() -> Any:
    return tempfile.TemporaryDirectory(prefix="claims-")


def fresh(seed: int) -> Student:
    """An untrained student under the teacher's tokenizer."""
    shape = describe_shape(**STUDENT_SHAPE)
    return Student(model=str(open_world().teacher), fresh=shape, seed=seed)


def draw_rows(count: int, seed: int) -> Path:
    """A seed's own rows; of fewer rows all are among the more."""
    folder = open_world().folder
    return write_rows(draw_apart(count, 100 + seed), folder / f"rows-{count}-{seed}.parquet")


def draw_apart(count: int, seed: int) -> list[Text]:
    """Texts, none of them held out."""
    rng = random.Random(seed)
    return [draw_another(rng) for _ in range(count)]


def draw_another(rng: random.Random) -> Text:
    """A text that is not held out."""
    while True:
        text = draw_text(rng)
        if not {text, text.prompt} & _list_held_out():
            return text


@functools.cache
def _list_held_out() -> frozenset[Text | str]:
    """Sums by their prompts, stories whole."""
    texts = draw_texts(HELD_OUT, HELD_OUT_SEED)
    return frozenset(text.prompt if text.prompt.startswith("add") else text for text in texts)


def write_rows(texts: Sequence[Text], file: Path) -> Path:
    """As a published dataset has them."""
    file.parent.mkdir(parents=True, exist_ok=True)
    table = [
        {
            "prompt": [{"role": "user", "content": text.prompt}],
            "completion": [{"role": "assistant", "content": text.completion}],
        }
        for text in texts
    ]
    pq.write_table(pa.Table.from_pylist(table), file)
    return file


def read_texts(file: Path) -> list[Text]:
    return [
        Text(row["prompt"][0]["content"], row["completion"][0]["content"])
        for row in pq.read_table(file).to_pylist()
    ]


def teach(lessons: Iterable[Lesson]) -> dict[Key, Path]:
    """The taught students' folders, by arm and seed."""
    lessons, world = list(lessons), open_world()
    folders = share_out(_teach, [(world, lesson) for lesson in lessons])
    return {(lesson.arm, lesson.seed): f for lesson, f in zip(lessons, folders, strict=True)}


def score(students: Mapping[Key, Path]) -> dict[Key, Score]:
    """What is known of each student after its training."""
    world = open_world()
    return dict(
        zip(students, share_out(_score, [(world, path) for path in students.values()]), strict=True)
    )


def read_figures(
    scores: Mapping[Key, Score],
    arms: Mapping[str, str],
    measures: Mapping[str, Measure],
    seeds: Sequence[int],
) -> Figures:
    """What is measured of the arms, which are shown under other names."""
    return {
        title: {
            shown: [measure(scores[arm, seed]) for seed in seeds] for arm, shown in arms.items()
        }
        for title, measure in measures.items()
    }


def share_out(function: Callable[[Any], Any], tasks: Sequence[Any]) -> list[Any]:
    """A module's function done for each task, by as many processes as there are cores."""
    return list(_open_pool().map(function, tasks))


@functools.cache
def _open_pool() -> ProcessPoolExecutor:
    return ProcessPoolExecutor(
        max_workers=len(os.sched_getaffinity(0)),
        mp_context=multiprocessing.get_context("spawn"),
        initializer=_limit_threads,
    )


def _limit_threads() -> None:
    torch.set_num_threads(1)
    disable_progress_bar()


def _teach(task: tuple[World, Lesson]) -> Path:
    world, lesson = task
    settings = lesson.settings.model_copy(update={"seed": lesson.seed})
    teacher = str(world.teacher) if settings.follows_teacher else None
    folder = world.folder / "students" / f"{lesson.arm}-{lesson.seed}"
    return train_student(settings, lesson.rows, lesson.student, folder, teacher=teacher).output


def _score(task: tuple[World, Path]) -> Score:
    world, student = task
    kept = student / "score.json"
    if not kept.exists():
        told = score_student(world, student)
        kept.write_text(told.model_dump_json())
    return Score.model_validate_json(kept.read_text())


def score_student(world: World, folder: Path) -> Score:
    """Read the held-out texts with a student, and have it answer their prompts."""
    student, teacher = load_model(str(folder), "float32"), _load(world.teacher)
    training = TrainResult.model_validate_json((folder / "result.json").read_text())
    texts, rows = read_texts(world.held_out), _encode(world)
    size = len(student.tokenizer)
    prompts = [row.input_ids[: row.prompt_length] for row in rows]
    rollouts = sample_rollouts(
        student.model,
        student.tokenizer,
        prompts,
        [draw_seed("claims", i) for i in range(len(prompts))],
        max_new_tokens=NEW_TOKENS,
        max_length=WINDOW,
    )
    own, ended = [one.row for one in rollouts], [one.ended for one in rollouts]
    said = [
        Text(text.prompt, _decode(student.tokenizer, row))
        for text, row in zip(texts, own, strict=True)
    ]
    return Score(
        held_out=measure_student(student.model, teacher.model, rows, vocabulary_size=size),
        own=measure_student(student.model, teacher.model, own, vocabulary_size=size),
        samples=measure_samples(own, ended, teacher.model, vocabulary_size=size),
        sums=_find_share("add", said),
        stories=_find_share("tell", said),
        tokens=training.tokens,
    )


@functools.cache
def _load(folder: Path) -> LoadedModel:
    return load_model(str(folder), "float32")


@functools.cache
def _encode(world: World) -> list[TokenRow]:
    return load_rows(world.held_out, _load(world.teacher).tokenizer, max_length=WINDOW).rows


def _decode(tokenizer: Any, row: TokenRow) -> str:
    return tokenizer.decode(row.input_ids[row.prompt_length :]).strip()


def _find_share(kind: str, said: Sequence[Text]) -> float:
    """Of the answers to prompts of this kind, how many came to an end and are right."""
    asked = [text for text in said if text.prompt.startswith(kind)]
    ended = (
        text._replace(completion=text.completion.removesuffix("<end>").strip())
        for text in asked
        if text.completion.endswith("<end>")
    )
    return sum(map(is_right, ended)) / len(asked)


def _save_untrained(folder: Path) -> Path:
    """A teacher's weights before it has learned anything, and the tokenizer of all."""
    words = Tokenizer(
        models.WordLevel({w: i for i, w in enumerate([*SPECIAL, *WORDS])}, unk_token=SPECIAL[0])
    )
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()  # pyright: ignore
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=words,
        unk_token=SPECIAL[0],
        additional_special_tokens=list(SPECIAL[1:3]),
        eos_token=SPECIAL[3],
        pad_token=SPECIAL[3],
        chat_template=TEMPLATE,
    )
    torch.manual_seed(0)
    end = SPECIAL.index("<end>")
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        max_position_embeddings=2 * WINDOW,
        bos_token_id=None,
        eos_token_id=end,
        pad_token_id=end,
        **describe_shape(**TEACHER_SHAPE),
    )
    disable_progress_bar()
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def describe_shape(layers: int, width: int) -> dict[str, Any]:
    return {
        "num_hidden_layers": layers,
        "hidden_size": width,
        "intermediate_size": 3 * width,
        "num_attention_heads": 4,
        "num_key_value_heads": 4,
        "initializer_range": width**-0.5,  # Llama's 0.02 suits wide models; these hardly move
    }
