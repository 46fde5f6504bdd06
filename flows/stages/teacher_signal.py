"""Stage `signal`: the teacher's likeliest tokens at every token of the rows are written to disk.

The training then reads them and loads no teacher. What is written shard by shard survives a kill;
the whole is put into its place when it is complete.
"""

from collections.abc import Sequence
from typing import Any

import pyarrow.parquet as pq

from flows.facts_learning import SignalFacts
from flows.stage_settings import TrainStage
from flows.stages.publish import TRAIN
from flows.stages.train import (
    SIGNAL,
    find_scorer,
    find_teacher,
    find_teacher_id,
    identify_inputs,
    select_rows,
    trainer_settings,
)
from flows.store import TRAINING, FileEntry, copy_folder
from flows.training_settings import list_cached_parts
from flows.work import Job, LearningContext, Tick
from trainers.settings import TopSignal

HEADER = f"{SIGNAL}/header.json"
DECISIVE = {"signal", "temperature", "max_length", "precision", "seed"}
"""The settings of a training that decide what its signal holds."""


class SignalStage:
    """Ask the teacher once, and keep what it says."""

    name = SIGNAL

    def __init__(self, settings: TrainStage) -> None:
        self.settings = settings

    def plan(self, context: LearningContext) -> list[Job]:
        (part, *_) = list_cached_parts(self.settings)
        asked = part.model_dump(mode="json", include=DECISIVE)
        kept = part.measure.rows if part.measure is not None else 0
        inputs = [asked, kept, self.settings.accept, *identify_inputs(context, self.settings)]
        key = context.key(self.name, inputs, [])
        rows = pq.read_metadata(context.run.place(TRAIN)).num_rows
        return [Job(stage=self.name, outputs=(HEADER,), rows=rows, key=key)]

    def work(self, context: LearningContext, job: Job, tick: Tick) -> list[FileEntry]:
        from trainers.assembly import load_data, make_cached_teacher
        from trainers.students import load_student

        folder = context.run.root / TRAINING / job.key
        rows, signal = folder / "rows.parquet", folder / SIGNAL
        select_rows(context.run.place(TRAIN), rows, self.settings.accept)
        context.resources.release_models()
        teacher = find_teacher(context, self.settings)
        assert isinstance(teacher, str)  # the configuration was checked
        loaded = load_student(self.settings.untaught)
        (part, *_) = list_cached_parts(trainer_settings(self.settings))
        taught = load_data(part, rows, loaded.tokenizer).rows.rows
        shard = context.config.shard_rows
        make_cached_teacher(
            part,
            teacher,
            loaded,
            taught,
            signal,
            make_scorer=find_scorer(context, self.settings),
            teacher_id=find_teacher_id(context, self.settings),
            shard_rows=shard,
            on_progress=tick,
        )
        return copy_folder(context.run.root, signal, SIGNAL, stage=self.name, key=job.key)


def list_signal_stages(settings: TrainStage) -> Sequence[Any]:
    """The stage, where the teacher is to be heard from disk."""
    return [SignalStage(settings)] if list_cached_parts(settings) else []


def gather_signal(context: LearningContext) -> SignalFacts | None:
    """What the signal holds and costs; None where there is none."""
    settings = context.config.train
    if settings is None or not context.run.files(SIGNAL):
        return None
    from trainers.cached_teacher import report_signal

    cut = next(part.signal for part in list_cached_parts(settings))
    assert isinstance(cut, TopSignal)
    report = report_signal(context.run.place(SIGNAL))
    return SignalFacts(kept=cut.kept, **report.model_dump())
