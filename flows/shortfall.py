"""What a run says that has not come to its `publish.target_rows`: how many rows came, which stages
took others, and what to do.
"""

from collections.abc import Iterator
from typing import Any

from flows.config import RunConfig
from flows.stages.accepted import read_accepted
from flows.stages.decontaminate import DECONTAMINATE
from flows.stages.difficulty import DIFFICULTY
from flows.stages.family import read_stage
from flows.stages.screen import SCREEN
from flows.stages.selection import SELECT
from flows.target import count_publishable
from flows.waves import list_unasked
from flows.work import JobContext
from generators.records import Verdict

_REMEDIES = {
    DECONTAMINATE: "release contaminated rows",
    SCREEN: "loosen screen",
    DIFFICULTY: "widen difficulty.band",
    SELECT: "loosen select",
}
"""The stages that take rows after the waves, in order, and what lets them take fewer."""


def tell_shortfall(context: JobContext[Any]) -> Iterator[str]:
    """What to say if a finished run has fewer rows than were wanted."""
    config = context.config
    target = config.publish.target_rows if isinstance(config, RunConfig) else None
    if target is None:
        return
    verdicts = read_stage(context, "publish", "verdicts-", Verdict)
    rows = sum(verdict.decision == "accept" for verdict in verdicts)
    if rows >= target:
        return
    came = count_publishable(context, read_accepted(context))
    taken = count_taken(context)
    told = f"publish.target_rows: {rows:,} of {target:,} rows"
    if taken and rows < came:
        answers = ", ".join(f"{stage} {count:,}" for stage, count in taken.items())
        told += f" are left of {came:,} that came (answers set aside: {answers})"
    else:
        told += " came"
    if taken and came >= target:
        remedies = " or ".join(_REMEDIES[stage] for stage in taken)
        yield f"{told}. Raise target_rows or {remedies}; then run with --update"
    elif unasked := sum(prompts for _, prompts in list_unasked(context)):
        yield (
            f"{told}, and {unasked:,} prompts were not put to a teacher that is quarantined: let "
            "another model answer, or lower it; then run with --update"
        )
    else:
        yield (
            f"{told}, and no prompt is left to ask: add seeds, rounds of evolution or samples, or "
            "lower it; then run with --update"
        )


def count_taken(context: JobContext[Any]) -> dict[str, int]:
    """How many answers each stage that no wave foresees has set aside; only those that did."""
    counts = {
        stage: sum(v.decision != "accept" for v in read_stage(context, stage, "verdicts-", Verdict))
        for stage in _REMEDIES
    }
    return {stage: count for stage, count in counts.items() if count}
