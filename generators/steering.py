"""Steering: what a student fails at gets more of the next cycle's prompts.

Held-out prompts fall into kinds, procedural tasks by their name and all others by their domain. A
kind's weight is the share of its prompts that the student fails at, by Laplace's rule of succession
(so a kind of few prompts weighs neither nothing nor everything). No held-out prompt is used itself.
"""

import random
from collections.abc import Mapping, Sequence

from generators.records import Prompt

Weights = Mapping[str, float]
"""By kind; in (0, 1)."""


def kind_of(prompt: Prompt) -> str:
    """The procedural task that made a prompt, else its domain."""
    return getattr(prompt.check, "task", prompt.domain)


def weigh_kinds(scores: Mapping[str, tuple[int, int]]) -> dict[str, float]:
    """The weights out of each kind's number of prompts and of solved ones."""
    return {kind: (tried - right + 1) / (tried + 2) for kind, (tried, right) in scores.items()}


def scale_draws(weights: Weights) -> dict[str, float]:
    """What share of its draws a procedural task gets, up to all of them: as many prompts as a task
    can have may be asked for already."""
    most = max(weights.values(), default=1.0)
    return {kind: weight / most for kind, weight in weights.items()}


def share_parents(
    wanted: Mapping[str, int], pool: Sequence[Prompt], weights: Weights
) -> dict[str, int]:
    """Move parents to the domains whose prompts are failed at; their number stays the same.

    A domain weighs as much as its prompts in the pool do on average; where none of them is of a
    kind that was tried, it keeps its number.
    """
    means = {domain: _weigh_domain(domain, pool, weights) for domain in wanted}
    known = {domain: mean for domain, mean in means.items() if mean is not None}
    total = sum(wanted[domain] for domain in known)
    claims = {domain: wanted[domain] * mean for domain, mean in known.items()}
    whole = sum(claims.values())
    if not whole:
        return dict(wanted)
    exact = {domain: total * claim / whole for domain, claim in claims.items()}
    shares = {domain: int(share) for domain, share in exact.items()}
    by_rest = sorted(exact, key=lambda domain: (shares[domain] - exact[domain], domain))
    for domain in by_rest[: total - sum(shares.values())]:
        shares[domain] += 1
    return {domain: shares.get(domain, count) for domain, count in wanted.items()}


def draw_weighted(
    prompts: Sequence[Prompt], count: int, weights: Weights, rng: random.Random
) -> list[Prompt]:
    """Draw prompts without replacement, each as likely as its kind weighs (Efraimidis and Spirakis
    2006); a kind that was not tried weighs as much as the tried ones on average."""
    usual = sum(weights.values()) / len(weights) if weights else 1.0
    ranks = {p.id: rng.random() ** (1 / weights.get(kind_of(p), usual)) for p in prompts}
    return sorted(prompts, key=lambda prompt: ranks[prompt.id], reverse=True)[:count]


def _weigh_domain(domain: str, pool: Sequence[Prompt], weights: Weights) -> float | None:
    kinds = [kind_of(prompt) for prompt in pool if prompt.domain == domain]
    known = [weights[kind] for kind in kinds if kind in weights]
    return sum(known) / len(known) if known else None
