"""Count the votes of a run, and try such votes where the right answer is known."""

from collections import defaultdict
from statistics import fmean

from filters.votes import hold_election
from flows.facts_votes import VoteFacts, VoteTrial
from flows.intervals import Interval
from flows.stages.accepted import read_verified
from flows.stages.consensus import CONSENSUS, read_decided, share_of_votes, vote_on
from flows.stages.family import Family, read_stage
from flows.work import Context
from generators.consensus import ConsensusSettings
from generators.records import Answer, Verdict
from trainers.evaluate import wilson_interval

KEYED = ("math", "procedural")
"""Kinds of check whose answers are read as a vote reads them."""


def gather_votes(context: Context, family: Family) -> VoteFacts | None:
    """What the votes brought; None where none was to be held."""
    settings = context.config.consensus
    if settings is None:
        return None
    decided = read_decided(context)
    answers = {
        answer.id: answer.prompt_id
        for sampler in context.config.answer.samplers
        for answer in read_stage(context, f"answer-{sampler.name}", "answers-", Answer)
    }
    verdicts = read_stage(context, CONSENSUS, "verdicts-", Verdict)
    elected = {answers[v.subject_id] for v in verdicts if v.decision == "accept"}
    too_few = [id for id, prompt in decided.items() if vote_on(prompt).n < settings.min_votes]
    return VoteFacts(
        prompts=len(decided),
        elected=len(elected),
        undecided=len(decided) - len(elected) - len(too_few),
        too_few=len(too_few),
        threshold=settings.threshold,
        min_votes=settings.min_votes,
        mean_share=fmean(share_of_votes(decided[id]) for id in elected) if elected else None,
        trial=try_votes(context, family, settings),
    )


def try_votes(context: Context, family: Family, settings: ConsensusSettings) -> VoteTrial | None:
    """Hold the same election among the first sampler's answers to prompts with a known answer."""
    sampler = context.config.answer.samplers[0]
    stage = f"answer-{sampler.name}"
    right = read_verified(context, stage)
    verdicts = read_stage(context, stage, "verdicts-", Verdict)
    malformed = {verdict.subject_id for verdict in verdicts if verdict.stage == "structure"}
    ballots: dict[str, list[Answer]] = defaultdict(list)
    for answer in read_stage(context, stage, "answers-", Answer):
        check = family.prompts[answer.prompt_id].check
        if check is not None and check.kind in KEYED:
            ballots[answer.prompt_id].append(answer)
    tried = [answers for answers in ballots.values() if len(answers) >= settings.min_votes]
    outcomes = []
    for answers in tried:
        ballot = [None if a.id in malformed else a.completion for a in answers]
        election = hold_election(ballot, threshold=settings.threshold, min_votes=settings.min_votes)
        if election.elected is not None:
            voters = [
                a for a, c in zip(answers, election.choices, strict=True) if c == election.elected
            ]
            outcomes.append(any(voter.id in right for voter in voters))
    if not tried:
        return None
    interval = wilson_interval(sum(outcomes), len(outcomes)) if outcomes else None
    return VoteTrial(
        sampler=sampler.name,
        prompts=len(tried),
        elected=len(outcomes),
        right=interval and Interval.of(interval),
    )
