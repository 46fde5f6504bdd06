"""Poison level L4: a watch over the teachers, row by row as a run goes.

Two things are watched of each teacher: how often its answers fail their verifier, and on prompts
that other teachers answered too, how often it is the one that fails where the others pass, of all
rows in which they part. Harder prompts raise the first and leave the second, so it is the second
that tells a worse teacher from a harder task. Each is a cumulative sum (`filters.failure_watch`);
failures are held to a baseline of their kind of row (domain, operator), which is given or learned
from the first rows of that kind. A learned one is taken at the upper end of its interval, so that
chance in a small sample raises no alarm, and learned again from all rows when twice as many are
there, as long as nothing is under suspicion.

What it cannot tell: a teacher that is bad from its first row, unless baselines are given; one that
gets worse so slowly that the baseline follows; in a kind of which nearly all rows fail, that the
last ones do; in the failures alone, a kind of row that becomes harder for every teacher; wrong
answers that pass the verifier.

The same rows in the same order give the same alarms, in one go or from a saved state: no clock, no
chance. Rows are to be taken by prompt and sample within a shard, and shards by number.
"""

import math
from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple

from pydantic import Field

from filters.failure_watch import find_drift, find_limit
from generators.errors import InputError
from generators.records import Record

Signal = Literal["failures", "disagreement"]
PARTED = "parted"
"""The kind under which all rows stand in which a teacher and the others part."""

GRID = 1.025
"""Steps of the odds of learned baselines."""
HIGHEST = 1 - 1e-6
"""The baseline of a kind of which all rows failed."""


class TeacherWatchSettings(Record):
    """What change is looked for, and how seldom it may be seen where there is none."""

    odds: float = Field(default=19 / 9, gt=1, allow_inf_nan=False)
    """How many times as high the odds of failing become: 19/9 takes 5 % to 10 %."""
    rows: int = Field(default=20_000, ge=1)
    """In so many rows of a teacher that stays as it is …"""
    false_alarms: float = Field(default=0.002, gt=0, lt=1)
    """… there is an alarm with at most this chance."""
    baselines: dict[str, float] = Field(default_factory=dict)
    """Shares of failures that are usual, by kind of row; others are learned."""
    warm_up: int = Field(default=500, ge=20)
    """Rows of a kind from which its baseline is first learned; they are not tested."""
    settled: int = Field(default=4000, ge=20)
    """From so many rows of a kind on its learned baseline stays."""
    margin: float = Field(default=1.5, ge=0, le=5)
    """How many standard errors above what was seen a learned baseline is put."""


class WatchRow(NamedTuple):
    """One judged answer."""

    teacher: str
    kind: str
    """Rows of a kind are expected to fail equally often: `maths/deepen`."""
    failed: bool
    id: str
    peers: Sequence[bool] = ()
    """Whether the answers of other teachers to the same prompt failed."""


class Tally(Record):
    """Rows and how many of them failed."""

    rows: int
    failures: int


class Alarm(Record):
    """A teacher fails more often than it did."""

    teacher: str
    signal: Signal
    id: str
    """The row at which it was told."""
    row: int
    """Its number among the teacher's rows of this signal, from 1."""
    changed_after: str | None
    """The last row before the change, as far as can be told; None if there was none."""
    before: Tally
    after: Tally
    score: float
    limit: float


class KindState(Record):
    """What is known of one kind of a teacher's rows."""

    rows: int = 0
    failures: int = 0
    baseline: float | None = None
    learn_at: int | None = None
    """Rows at which it is learned anew; None if it stays."""


class SignalState(Record):
    """Where the sum over one signal of one teacher stands."""

    teacher: str
    signal: Signal
    kinds: dict[str, KindState]
    rows: int
    failures: int
    score: float
    limit: float
    calm: Tally
    """All rows up to the last at which the sum was zero."""
    calm_id: str | None
    alarm: Alarm | None


class WatchState(Record):
    """All that a watch remembers, to go on from later."""

    settings: TeacherWatchSettings
    signals: tuple[SignalState, ...]


class TeacherWatch:
    """Watches any number of teachers."""

    def __init__(self, settings: TeacherWatchSettings, state: WatchState | None = None) -> None:
        """Begin, or go on from a saved state.

        Raises InputError for a state of other settings or for a baseline that is no share.
        """
        if state is not None and state.settings != settings:
            raise InputError(
                "watch: the saved state is of other settings; go on with those, or begin anew"
            )
        for kind, share in settings.baselines.items():
            if not 0 < share < 1:
                raise InputError(
                    f"watch.baselines.{kind}: {share} is no share of failures; give a number "
                    "above 0 and below 1"
                )
        self.settings = settings
        saved = () if state is None else state.signals
        self._sums = {(s.teacher, s.signal): _Sum(settings, s) for s in saved}

    def observe(self, row: WatchRow) -> Alarm | None:
        """Take one more row; the alarm if this row raises one. A teacher is alarmed once a signal.

        What two signals raise at once is told as failures.
        """
        alarm = self._add(row, "failures", row.kind)
        parted = self.compare(row)
        return alarm or parted

    def compare(self, row: WatchRow) -> Alarm | None:
        """Take only what the peers say of a row, as of one that was observed before they came; the
        alarm if that raises one."""
        others = 2 * sum(row.peers) - len(row.peers)
        if others and (others > 0) != row.failed:
            return self._add(row, "disagreement", PARTED)
        return None

    @property
    def alarms(self) -> tuple[Alarm, ...]:
        """All alarms so far, by teacher and signal."""
        sums = (self._sums[key] for key in sorted(self._sums))
        return tuple(s.alarm for s in sums if s.alarm is not None)

    @property
    def state(self) -> WatchState:
        """What to save."""
        signals = tuple(self._sums[key].save() for key in sorted(self._sums))
        return WatchState(settings=self.settings, signals=signals)

    def _add(self, row: WatchRow, signal: Signal, kind: str) -> Alarm | None:
        key = row.teacher, signal
        if key not in self._sums:
            self._sums[key] = _Sum(self.settings, _begin(*key))
        return self._sums[key].add(kind, row.failed, row.id)


def replay(settings: TeacherWatchSettings, rows: Iterable[WatchRow]) -> TeacherWatch:
    """The watch after all these rows."""
    watch = TeacherWatch(settings)
    for row in rows:
        watch.observe(row)
    return watch


def find_upper_share(failures: int, rows: int, margin: float) -> float:
    """The upper end of Wilson's interval of a share, `margin` standard errors wide on each side.

    It is above 0 and below 1, and its odds are rounded up to the next power of 1.025, so that few
    limits have to be worked out.
    """
    share, square = failures / rows, margin * margin
    spread = margin * math.sqrt(share * (1 - share) / rows + square / (4 * rows * rows))
    upper = (share + square / (2 * rows) + spread) / (1 + square / rows)
    upper = min(max(upper, 0.5 / rows), HIGHEST)
    odds = GRID ** math.ceil(math.log(upper / (1 - upper), GRID) - 1e-9)
    return odds / (1 + odds)


class _Kind:
    """One kind of row: its tally, and what a row of it adds to the sum."""

    def __init__(self, settings: TeacherWatchSettings, state: KindState) -> None:
        self.settings, self.tally = settings, [state.rows, state.failures]
        self.learn_at, self.drift, self.limit = state.learn_at, 0.0, 0.0
        self.baseline: float | None = None
        self.is_tested = False
        if state.baseline is not None:
            self.take(state.baseline)

    def take(self, baseline: float) -> None:
        """Hold rows to this share of failures from now on.

        Who fails so often that no drift lies above it cannot be seen to fail more often: the sum
        would rise though nothing changed. Rows of such a kind are counted and not tested.
        """
        settings = self.settings
        self.baseline = baseline
        drift = find_drift(baseline, settings.odds)
        self.is_tested = drift > baseline
        if self.is_tested:
            self.drift = float(drift)
            self.limit = find_limit(baseline, settings.odds, settings.rows, settings.false_alarms)

    def learn(self) -> None:
        """Take the baseline that the rows so far show."""
        rows, failures = self.tally
        self.take(find_upper_share(failures, rows, self.settings.margin))
        self.learn_at = None if rows >= self.settings.settled else 2 * rows

    def save(self) -> KindState:
        rows, failures = self.tally
        return KindState(
            rows=rows, failures=failures, baseline=self.baseline, learn_at=self.learn_at
        )


class _Sum:
    """The cumulative sum over one signal of one teacher."""

    def __init__(self, settings: TeacherWatchSettings, state: SignalState) -> None:
        self.settings, self.state, self.alarm = settings, state, state.alarm
        self.kinds = {name: _Kind(settings, kind) for name, kind in state.kinds.items()}
        self.rows, self.failures = state.rows, state.failures
        self.score, self.limit = state.score, state.limit
        self.calm, self.calm_id = (state.calm.rows, state.calm.failures), state.calm_id

    def add(self, name: str, failed: bool, id: str) -> Alarm | None:
        if self.alarm is not None:
            return None
        kind = self.kinds.get(name) or self._open(name)
        self.rows += 1
        self.failures += failed
        kind.tally[0] += 1
        kind.tally[1] += failed
        if kind.is_tested:
            self.score = max(0.0, self.score + failed - kind.drift)
            self.limit = max(self.limit, kind.limit)
        if self.score >= self.limit > 0:
            self.alarm = self._tell(id)
        elif self.score == 0:
            self.calm, self.calm_id = (self.rows, self.failures), id
            if kind.learn_at is not None and kind.tally[0] >= kind.learn_at:
                kind.learn()
        return self.alarm

    def _open(self, name: str) -> _Kind:
        given = self.settings.baselines.get(name)
        learn_at = self.settings.warm_up if given is None else None
        state = KindState(baseline=given, learn_at=learn_at)
        return self.kinds.setdefault(name, _Kind(self.settings, state))

    def _tell(self, id: str) -> Alarm:
        rows, failures = self.calm
        return Alarm(
            teacher=self.state.teacher,
            signal=self.state.signal,
            id=id,
            row=self.rows,
            changed_after=self.calm_id,
            before=Tally(rows=rows, failures=failures),
            after=Tally(rows=self.rows - rows, failures=self.failures - failures),
            score=self.score,
            limit=self.limit,
        )

    def save(self) -> SignalState:
        rows, failures = self.calm
        return SignalState(
            teacher=self.state.teacher,
            signal=self.state.signal,
            kinds={name: kind.save() for name, kind in sorted(self.kinds.items())},
            rows=self.rows,
            failures=self.failures,
            score=self.score,
            limit=self.limit,
            calm=Tally(rows=rows, failures=failures),
            calm_id=self.calm_id,
            alarm=self.alarm,
        )


def _begin(teacher: str, signal: Signal) -> SignalState:
    return SignalState(
        teacher=teacher,
        signal=signal,
        kinds={},
        rows=0,
        failures=0,
        score=0.0,
        limit=0.0,
        calm=Tally(rows=0, failures=0),
        calm_id=None,
        alarm=None,
    )
