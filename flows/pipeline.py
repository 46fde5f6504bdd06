"""A run of stages, free of Prefect: which stages, in which order, and what is left to do. It leads
from seeds to a report, from texts to soft labels, from these to a classifier, or from any rows to a
student.

A conductor decides where jobs run: in this thread (`PlainConductor`) or as Prefect tasks
(`flows.distill`). Both see the same jobs, and only this process writes the manifest.
"""

import shutil
import time
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from ruamel.yaml import YAML

from flows.annotate_settings import AnnotateConfig
from flows.classify_settings import ClassifyConfig
from flows.config import RunConfig
from flows.console import Console
from flows.gather_learning import gather_evaluation
from flows.overrides import OVERRIDES
from flows.run_settings import INERT, RunSettings, ServerModel
from flows.shortfall import tell_shortfall
from flows.stages.annotate import AnnotateStage, TextsStage
from flows.stages.answer import AnswerStage
from flows.stages.calibrate import CalibrateStage
from flows.stages.check import CheckStage
from flows.stages.classify import list_classifier_stages
from flows.stages.consensus import ConsensusStage
from flows.stages.decontaminate import DecontaminateStage
from flows.stages.dedup import DedupStage
from flows.stages.difficulty import DifficultyStage
from flows.stages.embeddings import EmbeddingsStage
from flows.stages.evaluate import RANDOM, TEACHER, EvaluateStage, list_arms
from flows.stages.evolve import EvolveStage
from flows.stages.judge import JudgeStage, TryJudgeStage
from flows.stages.losses import LossesStage
from flows.stages.publish import PublishStage
from flows.stages.random_rows import RandomTrainingStage, compares_with_random
from flows.stages.release import ReleaseStage
from flows.stages.report import ReportStage
from flows.stages.screen import ScreenStage
from flows.stages.seeds import SeedsStage
from flows.stages.selection import SelectStage
from flows.stages.soft_labels import SoftLabelsStage
from flows.stages.synthesise import SynthesiseStage
from flows.stages.teach import list_teaching_stages
from flows.stages.teacher_signal import list_signal_stages
from flows.stages.train import TrainingStage
from flows.stages.watch import WatchStage, describe_alarm
from flows.store import (
    CONFIG,
    CONFIG_FILE,
    FIRST_MANIFEST,
    MANIFEST,
    TRAINING,
    Cycle,
    FileEntry,
    Manifest,
    RunDirectory,
    create_run,
    hold_run,
    write_file,
)
from flows.teach_settings import TeachConfig
from flows.training_settings import list_rollout_servers
from flows.waves import plan_wave
from flows.wording_training import tell_teacher
from flows.work import Job, JobContext, Stage, Tick, open_context
from generators.errors import RunError
from generators.journal_place import make_journal
from generators.licence import check_licences
from generators.records import digest

ORDERED = ("labels",)
"""Mappings among the settings whose order decides something."""


class Conductor(Protocol):
    """Where the jobs of a stage are done."""

    def carry_out(
        self, stage: Stage, context: JobContext[Any], jobs: Sequence[Job], tick: Tick
    ) -> Iterator[list[FileEntry]]:
        """Do the jobs; yield the entries of each as it ends."""
        ...

    def stage_ended(self, stage: Stage, context: JobContext[Any]) -> None:
        """Told after a stage's files are committed."""
        ...


class PlainConductor:
    """One job after another, in this thread."""

    def carry_out(
        self, stage: Stage, context: JobContext[Any], jobs: Sequence[Job], tick: Tick
    ) -> Iterator[list[FileEntry]]:
        for job in jobs:
            yield stage.work(context, job, tick)

    def stage_ended(self, stage: Stage, context: JobContext[Any]) -> None:
        """Nobody else is told."""


def choose_stages(config: RunSettings) -> list[Stage]:
    """The stages that a configuration asks for, in order."""
    if isinstance(config, AnnotateConfig):
        asked = [AnnotateStage(annotator) for annotator in config.annotators]
        return [TextsStage(), *asked, SoftLabelsStage()]
    if isinstance(config, ClassifyConfig):
        return list_classifier_stages(config)
    if isinstance(config, TeachConfig):
        return list_teaching_stages(config)
    assert isinstance(config, RunConfig)
    return list_stages(config)


def list_stages(config: RunConfig) -> list[Stage]:
    """The stages from seeds to a report, in order."""
    stages: list[Stage] = [SeedsStage()]
    if config.seeds.synthesise:
        stages.append(SynthesiseStage(config.seeds.synthesise))
    if config.evolve is not None:
        stages += [CalibrateStage(config.evolve)] if config.evolve.asks_judge else []
        stages += [EvolveStage(config.evolve, r + 1) for r in range(config.evolve.rounds)]
    stages += [CheckStage(), *(AnswerStage(sampler) for sampler in config.samplers)]
    if config.watch is not None:
        stages.append(WatchStage(config.watch))
    if config.consensus is not None:
        stages.append(ConsensusStage(config.consensus))
    if config.judge is not None:
        stages += [TryJudgeStage(config.judge), JudgeStage(config.judge)]
    stages.append(ReleaseStage())
    if config.decontaminate is not None:
        stages.append(DecontaminateStage(config.decontaminate))
    stages.append(DedupStage())
    if config.screen is not None:
        stages.append(ScreenStage(config.screen))
    if config.difficulty is not None:
        stages.append(DifficultyStage(config.difficulty))
    if config.select is not None:
        stages += [LossesStage(config.select)] if config.select.model is not None else []
        stages += [EmbeddingsStage(config.select)] if config.select.by_distance else []
        stages.append(SelectStage(config.select))
    stages.append(PublishStage())
    arms = list_arms(config)
    stages += [EvaluateStage(config.evaluate, arm) for arm in arms[:-1] if config.evaluate]
    if config.train is not None:
        stages += [*list_signal_stages(config.train), TrainingStage(config.train)]
    stages += [EvaluateStage(config.evaluate, arm) for arm in arms[-1:] if config.evaluate]
    if config.train is not None and config.evaluate is not None and compares_with_random(config):
        stages += [RandomTrainingStage(config.train), EvaluateStage(config.evaluate, RANDOM)]
    return [*stages, ReportStage()]


def conduct(
    config: RunSettings,
    console: Console,
    conductor: Conductor,
    *,
    update: bool = False,
) -> RunDirectory:
    """Begin or finish a run.

    A finished run is left as it is. A run of another configuration is refused, with the changed
    settings named. With `update` it is gone through again (also when a file of seeds changed), and
    what the changes do not touch is kept.
    """
    for condition in check_licences(config.models):
        console.warn(f"a teacher's terms have conditions: {condition}")
    refuse_foreign_folder(config.root)
    with hold_run(config.root):
        if not update:
            check_unchanged(config)
        settled = is_finished(config) and not update
        if not settled:
            probe_places(config)
        run, stages = open_run(config, settled=settled), choose_stages(config)
        for path in run.sweep():
            console.warn(f"removed a leftover of an interrupted run: {path}")
        write_config(run)
        if settled:
            console.line(f"{config.root}: this run is finished; nothing is left to do.")
            return run
        run.keep_stages([CONFIG, OVERRIDES, *(stage.name for stage in stages)])
        with open_context(config.root, config, cycle=1) as context:
            for stage in stages:
                conduct_stage(stage, context, console, conductor)
                if isinstance(stage, EvaluateStage) and stage.arm == TEACHER:
                    warn_of_teacher(context, console)
            for shortage in tell_shortfall(context):
                console.warn(shortage)
        finish_cycle(run)
    return run


def conduct_stage(
    stage: Stage, context: JobContext[Any], console: Console, conductor: Conductor
) -> None:
    """Do what is missing of a stage, committing each job as it ends; a stage that works towards a
    number of rows goes no further than it must."""
    started, worked = time.monotonic(), False
    jobs = stage.plan(context)
    while True:
        wave = plan_wave(stage, context, jobs)
        wanted = jobs if wave is None else wave.jobs
        missing = [job for job in wanted if not context.run.has(job.outputs, job.key)]
        if wave is not None and wave.aim and wave.jobs:
            console.line(f"{stage.name}: {wave.aim.told}")
        if not missing:
            break
        worked = True
        do_jobs(stage, context, wanted, missing, console, conductor)
    if wave is not None and wave.alarm is not None:
        left = sum(job.rows for job in jobs[len(wave.jobs) :])
        console.warn(
            f"{stage.name}: its teacher is quarantined ({describe_alarm(wave.alarm)}); {left:,} "
            "answers were not asked for"
        )
    if worked:
        context.run.add_seconds(stage.name, time.monotonic() - started)
    context.run.keep_only(stage.name, {job.key for job in jobs})
    context.run.drop(path for job in jobs if job not in wanted for path in job.outputs)
    conductor.stage_ended(stage, context)


def warn_of_teacher(context: JobContext[Any], console: Console) -> None:
    """Say so where the teacher did not do better than the student does untaught."""
    evaluation = gather_evaluation(context)
    doubt = evaluation and tell_teacher(evaluation)
    if doubt:
        console.warn(doubt)


def do_jobs(
    stage: Stage,
    context: JobContext[Any],
    jobs: Sequence[Job],
    missing: Sequence[Job],
    console: Console,
    conductor: Conductor,
) -> None:
    """Do the missing ones of these jobs, and commit the files of each as it ends."""
    with console.stage(stage.name, sum(job.rows for job in jobs)) as progress:
        progress.advance(sum(job.rows for job in jobs if job not in missing))
        for entries in conductor.carry_out(stage, context, missing, progress.advance):
            context.run.commit(entries)


def refuse_foreign_folder(root: Path) -> None:
    """Raise RunError where other things than a run lie; nothing is written beside them."""
    if root.is_dir() and not (root / MANIFEST).exists():
        names = sorted(path.name for path in root.iterdir())
        strangers = [n for n in names if n != ".lock" and not FIRST_MANIFEST.fullmatch(n)]
        if strangers:
            raise RunError(
                f"{root}: this folder holds other things ({strangers[0]}) and no manifest. "
                "Give the run another name, or move the folder away."
            )


def is_finished(config: RunSettings) -> bool:
    """Whether this very configuration has been run to its end."""
    if not (config.root / MANIFEST).exists():
        return False
    manifest = RunDirectory(config.root).manifest
    done = manifest.cycles["1"].status == "finished"
    return done and manifest.config_digest == config.digest


def check_unchanged(config: RunSettings) -> None:
    """Raise RunError where the run was begun with another configuration, naming the changes."""
    if not (config.root / MANIFEST).exists():
        return
    manifest = RunDirectory(config.root).manifest
    if manifest.config_digest != config.digest:
        settings = config.model_dump(mode="json", by_alias=True)
        changes = "\n".join(f"  {line}" for line in list_changes(manifest.config, settings))
        raise RunError(
            f"{config.root}: this run was begun with another configuration:\n{changes}\n"
            "Run with --update to redo what these changes touch, or give it another name."
        )


def open_run(config: RunSettings, *, settled: bool) -> RunDirectory:
    """Open the run directory of a configuration, or make it; `settled` if no work is to follow."""
    settings = config.model_dump(mode="json", by_alias=True)
    if not (config.root / MANIFEST).exists():
        begun = {"1": Cycle(status="running", started=RunDirectory(config.root).now())}
        manifest = Manifest(
            name=config.name, config_digest=config.digest, config=settings, cycles=begun
        )
        return create_run(config.root, manifest)
    run = RunDirectory(config.root)
    manifest = run.manifest
    if not settled:
        cycle = manifest.cycles["1"].model_copy(update={"status": "running", "finished": None})
        run.update(config=settings, config_digest=config.digest, cycles={"1": cycle})
    elif manifest.config != settings:
        run.update(config=settings)
    return run


def write_config(run: RunDirectory) -> None:
    """Put the resolved configuration, defaults included, where a person finds it."""
    settings = run.manifest.config
    key = digest(settings)
    if not run.has([CONFIG_FILE], key):
        write = partial(YAML().dump, settings)
        run.commit([write_file(run.root, CONFIG_FILE, write, stage=CONFIG, key=key)])


def list_changes(old: Any, new: Any, place: str = "") -> Iterator[str]:
    """The settings in which two configurations differ, as `train.seed: 1 is now 2`."""
    if isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        old, new = dict(enumerate(old)), dict(enumerate(new))
    if isinstance(old, dict) and isinstance(new, dict):
        if place in ORDERED and old.keys() == new.keys() and list(old) != list(new):
            yield f"{place}: {', '.join(old)} are now in the order {', '.join(new)}"
        for name in [*old, *(n for n in new if n not in old)]:
            inner = f"{place}.{name}" if place else name
            if inner not in INERT:
                yield from list_changes(old.get(name), new.get(name), inner)
    elif old != new:
        yield f"{place}: {old!r} is now {new!r}"


def probe_places(config: RunSettings) -> None:
    """Raise EndpointError for a server that cannot be reached and RunError for such a journal,
    before anything is begun; a server of our own is not started, but ConfigError or ModelError
    tells that it could not be."""
    import asyncio

    from flows.work import make_client
    from generators.openai_compatible import OpenAICompatibleClient
    from generators.vllm_client import ManagedVllmClient
    from generators.vllm_server import check_environment

    async def probe(client: OpenAICompatibleClient | ManagedVllmClient) -> None:
        try:
            await client.probe()
        finally:
            await client.close()

    for model in config.models.values():
        if isinstance(model, ServerModel):
            client = make_client(model)
            assert isinstance(client, OpenAICompatibleClient | ManagedVllmClient)
            asyncio.run(probe(client))
    for serve in list_rollout_servers(getattr(config, "train", None)):
        check_environment(serve)
    with make_journal(config.journal_place):
        pass


def finish_cycle(run: RunDirectory) -> None:
    """Mark the cycle as finished and drop what only an unfinished one needs."""
    shutil.rmtree(run.place(TRAINING), ignore_errors=True)
    cycle = run.manifest.cycles["1"]
    done = cycle.model_copy(update={"status": "finished", "finished": run.now()})
    run.update(cycles={"1": done})


def locate_run(path: str | Path) -> RunDirectory:
    """Open an existing run directory for reading."""
    run = RunDirectory(Path(path))
    run.manifest  # noqa: B018 - raises where there is none
    return run
