"""A run, free of Prefect: what is begun, gone on with, refused or finished already."""

import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from flows.conduct import Conductor, conduct_stage
from flows.config import RunConfig
from flows.console import Console
from flows.cycles import begin_cycle, go_through, update_cycle, warn_of_teacher
from flows.history import BASE
from flows.overrides import OVERRIDES
from flows.promotion import PROMOTE
from flows.run_settings import INERT, EmbeddedModel, RunSettings, ServerModel
from flows.shared_limits import SharedSlots, list_limits
from flows.stage_lists import choose_stages
from flows.stages.evaluate import TEACHER, EvaluateStage
from flows.store import (
    CONFIG,
    CONFIG_FILE,
    FIRST_MANIFEST,
    MANIFEST,
    TRAINING,
    VERSIONS,
    Cycle,
    Manifest,
    RunDirectory,
    create_run,
    hold_run,
    write_file,
)
from flows.training_settings import list_rollout_servers
from flows.versions import restore_files
from flows.viewer.database import prepare_database
from flows.work import open_context
from generators.errors import ConfigError, RunError
from generators.journal_place import make_journal
from generators.licence import check_licences
from generators.records import digest

RUN_WIDE = (CONFIG, OVERRIDES, VERSIONS, BASE, PROMOTE)
"""What is committed under other names than a stage's."""
LASTING = ("train", "evaluate-after")
"""What the student of an earlier cycle is committed under; a cycle that teaches none leaves it."""
ORDERED = ("labels",)
"""Mappings among the settings whose order decides something."""


def conduct(
    config: RunSettings,
    console: Console,
    conductor: Conductor,
    *,
    update: bool = False,
    new_cycle: bool = False,
) -> RunDirectory:
    """Begin or finish a run.

    A finished run is left as it is; with `new_cycle` it goes on with another cycle, whose settings
    may be others. A run of another configuration is refused, with the changed settings named. With
    `update` its newest cycle is gone through again (also when a file of seeds changed), and what
    the changes do not touch is kept.
    """
    for condition in check_licences(config.models):
        console.warn(f"a teacher's terms have conditions: {condition}")
    refuse_foreign_folder(config.root)
    with hold_run(config.root):
        if (config.root / MANIFEST).exists():
            restore_files(RunDirectory(config.root))
        adds = new_cycle and may_go_on(config)
        check_comparable(config, adds=adds)
        if not update and not adds:
            check_unchanged(config)
        settled = is_finished(config) and not update and not adds
        if not settled:
            probe_places(config)
        run = open_run(config, settled=settled, new_cycle=adds)
        for path in run.sweep():
            console.warn(f"removed a leftover of an interrupted run: {path}")
        write_config(run)
        if settled:
            console.line(f"{config.root}: this run is finished; nothing is left to do.")
            return run
        every = [*choose_stages(config), *choose_stages(config, run.cycle)]
        lasting = LASTING if run.cycle > 1 else ()
        run.keep_stages([*RUN_WIDE, *lasting, *(stage.name for stage in every)])
        if isinstance(config, RunConfig):
            with open_context(config.root, config) as context:
                go_through(context, console, conductor)
        else:
            _go_straight_on(config, console, conductor)
        finish_cycle(run)
    if isinstance(config, RunConfig) and config.viewer:
        prepare_database(config.root, console)
    return run


def _go_straight_on(config: RunSettings, console: Console, conductor: Conductor) -> None:
    """Do what is missing of the stages of a run that has no cycles."""
    with open_context(config.root, config) as context:
        for stage in choose_stages(config):
            conduct_stage(stage, context, console, conductor)
            if isinstance(stage, EvaluateStage) and stage.arm == TEACHER:
                warn_of_teacher(context, console)


def may_go_on(config: RunSettings) -> bool:
    """Whether another cycle can be added: the newest one is finished."""
    if not (config.root / MANIFEST).exists():
        return False
    manifest = RunDirectory(config.root).manifest
    return manifest.cycles[str(manifest.newest)].status == "finished"


def check_comparable(config: RunSettings, *, adds: bool) -> None:
    """Raise ConfigError where a later cycle's student could not be compared with the last one."""
    if not isinstance(config, RunConfig) or config.train is None or config.evaluate is not None:
        return
    if adds or ((config.root / MANIFEST).exists() and RunDirectory(config.root).cycle > 1):
        raise ConfigError(
            f"{config.name}: evaluate: is missing; a later cycle's student is promoted by what it "
            "solves of held-out prompts: add an evaluate section, or take out train"
        )


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
    done = manifest.cycles[str(manifest.newest)].status == "finished"
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


def open_run(config: RunSettings, *, settled: bool, new_cycle: bool = False) -> RunDirectory:
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
    if new_cycle:
        begin_cycle(run, config=settings, config_digest=config.digest)
    elif not settled:
        run.update(config=settings, config_digest=config.digest)
        update_cycle(run, status="running", finished=None)
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
    """Raise EndpointError for a server that cannot be reached and RunError for such a journal, or
    for a model that is still to be made, before anything is begun; a server of our own is not
    started, but ConfigError or ModelError tells that it could not be."""
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

    check_models_made(config)
    for model in config.models.values():
        if isinstance(model, ServerModel):
            client = make_client(model)
            assert isinstance(client, OpenAICompatibleClient | ManagedVllmClient)
            asyncio.run(probe(client))
    SharedSlots().make(list_limits(config.models.values()))
    for serve in list_rollout_servers(getattr(config, "train", None)):
        check_environment(serve)
    with make_journal(config.journal_place):
        pass


def check_models_made(config: RunSettings) -> None:
    """Raise RunError for a model that a run, or a person, is to put under `runs_dir` and has not:
    its name would be taken for a hub's."""
    named = [m.model for m in config.models.values() if isinstance(m, EmbeddedModel)]
    train = getattr(config, "train", None)
    named += [train.untaught.model] if train is not None else []
    for name in named:
        is_ours = Path(config.runs_dir).parts and Path(name).is_relative_to(config.runs_dir)
        if is_ours and not Path(name).is_dir():
            raise RunError(
                f"{name}: no such folder. If another run makes this model, run that first; a "
                f"smaller copy of a model is made by: tutelage cut MODEL {name} --layers 0 1 …"
            )


def finish_cycle(run: RunDirectory) -> None:
    """Mark the cycle as finished and drop what only an unfinished one needs."""
    shutil.rmtree(run.place(TRAINING), ignore_errors=True)
    update_cycle(run, status="finished", finished=run.now())


def locate_run(path: str | Path) -> RunDirectory:
    """Open an existing run directory for reading."""
    run = RunDirectory(Path(path))
    run.manifest  # noqa: B018 - raises where there is none
    return run
