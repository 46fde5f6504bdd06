"""Whether a later cycle's student takes the place of the one before it: only where it does better
on the held-out prompts.

Until then it is a candidate, in the cycle's own folder; whoever uses `student/` never meets one
that was not found better.
"""

from pathlib import Path

from flows.cycle_settings import CycleSettings
from flows.history import SCORES
from flows.intervals import Interval, compare_paired
from flows.stages.evaluate import ArmResult, EvaluateStage
from flows.stages.train import METRICS, STUDENT, place_metrics, place_student
from flows.store import FileEntry, RunDirectory, link_file, write_file
from flows.versions import keep_student
from flows.work import Context
from generators.records import Record, digest

PROMOTE = "promote"


class Promotion(Record):
    """How two students compare, and which one stays."""

    promoted: bool
    why: str
    taught_on: int
    """The version of the dataset that the candidate was taught on."""
    prompts: int
    """Held-out prompts that both answered; all of the candidate's where it is the first."""
    right: int
    """How many of them the candidate solved."""
    last_right: int | None
    """How many the last student solved; None where there was none."""
    gain: Interval | None
    """How much larger the candidate's share is, with its interval."""


def name_promotion(context: Context) -> str:
    """Where a cycle tells what became of its candidate."""
    return f"{context.folder}/promotion.json"


def judge_candidate(
    candidate: ArmResult, last: ArmResult | None, settings: CycleSettings, taught_on: int
) -> Promotion:
    """Compare the candidate with the last student, by the prompts that both were asked: all, since
    the last one is asked again where the held-out prompts have changed."""
    new = candidate.pass_1.correct
    old = new if last is None else last.pass_1.correct
    shared = [id for id in new if id in old]
    right, last_right = (sum(bool(solved[id]) for id in shared) for solved in (new, old))
    gain = None
    if last is not None:
        gain = compare_paired([(bool(new[id]), bool(old[id])) for id in shared])
    if gain is None:
        promoted, why = True, "there was no student before it"
    elif settings.promote == "surely":
        promoted = gain.low > 0
        why = f"the gain's interval lies {'above' if promoted else 'not above'} zero"
    else:
        promoted = gain.value > 0
        why = f"it solves {'more' if promoted else 'no more'} of the held-out prompts"
    return Promotion(
        promoted=promoted,
        why=why,
        taught_on=taught_on,
        prompts=len(shared),
        right=right,
        last_right=last_right if last is not None else None,
        gain=gain,
    )


def settle_candidate(context: Context, taught_on: int) -> Promotion:
    """Decide on this cycle's candidate once, and put it into `student/` if it is the better one."""
    run, place = context.run, context.run.place
    told = name_promotion(context)
    scores = place_scores(context)
    candidate = ArmResult.model_validate_json(place(scores).read_bytes())
    known = run.manifest.files
    last = ArmResult.model_validate_json(place(SCORES).read_bytes()) if SCORES in known else None
    key = digest(PROMOTE, taught_on, known[scores].sha256, context.config.cycles.promote)
    if told in known and (known[told].key == key or is_in_place(context)):
        promotion = Promotion.model_validate_json(place(told).read_bytes())
    else:
        promotion = judge_candidate(candidate, last, context.config.cycles, taught_on)
        text = promotion.model_dump_json(indent=1)
        decided = write_file(
            run.root,
            told,
            lambda path: path.write_text(text, encoding="utf-8"),
            stage=PROMOTE,
            key=key,
        )
        if promotion.promoted:
            _put_into_place(context, decided)
        else:
            run.commit([decided])
    if promotion.promoted and is_in_place(context):  # said again after a kill, it is kept again
        keep_student(run, promotion.taught_on)
    return promotion


def place_scores(context: Context) -> str:
    """Where a cycle's evaluation of its own student lies."""
    return f"{context.folder}/{Path(SCORES).name}"


def _list_moves(context: Context) -> dict[str, str]:
    """Where each of the candidate's files lies as the student's."""
    folder = f"{place_student(context)}/"
    files = [path for path in context.run.manifest.files if path.startswith(folder)]
    moves = {path: f"{STUDENT}/{path.removeprefix(folder)}" for path in files}
    return moves | {place_metrics(context): METRICS}


def is_in_place(context: Context) -> bool:
    """Whether the candidate is the student by now; in the first cycle there is no other."""
    if context.cycle == 1:
        return True
    files = context.run.manifest.files
    return all(
        target in files and files[target].sha256 == files[source].sha256
        for source, target in _list_moves(context).items()
    )


def _put_into_place(context: Context, decided: FileEntry) -> None:
    """Name the candidate's files as the student's, and with them the decision, in one step."""
    run, files, moves = context.run, context.run.manifest.files, _list_moves(context)
    entries = [_link(run, path, target, "train") for path, target in moves.items()]
    stale = [p for p, e in files.items() if _is_old(p, e) and p not in moves.values()]
    named = {p: e for p, e in files.items() if p not in stale}
    run.update(files=named | {entry.path: entry for entry in (*entries, decided)})
    for path in stale:
        run.place(path).unlink(missing_ok=True)
    assert context.config.evaluate is not None
    (job,) = EvaluateStage(context.config.evaluate, "after").plan(context)
    scores = _link(run, place_scores(context), SCORES, "evaluate-after")
    run.commit([scores.model_copy(update={"key": job.key})])


def _link(run: RunDirectory, source: str, target: str, stage: str) -> FileEntry:
    key = run.manifest.files[source].key
    return link_file(run.root, run.place(source), target, stage=stage, key=key)


def _is_old(path: str, entry: FileEntry) -> bool:
    """Whether it is a file of the student that goes."""
    return path.startswith(f"{STUDENT}/") or (path == METRICS and entry.stage == "train")
