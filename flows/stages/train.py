"""Stage `train`: the published rows teach the student.

Before it starts, the held-out prompts are checked against the rows: one shared prompt or one shared
set of operands stops the run, because its evaluation would be worth nothing.
"""

import math
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
import pyarrow.parquet as pq

from filters.heldout import check_disjoint
from filters.verify import verify
from flows.config import RunConfig
from flows.stage_settings import EvaluateSettings, TrainStage
from flows.stages.publish import TRAIN, hash_dataset
from flows.store import TRAINING, FileEntry, copy_folder, write_durably
from flows.teach_rows import hash_files
from flows.training_settings import asks_server, list_cached_parts, list_corpora, list_signals
from flows.work import Job, LearningContext, Tick, model_id
from generators.embedded import identify_model
from generators.errors import HeldOutError
from generators.records import CHECK, Prompt
from generators.seeds import load_seeds, load_texts
from generators.wording import normalise
from trainers.rollout_settings import INERT_OF_TRAINING
from trainers.settings import ContextSignal, TrainSettings
from trainers.signal_settings import Teacher

METRICS, STUDENT, SIGNAL = "metrics.jsonl", "student", "signal"
CANDIDATE = "candidate"
"""The student of a later cycle, until it is found better than the last one."""


class TrainingStage:
    """Train on the accepted rows; checkpoints survive a kill, the student appears when done."""

    def __init__(self, settings: TrainStage, *, name: str = "train") -> None:
        self.settings = settings
        self.name = name
        """`train`, or `candidate` in a later cycle."""

    def plan(self, context: LearningContext) -> list[Job]:
        key = digest_training(context, self.settings)
        rows = foresee_steps(self.settings, context.run.place(TRAIN))
        outputs = (place_metrics(context), f"{place_student(context)}/config.json")
        return [Job(stage=self.name, outputs=outputs, rows=rows, key=key)]

    def work(self, context: LearningContext, job: Job, tick: Tick) -> list[FileEntry]:
        rows = context.run.root / TRAINING / job.key / "rows.parquet"
        select_rows(context.run.place(TRAIN), rows, self.settings.accept)
        signal = context.run.place(SIGNAL) if list_cached_parts(self.settings) else None
        teach(context, self.settings, rows, tick, signal=signal)
        return install_student(context, job, place_metrics(context), place_student(context))


def place_student(context: LearningContext) -> str:
    """The folder of the student that this cycle teaches."""
    return STUDENT if context.cycle == 1 else f"{context.folder}/{CANDIDATE}"


def place_metrics(context: LearningContext) -> str:
    """The file of its training's figures."""
    return METRICS if context.cycle == 1 else f"{context.folder}/{METRICS}"


def teach(
    context: LearningContext,
    settings: TrainStage,
    rows: Path,
    tick: Tick,
    *,
    signal: Path | None = None,
) -> None:
    """Train on a file of rows, in the folder in which it lies; `signal` is where stage `signal` has
    put what the teacher says of them. Raises HeldOutError where one of them is held out."""
    from trainers.train import train_student

    if context.config.evaluate is not None:
        check_rows_apart(rows, context.config.evaluate)
        check_corpora_apart(settings, context.config.evaluate)
    context.resources.release_models()
    step = 0

    def count_steps(entry: dict[str, Any]) -> None:
        """Also those that a killed process had done: a resumed training begins behind them."""
        nonlocal step
        if "loss" in entry:
            tick(entry["step"] - step)
            step = entry["step"]

    train_student(
        trainer_settings(settings),
        rows,
        settings.untaught,
        rows.parent / "output",
        teacher=find_teacher(context, settings),
        signal=signal,
        make_scorer=find_scorer(context, settings),
        teacher_id=find_teacher_id(context, settings),
        verify=passes_check,
        on_log=count_steps,
        metrics=rows.parent / METRICS,
    )


def find_teacher(context: LearningContext, settings: TrainStage) -> Teacher | None:
    """The folder or name of the model that is followed, or of each by domain; None where none
    is."""
    if settings.teacher is None or not settings.follows_teacher:
        return None
    models = context.config.models
    if isinstance(settings.teacher, str):
        return models[settings.teacher].model
    return {domain: models[name].model for domain, name in settings.teacher.items()}


def find_scorer(context: LearningContext, settings: TrainStage) -> Callable[[], Any] | None:
    """What makes a client of the teacher's server; None where no server teaches."""
    if settings.lone_teacher is None or not asks_server(settings, context.config.models):
        return None
    return partial(context.resources.make_scorer, settings.lone_teacher)


def find_teacher_id(context: LearningContext, settings: TrainStage) -> str | None:
    """What the teacher behind a server is called; None where none is."""
    models = context.config.models
    if settings.lone_teacher is None or not asks_server(settings, models):
        return None
    return model_id(models[settings.lone_teacher])


def foresee_steps(settings: TrainStage, dataset: Path) -> int:
    """How many steps a training takes; fewer where rows turn out to be too long for it."""
    rows = pq.read_metadata(dataset).num_rows
    if "verified_by" in pq.read_schema(dataset).names:
        kinds = pq.read_table(dataset, columns=["verified_by"])["verified_by"].to_pylist()
        rows = sum(kind in settings.accept for kind in kinds)
    per_step = [p.batch_size * p.accumulation * p.processes for p in settings.split()]
    return sum(
        part.max_steps or max(1, math.ceil(rows * part.epochs / size))
        for part, size in zip(settings.split(), per_step, strict=True)
    )


def passes_check(check: str, completion: str) -> bool:
    """Whether a completion is right by a row's check, given as JSON."""
    return verify(CHECK.validate_json(check), completion).decision == "accept"


def install_student(
    context: LearningContext, job: Job, metrics: str, student: str
) -> list[FileEntry]:
    """Put a job's finished student and its figures into their places in the run directory."""
    root = context.run.root
    folder = root / TRAINING / job.key
    text = (folder / METRICS).read_text(encoding="utf-8")
    told = context.write_text(job, metrics, text)
    source = folder / "output" / "model"
    return [told, *copy_folder(root, source, student, stage=job.stage, key=job.key)]


def trainer_settings(settings: TrainStage) -> TrainSettings:
    """The trainer's own settings out of the stage's; the teacher's name is resolved elsewhere."""
    names = set(TrainSettings.model_fields) - {"teacher"}
    return TrainSettings(**settings.model_dump(include=names))


def digest_training(context: LearningContext, settings: TrainStage) -> str:
    """What decides a training: its settings and its inputs."""
    inputs = identify_inputs(context, settings)
    decisive = settings.model_dump(mode="json", exclude=INERT_OF_TRAINING)
    return context.key("train", [decisive, *inputs], [])


def identify_inputs(context: LearningContext, settings: TrainStage) -> list[Any]:
    """The student that a training starts from, whom it follows, its rows, its other files."""
    place, models = context.run.place(TRAIN), context.config.models
    followed = settings.teachers if settings.follows_teacher else ()
    files = [corpus.texts for _, corpus in list_corpora(settings)]
    files += [s.examples for _, s in list_signals(settings) if isinstance(s, ContextSignal)]
    if isinstance(context.config, RunConfig):
        data = hash_dataset(place)
    else:  # of other rows none need have an id to sort them by
        data = context.run.manifest.files[TRAIN].sha256
    teachers = [model_id(models[name]) for name in followed]
    contents = [hash_files(Path(file)) for file in files]
    return [identify_model(settings.untaught.model), teachers, data, contents]


def select_rows(source: Path, target: Path, accept: tuple[str, ...]) -> None:
    """Write the rows that the training accepts, by how they were verified; all of a dataset that
    does not say how."""
    table = pq.read_table(source)
    if "verified_by" in table.column_names:
        wanted: Any = pc.field("verified_by").isin(list(accept))
        table = table.filter(wanted)
    write_durably(target, lambda path: pq.write_table(table, path))


def check_rows_apart(rows: Path, evaluate: EvaluateSettings) -> None:
    """Raise HeldOutError where a prompt, a canary or a plain text of the evaluation is among the
    rows of a file."""
    canaries = load_seeds(evaluate.canaries) if evaluate.canaries else []
    check_disjoint(read_trained_prompts(rows), load_held_out(evaluate) + canaries)
    if evaluate.text is None or "text" not in pq.read_schema(rows).names:
        return
    column = pq.read_table(rows, columns=["text"])["text"].to_pylist()
    check_texts_apart(column, evaluate.text, "are trained on")


def check_corpora_apart(settings: TrainStage, evaluate: EvaluateSettings) -> None:
    """Raise HeldOutError where a plain text of the evaluation is in a corpus beside the rows."""
    from trainers.text_rows import read_texts

    if evaluate.text is None:
        return
    for setting, corpus in list_corpora(settings):
        told = f"are trained on in {corpus.texts} ({setting})"
        check_texts_apart(read_texts(Path(corpus.texts)), evaluate.text, told)


def check_texts_apart(trained: Iterable[str | None], held_out: str, told: str) -> None:
    """Raise HeldOutError where one of a file's held-out texts is among those of a training."""
    known = {normalise(text) for text in trained if text}
    shared = [text for text in load_texts(held_out) if normalise(text) in known]
    if shared:
        raise HeldOutError(
            f"{held_out}: {len(shared)} of its texts {told}, such as {shared[0][:60]!r}.\n"
            "Keep other texts for evaluation."
        )


def read_trained_prompts(rows: Path) -> list[Prompt]:
    """The prompts of a file of rows, as far as training can read them; plain text has none."""
    from trainers.rows import UnusableRow, read_messages

    names = [n for n in ("prompt", "check", "prompt_id") if n in pq.read_schema(rows).names]
    prompts: dict[str, Prompt] = {}
    for row in pq.read_table(rows, columns=names).to_pylist() if "prompt" in names else ():
        try:
            messages = read_messages(row, "prompt")
        except UnusableRow:
            continue
        check = CHECK.validate_json(row["check"]) if row.get("check") else None
        unknown = dict.fromkeys(("domain", "licence", "source", "author"), "")
        prompt = Prompt.seed(messages, check=check, **unknown)
        id = row.get("prompt_id") or prompt.id
        prompts[id] = prompt.model_copy(update={"id": id})
    return [prompts[id] for id in sorted(prompts)]


def load_held_out(settings: EvaluateSettings) -> list[Prompt]:
    """The held-out prompts, in the order of their files."""
    return [p for path in settings.held_out for p in load_seeds(path, split="heldout")]
