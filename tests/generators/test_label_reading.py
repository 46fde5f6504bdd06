"""Labels out of answers: strictly read, and first tokens dealt to the labels they begin."""

import math
from typing import Any

import pytest

from generators.annotation import (
    Annotation,
    LabelledText,
    VotingAnnotator,
    WeighingAnnotator,
    draft_annotation,
)
from generators.clients import Failure, Outcome, Response
from generators.label_reading import (
    Vote,
    find_alike,
    fold_label,
    read_vote,
    record_annotation,
    weigh_first_tokens,
)
from generators.prompting import Form, hash_template
from generators.records import Usage

LABELS = {"joy": "glad", "sadness": "", "very good": "", "good": ""}
TEXT = LabelledText(
    id="t", text="A face.", domain="d", label=None, licence="CC0-1.0", author="us", source="f:1"
)
VOTER = VotingAnnotator(name="voter", model="m", method="votes", votes=6)
WEIGHER = WeighingAnnotator(name="weigher", model="m", method="probabilities")


@pytest.mark.parametrize(
    ("answer", "vote"),
    [
        ("joy", Vote("joy")),
        (" JOY.\n", Vote("joy")),
        ("**Joy**", Vote("joy")),
        ("“sadness”", Vote("sadness")),
        ("(joy)", Vote("joy")),
        ("Very  Good!", Vote("very good")),
        ("good", Vote("good")),
        ("", Vote(None, "no_label")),
        ("happiness", Vote(None, "no_label")),
        ("joyful", Vote(None, "no_label")),
        ("joy or sadness", Vote(None, "several_labels")),
        ("joy\nsadness", Vote(None, "several_labels")),
        ("joy joy", Vote(None, "label_among_words")),
        ("Label: joy", Vote(None, "label_among_words")),
        ("not joy", Vote(None, "label_among_words")),
        ("that is very good", Vote(None, "label_among_words")),
    ],
)
def test_only_a_label_alone_is_a_vote(answer: str, vote: Vote) -> None:
    assert read_vote(answer, LABELS) == vote


@pytest.mark.parametrize(
    ("label", "folded"), [("C++", "c"), ("★ Joy ★", "joy"), ("__a b__", "a b"), ("+-", "")]
)
def test_a_label_is_compared_without_case_and_outer_punctuation(label: str, folded: str) -> None:
    assert fold_label(label) == folded


def test_first_tokens_go_to_the_one_label_that_they_begin() -> None:
    found = {"joy": 0.5, " Jo": 0.125, "sad": 0.0625, "s": 0.03125, "happy": 0.25, " ": 0.02}
    labels = ["joy", "sadness", "surprise"]
    weights = weigh_first_tokens({t: math.log(p) for t, p in found.items()}, labels)
    assert weights.probs == pytest.approx({"joy": 0.625, "sadness": 0.0625, "surprise": 0.0})
    assert weights.shared == pytest.approx(0.03125)
    assert weights.mass == pytest.approx(0.6875)


@pytest.mark.parametrize(
    ("token", "label", "begins"),
    [
        ("I", "irritated", False),
        (" I", "irritated", False),
        ("i", "irritated", True),
        ("I", "Irritated", True),
        ("I", "i", True),
        ("In", "interest", False),
        ("Not", "not_hateful", True),
        ("in", "interest", True),
        ("An", "anger", False),
        ("Ang", "anger", True),
        ("S", "sadness", False),
        ("NO", "no", True),
        ("NOT", "nothing", False),
        ("Not", "not at all", True),
        ("So", "so-so", True),
        ("I", "i am glad", True),
        ("JO", "joy", True),
        ("", "joy", False),
    ],
)
def test_a_word_of_its_own_begins_a_label_only_in_the_same_letters(
    token: str, label: str, begins: bool
) -> None:
    weights = weigh_first_tokens({token: math.log(0.5)}, [label, "wholly else"])
    assert weights.probs[label] == pytest.approx(0.5 if begins else 0.0)
    assert weights.shared == 0


def test_what_an_answer_in_prose_begins_with_is_no_label() -> None:
    found = {"I": 0.75, "irr": 0.125, "C": 0.0625, "calm": 0.03125}
    weights = weigh_first_tokens({t: math.log(p) for t, p in found.items()}, ["irritated", "calm"])
    assert weights.probs == pytest.approx({"irritated": 0.125, "calm": 0.03125})


@pytest.mark.parametrize(
    ("labels", "alike"),
    [
        (["joy", "sadness", "surprise"], None),
        (["very good", "Very bad"], ("very good", "Very bad")),
        (["good", "bad", "Goodness"], ("good", "Goodness")),
        (["sadness", "sad"], ("sadness", "sad")),
        (["badly", "not badly"], None),
    ],
)
def test_labels_that_begin_alike(labels: list[str], alike: tuple[str, str] | None) -> None:
    assert find_alike(labels) == alike


def record(annotator: Any, outcomes: list[Outcome], form: Form, *, embedded: bool) -> Annotation:
    draft = draft_annotation(
        TEXT, annotator, LABELS, form, is_embedded=embedded, run_seed=0, cycle=1
    )
    return record_annotation(
        TEXT,
        annotator,
        LABELS,
        draft,
        outcomes,
        form=form,
        model="m@1",
        template_hash=hash_template(form, "annotate"),
    )


def said(text: str, finish: Any = "stop", **scores: float) -> Response:
    return Response(
        text=text, finish_reason=finish, usage=Usage(), text_logprobs=dict(scores) or None
    )


def test_votes_are_counted_and_the_others_named() -> None:
    lost = Failure(reason="http_400", message="no", permanent=True)
    answers = [said("joy"), said("Joy."), said("good"), said("dunno"), said("sad", "length"), lost]
    found = record(VOTER, answers, "chat", embedded=False)
    assert found.counts == {"joy": 2, "sadness": 0, "very good": 0, "good": 1}
    assert (found.n, found.unread, found.failed) == (
        3,
        {"cut_off": 1, "no_label": 1},
        {"http_400": 1},
    )
    assert found.probs == {"joy": 2 / 3, "sadness": 0, "very good": 0, "good": 1 / 3}
    assert (found.label_mass, found.model, found.annotator) == (None, "m@1", "voter")


def test_nothing_read_is_no_distribution() -> None:
    found = record(VOTER, [said("?")] * 6, "chat", embedded=False)
    assert (found.n, found.probs, found.unread) == (0, None, {"no_label": 6})
    assert found.counts == dict.fromkeys(LABELS, 0)


@pytest.mark.parametrize("form", ["chat", "complete"])
def test_exact_probabilities_are_normalised_over_the_labels(form: Form) -> None:
    space = " " if form == "complete" else ""
    masses = {"joy": 0.25, "sadness": 0.125, "very good": 0.0625, "good": 0.0625}
    scores = {f"{space}{label}": math.log(p) for label, p in masses.items()}
    found = record(WEIGHER, [said("", **scores)], form, embedded=True)
    assert found.label_mass == pytest.approx(0.5)
    assert found.probs == pytest.approx(
        {"joy": 0.5, "sadness": 0.25, "very good": 0.125, "good": 0.125}
    )
    assert (found.n, found.counts) == (1, dict.fromkeys(LABELS, 0))


@pytest.mark.parametrize(
    ("scores", "mass", "unread"),
    [
        ({"joy": 0.03, "sad": 0.01, "the": 0.9}, 0.04, {"low_label_mass": 1}),
        ({"joy": 0.8, "g": 0.04}, 0.84, {}),
        ({"joy": 0.06, "the": 0.9}, 0.06, {}),
        ({}, 0.0, {"low_label_mass": 1}),
    ],
    ids=["below the floor", "well above", "above the floor", "no token at all"],
)
def test_labels_without_mass_are_unread(
    scores: dict[str, float], mass: float, unread: dict[str, int]
) -> None:
    logs = {token: math.log(p) for token, p in scores.items()}
    found = record(WEIGHER, [said("joy", "length", **logs)], "chat", embedded=False)
    assert found.label_mass == pytest.approx(mass)
    assert found.unread == unread
    assert (found.probs is None) == (found.n == 0) == bool(unread)


def test_tokens_that_begin_several_labels_spoil_a_reading() -> None:
    logs = {"joy": math.log(0.5), "": math.log(0.1)}
    labels = {"sadness": "", "surprise": "", "joy": ""}
    draft = draft_annotation(TEXT, WEIGHER, labels, "chat", is_embedded=False, run_seed=0, cycle=1)

    def read(shared: float) -> Annotation:
        outcome = said("s", "length", **(logs | {"s": math.log(shared)}))
        return record_annotation(
            TEXT,
            WEIGHER,
            labels,
            draft,
            [outcome],
            form="chat",
            model="m",
            template_hash="h",
        )

    assert read(0.02).probs == {"sadness": 0.0, "surprise": 0.0, "joy": 1.0}
    assert (read(0.1).probs, read(0.1).unread) == (None, {"shared_first_token": 1})


def test_a_failure_is_no_reading() -> None:
    found = record(
        WEIGHER, [Failure(reason="deadline", message="", permanent=False)], "chat", embedded=False
    )
    assert (found.n, found.probs, found.label_mass) == (0, None, None)
    assert found.failed == {"deadline": 1}
