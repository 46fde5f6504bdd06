"""The part of `Facts` that tells of cycles and versions."""

from flows.facts_cycles import CycleFacts, PromotionFacts, VersionFacts
from flows.history import read_weights
from flows.promotion import Promotion, name_promotion
from flows.versions import find_taught
from flows.work import Context


def gather_cycles(context: Context) -> CycleFacts | None:
    """The versions, and what became of this cycle's student; None while there is only one."""
    manifest = context.run.manifest
    if len(manifest.versions) < 2 and context.cycle == 1:
        return None
    weights = read_weights(context) or {}
    return CycleFacts(
        cycle=context.cycle,
        versions=tuple(
            VersionFacts(
                number=version.number,
                created=version.created,
                rows=version.rows,
                why=version.why,
                current=version.number == manifest.current,
                taught=find_taught(manifest, version.number) == version.number,
            )
            for version in manifest.versions
        ),
        promotion=_gather_promotion(context),
        steered=tuple(sorted(weights.items(), key=lambda pair: (-pair[1], pair[0]))),
    )


def _gather_promotion(context: Context) -> PromotionFacts | None:
    told = name_promotion(context)
    if told not in context.run.manifest.files:
        return None
    promotion = Promotion.model_validate_json(context.run.place(told).read_bytes())
    return PromotionFacts(**promotion.model_dump())
