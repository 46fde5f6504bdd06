"""What a cycle of a run does: make rows, publish a version, teach a student when enough are new.

The first cycle leads from seeds to a student. A later one goes on from the pool, adds rows to the
dataset it began with, and teaches a candidate, which is promoted only if it does better.
"""

from typing import Any

import pyarrow.parquet as pq

from flows.conduct import Conductor, conduct_stage
from flows.console import Console
from flows.gather_learning import gather_evaluation
from flows.history import link_base, name_base, place_table
from flows.promotion import Promotion, name_promotion, settle_candidate
from flows.shortfall import tell_shortfall
from flows.stage_lists import list_learning, list_making
from flows.stages.evaluate import TEACHER, EvaluateStage
from flows.stages.report import ReportStage
from flows.stages.train import STUDENT
from flows.store import TRAIN, Cycle, Manifest, RunDirectory
from flows.versions import keep_card, keep_student, keep_version
from flows.wording import count_noun
from flows.wording_training import tell_teacher
from flows.work import Context


def go_through(context: Context, console: Console, conductor: Conductor) -> None:
    """Do what is missing of a cycle, from seeds to a report."""
    for stage in list_making(context.config):
        conduct_stage(stage, context, console, conductor)
    note_version(context.run, f"cycle {context.cycle}", console)
    if context.config.train is not None:
        waiting = tell_waiting(context)
        if waiting is None:
            teach_student(context, console, conductor)
        else:
            console.line(f"train: {waiting}")
    for shortage in tell_shortfall(context):
        console.warn(shortage)
    tell_all(context, console, conductor)


def tell_all(context: Context, console: Console, conductor: Conductor) -> None:
    """Write the report and the cards."""
    conduct_stage(ReportStage(), context, console, conductor)
    keep_card(context.run)


def teach_student(context: Context, console: Console, conductor: Conductor) -> None:
    """Teach, evaluate, and in a later cycle decide which student stays."""
    for stage in list_learning(context.config, context.cycle):
        is_last = context.cycle > 1 and stage.name == "evaluate-after"
        if is_last and not context.run.files("train"):
            continue  # there is no student before this one
        conduct_stage(stage, context, console, conductor)
        if isinstance(stage, EvaluateStage) and stage.arm == TEACHER:
            warn_of_teacher(context, console)
    taught_on = context.run.manifest.current
    assert taught_on is not None
    if context.cycle == 1:
        note_student(context.run)
    else:
        console.line(tell_promotion(settle_candidate(context, taught_on)))
        update_cycle(context.run, taught_on=taught_on)


def note_student(run: RunDirectory) -> None:
    """Keep the first cycle's student beside the current version, on which it was taught."""
    taught_on = run.manifest.current
    if taught_on is not None:
        keep_student(run, taught_on)
        update_cycle(run, taught_on=taught_on)


def note_version(run: RunDirectory, why: str, console: Console) -> None:
    """Keep the dataset as a new version, if it is one, and say so."""
    version = keep_version(run, why)
    if version is not None:
        console.line(f"dataset: version {version.number}, {count_noun(version.rows, 'row')}")
    elif run.cycle > 1:
        console.line(f"dataset: nothing new; version {run.manifest.current} stays")


def warn_of_teacher(context: Any, console: Console) -> None:
    """Say so where the teacher did not do better than the student does untaught."""
    evaluation = gather_evaluation(context)
    doubt = evaluation and tell_teacher(evaluation)
    if doubt:
        console.warn(doubt)


def tell_waiting(context: Context) -> str | None:
    """Why no student is taught now; None where one is."""
    manifest = context.run.manifest
    if context.cycle == 1 or name_promotion(context) in manifest.files:  # begun, so gone on with
        return None
    there = f"{STUDENT}/config.json" in manifest.files
    taught_on = _find_taught_on(manifest, context.cycle)
    if not there and taught_on is None:
        return None
    path = name_base(TRAIN, context.cycle)
    if taught_on is not None:
        path = place_table(TRAIN, taught_on)
    known, rows = (_read_ids(context.run, p) for p in (path, TRAIN))
    new, wanted = len(rows - known), context.config.cycles.train_after
    if new >= wanted:
        return None
    return (
        f"{count_noun(new, 'row')} came since the last student was taught; the next one is taught "
        f"after {wanted:,} (cycles.train_after)"
    )


def tell_promotion(promotion: Promotion) -> str:
    """What became of a candidate, in a line."""
    scores = f"{promotion.right} of {promotion.prompts}"
    if promotion.last_right is not None:
        scores += f" against {promotion.last_right}"
    done = "promoted" if promotion.promoted else "not promoted; the last one stays"
    return f"student: {done}: {promotion.why} ({scores})"


def begin_cycle(run: RunDirectory, **changes: Any) -> None:
    """Add a cycle that goes on from the dataset as it stands; `changes` are the manifest's."""
    manifest = run.manifest
    if not manifest.versions:  # of a run that was made before there were versions
        if f"{STUDENT}/config.json" in manifest.files:
            keep_student(run, 1)
        keep_version(run, f"cycle {manifest.newest}")
        keep_card(run)
        manifest = run.manifest
    number = manifest.newest + 1
    files = manifest.files | {entry.path: entry for entry in link_base(run, number)}
    begun = Cycle(status="running", started=run.now(), base=manifest.current)
    run.update(cycles=manifest.cycles | {str(number): begun}, files=files, **changes)


def update_cycle(run: RunDirectory, **changes: Any) -> None:
    """Change the record of the newest cycle."""
    cycles = run.manifest.cycles
    number = str(run.manifest.newest)
    run.update(cycles=cycles | {number: cycles[number].model_copy(update=changes)})


def _find_taught_on(manifest: Manifest, before: int) -> int | None:
    """The version that the last student was taught on, promoted or not."""
    taught = [(int(n), c.taught_on) for n, c in manifest.cycles.items() if int(n) < before]
    known = [version for _, version in sorted(taught) if version is not None]
    return known[-1] if known else None


def _read_ids(run: RunDirectory, path: str) -> set[str]:
    return set(pq.read_table(run.place(path), columns=["id"])["id"].to_pylist())
