"""What is refused of a training's settings: what nobody reads, and what could not end well."""

import json
from typing import Any

import pytest
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from trainers.settings import Objective, TrainSettings
from trainers.settings_checks import READ_BY

OWN: dict[str, Any] = {"rollouts": {"max_new_tokens": 4}}
CACHED: dict[str, Any] = {"kind": "cached"}
CHANGED: dict[str, Any] = {
    "beta": 0.3,
    "alpha": 0.2,
    "temperature": 2.0,
    "chunk_temperature": 10.0,
    "tail": "renormalised",
    "ce_weight": 0.5,
    "mixing": {"alpha": 0.5},
    "policy.reward_to_go": False,
    "policy.baseline": "none",
    "policy.discount": 0.9,
    "policy.clip": 0.2,
    "policy.length_normalised": True,
    "policy.weights": "cumulative",
}
"""A value of each setting that belongs to some objectives alone."""


def make(**settings: Any) -> TrainSettings:
    return TrainSettings.model_validate_json(json.dumps(settings))


def nest(name: str, value: Any) -> dict[str, Any]:
    section, _, field = name.rpartition(".")
    return {section: {field: value}} if section else {name: value}


def ready(objective: str, name: str) -> dict[str, Any]:
    """The least settings of an objective, beside which a setting may stand."""
    settings: dict[str, Any] = {"objective": objective}
    if objective in ("importance", "reinforce", "minillm"):
        settings |= OWN
    if objective == "uld" and name not in ("ce_weight", "mixing"):
        settings["ce_weight"] = 0.5
    if name == "tail":
        settings |= {"signal": CACHED} if objective in READ_BY["tail"] else {}
    return settings


@pytest.mark.parametrize("name", READ_BY)
def test_a_setting_is_taken_by_those_who_read_it_alone(name: str) -> None:
    """All of them: what the default says may stand under any."""
    refused: dict[str, str] = {}
    for objective in Objective.__args__:
        given = ready(objective, name)
        if objective != "uld":  # which needs one of the settings of the table
            make(**make(**given).model_dump(mode="json"))
        try:
            make(**given | nest(name, CHANGED[name]))
        except ValueError as error:
            refused[objective] = str(error)
    endless = {"reverse"} if name == "tail" else set()
    assert {*Objective.__args__} - {*refused} == {*READ_BY[name]} - endless
    assert all(name.partition(".")[0] in told for told in refused.values())


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "whose a setting is": (
        {"objective": "minillm", "temperature": 3.0, **OWN},
        "temperature: objective minillm does not read it; it belongs to forward, reverse, jsd, "
        "skew_forward, skew_reverse and uld: take it out, or choose that",
    ),
    "a tail of the whole": (
        {"objective": "jsd", "tail": "renormalised"},
        "tail: nothing is cut off of a teacher that is read whole; take it out",
    ),
    "a tail of draws": (
        {
            "objective": "forward",
            "tail": "renormalised",
            "signal": CACHED | {"kept": "sampled"},
        },
        "tail: tokens that are drawn have none; take it out, or keep the top ones",
    ),
    "a cut of draws": (
        {"objective": "forward", "signal": CACHED | {"kept": "sampled", "top_p": 0.9}},
        "top_p: tokens that are drawn are not cut; take it out, or keep top",
    ),
    "a batch of one": (
        {"objective": "reinforce", "batch_size": 1, **OWN},
        "policy.baseline: the mean of a batch's other rows, and batch_size 1 has none; raise "
        "batch_size, or set baseline: none",
    ),
    "an unread buffer": (
        {"objective": "reverse", "rollouts": {"buffer": 8}},
        "rollouts.buffer: nothing is taken from it; set rollouts.reuse, or take it out",
    ),
    "reuse of nothing": (
        {"objective": "reverse", "rollouts": {"reuse": 0.5}},
        "rollouts.reuse: is about a buffer; set rollouts.buffer, or take it out",
    ),
    "the age of nothing": (
        {"objective": "reverse", "rollouts": {"max_age": 3}},
        "rollouts.max_age: is about a buffer; set rollouts.buffer, or take it out",
    ),
    "patience between two looks": (
        {"measure": {"patience": 2}},
        "measure.patience: counts looks on the way; set measure.every, or take it out",
    ),
    "a metric of nothing": (
        {"measure": {"metric": "pass@1"}},
        "measure.metric: decides nothing; set measure.keep_best or measure.patience, or take it "
        "out",
    ),
    "reverse KL against draws": (
        {"objective": "reverse", "signal": CACHED | {"kept": "sampled"}},
        "signal.kept: reverse is infinite against drawn tokens; keep top, or choose forward, jsd, "
        "or a skew kind with alpha above 0",
    ),
    "reverse KL without a tail": (
        {"objective": "reverse", "signal": CACHED, "tail": "renormalised"},
        "tail: reverse is infinite without one; set bucket, or choose forward, jsd, or a skew "
        "kind with alpha above 0",
    ),
    "a skew of nothing": (
        {
            "objective": "skew_reverse",
            "alpha": 0.0,
            "signal": {"kind": "remote"},
            "tail": "renormalised",
        },
        "tail: skew_reverse is infinite without one; set bucket, or choose forward, jsd, or a "
        "skew kind with alpha above 0",
    ),
    "a clip above 1": (
        {"objective": "importance", "policy": {"clip": 1.5}, **OWN},
        "policy.clip: Input should be less than 1",
    ),
    "no pair of layers": (
        {"objective": "forward", "hidden": {"pairs": []}},
        "hidden.pairs: Tuple should have at least 1 item after validation, not 0",
    ),
    "a negative layer": (
        {"objective": "forward", "hidden": {"pairs": [[-1, 0]]}},
        "hidden.pairs: Input should be greater than or equal to 0",
    ),
    "a projection for each": (
        {"objective": "forward", "hidden": {"learned": True}, "processes": 2},
        "hidden.learned: each process would learn a projection of its own; set processes to 1, or "
        "take it out",
    ),
}


def tell(fault: ErrorDetails) -> str:
    """What pydantic found; of a setting of a part, where."""
    place = ".".join(str(step) for step in fault["loc"][:2])
    own = fault["type"] == "value_error"
    return fault["msg"].removeprefix("Value error, ") if own else f"{place}: {fault['msg']}"


@pytest.mark.parametrize(("settings", "message"), REFUSED.values(), ids=REFUSED)
def test_what_nobody_reads_or_nothing_can_come_of_is_refused(
    settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValidationError) as caught:
        make(**settings)
    assert any(tell(fault) == message for fault in caught.value.errors())


@pytest.mark.parametrize(
    ("section", "name"),
    [
        ("", "temperature"),
        ("", "learning_rate"),
        ("hidden", "weight"),
        ("corpus", "weight"),
        ("rollouts", "temperature"),
    ],
)
def test_numbers_are_finite(section: str, name: str) -> None:
    """YAML has words for others."""
    given = {"texts": "t"} if section == "corpus" else {}
    one = {name: float("inf")}
    settings = {"objective": "forward"} | ({section: given | one} if section else one)
    with pytest.raises(ValidationError) as caught:
        TrainSettings.model_validate(settings)
    assert caught.value.errors()[0]["msg"] == "Input should be a finite number"


def test_phases_take_what_they_read_of_what_stands_above() -> None:
    """Also where nothing else would be allowed beside it."""
    settings = make(
        teacher="t",
        temperature=2.0,
        ce_weight=0.2,
        alpha=0.3,
        signal=CACHED,
        tail="renormalised",
        max_steps=60,
        phases=[
            {"objective": "sft", "epochs": 2.0},
            {"objective": "skew_forward"},
            {"objective": "forward", "temperature": 1.0, "max_steps": 5},
        ],
    )
    first, second, third = settings.split()
    plain = {"teacher": None, "signal": None, "temperature": 1.0, "ce_weight": 0.0}
    assert {name: getattr(first, name) for name in plain} == plain
    assert (first.epochs, first.max_steps) == (2.0, None)
    assert (second.alpha, second.temperature, second.ce_weight) == (0.3, 2.0, 0.2)
    assert (third.alpha, third.temperature, third.max_steps) == (0.1, 1.0, 5)
    assert second.signal == third.signal == settings.signal
    assert second.tail == third.tail == "renormalised"
    assert make(**settings.model_dump(mode="json")) == settings


def test_policies_are_told_apart_phase_by_phase() -> None:
    settings = make(
        rollouts={"max_new_tokens": 4},
        policy={"clip": 0.2, "discount": 0.9},
        corpus={"texts": "t"},
        phases=[
            {"objective": "sft"},
            {"objective": "importance"},
            {"objective": "reinforce"},
            {"objective": "reverse"},
        ],
    )
    sft, importance, reinforce, reverse = settings.split()
    assert (sft.rollouts, sft.corpus) == (None, None)
    assert (importance.policy.clip, importance.policy.discount) == (0.2, 1.0)
    assert (reinforce.policy.clip, reinforce.policy.discount) == (None, 0.9)
    assert (reverse.policy.clip, reverse.policy.discount) == (None, 1.0)
    assert reverse.corpus is not None


def test_the_first_phase_may_be_told_from_disk_and_the_second_not() -> None:
    """Strong to weak: off-policy from a cache, then on the student's own tokens."""
    phases = [{"objective": "forward", "signal": CACHED}, {"objective": "reverse", **OWN}]
    first, second = make(teacher="t", phases=phases).split()
    assert first.signal is not None
    assert (second.signal, second.rollouts is not None) == (None, True)
    context = {"kind": "context", "examples": "examples.jsonl"}
    first, second = make(
        teacher="t", phases=[{"objective": "reverse", "signal": context}, phases[0]]
    ).split()
    assert (first.teacher, first.follows_teacher, second.teacher) == (None, False, "t")
    with pytest.raises(ValidationError) as caught:
        make(teacher="t", signal=CACHED, phases=[{"objective": "forward"}, phases[1]])
    assert caught.value.errors()[0]["msg"] == (
        "Value error, phases.1: signal cached: nothing is on disk of what the student will write; "
        "leave it out, or name it in a phase without rollouts"
    )


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"temperature": 2.0, "phases": [{"objective": "sft"}]},
            (
                "Value error, temperature: no phase reads it; it belongs to forward, reverse, jsd, "
                "skew_forward, skew_reverse and uld: take it out, or choose that"
            ),
        ),
        (
            {"policy": {"clip": 0.2}, "phases": [{"objective": "reinforce", **OWN}]},
            (
                "Value error, policy.clip: no phase reads it; it belongs to importance and "
                "minillm: "
                "take it out, or choose that"
            ),
        ),
        (
            {"phases": [{"objective": "forward", "beta": 0.3}]},
            (
                "Value error, phases.0: beta: objective forward does not read it; it belongs to "
                "jsd: "
                "take it out, or choose that"
            ),
        ),
        (
            {"phases": [{}, {"learning_rate": -1.0}]},
            "Value error, phases.1: learning_rate: Input should be greater than 0",
        ),
        (
            {"rollouts": {}, "phases": [{"objective": "sft"}]},
            "Value error, rollouts: no phase has a use for it; take it out",
        ),
        (
            {"signal": CACHED, "phases": [{"objective": "sft"}]},
            "Value error, signal: no phase has a use for it; take it out",
        ),
    ],
)
def test_what_no_phase_reads_is_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError) as caught:
        make(**settings)
    assert caught.value.errors()[0]["msg"] == message
