"""Let answers out of quarantine: what `tutelage release RUN ROW --why …` does.

The act is recorded before anything follows from it, so a command that is killed is made whole by
typing it again. Then the dataset is published anew; a student is not taught again by this.
"""

import getpass
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path

from flows.annotate_settings import parse_settings
from flows.config import RunConfig
from flows.console import Console
from flows.overrides import Override, Overrides, key_of, read_overrides, write_overrides
from flows.pipeline import PlainConductor, conduct_stage, list_stages, locate_run
from flows.stages.evaluate import EvaluateStage
from flows.stages.family import answer_stages, read_family, read_stage
from flows.stages.publish import TRAIN, read_verdicts
from flows.stages.random_rows import RandomTrainingStage
from flows.stages.release import ReleaseStage
from flows.stages.train import TrainingStage
from flows.store import hold_run
from flows.verbs import require_published
from flows.work import Context, open_context
from generators.errors import InputError, RunError, nearest
from generators.records import Answer, Decision, Record, Verdict


class Released(Record):
    """What became of a row that was let out of quarantine."""

    row: str
    decision: Decision
    stage: str
    """The stage that decided last: `publish` where the row is in the dataset now."""
    reason: str
    overruled: str
    """The reason for which it lay in quarantine."""
    why: str


def release(root: Path, rows: Sequence[str], why: str, console: Console) -> list[Released]:
    """Record the release of quarantined answers and publish the run's dataset anew.

    Raises InputError, before anything is recorded, for an empty `why` and for rows that are not
    quarantined answers of this run; RunError where nothing is published yet.
    """
    if not why.strip():
        raise InputError("--why: is empty; say for what reason the row may be trusted")
    run = locate_run(root)
    config = parse_settings(run.manifest.config)
    if not isinstance(config, RunConfig):
        raise RunError(f"{root}: has no quarantined answers; release those of a run from seeds")
    with hold_run(root), open_context(root, config, cycle=1) as context:
        require_published(context)
        overrides = read_overrides(context.run)
        asked = list(dict.fromkeys(rows))
        new = _make_overrides(context, asked, overrides, why.strip())
        overrides |= {key_of(override.overruled): override for override in new}
        if new:
            context.run.commit([write_overrides(context.run, overrides.values())])
        _publish_anew(context, console)
        latest = {override.row: override for override in overrides.values()}
        results = [tell_fate(context, latest[row]) for row in asked]
    for result in results:
        end = "is in the dataset" if result.decision == "accept" else f"fell: {result.reason}"
        console.line(f"{result.row}: released from {result.overruled}; {end}")
    console.line(f"dataset: {run.place(TRAIN)}")
    if config.train is not None and run.files("train"):
        console.line(
            "The student was taught before this. Teach it anew with: tutelage train CONFIG"
        )
    return results


def tell_fate(context: Context, override: Override) -> Released:
    """What the stages after the release decided about a row."""
    verdict = _find_last_verdicts(context).get(override.row, override.overruled)
    return Released(
        row=override.row,
        decision=verdict.decision,
        stage=verdict.stage,
        reason=verdict.reason,
        overruled=override.overruled.reason,
        why=override.why,
    )


def _make_overrides(
    context: Context, asked: Sequence[str], there: Overrides, why: str
) -> list[Override]:
    """Override the quarantine that each row lies in; what is on record already is left out."""
    verdicts = _find_last_verdicts(context)
    released = {override.row for override in there.values()}
    rows = [row for row in asked if not _is_done(verdicts.get(row), row in released, there)]
    stages = answer_stages(context)
    answers = {a.id for stage in stages for a in read_stage(context, stage, "answers-", Answer)}
    faults = [fault for row in rows if (fault := _find_fault(row, verdicts.get(row), answers))]
    if faults:
        strange = [row for row in rows if row not in verdicts]
        hint = nearest(strange[0], verdicts) if strange else ""
        raise InputError("\n".join(faults) + hint)
    by, at = _find_account(), context.run.now()
    return [Override(row=row, why=why, by=by, at=at, overruled=verdicts[row]) for row in rows]


def _is_done(verdict: Verdict | None, is_released: bool, there: Overrides) -> bool:
    """Whether a row was released before, and lies in no quarantine but what that has lifted."""
    if verdict is None or not is_released:
        return False
    return verdict.decision != "quarantine" or key_of(verdict) in there


def _find_fault(row: str, verdict: Verdict | None, answers: Iterable[str]) -> str | None:
    """Why a row cannot be released."""
    if verdict is None:
        return f"{row}: no row of this run; the ids stand in dataset/quarantine.parquet"
    if row not in answers:
        return f"{row}: is no answer ({verdict.reason}); only answers can be released"
    if verdict.decision != "quarantine":
        state = "is published already" if verdict.decision == "accept" else "was rejected"
        return f"{row}: {state} ({verdict.reason}); only what lies in quarantine can be released"
    return None


def _find_last_verdicts(context: Context) -> dict[str, Verdict]:
    """What was decided last about each subject of the run."""
    verdicts = read_verdicts(context, read_family(context))
    verdicts += read_stage(context, "publish", "verdicts-", Verdict)
    return {verdict.subject_id: verdict for verdict in verdicts}


def _publish_anew(context: Context, console: Console) -> None:
    """Go through the stages behind the release again, apart from teaching and evaluating."""
    stages = list_stages(context.config)
    place = next(i for i, stage in enumerate(stages) if isinstance(stage, ReleaseStage))
    for stage in stages[place:]:
        if not isinstance(stage, TrainingStage | RandomTrainingStage | EvaluateStage):
            conduct_stage(stage, context, console, PlainConductor())


def _find_account() -> str:
    with suppress(OSError, KeyError, ImportError):
        return getpass.getuser()
    return "unknown"
