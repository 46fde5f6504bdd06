"""An election among answers: which final answer most of them give, and whether it is enough.

Every answer has one vote, which goes to its final answer; what has no readable final answer, and
what was cut off, abstains. Answers count as the same when they are equal as numbers, as text, or in
the judgement of both mathematical comparers; where these disagree they count as two. The threshold
is a share of all votes, abstentions included, so that silence never helps. It is the decimal that
somebody wrote: 14 of 25 votes are .56, whatever the nearest binary fraction is.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import NamedTuple

from filters.answer_statements import canonical_text
from filters.exact_check import normal_text
from filters.final_answer import extract_final_answer
from filters.math_check import compare_answers, read_gold
from filters.plain_numbers import parse_number


class Election(NamedTuple):
    """What came of one vote."""

    votes: dict[str, int]
    """By answer, the most frequent first."""
    n: int
    """All votes, abstentions included."""
    choices: tuple[str | None, ...]
    """What each answer voted for, in the order given; None for an abstention."""
    elected: str | None

    @property
    def share(self) -> float:
        """The part of all votes that the most frequent answer has."""
        return max(self.votes.values(), default=0) / self.n if self.n else 0.0


def hold_election(
    completions: Sequence[str | None], *, threshold: float, min_votes: int
) -> Election:
    """Count the votes of completions; None stands for one that may not vote.

    An answer is elected that has at least `threshold` of at least `min_votes` votes and more than
    any other.
    """
    read = [None if text is None else read_vote(text) for text in completions]
    names = group_answers([vote for vote in read if vote is not None])
    choices = tuple(None if vote is None else names[vote] for vote in read)
    counted = Counter(choice for choice in choices if choice is not None)
    votes = dict(sorted(counted.items(), key=lambda item: (-item[1], item[0])))
    n = len(choices)
    elected = find_elected(votes, n, threshold) if n >= min_votes else None
    return Election(votes, n, choices, elected)


def find_elected(votes: Mapping[str, int], n: int, threshold: float) -> str | None:
    """The answer with at least `threshold` of all `n` votes and more than any other, or None."""
    (first, most), (_, second) = [*Counter(votes).most_common(2), ("", 0), ("", 0)][:2]
    return first if most >= Fraction(str(threshold)) * n and most > second else None


def read_vote(completion: str) -> str | None:
    """The final answer of a completion, or None where it gives none that could be counted."""
    return extract_final_answer(completion).text


def group_answers(answers: Sequence[str]) -> dict[str, str]:
    """A name for each answer's text, the same for answers that are the same.

    The name is the most frequent spelling of the group, so it does not depend on the order.
    """
    groups: list[list[str]] = []
    for answer in sorted(set(answers)):
        for group in groups:
            if all(are_same(other, answer) for other in group):
                group.append(answer)
                break
        else:
            groups.append([answer])
    frequency = Counter(answers)
    names = {}
    for group in groups:
        name = min(group, key=lambda text: (-frequency[text], len(text), text))
        names |= dict.fromkeys(group, name)
    return names


def are_same(one: str, other: str) -> bool:
    """Whether two final answers say the same. Words are the same without regard to case."""
    one, other = read_gold(one), read_gold(other)
    if canonical_text(one) == canonical_text(other):
        return True
    has_digits = [any(map(str.isdigit, text)) for text in (one, other)]
    if not any(has_digits) and normal_text(one) == normal_text(other):
        return True
    if all(has_digits) and (parse_number(one) is None) != (parse_number(other) is None):
        return False
    return compare_answers(one, other).decision == "accept"
