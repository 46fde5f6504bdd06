"""Texts to be annotated, and how they are put to an annotator."""

from pathlib import Path
from typing import Any

import pytest

from generators.annotation import (
    LabelledText,
    VotingAnnotator,
    WeighingAnnotator,
    draft_annotation,
    load_annotation_texts,
)
from generators.clients import Request, Sampling
from generators.errors import InputError
from generators.prompting import Form
from tests.json_lines import write_lines

LABELS = {"joy": "glad or moved", "sadness": ""}
LICENSED = {"licence": "CC0-1.0", "author": "us"}
TEXT = LabelledText(
    id="t",
    text="Two lines:\na tearful face.",
    domain="d",
    label="joy",
    licence="CC0-1.0",
    author="us",
    source="f:1",
)
FAN = "a fan who has waited all night"


def test_texts_keep_what_their_lines_say(tmp_path: Path) -> None:
    one = write_lines(tmp_path / "one.jsonl", [{"text": "A.", **LICENSED}])
    two = write_lines(
        tmp_path / "two.jsonl",
        [
            {"text": "B.", "label": "joy", "domain": "sport", **LICENSED},
            {"text": "A.", **LICENSED},
        ],
    )
    texts = load_annotation_texts([one, two], LABELS)
    assert [(t.text, t.label, t.domain, t.source) for t in texts] == [
        ("A.", None, "text", "one.jsonl:1"),
        ("B.", "joy", "sport", "two.jsonl:1"),
        ("A.", None, "text", "two.jsonl:2"),
    ]
    assert len({t.id for t in texts}) == 3
    assert load_annotation_texts([one], LABELS)[0].id == texts[0].id


def test_every_bad_line_of_every_file_is_named(tmp_path: Path) -> None:
    one = write_lines(
        tmp_path / "one.jsonl",
        [
            {"text": " ", **LICENSED},
            {"text": "A.", "author": "us"},
            {"text": "A.", "label": "joi", **LICENSED},
        ],
    )
    two = write_lines(tmp_path / "two.jsonl", [{"text": "A.", "lable": "joy", **LICENSED}, ["A."]])
    with pytest.raises(InputError) as error:
        load_annotation_texts([one, two], LABELS)
    assert str(error.value).splitlines() == [
        f"{one}:1: text: is empty",
        f"{one}:2: licence: is missing",
        f"{one}:3: label: 'joi' is none of the labels (joy, sadness) (did you mean joy?)",
        f"{two}:1: lable: is not a field here; there are author, domain, label, licence, text "
        "(did you mean label?)",
        f"{two}:2: must be a JSON object, not a list",
    ]


def draft(annotator: Any, form: Form = "chat", *, embedded: bool = False) -> list[Request]:
    return draft_annotation(
        TEXT, annotator, LABELS, form, is_embedded=embedded, run_seed=0, cycle=1
    )


def text_of(request: Request) -> str:
    return request.messages[0].content if request.text is None else request.text


def test_each_vote_is_a_draw_of_its_own() -> None:
    voter = VotingAnnotator(name="a", model="m", method="votes", votes=5)
    requests = draft(voter)
    assert len({request.seed for request in requests}) == 5
    assert {text_of(request) for request in requests} == {text_of(requests[0])}
    assert requests[0].sampling == Sampling(temperature=1.0, max_tokens=16)
    other = draft(voter.model_copy(update={"name": "b"}))
    assert {r.seed for r in requests}.isdisjoint(r.seed for r in other)


@pytest.mark.parametrize("form", ["chat", "complete"])
def test_the_prompt_ends_with_what_differs_between_texts(form: Form) -> None:
    """Persona and labels come first, so that a server's or our own prefix cache has them."""
    voter = VotingAnnotator(name="a", model="m", method="votes", votes=1, persona=FAN)
    asked = text_of(draft(voter, form)[0])
    persona, labels, text = (asked.index(part) for part in (FAN, "glad or moved", "Two lines:"))
    assert persona < labels < text
    assert "sadness" in asked
    anybody = text_of(draft(voter.model_copy(update={"persona": None}), form)[0])
    assert FAN not in anybody
    assert anybody != asked


def test_the_given_label_is_not_shown() -> None:
    voter = VotingAnnotator(name="a", model="m", method="votes", votes=1)
    unlabelled = TEXT.model_copy(update={"label": None})
    requests = draft_annotation(
        unlabelled, voter, LABELS, "chat", is_embedded=False, run_seed=0, cycle=1
    )
    assert requests == draft(voter)


def test_a_raw_completion_keeps_the_text_in_one_line() -> None:
    voter = VotingAnnotator(name="a", model="m", method="votes", votes=1)
    (request,) = draft(voter, "complete")
    assert text_of(request).endswith(
        "Labels:\n- joy: glad or moved\n- sadness\nText: Two lines: a tearful face.\nLabel:"
    )
    assert request.sampling.stop == ("\n",)


@pytest.mark.parametrize(
    ("form", "embedded", "continuations", "top"),
    [
        ("chat", True, ("joy", "sadness"), None),
        ("complete", True, (" joy", " sadness"), None),
        ("chat", False, (), 20),
        ("complete", False, (), 20),
    ],
)
def test_probabilities_take_one_request(
    form: Form, embedded: bool, continuations: tuple[str, ...], top: int | None
) -> None:
    weigher = WeighingAnnotator(name="a", model="m", method="probabilities")
    (request,) = draft(weigher, form, embedded=embedded)
    assert (request.continuations, request.top_logprobs) == (continuations, top)
    assert request.sampling == Sampling(temperature=1, max_tokens=1)
    assert draft(weigher.model_copy(update={"name": "b"}), form, embedded=embedded) == [request]
