"""A teacher that gets worse is told, when and since when; one that stays is not; order is all."""

import math
import random
from collections.abc import Iterator

import pytest

from filters.failure_watch import find_drift, find_limit
from filters.teacher_watch import (
    Alarm,
    Tally,
    TeacherWatch,
    TeacherWatchSettings,
    WatchRow,
    WatchState,
    find_upper_share,
    replay,
)
from generators.errors import InputError

GIVEN = TeacherWatchSettings(baselines={"maths": 0.05})


def make_rows(
    shares: list[float], *, teacher: str = "a", kind: str = "maths", seed: int = 1
) -> Iterator[WatchRow]:
    """Rows that fail with these chances."""
    draw = random.Random(seed)
    for i, share in enumerate(shares):
        yield WatchRow(teacher, kind, draw.random() < share, f"{teacher}{i}")


def test_an_alarm_worked_out_by_hand() -> None:
    """Successes keep the sum at zero; then every row fails and adds 1 - g, up to the limit."""
    drift = float(find_drift(0.05, GIVEN.odds))
    limit = find_limit(0.05, GIVEN.odds, GIVEN.rows, GIVEN.false_alarms)
    needed = math.ceil(limit / (1 - drift))
    watch = TeacherWatch(GIVEN)
    for i in range(30):
        assert watch.observe(WatchRow("a", "maths", False, f"right{i}")) is None
    told = [watch.observe(WatchRow("a", "maths", True, f"wrong{i}")) for i in range(needed + 3)]
    assert told[: needed - 1] == [None] * (needed - 1)
    alarm = told[needed - 1]
    assert alarm is not None
    assert alarm == Alarm(
        teacher="a",
        signal="failures",
        id=f"wrong{needed - 1}",
        row=30 + needed,
        changed_after="right29",
        before=Tally(rows=30, failures=0),
        after=Tally(rows=needed, failures=needed),
        score=alarm.score,
        limit=limit,
    )
    assert alarm.score == pytest.approx(needed * (1 - drift))
    assert told[needed:] == [None] * 3
    assert watch.alarms == (alarm,)


def test_a_change_from_5_to_10_percent_is_found_near_where_it_is() -> None:
    alarms = [
        replay(GIVEN, make_rows([0.05] * 2000 + [0.1] * 3000, seed=seed)).alarms
        for seed in range(20)
    ]
    delays = sorted(alarm.row - 2000 for (alarm,) in alarms)
    assert delays[0] > 0
    assert delays[10] <= 700
    starts = sorted(alarm.before.rows for (alarm,) in alarms)
    assert abs(starts[10] - 2000) < 250


def test_a_steady_teacher_is_not_alarmed() -> None:
    alarmed = [replay(GIVEN, make_rows([0.05] * 5000, seed=s)).alarms for s in range(20)]
    assert alarmed == [()] * 20


def test_a_learned_baseline_finds_the_change_and_stays_quiet_without_it() -> None:
    settings = TeacherWatchSettings()
    steady = replay(settings, make_rows([0.3] * 6000))
    worse = replay(settings, make_rows([0.3] * 3000 + [0.5] * 1000))
    assert steady.alarms == ()
    (alarm,) = worse.alarms
    assert 3000 < alarm.row < 3400
    assert alarm.before.rows == pytest.approx(3000, abs=150)


def test_a_baseline_is_learned_at_twice_the_rows_and_then_stays() -> None:
    watch = TeacherWatch(TeacherWatchSettings(warm_up=100, settled=400))
    rows = list(make_rows([0.0] * 1000))
    seen: dict[int, float | None] = {}
    for number, row in enumerate(rows, 1):
        watch.observe(row)
        if number in (99, 100, 199, 200, 399, 400, 1000):
            seen[number] = watch.state.signals[0].kinds["maths"].baseline
    first, second, third = (find_upper_share(0, n, 1.5) for n in (100, 200, 400))
    assert seen == {
        99: None,
        100: first,
        199: first,
        200: second,
        399: second,
        400: third,
        1000: third,
    }
    assert watch.state.signals[0].kinds["maths"].learn_at is None


def test_the_upper_share_by_hand() -> None:
    """Wilson for 50 of 1000 and 1.5: (0.05 + 0.001125 + 0.010399) / 1.00225 = 0.06139; its odds,
    0.06540, lie between the powers -111 and -110 of 1.025."""
    odds = 1.025**-110
    assert find_upper_share(50, 1000, 1.5) == pytest.approx(odds / (1 + odds))
    assert 0.06139 <= find_upper_share(50, 1000, 1.5) <= 0.06139 * 1.025


def test_the_upper_share_is_as_wide_where_nearly_all_fail() -> None:
    """Wilson for 19 of 20 and 1.5: (0.95 + 0.05625 + 0.09218) / 1.1125 = 0.98735."""
    odds = find_upper_share(19, 20, 1.5) / (1 - find_upper_share(19, 20, 1.5))
    assert 1 <= odds / (0.98735 / 0.01265) <= 1.026


@pytest.mark.parametrize(("failures", "rows"), [(0, 20), (20, 20), (0, 10**6)])
@pytest.mark.parametrize("margin", [0.0, 5.0])
def test_an_upper_share_is_never_0_or_1(failures: int, rows: int, margin: float) -> None:
    assert 0 < find_upper_share(failures, rows, margin) < 1


def test_kinds_have_baselines_of_their_own() -> None:
    """More hard rows are no worse teacher; taken as one kind, they would seem so."""
    draw = random.Random(2)
    mix = ["easy"] * 1800 + ["hard"] * 200 + ["easy"] * 600 + ["hard"] * 1400
    mix = draw.sample(mix[:2000], 2000) + draw.sample(mix[2000:], 2000)
    usual = {"easy": 0.05, "hard": 0.4}
    rows = [WatchRow("a", k, draw.random() < usual[k], str(i)) for i, k in enumerate(mix)]
    apart = replay(TeacherWatchSettings(baselines=usual), rows)
    as_one = replay(
        TeacherWatchSettings(baselines={"all": 0.085}), [r._replace(kind="all") for r in rows]
    )
    assert apart.alarms == ()
    assert [alarm.row > 2000 for alarm in as_one.alarms] == [True]


@pytest.mark.parametrize("warm_up", [20, 500])
def test_a_kind_that_always_fails_neither_alarms_nor_hides_another(warm_up: int) -> None:
    """Who always fails cannot fail more often; what changes in other rows is seen as ever."""
    draw = random.Random(6)
    rows = [
        row
        for i in range(3400)
        for row in (
            WatchRow("a", "hopeless", True, f"h{i}"),
            WatchRow("a", "easy", draw.random() < (0.05 if i < 3000 else 0.4), f"e{i}"),
        )
    ]
    settings = TeacherWatchSettings(warm_up=warm_up, baselines={"easy": 0.05})
    assert replay(settings, rows[:6000]).alarms == ()
    (alarm,) = replay(settings, rows).alarms
    assert 6000 < alarm.row < 6200
    assert alarm.before.rows == pytest.approx(6000, abs=100)


def test_harder_prompts_leave_the_disagreement() -> None:
    """From row 2000 on both fail more often; only the failures tell."""
    draw = random.Random(3)
    watch = TeacherWatch(TeacherWatchSettings())
    for i in range(6000):
        share = 0.1 if i < 2000 else 0.3
        a, b = draw.random() < share, draw.random() < share
        watch.observe(WatchRow("a", "maths", a, f"a{i}", (b,)))
        watch.observe(WatchRow("b", "maths", b, f"b{i}", (a,)))
    assert [(alarm.teacher, alarm.signal) for alarm in watch.alarms] == [
        ("a", "failures"),
        ("b", "failures"),
    ]


def test_disagreement_tells_which_of_two_teachers_got_worse() -> None:
    draw = random.Random(4)
    watch = TeacherWatch(TeacherWatchSettings(warm_up=100))
    for i in range(6000):
        a, b = draw.random() < (0.3 if i >= 3000 else 0.1), draw.random() < 0.1
        watch.observe(WatchRow("a", "maths", a, f"a{i}", (b,)))
        watch.observe(WatchRow("b", "maths", b, f"b{i}", (a,)))
    disagreement = [alarm for alarm in watch.alarms if alarm.signal == "disagreement"]
    assert [(alarm.teacher, int(alarm.id[1:]) > 3000) for alarm in disagreement] == [("a", True)]


@pytest.mark.parametrize(
    ("failed", "peers", "rows"),
    [
        pytest.param(True, (False, False), 1, id="alone in failing"),
        pytest.param(False, (True, True, False), 1, id="against the majority"),
        pytest.param(True, (True, True, False), 0, id="with the majority"),
        pytest.param(True, (True, False), 0, id="the others are split"),
        pytest.param(True, (), 0, id="nobody else"),
    ],
)
def test_a_row_counts_as_disagreement_where_a_teacher_parts_with_most(
    failed: bool, peers: tuple[bool, ...], rows: int
) -> None:
    watch = TeacherWatch(GIVEN)
    watch.observe(WatchRow("a", "maths", failed, "1", peers))
    counted = {s.signal: (s.rows, s.failures) for s in watch.state.signals}
    assert counted.pop("failures") == (1, int(failed))
    assert counted == ({"disagreement": (1, int(failed))} if rows else {})


def test_a_saved_state_goes_on_as_if_nothing_had_been() -> None:
    settings = TeacherWatchSettings(baselines={"known": 0.1})
    rows = [
        row
        for pair in zip(
            make_rows([0.1] * 1500 + [0.5] * 600, kind="known"),
            make_rows([0.2] * 2100, teacher="b", seed=5),
            strict=True,
        )
        for row in pair
    ]
    whole = replay(settings, rows)
    watch = TeacherWatch(settings)
    for start in range(0, len(rows), 700):
        saved = watch.state.model_dump_json()
        watch = TeacherWatch(settings, WatchState.model_validate_json(saved))
        for row in rows[start : start + 700]:
            watch.observe(row)
    assert watch.state == whole.state
    assert [alarm.teacher for alarm in whole.alarms] == ["a"]


def test_teachers_do_not_touch_each_other() -> None:
    rows = list(make_rows([0.05] * 800 + [0.4] * 300))
    mixed = [r for row in rows for r in (row, row._replace(teacher="b", failed=False))]
    assert replay(GIVEN, mixed).alarms == replay(GIVEN, rows).alarms != ()


def test_a_state_of_other_settings_is_refused() -> None:
    state = replay(GIVEN, make_rows([0.05] * 10)).state
    with pytest.raises(InputError) as error:
        TeacherWatch(TeacherWatchSettings(), state)
    assert str(error.value) == (
        "watch: the saved state is of other settings; go on with those, or begin anew"
    )


@pytest.mark.parametrize("share", [0.0, 1.0, -0.1, math.nan])
def test_a_baseline_that_is_no_share_is_refused(share: float) -> None:
    with pytest.raises(InputError) as error:
        TeacherWatch(TeacherWatchSettings(baselines={"maths": share}))
    assert str(error.value) == (
        f"watch.baselines.maths: {share} is no share of failures; give a number above 0 and below 1"
    )
