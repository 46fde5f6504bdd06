"""Stage `train-random`: a second student, taught as the first one but on rows that nobody selected.

Its rows are drawn at random from all that selection looked at and that the first student might have
been taught on, until they hold as many completion tokens; it is given as many steps. So what the
first one scores beyond it is what selection did, and not that there were fewer rows.
"""

import functools
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow.parquet as pq

from flows.config import RunConfig
from flows.overrides import OVERRIDES
from flows.stage_settings import TrainStage
from flows.stages.consensus import read_decided
from flows.stages.difficulty import read_wanted
from flows.stages.family import evolve_stages, read_family
from flows.stages.losses import LOSSES
from flows.stages.publish import (
    ROW_SCHEMA,
    TRAIN,
    find_persons_rows,
    judging_stages,
    make_row,
    read_noted,
    write_table,
)
from flows.stages.selection import SELECT
from flows.stages.train import STUDENT, foresee_steps, install_student, select_rows, teach
from flows.store import TRAINING, FileEntry, write_durably
from flows.work import Context, Job, Tick
from generators.embedded import identify_model, load_tokenizer
from generators.records import Record, digest
from trainers.settings import TrainResult

TRAIN_RANDOM = "train-random"
RANDOM_STUDENT, RANDOM_METRICS = "student-random", "metrics-random.jsonl"
VERSION = "1"
Row = Mapping[str, Any]


class Drawn(Record):
    """The rows of both students, of which the first one's were selected."""

    looked_at: int
    """Rows that either might have been taught on."""
    selected_rows: int
    selected_tokens: int
    """Of their completions, as the student's tokenizer cuts them."""
    rows: tuple[str, ...]
    """The ids of those that were drawn."""
    tokens: int
    shared: int
    """How many of them were selected too."""


class RandomTrainingStage:
    """Draw rows and train on them."""

    name = TRAIN_RANDOM

    def __init__(self, settings: TrainStage) -> None:
        self.settings = settings

    def plan(self, context: Context) -> list[Job]:
        student = identify_model(self.settings.untaught.model)
        publish, seed = context.config.publish.model_dump(mode="json"), context.config.seed
        decisive = [self.settings.model_dump(mode="json"), student, publish, seed, VERSION]
        stages = [stage for stage in judging_stages(context) if stage != SELECT]
        before = [*evolve_stages(context), *stages, LOSSES, OVERRIDES, "publish", "train"]
        outputs = (RANDOM_METRICS, f"{RANDOM_STUDENT}/config.json", name_drawn(context))
        key = context.key(self.name, decisive, before)
        rows = foresee_steps(self.settings, context.run.place(TRAIN))
        return [Job(stage=self.name, outputs=outputs, rows=rows, key=key)]

    def work(self, context: Context, job: Job, tick: Tick) -> list[FileEntry]:
        folder = context.run.root / TRAINING / job.key
        selected, rows = folder / "selected.parquet", folder / "rows.parquet"
        select_rows(context.run.place(TRAIN), selected, self.settings.accept)
        every = [row for row in list_rows(context) if row["verified_by"] in self.settings.accept]
        tokens = count_tokens(every, self.settings.untaught.model, self.settings.max_length)
        ids = pq.read_table(selected, columns=["id"])["id"].to_pylist()
        most = context.config.publish.answers_per_prompt
        drawn = draw_rows(every, tokens, ids, seed=context.config.seed, answers_per_prompt=most)
        own = [row for row in every if row["id"] in drawn.rows]
        write = functools.partial(write_table, rows=own, schema=ROW_SCHEMA)
        write_durably(rows, write)
        steps = read_result(context).steps
        settings = self.settings
        if not settings.phases:  # which have each their own number
            settings = settings.model_copy(update={"max_steps": steps})
        teach(context, settings, rows, tick)
        told = context.write_text(job, name_drawn(context), drawn.model_dump_json(indent=1))
        return [*install_student(context, job, RANDOM_METRICS, RANDOM_STUDENT), told]


def compares_with_random(config: RunConfig) -> bool:
    """Whether a second student is asked for."""
    return config.select is not None and config.select.beside_random


def name_drawn(context: Context) -> str:
    """Where it is told which rows were drawn."""
    return f"{context.folder}/drawn-random.json"


def read_result(context: Context, student: str = STUDENT) -> TrainResult:
    """What came of a student's training."""
    return TrainResult.model_validate_json(context.run.place(f"{student}/result.json").read_bytes())


def list_rows(context: Context) -> list[dict[str, Any]]:
    """All that selection looked at and that may be published, as rows, by id."""
    settings, wanted = context.config.publish, read_wanted(context)
    prompts = read_family(context).prompts | read_decided(context)
    by_person = find_persons_rows(context, wanted, prompts)
    noted = read_noted(context, by_person)
    rows = [make_row(a, prompts[a.prompt_id], noted[a.id], settings) for a in wanted]
    let_in = [r for r in rows if r["verified_by"] in settings.accept or r["id"] in by_person]
    return sorted(let_in, key=lambda row: row["id"])


def count_tokens(rows: Sequence[Row], student: str, max_length: int) -> dict[str, int]:
    """The completion tokens of each row that a student can be taught on, by its id."""
    from trainers.rows import UnusableRow, encode_row

    tokenizer = load_tokenizer(student)
    tokens: dict[str, int] = {}
    for row in rows:
        try:
            encoded = encode_row(row, tokenizer, max_length=max_length)
        except UnusableRow:
            continue
        tokens[row["id"]] = len(encoded.input_ids) - encoded.prompt_length
    return tokens


def draw_rows(
    rows: Sequence[Row],
    tokens: Mapping[str, int],
    selected: Sequence[str],
    *,
    seed: int,
    answers_per_prompt: int,
) -> Drawn:
    """Draw rows until they hold as many tokens as the selected ones; the last is left out where
    that comes nearer. Rows without `tokens` cannot be taught on, and are neither drawn nor
    counted."""
    goal = sum(tokens.get(id, 0) for id in selected)
    usable = [row for row in rows if row["id"] in tokens]
    taken: Counter[str] = Counter()
    drawn: list[str] = []
    total = 0
    for row in sorted(usable, key=lambda row: digest("beside random", seed, row["id"])):
        more = tokens[row["id"]]
        if taken[row["prompt_id"]] == answers_per_prompt:
            continue
        if total + more - goal > goal - total:  # farther beyond the goal than before it
            break
        taken[row["prompt_id"]] += 1
        drawn.append(row["id"])
        total += more
        if total >= goal:
            break
    chosen = {id for id in selected if id in tokens}
    return Drawn(
        looked_at=len(usable),
        selected_rows=len(chosen),
        selected_tokens=goal,
        rows=tuple(sorted(drawn)),
        tokens=total,
        shared=len(chosen.intersection(drawn)),
    )


def read_drawn(context: Context) -> Drawn | None:
    """Which rows were drawn; None where there is no second student."""
    if not context.run.files(TRAIN_RANDOM):
        return None
    return Drawn.model_validate_json(context.run.place(name_drawn(context)).read_bytes())
