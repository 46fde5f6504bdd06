"""The words for how a student was taught, and for a teacher that is not the better one."""

from typing import Any

import pytest

from flows.facts_learning import Arm, EvaluationFacts, SignalFacts
from flows.glossary import name_measured
from flows.intervals import Interval
from flows.wording_training import describe_making, describe_part, tell_signal, tell_teacher
from trainers.evaluate import wilson_interval
from trainers.settings import ACROSS, POLICY, Objective, Student, TrainSettings

OWN: dict[str, Any] = {"rollouts": {"share": 1.0}}


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({}, "cross-entropy on the rows' tokens"),
        ({"objective": "forward"}, "forward KL on the rows' tokens"),
        ({"objective": "forward", **OWN}, "forward KL on tokens that the student writes itself"),
        ({"objective": "reverse"}, "reverse KL on the rows' tokens"),
        ({"objective": "reverse", **OWN}, "reverse KL on tokens that the student writes itself"),
        (
            {"objective": "skew_reverse", "alpha": 0.2, "temperature": 2.0, "ce_weight": 0.25},
            "skewed reverse KL (\u03b1 = 0.2) on the rows' tokens, at temperature 2, with "
            "25\u202f% of cross-entropy",
        ),
        (
            {"objective": "jsd", "rollouts": {"share": 0.5}},
            "generalised Jensen\u2013Shannon divergence (\u03b2 = 0.5) on tokens that the student "
            "writes itself in 50\u202f% of the rows, else the rows'",
        ),
        (
            {"objective": "reverse", "rollouts": {"serve": {}}},
            "reverse KL on tokens that the student writes itself, a vLLM server writing with its "
            "weights",
        ),
        (
            {"objective": "minillm", "rollouts": {"teacher_mix": 0.2}},
            "reverse KL by MiniLLM's policy gradient on tokens that the student and its teacher "
            "write together",
        ),
        (
            {"objective": "forward", "signal": {"kind": "remote", "top": 5}},
            "forward KL on the rows' tokens, the teacher's 5 likeliest tokens asked of its server",
        ),
        (
            {"objective": "forward", "teacher": {"maths": "a", "default": "b"}},
            "forward KL on the rows' tokens, a teacher for each domain (maths, default)",
        ),
        ({"objective": "reverse", "rollouts": {"share": 0.0}}, "reverse KL on the rows' tokens"),
    ],
)
def test_divergence_and_tokens_are_named_apart(settings: dict[str, Any], told: str) -> None:
    assert describe_part(TrainSettings.model_validate(settings)) == told


def test_what_was_made_of_a_model_is_told() -> None:
    assert describe_making(Student(model="m")) is None
    assert describe_making(Student(model="m", layers=(0, 4))) == "layers 0, 4 of it"
    assert describe_making(Student(model="m", layers=(2,))) == "layer 2 of it"
    own = Student(model="m", fresh={}, seed=3, reuse_embeddings=False)
    told = "untrained weights of seed 3, its configuration as it is"
    assert describe_making(own) == told


def test_every_objective_has_words() -> None:
    for objective in Objective.__args__:
        extra = {"ce_weight": 0.5} if objective in ACROSS else OWN if objective in POLICY else {}
        told = describe_part(TrainSettings.model_validate({"objective": objective, **extra}))
        assert " on " in told


def make_arm(when: str, passed: int) -> Arm:
    score = Interval.of(wilson_interval(passed, 100))
    return Arm.model_validate(
        {
            "when": when,
            "prompting": "zero-shot",
            "model": "m",
            "prompts": 100,
            "pass_at_1": score.model_dump(),
        }
    )


def tell(teacher: int, before: int) -> str | None:
    arms = (make_arm("before", before), make_arm("teacher", teacher))
    return tell_teacher(EvaluationFacts(held_out="sums", arms=arms))


def test_a_teacher_that_is_better_beyond_chance_is_not_doubted() -> None:
    assert tell(60, 20) is None


@pytest.mark.parametrize(
    ("teacher", "before", "text"),
    [
        (
            30,
            25,
            "the teacher is not better, beyond chance, than the untrained student: pass@1 "
            "30\u202f% (21.9 to 39.6\u202f%) against 25\u202f% (17.5 to 34.3\u202f%); ",
        ),
        (25, 30, "the teacher is not better, beyond chance, than the untrained student: "),
        (10, 50, "the teacher does worse than the untrained student: pass@1 10\u202f% ("),
    ],
)
def test_another_is_doubted_with_both_intervals(teacher: int, before: int, text: str) -> None:
    told = tell(teacher, before)
    assert told is not None
    assert told.startswith(text)


def test_without_both_arms_there_is_nothing_to_doubt() -> None:
    assert tell_teacher(EvaluationFacts(held_out="s", arms=(make_arm("before", 1),))) is None


def test_a_signal_tells_its_cost() -> None:
    signal = SignalFacts(
        kept="top",
        rows=10,
        tokens=1_000,
        kept_per_token=20.0,
        tail_mass=0.021,
        bytes=90_000,
        bytes_per_token=90.0,
    )
    whole = "20.0 entries at each of 1,000 tokens, 90 bytes a token, 0.1 MB in all; "
    assert tell_signal(signal) == f"{whole}2.1\u202f% of the probability is not kept"
    assert (
        tell_signal(signal.model_copy(update={"kept": "sampled"}))
        == f"{whole}drawn from the teacher"
    )


def test_measures_are_told_in_one_order_and_pass_at_k_by_its_number() -> None:
    figures = ("pass@4", "pass@1", "distinct_3", "nll")
    assert list(name_measured(figures).items()) == [
        ("nll", "nats per token of the rows"),
        ("distinct_3", "distinct-3"),
        ("pass@1", "pass@1"),
        ("pass@4", "pass@4"),
    ]
