from typing import Any

import pytest
from pydantic import ValidationError

from trainers.mixing import AlphaSchedule

WSD = AlphaSchedule(kind="wsd", alpha=0.9, start=0.1, end=0.3, warmup=7, stable=10, decay=13)


def test_constant_is_alpha_at_every_step() -> None:
    schedule = AlphaSchedule(alpha=0.7)
    assert [schedule.alpha_at(step) for step in (0, 1, 10_000)] == [0.7, 0.7, 0.7]
    assert AlphaSchedule().alpha_at(5) == 1.0


def test_linear_runs_from_start_to_alpha_and_stays() -> None:
    schedule = AlphaSchedule(kind="linear", start=0.9, alpha=0.3, steps=7)
    assert [schedule.alpha_at(step) for step in (0, 7, 8, 100)] == [0.9, 0.3, 0.3, 0.3]
    values = [schedule.alpha_at(step) for step in range(8)]
    assert values == pytest.approx([0.9 - 0.6 * step / 7 for step in range(8)], abs=1e-15)


def test_wsd_is_exact_at_its_knots() -> None:
    assert WSD.list_knots() == [(0, 0.1), (7, 0.9), (17, 0.9), (30, 0.3)]
    for step, alpha in WSD.list_knots():
        assert WSD.alpha_at(step) == alpha
    assert {WSD.alpha_at(step) for step in range(7, 18)} == {0.9}
    assert WSD.alpha_at(31) == WSD.alpha_at(1_000) == 0.3


def test_wsd_is_straight_between_its_knots() -> None:
    rising = [WSD.alpha_at(step) for step in range(8)]
    falling = [WSD.alpha_at(step) for step in range(17, 31)]
    assert rising == pytest.approx([0.1 + 0.8 * step / 7 for step in range(8)], abs=1e-15)
    assert falling == pytest.approx([0.9 - 0.6 * step / 13 for step in range(14)], abs=1e-15)


def test_what_is_left_out_is_zero() -> None:
    schedule = AlphaSchedule(kind="wsd", alpha=1.0, warmup=4, stable=0, decay=4)
    assert [schedule.alpha_at(step) for step in range(10)] == [
        *(0.0, 0.25, 0.5, 0.75, 1.0),
        *(0.75, 0.5, 0.25, 0.0, 0.0),
    ]


@pytest.mark.parametrize("empty", ["warmup", "stable", "decay"])
def test_a_part_of_no_steps_is_skipped(empty: str) -> None:
    schedule = WSD.model_copy(update={empty: 0})
    jumps = {"warmup": [0.9, 0.9], "stable": [0.9, 0.9 - 0.6 / 13], "decay": [0.3, 0.3]}
    at = {"warmup": 0, "stable": 7, "decay": 17}[empty]
    values = [schedule.alpha_at(at), schedule.alpha_at(at + 1)]
    assert values == pytest.approx(jumps[empty], abs=1e-15)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"kind": "linear"}, "Value error, steps: linear needs it, a number of steps"),
        (
            {"kind": "wsd", "warmup": 1, "decay": 2},
            "Value error, stable: wsd needs it, a number of steps",
        ),
        ({"steps": 5}, "Value error, steps: constant takes none; it belongs to kind linear"),
        (
            {"kind": "linear", "steps": 5, "end": 0.1},
            "Value error, end: linear takes none; it belongs to kind wsd",
        ),
        ({"alpha": 1.5}, "Input should be less than or equal to 1"),
        ({"kind": "cosine"}, "Input should be 'constant', 'linear' or 'wsd'"),
    ],
)
def test_wrong_settings_are_named(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError) as caught:
        AlphaSchedule.model_validate(given)
    assert caught.value.errors()[0]["msg"] == message


def test_settings_survive_writing_and_reading() -> None:
    assert AlphaSchedule.model_validate(WSD.model_dump()) == WSD
