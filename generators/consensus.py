"""Consensus evolution: where no program can tell the right answer, independent samples vote on it.

A rewritten task of a closed domain (mathematics, logic) has exactly one right answer, and nobody
knows it. Such a child carries an open vote for a check: it goes to every sampler, and when all have
answered, `filters.votes` counts. Agreement above the threshold makes the reference and stays with
the row, vote by vote; below it the row is quarantined.
"""

from pydantic import Field

from generators.records import ConsensusCheck, Prompt, Record


class ConsensusSettings(Record):
    """Which tasks are put to the vote, and what it takes to be elected."""

    domains: tuple[str, ...] = Field(min_length=1)
    """Tasks of these domains that have no check of their own are put to the vote."""
    threshold: float = Field(default=0.75, gt=0.5, le=1)
    """The share of all votes, abstentions counted, that the elected answer must have."""
    min_votes: int = Field(default=4, ge=2)
    """Fewer samples elect nothing."""


def open_vote(domain: str, settings: ConsensusSettings | None) -> ConsensusCheck | None:
    """The check of a task that has not been voted on yet; None where its domain does not vote."""
    if settings is None or domain not in settings.domains:
        return None
    return ConsensusCheck(votes={}, n=0, threshold=settings.threshold)


def put_to_vote(prompt: Prompt, settings: ConsensusSettings | None) -> Prompt:
    """The prompt with an open vote for its check, if it has none and its domain votes."""
    if prompt.check is not None:
        return prompt
    return prompt.model_copy(update={"check": open_vote(prompt.domain, settings)})
