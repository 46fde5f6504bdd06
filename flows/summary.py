"""What a run came to, in the few figures that the command prints."""

from collections.abc import Sequence
from pathlib import Path

import pyarrow.parquet as pq

from flows.config import RunConfig
from flows.console import Console
from flows.facts_learning import Arm
from flows.gather_learning import describe_arm, gather_evaluation, gather_training
from flows.intervals import Interval
from flows.stages.evaluate import ArmResult
from flows.stages.publish import QUARANTINE, REJECTED, TRAIN, hash_dataset
from flows.stages.report import REPORT
from flows.stages.train import STUDENT
from flows.store import RunDirectory
from flows.work import Resources, enter_cycle
from generators.records import Record


class RunSummary(Record):
    """The result of a run."""

    run: str
    status: str
    cycle: int
    version: int | None
    """The dataset's."""
    rows: int
    quarantined: int
    rejected: int
    dataset: str
    dataset_hash: str
    report: str
    student: str | None
    arms: tuple[Arm, ...]
    seconds: float


def summarise_run(run: RunDirectory) -> RunSummary:
    """Read a run's result from its directory."""
    config = RunConfig.model_validate(run.manifest.config)
    context = enter_cycle(run.root, config, Resources(config))
    manifest = run.manifest
    evaluation = gather_evaluation(context)
    place = run.place
    return RunSummary(
        run=str(run.root),
        status=manifest.cycles[str(context.cycle)].status,
        cycle=context.cycle,
        version=manifest.current,
        rows=_count(place(TRAIN)),
        quarantined=_count(place(QUARANTINE)),
        rejected=_count(place(REJECTED)),
        dataset=str(place(TRAIN)),
        dataset_hash=hash_dataset(place(TRAIN)),
        report=str(place(REPORT)),
        student=str(place(STUDENT)) if gather_training(context) else None,
        arms=evaluation.every_arm if evaluation else (),
        seconds=round(sum(run.manifest.seconds.values()), 1),
    )


def _count(path: Path) -> int:
    return pq.read_metadata(path).num_rows


def tell_summary(summary: RunSummary) -> str:
    """The result as Markdown."""
    table = ["| arm | prompts | pass@1 | pass@k |", "|---|--:|--:|--:|"]
    rows = [f"| {' | '.join(map(str, _row(arm)))} |" for arm in summary.arms]
    lines = [_tell_counts(summary), "", *([*table, *rows, ""] if rows else [])]
    return "\n".join([*lines, *(f"- {what}: `{where}`" for what, where in _list_places(summary))])


def show_summary(summary: RunSummary, console: Console) -> None:
    """Print the result: the table of scores, and where everything lies."""
    if summary.arms:
        console.table("Held-out prompts", *tabulate_arms(summary.arms))
    console.line(_tell_counts(summary))
    for what, where in _list_places(summary):
        console.line(f"{what + ':':<9} {where}")


def show_arms(results: Sequence[ArmResult], console: Console) -> None:
    """Print the scores of some arms."""
    arms = [describe_arm(result) for result in results]
    columns = ["arm", "prompts", "pass@1", "pass@k", "perplexity"]
    rows = [[*_row(arm), arm.perplexity] for arm in arms]
    console.table("Held-out prompts", columns, rows)


def tabulate_arms(arms: Sequence[Arm]) -> tuple[list[str], list[list[str | int]]]:
    """The columns and the rows of the scores' table."""
    return ["arm", "prompts", "pass@1", "pass@k"], [_row(arm) for arm in arms]


def _row(arm: Arm) -> list[str | int]:
    sampled = arm.pass_at_k
    return [
        arm.name,
        arm.prompts,
        _tell(arm.pass_at_1),
        f"{_tell(sampled.score)}, k={sampled.k}" if sampled else "",
    ]


def _tell(score: Interval) -> str:
    return f"{score.value:.3f} [{score.low:.3f}, {score.high:.3f}]"


def _tell_counts(summary: RunSummary) -> str:
    return (
        f"{summary.rows} rows published, {summary.quarantined} quarantined, "
        f"{summary.rejected} rejected, in {summary.seconds:.0f} s of work"
    )


def _list_places(summary: RunSummary) -> list[tuple[str, str]]:
    places = [("dataset", summary.dataset), ("report", summary.report)]
    return [*places, ("student", summary.student)] if summary.student else places
