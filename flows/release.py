"""What a person decides against the verdicts: `tutelage release RUN ROW --why …` lets answers out
of quarantine, `tutelage reject RUN ROW --why …` takes rows out of the dataset.

The act is recorded before anything follows from it, so a command that is killed is made whole by
typing it again. Then the dataset is published anew, as a new version; a student is not taught again
by this.
"""

import getpass
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from flows.annotate_settings import parse_settings
from flows.conduct import PlainConductor, conduct_stage
from flows.config import RunConfig
from flows.console import Console
from flows.cycles import note_version, tell_all
from flows.history import read_base_verdicts, read_earlier_answers
from flows.overrides import (
    Override,
    key_of,
    list_rejected,
    may_lift,
    read_log,
    write_log,
)
from flows.pipeline import locate_run
from flows.stage_lists import list_making
from flows.stages.family import answer_stages, read_family, read_stage
from flows.stages.publish import TRAIN, read_verdicts
from flows.stages.release import ReleaseStage
from flows.store import hold_run
from flows.verbs import require_published, require_whole_cycle
from flows.versions import restore_files
from flows.wording import count_noun
from flows.work import Context, open_context
from generators.errors import InputError, RunError, nearest
from generators.records import Answer, Decision, Record, Verdict


class Released(Record):
    """What became of a row that a person decided about."""

    row: str
    decision: Decision
    stage: str
    """The stage that decided last: `publish` where the row is in the dataset now."""
    reason: str
    overruled: str
    """The reason for which it lay where it did."""
    why: str


def release(root: Path, rows: Sequence[str], why: str, console: Console) -> list[Released]:
    """Record the release of quarantined answers, or of rows that a person had rejected, and publish
    the run's dataset anew.

    Raises InputError, before anything is recorded, for an empty `why` and for rows that are not
    quarantined answers of this run; RunError where nothing is published yet.
    """
    return _act(root, rows, why, "accept", console)


def reject(root: Path, rows: Sequence[str], why: str, console: Console) -> list[Released]:
    """Record the rejection of published rows, and publish the run's dataset anew without them.

    Raises InputError, before anything is recorded, for an empty `why` and for rows that are not in
    the dataset; RunError where nothing is published yet.
    """
    return _act(root, rows, why, "reject", console)


def _act(
    root: Path, rows: Sequence[str], why: str, decision: Decision, console: Console
) -> list[Released]:
    if not why.strip():
        may = "be trusted" if decision == "accept" else "not stay in the dataset"
        raise InputError(f"--why: is empty; say for what reason the row may {may}")
    run = locate_run(root)
    config = parse_settings(run.manifest.config)
    if not isinstance(config, RunConfig):
        raise RunError(f"{root}: has no quarantined answers; release those of a run from seeds")
    with hold_run(root), open_context(root, config) as context:
        require_published(context)
        require_whole_cycle(context)
        _require_newest(context)
        restore_files(context.run)
        log, asked = read_log(context.run), list(dict.fromkeys(rows))
        new = _make_overrides(context, asked, log, why.strip(), decision)
        if new:
            context.run.commit([write_log(context.run, [*log, *new])])
        _publish_anew(context, console)
        word = "released" if decision == "accept" else "rejected"
        note_version(context.run, f"{word} {count_noun(len(asked), 'row')}", console)
        tell_all(context, console, PlainConductor())
        latest = {override.row: override for override in (*log, *new)}
        results = [tell_fate(context, latest[row]) for row in asked]
    for result in results:
        end = "is in the dataset" if result.decision == "accept" else f"fell: {result.reason}"
        told = f"released from {result.overruled}; {end}"
        if decision == "reject":
            told = "rejected; is in dataset/rejected.parquet"
        console.line(f"{result.row}: {told}")
    console.line(f"dataset: {run.place(TRAIN)}")
    if config.train is not None and run.files("train"):
        console.line(
            "The student was taught before this. Teach it anew with: tutelage train CONFIG"
        )
    return results


def _require_newest(context: Context) -> None:
    """Raise RunError where the dataset was rolled back: what is published anew is the newest."""
    manifest = context.run.manifest
    if manifest.versions and manifest.current != manifest.versions[-1].number:
        raise RunError(
            f"{context.run.root}: the dataset is rolled back to version {manifest.current}. Go on "
            "from it with: tutelage run CONFIG --new-cycle\nor take the newest one first: "
            f"tutelage rollback {context.run.root} {manifest.versions[-1].number}"
        )


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
    context: Context, asked: Sequence[str], log: Sequence[Override], why: str, decision: Decision
) -> list[Override]:
    """Override what was decided last about each row; what is on record already is left out."""
    verdicts = _find_last_verdicts(context)
    acts = {override.row: override for override in log if override.decision == decision}
    rejected = list_rejected(log)
    rows = [
        row for row in asked if not _is_done(verdicts.get(row), acts.get(row), row in rejected, log)
    ]
    stages = answer_stages(context)
    answers = {a.id for stage in stages for a in read_stage(context, stage, "answers-", Answer)}
    answers |= {answer.id for answer in read_earlier_answers(context)}
    find = _find_fault if decision == "accept" else _find_objection
    faults = [fault for row in rows if (fault := find(row, verdicts.get(row), answers))]
    if faults:
        strange = [row for row in rows if row not in verdicts]
        hint = nearest(strange[0], verdicts) if strange else ""
        raise InputError("\n".join(faults) + hint)
    by, at = _find_account(), context.run.now()
    return [
        Override.model_validate(
            {"row": row, "decision": decision, "why": why, "by": by, "at": at}
            | {"overruled": verdicts[row]}
        )
        for row in rows
    ]


def _is_done(
    verdict: Verdict | None, act: Override | None, is_rejected: bool, log: Sequence[Override]
) -> bool:
    """Whether a person decided the same before, and nothing but that has come since."""
    if verdict is None or act is None:
        return False
    if act.decision == "reject":
        return is_rejected
    lifted = {key_of(override.overruled) for override in log if override.decision == "accept"}
    return not is_rejected and (not may_lift(verdict) or key_of(verdict) in lifted)


def _find_fault(row: str, verdict: Verdict | None, answers: Collection[str]) -> str | None:
    """Why a row cannot be released."""
    if verdict is None:
        return f"{row}: no row of this run; the ids stand in dataset/quarantine.parquet"
    if row not in answers:
        return f"{row}: is no answer ({verdict.reason}); only answers can be released"
    if not may_lift(verdict):
        state = "is published already" if verdict.decision == "accept" else "was rejected"
        return f"{row}: {state} ({verdict.reason}); only what lies in quarantine can be released"
    return None


def _find_objection(row: str, verdict: Verdict | None, answers: Collection[str]) -> str | None:
    """Why a row cannot be rejected."""
    if verdict is None:
        return f"{row}: no row of this run; the ids stand in dataset/train.parquet"
    if verdict.decision != "accept" or row not in answers:
        return f"{row}: is not in the dataset ({verdict.reason}); only its rows can be rejected"
    return None


def _find_last_verdicts(context: Context) -> Mapping[str, Verdict]:
    """What was decided last about each subject of the run."""
    verdicts = read_verdicts(context, read_family(context))
    verdicts += read_stage(context, "publish", "verdicts-", Verdict)
    own = {verdict.subject_id: verdict for verdict in verdicts}
    return {**read_base_verdicts(context), **own}


def _publish_anew(context: Context, console: Console) -> None:
    """Go through the stages behind the release again, apart from teaching and evaluating."""
    stages = list_making(context.config)
    place = next(i for i, stage in enumerate(stages) if isinstance(stage, ReleaseStage))
    for stage in stages[place:]:
        conduct_stage(stage, context, console, PlainConductor())


def _find_account() -> str:
    with suppress(OSError, KeyError, ImportError):
        return getpass.getuser()
    return "unknown"
