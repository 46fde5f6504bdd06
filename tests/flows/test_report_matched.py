"""The comparison of two samplers of equal cost, as facts that must fit and as words."""

from typing import Any

import pytest
from pydantic import ValidationError

from flows.facts_sampling import ArmFacts, BudgetFacts, ComparisonFacts, MatchFacts
from flows.intervals import Interval
from flows.report import render_report
from flows.wording import MINUS, THIN
from flows.wording_sampling import tell_cost, tell_gain, tell_rate
from tests.flows.sample_facts import FACTS
from tests.flows.test_report import Page

ONE = Interval(value=1.5, low=1.2, high=1.8)


def share(value: float, low: float, high: float) -> Interval:
    return Interval(value=value, low=low, high=high)


def make_arm(sampler: str, samples: int, sample_cost: float, **fields: Any) -> ArmFacts:
    values: dict[str, Any] = {
        "model": f"{sampler}-model",
        "tokens": 100.0,
        "actual": 100.0 * sample_cost,
        "distinct_answers": ONE,
        "distinct_chains": ONE,
        "calculated": 40,
        "broken": 3,
        "false_positives": share(0.075, 0.03, 0.2),
    }
    return ArmFacts.model_validate(
        {"sampler": sampler, "samples": samples, "sample_cost": sample_cost, **values, **fields}
    )


def make_budget(gain: Interval) -> BudgetFacts:
    reference, matched = share(0.5, 0.4, 0.6), share(0.625, 0.5, 0.7)
    return BudgetFacts(
        reference_samples=2, matched_samples=6, reference=reference, matched=matched, gain=gain
    )


def make_match(gain: Interval, **fields: Any) -> MatchFacts:
    comparison = ComparisonFacts(
        prompts=40,
        nominal_tokens=50,
        matched=make_arm("<b>cheap</b>", 6, 1.4e9),
        reference=make_arm("dear", 2, 4.2e9),
        budgets=(make_budget(gain),),
        planted=30,
        detected=share(1.0, 0.88, 1.0),
    )
    values = {"matched": "<b>cheap</b>", "reference": "dear", "basis": "parameters", "rate": 3.0}
    return MatchFacts.model_validate(values | {"comparison": comparison} | fields)


UP = share(0.125, 0.025, 0.225)


def test_ledgers_that_are_further_apart_than_a_sample_are_refused() -> None:
    fields = make_match(UP).comparison
    assert fields is not None
    with pytest.raises(ValidationError) as caught:
        ComparisonFacts.model_validate(
            fields.model_dump()
            | {"matched": make_arm("<b>cheap</b>", 5, 10.0).model_dump()}
            | {"reference": make_arm("dear", 5, 15.0).model_dump()}
        )
    assert caught.value.errors()[0]["msg"] == (
        "Value error, <b>cheap</b> and dear: their costs are 25.0 apart, more than one sample "
        "(10.0)"
    )


def test_more_broken_chains_than_chains_are_refused() -> None:
    with pytest.raises(ValidationError) as caught:
        make_arm("cheap", 1, 1.0, broken=41)
    assert caught.value.errors()[0]["msg"] == "Value error, cheap: 41 broken of 40 chains"


@pytest.mark.parametrize("fields", [{"comparison": None}, {"absence": "why"}])
def test_a_comparison_or_its_absence_is_told(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError) as caught:
        make_match(UP, **fields)
    assert caught.value.errors()[0]["msg"] == (
        "Value error, <b>cheap</b>: either a comparison, or why there is none"
    )


@pytest.mark.parametrize(
    ("gain", "told"),
    [
        (UP, f"+12.5 points (95{THIN}% +2.5 to +22.5{THIN}); <b>cheap</b> covers more."),
        (
            share(-0.1, -0.2, -0.01),
            f"{MINUS}10.0 points (95{THIN}% {MINUS}20.0 to {MINUS}1.0{THIN}); <b>cheap</b> covers "
            "less.",
        ),
        (
            share(0.01, -0.1, 0.12),
            f"+1.0 points (95{THIN}% {MINUS}10.0 to +12.0{THIN}); that interval includes zero, so "
            "neither is shown to cover more.",
        ),
    ],
    ids=["more", "less", "undecided"],
)
def test_no_more_is_claimed_than_the_interval_allows(gain: Interval, told: str) -> None:
    match = make_match(gain)
    expected = f"For the cost of 2 samples of dear: {told}"
    assert tell_gain(match, make_budget(gain)) == expected.replace(f"{THIN})", ")")


@pytest.mark.parametrize(
    ("basis", "value", "told"),
    [
        ("parameters", 8.4e11, f"840{THIN}GFLOP"),
        ("parameters", 1.23456e15, f"1.23{THIN}PFLOP"),
        ("parameters", 12.0, f"12{THIN}FLOP"),
        ("price", 0.00031, f"USD{THIN}0.00031"),
        ("stated", 120.0, f"120{THIN}tokens"),
    ],
)
def test_costs_have_the_unit_of_their_exchange(basis: str, value: float, told: str) -> None:
    assert tell_cost(value, make_match(UP, basis=basis)) == told


@pytest.mark.parametrize(
    ("basis", "by"),
    [
        ("parameters", "by their non-embedding parameters"),
        ("price", "by the price of a completion token"),
        ("stated", "as the configuration states it"),
    ],
)
def test_rate_is_told_with_its_ground(basis: str, by: str) -> None:
    expected = f"One token of dear is worth 3 of <b>cheap</b>, {by}."
    assert tell_rate(make_match(UP, basis=basis)) == expected


def test_names_are_shown_as_text_and_figures_once_each() -> None:
    page = render_report(FACTS.model_copy(update={"matches": (make_match(UP),)}))
    read = Page(page)
    assert (read.faults, read.open) == ([], [])
    section = page.partition('id="matched"')[2].partition("</section>")[0]
    assert "<b>cheap" not in section
    assert "&lt;b&gt;cheap&lt;/b&gt; against dear" in section
    assert section.count(f"8.4{THIN}GFLOP") == 2
    assert "3 of 40" in section
    assert f"found 100{THIN}% (88.0 to 100.0{THIN}%) of 30 faults" in section


def test_run_without_a_match_has_no_section() -> None:
    assert 'id="matched"' not in render_report(FACTS)
