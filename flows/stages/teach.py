"""Stages of a training on its own: `rows`, `card`, and between them those that end a run.

`dataset/train.parquet` holds the rows that are trained on, as they were when the training began.
"""

from pathlib import Path

import pyarrow.parquet as pq

from flows.stages.evaluate import EvaluateStage, list_arms
from flows.stages.publish import TRAIN
from flows.stages.report import CURVES, MODEL_CARD, draw_curves
from flows.stages.teacher_signal import list_signal_stages
from flows.stages.train import TrainingStage
from flows.store import CONFIG, FileEntry, RunDirectory
from flows.teach_card import TeachFigures, gather_teaching, render_taught_card
from flows.teach_rows import TaughtRows, hash_files, read_rows
from flows.teach_settings import TeachConfig
from flows.work import Job, Stage, TeachContext, Tick
from generators.errors import RunError

SUMMARY, FACTS = "summary.json", "dataset/rows.json"
VERSION = "2"
"""Changed whenever the same rows come to other words."""


def list_teaching_stages(config: TeachConfig) -> list[Stage]:
    """The stages from any rows to a student with its card, in order."""
    arms = [EvaluateStage(config.evaluate, arm) for arm in list_arms(config) if config.evaluate]
    taught = [*list_signal_stages(config.train), TrainingStage(config.train)]
    return [RowsStage(), *arms[:-1], *taught, *arms[-1:], TeachCardStage()]


class RowsStage:
    """Read the dataset, and keep a copy of the rows that are accepted."""

    name = "rows"

    def plan(self, context: TeachContext) -> list[Job]:
        config = context.config
        content = hash_files(Path(config.dataset))
        key = context.key(self.name, [config.dataset, content, config.train.accept, VERSION], [])
        return [Job(stage=self.name, outputs=(TRAIN, FACTS), rows=1, key=key)]

    def work(self, context: TeachContext, job: Job, tick: Tick) -> list[FileEntry]:
        train = context.config.train
        table, facts = read_rows(context.config.dataset, train, train.accept)
        tick(job.rows)
        return [
            context.write(job, TRAIN, lambda place: pq.write_table(table, place)),
            context.write_text(job, FACTS, facts.model_dump_json(indent=1) + "\n"),
        ]


class TeachCardStage:
    """Tell what was taught, by whom, on which rows, and what came of it."""

    name = "card"

    def plan(self, context: TeachContext) -> list[Job]:
        stages = {entry.stage for entry in context.run.manifest.files.values()}
        before = sorted(stages - {self.name, CONFIG})
        key = context.key(self.name, [context.config.name, context.config.digest, VERSION], before)
        return [Job(stage=self.name, outputs=(SUMMARY, MODEL_CARD, CURVES), rows=1, key=key)]

    def work(self, context: TeachContext, job: Job, tick: Tick) -> list[FileEntry]:
        rows = TaughtRows.model_validate_json(context.run.place(FACTS).read_bytes())
        figures = gather_teaching(context, rows, context.run.manifest.files[TRAIN].sha256)
        card = render_taught_card(context.config, figures)
        tick(job.rows)
        return [
            context.write_text(job, SUMMARY, figures.model_dump_json(indent=1) + "\n"),
            context.write_text(job, MODEL_CARD, card),
            context.write(job, CURVES, lambda place: draw_curves(context, place)),
        ]


def read_figures(run: RunDirectory) -> TeachFigures:
    """The figures of a finished training. Raises RunError where there are none."""
    file = run.place(SUMMARY)
    if not file.is_file():
        raise RunError(f"{run.root}: no student has been taught here")
    return TeachFigures.model_validate_json(file.read_bytes())
