"""The part of `Facts` that tells how the judge of answers did on trial."""

from flows.facts_judging import BatteryFacts
from flows.stages.family import read_stage
from flows.stages.judge import JUDGE, read_battery
from flows.work import Context, model_id
from generators.records import Verdict


def gather_battery(context: Context) -> BatteryFacts | None:
    """How the judge was tried; None where nothing was to be judged."""
    settings, battery = context.config.judge, read_battery(context)
    if settings is None or battery is None:
        return None
    return BatteryFacts(
        model=model_id(context.config.models[settings.model]),
        prompts=battery.prompts,
        budget=battery.budget,
        tallies=tuple(tally for tally in battery.tallies if tally.attempts),
        objection=battery.objection,
        accepts_alone=settings.accepts_alone,
        judged=len(read_stage(context, JUDGE, "verdicts-", Verdict)),
    )
