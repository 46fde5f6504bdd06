"""What the verbs of the command do, as functions that anybody may call."""

import os
import random
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from flows.annotate_card import show_figures
from flows.annotate_figures import AnnotationFigures
from flows.annotate_settings import load_annotation, parse_settings
from flows.classify_card import show_classifier
from flows.classify_figures import ClassifierFigures
from flows.classify_settings import ClassifyConfig, load_classification
from flows.conduct import PlainConductor, conduct_stage
from flows.config import RunConfig, load_config
from flows.console import Console
from flows.cycles import note_student, teach_student
from flows.pipeline import check_unchanged, conduct, is_finished, locate_run
from flows.promotion import is_in_place
from flows.run_settings import RunSettings
from flows.stage_lists import list_stages
from flows.stage_settings import EvaluateSettings
from flows.stages.calibrate import CalibrateStage
from flows.stages.classify import CARD as CLASSIFIER_CARD
from flows.stages.classify import read_figures as read_classifier
from flows.stages.decontaminate import DECONTAMINATE
from flows.stages.evaluate import RANDOM, ArmResult, EvaluateStage, list_arms, score_model
from flows.stages.family import find_subjects, read_family
from flows.stages.publish import read_verdicts
from flows.stages.random_rows import TRAIN_RANDOM
from flows.stages.report import MODEL_CARD, REPORT, ReportStage
from flows.stages.seeds import SeedsStage, load_all_seeds
from flows.stages.soft_labels import CARD, SOFT_LABELS, read_figures
from flows.stages.teach import read_figures as read_teaching
from flows.stages.train import STUDENT, TrainingStage, place_student
from flows.store import Cycle, FileEntry, Manifest, RunDirectory, create_run, hold_run
from flows.summary import RunSummary, show_arms, show_summary, summarise_run
from flows.teach_card import TeachFigures, show_teaching
from flows.teach_settings import TeachConfig, load_teaching
from flows.versions import keep_scores, restore_files
from flows.work import Context, Job, Tick, open_context
from generators.errors import ConfigError, RunError
from generators.journal import SqliteJournal
from generators.licence import check_licences
from generators.records import Prompt, Record
from trainers.settings import TrainResult


class PreviewRow(Record):
    """What became of one prompt, or of one answer to it."""

    seed: str
    operator: str
    prompt: str
    answer: str | None
    stage: str
    decision: str
    reason: str


def run(
    path: Path,
    overrides: Mapping[str, Any],
    console: Console,
    *,
    prefect: bool = True,
    update: bool = False,
    new_cycle: bool = False,
) -> RunSummary:
    """Begin or finish the run of a configuration, or go on with another cycle, with Prefect or as
    plain calls."""
    config = load_config(path, overrides)
    if may_flow(config, prefect=prefect, update=update or new_cycle):
        from flows.distill import distill

        distill(str(path), dict(overrides), update, console.json, new_cycle)
    else:
        conduct(config, console, PlainConductor(), update=update, new_cycle=new_cycle)
    summary = summarise_run(RunDirectory(config.root))
    show_summary(summary, console)
    return summary


def annotate(
    path: Path,
    overrides: Mapping[str, Any],
    console: Console,
    *,
    prefect: bool = True,
    update: bool = False,
) -> AnnotationFigures:
    """Begin or finish the annotation of a configuration, with Prefect or as plain calls."""
    config = load_annotation(path, overrides)
    if may_flow(config, prefect=prefect, update=update):
        from flows.annotate import annotate as annotate_as_flow

        annotate_as_flow(str(path), dict(overrides), update, console.json)
    else:
        conduct(config, console, PlainConductor(), update=update)
    run = RunDirectory(config.root)
    figures = read_figures(run)
    show_figures(figures, console)
    console.line(f"dataset: {run.place(SOFT_LABELS)}")
    console.line(f"card:    {run.place(CARD)}")
    return figures


def classify(
    path: Path,
    overrides: Mapping[str, Any],
    console: Console,
    *,
    prefect: bool = True,
    update: bool = False,
) -> ClassifierFigures:
    """Begin or finish the training of a classifier, with Prefect or as plain calls."""
    config = load_classification(path, overrides)
    if may_flow(config, prefect=prefect, update=update):
        from flows.classify import classify as classify_as_flow

        classify_as_flow(str(path), dict(overrides), update, console.json)
    else:
        conduct(config, console, PlainConductor(), update=update)
    run = RunDirectory(config.root)
    figures = read_classifier(run)
    show_classifier(figures, console)
    console.line(f"student: {run.place(STUDENT)}")
    console.line(f"card:    {run.place(CLASSIFIER_CARD)}")
    return figures


def teach(
    path: Path,
    overrides: Mapping[str, Any],
    console: Console,
    *,
    prefect: bool = True,
    update: bool = False,
) -> TeachFigures:
    """Begin or finish a training on its own, with Prefect or as plain calls."""
    config = load_teaching(path, overrides)
    if may_flow(config, prefect=prefect, update=update):
        from flows.teach import teach as teach_as_flow

        teach_as_flow(str(path), dict(overrides), update, console.json)
    else:
        conduct(config, console, PlainConductor(), update=update)
    run = RunDirectory(config.root)
    figures = read_teaching(run)
    show_teaching(figures, console)
    console.line(f"student: {run.place(STUDENT)}")
    console.line(f"card:    {run.place(MODEL_CARD)}")
    return figures


def may_flow(config: RunSettings, *, prefect: bool, update: bool) -> bool:
    """Whether a Prefect flow is to do it, and not plain calls. Raises LicenceError first of all."""
    check_licences(config.models)
    if not prefect or (is_finished(config) and not update):
        return False
    # Prefect's own log lines would break into the progress; a server still gets them.
    os.environ.setdefault("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", "CRITICAL")
    return True


def preview(config: RunConfig, n: int, console: Console) -> list[PreviewRow]:
    """Follow n seeds through evolution and answers; nothing is written, and nothing journalled.

    The equality judge is not measured first, which would take a request for each labelled pair;
    where the configuration has one, it is asked.
    """
    check_licences(config.models)
    with tempfile.TemporaryDirectory(prefix="tutelage-preview-") as scratch:
        changes: dict[str, Any] = {"runs_dir": scratch, "journal": None}
        changes |= {"train": None, "evaluate": None}
        few = [entry.limit(n) for entry in config.seeds.synthesise]
        changes["seeds"] = config.seeds.model_copy(update={"synthesise": tuple(few)})
        if config.evolve is not None:
            changes["evolve"] = config.evolve.model_copy(update={"rounds": 1, "parents": None})
        small = config.model_copy(update=changes)
        begun = {"1": Cycle(status="running", started=RunDirectory(small.root).now())}
        create_run(
            small.root,
            Manifest(name=small.name, config_digest=small.digest, config={}, cycles=begun),
        )
        with open_context(small.root, small) as context:
            for stage in [_FewSeeds(n), *list_stages(small)[1:-2]]:
                if not isinstance(stage, CalibrateStage):
                    conduct_stage(stage, context, console, PlainConductor())
            rows = _list_preview(context)
    for row in rows:
        console.line(f"\n{row.operator}: {row.prompt}")
        if row.answer is not None:
            console.line(f"  answer: {row.answer}")
        console.line(f"  {row.stage}: {row.decision}, {row.reason}")
    return rows


class _FewSeeds(SeedsStage):
    """A few seeds, of as many domains as there are."""

    def __init__(self, n: int) -> None:
        self.n = n

    def work(self, context: Context, job: Job, tick: Tick) -> list[FileEntry]:
        config = context.config
        seeds = load_all_seeds(config, context.cycle)
        tick(job.rows)
        few = pick_few(seeds, self.n, config.seed)
        return [context.write_records(job, job.outputs[0], Prompt, few)]


def pick_few(seeds: list[Prompt], n: int, seed: int) -> list[Prompt]:
    """Draw n seeds, going round the domains."""
    by_domain: dict[str, list[Prompt]] = defaultdict(list)
    for prompt in random.Random(seed).sample(seeds, len(seeds)):
        by_domain[prompt.domain].append(prompt)
    rounds = max(map(len, by_domain.values()), default=0)
    turns = [group[i] for i in range(rounds) for group in by_domain.values() if i < len(group)]
    return turns[:n]


def _list_preview(context: Context) -> list[PreviewRow]:
    family = read_family(context)
    told = read_verdicts(context, family)
    kept_clean = (DECONTAMINATE, "accept")  # the answer's own verdict says that it was accepted
    verdicts = [v for v in told if v.stage != "dedup" and (v.stage, v.decision) != kept_clean]
    seeds = [prompt.id for prompt in family.prompts.values() if prompt.round == 0]
    found = [
        (prompt, answer, verdict)
        for verdict, prompt, answer in find_subjects(context, family, verdicts)
        if prompt is not None
    ]
    # What became of one prompt stands together, and each seed's children stand behind it.
    found.sort(key=lambda row: (seeds.index(row[0].root_id), row[0].round, row[0].id))
    return [
        PreviewRow(
            seed=family.prompts[prompt.root_id].text,
            operator=prompt.operator,
            prompt=prompt.text,
            answer=answer.completion if answer else None,
            stage=verdict.stage,
            decision=verdict.decision,
            reason=verdict.reason,
        )
        for prompt, answer, verdict in found
    ]


def train(config: RunConfig, console: Console) -> TrainResult:
    """Train the student on what the run has published; a trained one is left as it is."""
    if config.train is None:
        raise ConfigError(f"{config.name}: there is no train section: write what is to be trained")
    check_licences(config.models)
    with open_published(config) as context:
        require_whole_cycle(context)
        told = f"{place_student(context)}/result.json"
        before = context.run.manifest.files.get(told)
        if context.cycle == 1:
            conduct_stage(TrainingStage(config.train), context, console, PlainConductor())
            note_student(context.run)
        else:
            teach_student(context, console, PlainConductor())
        is_new = context.run.manifest.files[told] != before
        result = TrainResult.model_validate_json(context.run.place(told).read_bytes())
    taught = f"{result.steps} steps on {result.rows} rows, loss {result.train_loss:.3f}"
    console.line(taught if is_new else f"nothing to do, it was taught before: {taught}")
    console.line(f"student: {context.run.place(STUDENT)}")
    place = context.run.place(place_student(context))
    if not is_in_place(context):
        console.line(f"candidate, not promoted: {place}")
    return result.model_copy(update={"output": place})


@contextmanager
def open_published(config: RunConfig) -> Iterator[Context]:
    """Hold and open a run that this configuration has brought as far as a dataset."""
    locate_run(config.root)
    with hold_run(config.root), open_context(config.root, config) as context:
        check_unchanged(config)
        require_published(context)
        restore_files(context.run)
        yield context


def require_published(context: Context) -> None:
    """Raise RunError where the run has no dataset yet."""
    if not context.run.files("publish"):
        raise RunError(f"{context.run.root}: nothing is published yet. First: tutelage run CONFIG")


def require_whole_cycle(context: Context) -> None:
    """Raise RunError where the newest cycle was interrupted before it had published."""
    if f"{context.folder}/verdicts-publish.parquet" not in context.run.manifest.files:
        raise RunError(
            f"{context.run.root}: cycle {context.cycle} was interrupted before it had published. "
            "Finish it first: tutelage run CONFIG"
        )


def evaluate(subject: RunConfig | str, console: Console) -> list[ArmResult]:
    """Score a run's arms as far as it has come, or any model on the held-out arithmetic."""
    if isinstance(subject, str):
        results = [_evaluate_model(subject, console)]
    else:
        results = _evaluate_run(subject, console)
    show_arms(results, console)
    return results


def _evaluate_model(model: str, console: Console) -> ArmResult:
    settings = EvaluateSettings(
        held_out=("seeds/heldout/arithmetic.jsonl",), text="seeds/heldout/text.jsonl"
    )
    total = settings.prompts + settings.k * settings.k_prompts
    with tempfile.TemporaryDirectory(prefix="tutelage-evaluate-") as scratch:
        journal = SqliteJournal(Path(scratch) / "journal.sqlite")
        with journal, console.stage(model, total) as progress:
            return score_model(model, settings, journal, progress.advance, arm="zero-shot")


def _evaluate_run(config: RunConfig, console: Console) -> list[ArmResult]:
    if config.evaluate is None:
        raise ConfigError(f"{config.name}: there is no evaluate section: name held-out prompts")
    results = []
    with open_published(config) as context:
        for arm in [*list_arms(config), RANDOM]:
            taught = {"after": "train", RANDOM: TRAIN_RANDOM}.get(arm)
            if taught is not None and not context.run.files(taught):
                continue
            stage = EvaluateStage(config.evaluate, arm)
            conduct_stage(stage, context, console, PlainConductor())
            results += [
                ArmResult.model_validate_json(file.read_bytes())
                for file in context.run.files(stage.name)
            ]
        keep_scores(context.run)
    return results


def report(root: Path) -> Path:
    """Write a run's report, cards and curves anew."""
    run = locate_run(root)
    config = parse_settings(run.manifest.config)
    if isinstance(config, ClassifyConfig):
        card = run.place(CLASSIFIER_CARD)
        raise RunError(f"{root}: a classifier's training has no report. Its card: {card}")
    if isinstance(config, TeachConfig):
        card = run.place(MODEL_CARD)
        raise RunError(f"{root}: a training on its own has no report. Its card: {card}")
    if not isinstance(config, RunConfig):
        raise RunError(f"{root}: an annotation has no report. Its figures: {run.place(CARD)}")
    with open_context(root, config) as context:
        require_published(context)
        stage = ReportStage()
        for job in stage.plan(context):
            run.commit(stage.work(context, job, lambda _: None))
    return run.place(REPORT)
