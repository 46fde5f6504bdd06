"""Every setting of an objective, and of a cached signal, reaches the part that it is for."""

import json
from typing import Any

import pytest

from trainers.assembly import make_cut, make_objective
from trainers.cross_objectives import ChunkObjective, SortedObjective
from trainers.mixing import AlphaSchedule
from trainers.objectives import CrossEntropy, TeacherDivergence
from trainers.policy import PolicyGradient
from trainers.settings import PolicySettings, TrainSettings
from trainers.signal_store import SampledCut, TopCut

LINEAR = {"kind": "linear", "alpha": 0.9, "steps": 2}
SCHEDULE = AlphaSchedule(kind="linear", alpha=0.9, steps=2)
WRITTEN = {"rollouts": {}}
CACHED = {"kind": "cached", "top_p": 0.9, "top_k": 7}


def make_settings(way: dict[str, Any]) -> TrainSettings:
    return TrainSettings.model_validate_json(json.dumps(way))


@pytest.mark.parametrize(
    ("way", "expected"),
    [
        ({"objective": "forward"}, TeacherDivergence("forward")),
        (
            {"objective": "forward", "temperature": 2.0, "ce_weight": 0.3},
            TeacherDivergence("forward", temperature=2.0, ce_weight=0.3),
        ),
        ({"objective": "reverse", "mixing": LINEAR}, TeacherDivergence("reverse", mixing=SCHEDULE)),
        ({"objective": "jsd", "beta": 0.3}, TeacherDivergence("jsd", beta=0.3)),
        ({"objective": "skew_forward", "alpha": 0.2}, TeacherDivergence("skew_forward", alpha=0.2)),
        ({"objective": "skew_reverse", "alpha": 0.2}, TeacherDivergence("skew_reverse", alpha=0.2)),
        (
            {"objective": "forward", "signal": CACHED, "tail": "renormalised"},
            TeacherDivergence("forward", tail="renormalised"),
        ),
        (
            {"objective": "importance", "policy": {"clip": 0.2}, **WRITTEN},
            PolicyGradient("importance", PolicySettings(clip=0.2)),
        ),
        (
            {"objective": "reinforce", "policy": {"baseline": "none", "discount": 0.9}, **WRITTEN},
            PolicyGradient("reinforce", PolicySettings(baseline="none", discount=0.9)),
        ),
        (
            {"objective": "minillm", "policy": {"weights": "cumulative"}, **WRITTEN},
            PolicyGradient("minillm", PolicySettings(weights="cumulative")),
        ),
        (
            {"objective": "uld", "ce_weight": 0.4, "temperature": 2.0},
            SortedObjective(0.4, temperature=2.0),
        ),
        ({"objective": "uld", "mixing": LINEAR}, SortedObjective(0.0, SCHEDULE)),
        (
            {"objective": "aligned", "chunk_temperature": 50.0, "ce_weight": 0.4},
            ChunkObjective(50.0, 0.4),
        ),
        ({"objective": "aligned", "mixing": LINEAR}, ChunkObjective(mixing=SCHEDULE)),
    ],
    ids=lambda value: value["objective"] if isinstance(value, dict) else "",
)
def test_an_objective_has_what_its_settings_say(way: dict[str, Any], expected: Any) -> None:
    made = make_objective(make_settings(way))
    assert type(made) is type(expected)
    assert made == expected


def test_without_a_teacher_the_tokens_are_learned() -> None:
    assert isinstance(make_objective(make_settings({"objective": "sft"})), CrossEntropy)


def test_a_signal_is_cut_as_its_settings_say() -> None:
    way = {"objective": "forward", "temperature": 1.5, "seed": 4, "signal": CACHED}
    assert make_cut(make_settings(way)) == TopCut(top_p=0.9, top_k=7, temperature=1.5)
    drawn = way | {"signal": {"kind": "cached", "top_k": 7, "kept": "sampled"}}
    assert make_cut(make_settings(drawn)) == SampledCut(draws=7, temperature=1.5, seed=4)
