"""Whether a completion gives the answer that independent samples have elected."""

from filters.final_answer import extract_final_answer
from filters.judgement import Judgement, accept, quarantine, reject
from filters.votes import are_same, find_elected
from generators.records import ConsensusCheck


def judge_consensus(check: ConsensusCheck, completion: str) -> Judgement:
    """Judge a completion by a vote that has been held."""
    if not check.votes:
        return quarantine("open_vote", "the vote on this task has not been held")
    elected = find_elected(check.votes, check.n, check.threshold)
    if elected is None:
        return quarantine("no_consensus", describe_votes(check.votes, check.n))
    reading = extract_final_answer(completion)
    if reading.text is None:
        return quarantine(reading.problem or "no_answer", completion)
    return accept(reading.text) if are_same(elected, reading.text) else reject(reading.text)


def describe_votes(votes: dict[str, int], n: int) -> str:
    """`18: 5, 20: 1 of 8 votes`, as evidence."""
    told = ", ".join(f"{answer}: {count}" for answer, count in votes.items())
    return f"{told or 'none readable'} of {n} votes"
