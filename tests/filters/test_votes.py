"""Elections among answers: what counts as one vote, and what is enough to be elected."""

from itertools import permutations

import pytest

from filters.consensus_check import judge_consensus
from filters.verify import verify
from filters.votes import are_same, find_elected, group_answers, hold_election
from generators.records import ConsensusCheck

ANSWERS = ["18", "The answer is 18.", "#### 18.0", "20", "I am not sure.", "x = 18"]


def test_equal_answers_share_their_votes() -> None:
    election = hold_election(ANSWERS, threshold=0.6, min_votes=4)
    assert election.votes == {"18": 4, "20": 1}
    assert election.n == 6
    assert election.choices == ("18", "18", "18", "20", None, "18")
    assert election.elected == "18"
    assert election.share == 4 / 6


@pytest.mark.parametrize(
    ("completions", "threshold", "min_votes", "elected"),
    [
        pytest.param(["7"] * 3 + ["8"], 0.75, 4, "7", id="just enough"),
        pytest.param(["7"] * 3 + ["8"], 0.76, 4, None, id="below the threshold"),
        pytest.param(["7"] * 3, 0.75, 4, None, id="too few votes"),
        pytest.param(["7"] * 3 + [None], 0.8, 4, None, id="an abstention counts against it"),
        pytest.param([None] * 4, 0.51, 4, None, id="nobody votes"),
        pytest.param(["7", "7", "8", "8"], 0.5, 4, None, id="a tie"),
        pytest.param([], 0.6, 2, None, id="nobody is there"),
        pytest.param(["Yes.", "yes", "no", "YES"], 0.75, 4, "YES", id="words in any case"),
        pytest.param(["1/2", "0.5", "50%", "2"], 0.75, 4, "0.5", id="the same number"),
    ],
)
def test_what_it_takes_to_be_elected(
    completions: list[str | None], threshold: float, min_votes: int, elected: str | None
) -> None:
    election = hold_election(completions, threshold=threshold, min_votes=min_votes)
    assert election.elected == elected


@pytest.mark.parametrize(
    ("count", "n", "threshold", "is_elected"),
    [
        (14, 25, 0.56, True),
        (28, 50, 0.56, True),
        (11, 20, 0.55, True),
        (2, 3, 0.67, False),
        (13, 25, 0.56, False),
        (3, 5, 0.6, True),
        (7, 7, 1.0, True),
    ],
)
def test_a_share_of_just_the_threshold_is_elected_and_judges(
    count: int, n: int, threshold: float, is_elected: bool
) -> None:
    ballot = ["7"] * count + ["8"] * (n - count)
    election = hold_election(ballot, threshold=threshold, min_votes=2)
    assert election.elected == find_elected(election.votes, n, threshold)
    assert election.elected == ("7" if is_elected else None)
    check = ConsensusCheck(votes=election.votes, n=n, threshold=threshold)
    assert judge_consensus(check, "It is 7.").decision == ("accept" if is_elected else "quarantine")


@pytest.mark.parametrize(
    ("votes", "elected"),
    [
        ({}, None),
        ({"8": 1, "7": 4}, "7"),
        ({"7": 4, "8": 4}, None),
        ({"7": 0}, None),
    ],
    ids=["no votes", "not in order", "a tie", "nobody's answer"],
)
def test_who_is_elected(votes: dict[str, int], elected: str | None) -> None:
    assert find_elected(votes, 8, 0.5) == elected


def test_the_order_of_the_votes_changes_nothing() -> None:
    outcomes = {
        (election.elected, tuple(election.votes.items()))
        for order in permutations(["0.5", "1/2", "0.50", "2", "two"])
        for election in [hold_election(order, threshold=0.6, min_votes=2)]
    }
    assert outcomes == {("0.5", (("0.5", 3), ("2", 1), ("two", 1)))}


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("2\\pi", "2π", True),
        ("1/2", "0.5", True),
        ("50%", "50", False),
        ("5 km", "5 m", False),
        ("5 km", "5", True),
        ("x=5", "5", True),
        ("4√2", "4", False),
        ("even", "Even", True),
        ("even", "odd", False),
        ("(1, 2)", "(2, 1)", False),
    ],
)
def test_which_answers_are_the_same(one: str, other: str, same: bool) -> None:
    assert (are_same(one, other), are_same(other, one)) == (same, same)


def test_what_is_not_the_same_as_all_of_a_group_stays_out() -> None:
    names = group_answers(["5", "5 km", "5 m"])
    assert names["5 km"] != names["5 m"]


def vote(n: int = 5, threshold: float = 0.75, **votes: int) -> ConsensusCheck:
    return ConsensusCheck(votes={k[1:]: v for k, v in votes.items()}, n=n, threshold=threshold)


@pytest.mark.parametrize(
    ("check", "completion", "decision", "reason"),
    [
        pytest.param(vote(_18=4, _20=1), "It is 18.", "accept", "right", id="elected"),
        pytest.param(vote(_18=4, _20=1), "It is 20.", "reject", "wrong", id="outvoted"),
        pytest.param(vote(_18=4, _20=1), "18 or 20", "quarantine", "several_answers", id="two"),
        pytest.param(vote(_18=3, _20=2), "18", "quarantine", "no_consensus", id="too little"),
        pytest.param(
            vote(4, 0.5, _18=2, _20=2), "18", "quarantine", "no_consensus", id="tie at half"
        ),
        pytest.param(vote(0), "18", "quarantine", "open_vote", id="not held yet"),
    ],
)
def test_a_completion_is_judged_by_the_vote(
    check: ConsensusCheck, completion: str, decision: str, reason: str
) -> None:
    verdict = verify(check, completion)
    assert (verdict.decision, verdict.reason) == (decision, reason)
    assert judge_consensus(check, completion).decision == decision


def test_the_votes_are_the_evidence() -> None:
    verdict = verify(vote(_18=3, _20=2), "18")
    assert verdict.evidence == "18: 3, 20: 2 of 5 votes"
