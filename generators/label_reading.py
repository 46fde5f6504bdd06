"""Labels out of what annotators answer: read strictly, counted, never guessed.

An answer is a vote only if it is one label and nothing else; anything else is an unread vote with
its reason. Probabilities come from a model in this process for each label exactly, and from a
server for its most probable first tokens, each of which stands for the one label that it begins; a
word of its own in other letters, as the `I` of "I think" is for `irritated`, begins none.
"""

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from generators.annotation import (
    Annotation,
    Annotator,
    LabelledText,
    VotingAnnotator,
    WeighingAnnotator,
    put_label,
)
from generators.clients import Outcome, Request, Response
from generators.prompting import Form
from generators.wording import STOP_WORDS, normalise

MOST_SHARED = 0.05
"""A reading is dropped if first tokens that begin several labels have more than this share of what
the labels have altogether."""
_OUTER = re.compile(r"^[\W_]+|[\W_]+$")


class Vote(NamedTuple):
    """The label that an answer names, or why it names none that counts."""

    label: str | None
    reason: str = ""


class Weights(NamedTuple):
    """The probability of each label's text."""

    probs: dict[str, float]
    shared: float = 0.0
    """The probability of first tokens that begin several labels."""

    @property
    def mass(self) -> float:
        return math.fsum(self.probs.values())


def fold_label(text: str) -> str:
    """A label as answers are compared with it: normalised, without outer punctuation."""
    return _OUTER.sub("", normalise(text))


def read_vote(answer: str, labels: Iterable[str]) -> Vote:
    """Read one label, written alone; case and outer punctuation do not matter."""
    names = {fold_label(label): label for label in labels}
    folded = fold_label(answer)
    if folded in names:
        return Vote(names[folded])
    longest_first = sorted(names, key=len, reverse=True)
    pattern = "|".join(map(re.escape, longest_first))
    named = set(re.findall(rf"(?<!\w)(?:{pattern})(?!\w)", folded))
    if not named:
        return Vote(None, "no_label")
    return Vote(None, "several_labels" if len(named) > 1 else "label_among_words")


def weigh_exactly(text_logprobs: Mapping[str, float], labels: Iterable[str], form: Form) -> Weights:
    """The labels' probabilities out of those of the continuations."""
    return Weights({label: math.exp(text_logprobs[put_label(label, form)]) for label in labels})


def weigh_first_tokens(text_logprobs: Mapping[str, float], labels: Sequence[str]) -> Weights:
    """The labels' probabilities out of those of the first tokens; a label that none of them begins
    has 0."""
    probs, shared = dict.fromkeys(labels, 0.0), 0.0
    for token, logprob in text_logprobs.items():
        begun = [label for label in labels if _begins(token.strip(), label)]
        if len(begun) == 1:
            probs[begun[0]] += math.exp(logprob)
        elif begun:
            shared += math.exp(logprob)
    return Weights(probs, shared)


def _begins(token: str, label: str) -> bool:
    """Whether an answer that begins with a token may be on its way to a label.

    Case does not matter for a whole word of the label and for the beginning of one. What is one
    letter, or a function word such as `In`, begins another word only as it is written there.
    """
    start, folded = token.casefold(), label.casefold()
    if not token or not folded.startswith(start):
        return False
    is_whole_word = re.match(re.escape(start) + r"(?![^\W_])", folded) is not None
    is_telling = len(start) > 1 and start not in STOP_WORDS
    return is_whole_word or is_telling or label.startswith(token)


def find_alike(labels: Sequence[str]) -> tuple[str, str] | None:
    """Two labels whose first tokens cannot differ, as far as that can be told without the
    tokenizer: they have the first word in common, or one is the beginning of the other."""
    for i, one in enumerate(labels):
        for other in labels[i + 1 :]:
            a, b = one.casefold(), other.casefold()
            if a.startswith(b) or b.startswith(a) or a.split()[0] == b.split()[0]:
                return one, other
    return None


def record_annotation(
    text: LabelledText,
    annotator: Annotator,
    labels: Mapping[str, str],
    asked: Sequence[Request],
    outcomes: Sequence[Outcome],
    *,
    form: Form,
    model: str,
    template_hash: str,
) -> Annotation:
    """What the outcomes of an annotator's requests for one text come to."""
    failed = Counter(outcome.reason for outcome in outcomes if outcome.kind == "failure")
    responses = [outcome for outcome in outcomes if outcome.kind == "response"]
    empty = Annotation(
        text_id=text.id,
        annotator=annotator.name,
        model=model,
        context=annotator.persona,
        method=annotator.method,
        counts=dict.fromkeys(labels, 0),
        n=0,
        probs=None,
        label_mass=None,
        unread={},
        failed=dict(sorted(failed.items())),
        template_hash=template_hash,
    )
    if isinstance(annotator, VotingAnnotator):
        return _count_votes(empty, responses)
    if not responses:
        return empty
    scores = responses[0].text_logprobs or {}
    if asked[0].continuations:
        return _weigh(empty, annotator, weigh_exactly(scores, labels, form))
    return _weigh(empty, annotator, weigh_first_tokens(scores, [*labels]))


def _count_votes(empty: Annotation, responses: Sequence[Response]) -> Annotation:
    votes = [_read_response(response, empty.counts) for response in responses]
    cast = Counter(vote.label for vote in votes if vote.label is not None)
    unread = Counter(vote.reason for vote in votes if vote.label is None)
    counts, n = {label: cast[label] for label in empty.counts}, cast.total()
    return empty.model_copy(
        update={
            "counts": counts,
            "n": n,
            "probs": {label: count / n for label, count in counts.items()} if n else None,
            "unread": dict(sorted(unread.items())),
        }
    )


def _read_response(response: Response, labels: Iterable[str]) -> Vote:
    """An answer that was cut off may have been about to go on, as `sad` to `sadness`."""
    if response.finish_reason == "length":
        return Vote(None, "cut_off")
    return read_vote(response.text, labels)


def _weigh(empty: Annotation, annotator: WeighingAnnotator, weights: Weights) -> Annotation:
    mass = weights.mass
    seen = {"label_mass": min(1.0, mass)}
    if weights.shared > MOST_SHARED * (weights.shared + mass):
        return empty.model_copy(update=seen | {"unread": {"shared_first_token": 1}})
    if mass < annotator.min_label_mass or mass == 0:
        return empty.model_copy(update=seen | {"unread": {"low_label_mass": 1}})
    probs = {label: p / mass for label, p in weights.probs.items()}
    return empty.model_copy(update=seen | {"n": 1, "probs": probs})
