"""The part of `Facts` that tells how evolved prompts were judged."""

from flows.facts_evolution import JudgeFacts
from flows.intervals import Interval
from flows.stages.calibrate import read_agreement
from flows.stages.evolve import UNJUDGED
from flows.stages.family import evolve_stages, read_stage
from flows.work import Context, model_id
from generators.records import Verdict
from trainers.evaluate import wilson_interval


def gather_judge(context: Context) -> JudgeFacts | None:
    """How the equality judge was measured; None where there is none."""
    settings, agreement = context.config.evolve, read_agreement(context)
    if settings is None or agreement is None:
        return None
    return JudgeFacts(
        model=model_id(context.config.models[settings.model]),
        pairs=agreement.pairs,
        unread=agreement.pairs - agreement.answered,
        agreed=Interval.of(wilson_interval(agreement.agreed, agreement.pairs)),
        balanced_accuracy=agreement.balanced_accuracy,
        chance=agreement.chance,
        kappa=agreement.kappa,
        trusted=agreement.trusted,
        unjudged=sum(
            verdict.reason == UNJUDGED
            for stage in evolve_stages(context)
            for verdict in read_stage(context, stage, "verdicts-", Verdict)
        ),
    )
