"""Poison level L4 in a run: the committed answers are put before the watch over their teachers.

A teacher is a model under `models`, whichever samplers ask it. Answers are taken as they were asked
for: samplers in the order of the configuration, shards by number, prompts and samples as they stand
in the shard. So the same answers give the same alarms, whenever and wherever they came.

One answer a prompt is watched of each sampler, the first that was judged: several answers to one
prompt are right or wrong together, and the sums of `filters.teacher_watch` count on rows that are
not. A sampler that is asked only for what others left open has the harder prompts; its rows are of
kinds of their own, and only samplers that are asked for everything are held against one another.
What a vote or a judge decides later, and what fails for another reason than the answer, is no row.
"""

import functools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import NamedTuple

from filters.teacher_watch import Alarm, Tally, TeacherWatch, WatchRow
from flows.stages.family import evolve_stages, read_family, read_files, stage_files
from flows.watch_settings import name_partial_samplers
from flows.work import Context
from generators.answers import SamplerSettings
from generators.records import Answer, Prompt, Verdict

JUDGED_LATER = ("consensus", "judge")
"""Kinds of check that do not tell of an answer alone whether it is right."""
NOT_ITS_FAULT = (
    "no_verifier",
    "bad_check",
    "lax_program",
    "unverifiable_here",
    "sandbox_failed",
)
"""Reasons that say nothing about the answer."""


class Watched(NamedTuple):
    """What the watch says of some stages' answers."""

    alarms: Mapping[str, Alarm] = {}
    """By teacher; the first one raised, for then it is quarantined."""
    suspects: frozenset[str] = frozenset()
    """All answers of a quarantined teacher since its change, by their ids."""
    tallies: Mapping[str, Tally] = {}
    """The rows of each teacher that were watched, up to its alarm."""


class _Outcome(NamedTuple):
    teacher: str
    id: str
    failed: bool


class RunWatch:
    """Takes the answers of a run in their order; says which teachers are quarantined by now."""

    def __init__(self, context: Context) -> None:
        settings, samplers = context.config.watch, context.config.samplers
        assert settings is not None
        self.alarms: dict[str, Alarm] = {}
        self.suspects: set[str] = set()
        self._context = context
        self._watch = TeacherWatch(settings)
        self._prompts = read_family(context).prompts
        self._samplers = {f"answer-{sampler.name}": sampler for sampler in samplers}
        self._partial = name_partial_samplers(samplers)
        self._given: dict[str, list[str]] = {}
        """All answers of a teacher, in their order."""
        self._ends: dict[str, int] = {}
        """How many answers its teacher had given when all to a watched row's prompt were there."""
        self._outcomes: dict[str, list[_Outcome]] = {}
        """By prompt: the judged answers of samplers that are asked for everything."""
        self._alone: dict[str, dict[str, WatchRow]] = {}
        """By prompt and teacher: rows that no other teacher's answer was there to compare with."""

    def take(self, stage: str, paths: Iterable[str]) -> None:
        """Take committed shards of one sampler's stage, given by their files."""
        paths = list(paths)
        answers = read_files(self._context, [p for p in paths if "/answers-" in p], Answer)
        verdicts = read_files(self._context, [p for p in paths if "/verdicts-" in p], Verdict)
        failed = {v.subject_id: v.decision != "accept" for v in verdicts if _is_its_own(v)}
        for id, group in groupby(answers, key=lambda answer: answer.prompt_id):
            self._take_prompt(self._samplers[stage], self._prompts[id], list(group), failed)

    def sum_up(self) -> Watched:
        """What came of it so far."""
        tallies = {
            state.teacher: Tally(rows=state.rows, failures=state.failures)
            for state in self._watch.state.signals
            if state.signal == "failures"
        }
        return Watched(dict(self.alarms), frozenset(self.suspects), tallies)

    def _take_prompt(
        self,
        sampler: SamplerSettings,
        prompt: Prompt,
        answers: Sequence[Answer],
        failed: Mapping[str, bool],
    ) -> None:
        teacher, given = sampler.model, self._given.setdefault(sampler.model, [])
        given += [answer.id for answer in answers]
        if teacher in self.alarms:
            self.suspects |= {answer.id for answer in answers}
            return
        judged = [_Outcome(teacher, a.id, failed[a.id]) for a in answers if a.id in failed]
        if not judged or prompt.check is None or prompt.check.kind in JUDGED_LATER:
            return
        first, is_partial = judged[0], sampler.name in self._partial
        kind = f"{prompt.domain}/{prompt.operator}" + f"/{sampler.name}" * is_partial
        row = WatchRow(teacher, kind, first.failed, first.id)
        self._ends[row.id] = len(given)
        if is_partial:
            self._note(row, self._watch.observe(row))
        else:
            self._compare(row, prompt.id, judged)

    def _compare(self, row: WatchRow, prompt: str, judged: Sequence[_Outcome]) -> None:
        """Watch a row beside what other teachers answered before it. Their rows that stood alone
        until now are held against what this one's teacher answered."""
        earlier = self._outcomes.setdefault(prompt, [])
        alone = self._alone.setdefault(prompt, {})
        row = row._replace(peers=self._trust(o for o in earlier if o.teacher != row.teacher))
        self._note(row, self._watch.observe(row))
        peers = self._trust(judged)
        for name in [name for name in alone if name != row.teacher and peers]:
            other = alone.pop(name)._replace(peers=peers)
            if name not in self.alarms:
                self._note(other, self._watch.compare(other))
        if not row.peers:
            alone.setdefault(row.teacher, row)
        earlier += judged

    def _trust(self, outcomes: Iterable[_Outcome]) -> tuple[bool, ...]:
        """Whether answers failed, without those that are under suspicion by now."""
        return tuple(outcome.failed for outcome in outcomes if outcome.id not in self.suspects)

    def _note(self, row: WatchRow, alarm: Alarm | None) -> None:
        if alarm is None:
            return
        self.alarms[row.teacher] = alarm
        start = 0 if alarm.changed_after is None else self._ends[alarm.changed_after]
        self.suspects |= set(self._given[row.teacher][start:])


def open_watch(context: Context, stages: Sequence[str]) -> RunWatch | None:
    """The watch after all answers of these samplers' stages; None in a run without one."""
    if context.config.watch is None:
        return None
    watch = RunWatch(context)
    for stage in stages:
        files = [f for kind in ("answers-", "verdicts-") for f in stage_files(context, stage, kind)]
        files.sort(key=lambda file: (len(file.name), file.name))  # 1000 comes after 999
        watch.take(stage, [file.relative_to(context.run.root).as_posix() for file in files])
    return watch


def watch_stages(context: Context, stages: Sequence[str]) -> Watched:
    """What the watch says of these samplers' stages, asked in this order; nothing in a run without
    one."""
    settings = context.config.watch
    if settings is None:
        return Watched()
    samplers = [[s.name, s.model, s.asks] for s in context.config.samplers]
    decisive = [settings.model_dump(mode="json"), samplers]
    key = context.key(" ".join(stages), decisive, [*evolve_stages(context), *stages])
    return _watch_once(_Question(key, context, tuple(stages)))


@dataclass(frozen=True)
class _Question:
    """What is asked of the watch, known by its key alone."""

    key: str
    context: Context = field(compare=False)
    stages: tuple[str, ...] = field(compare=False)


@functools.lru_cache(maxsize=8)
def _watch_once(question: _Question) -> Watched:
    """Every shard asks which answers before it are under suspicion; they are gone through once."""
    watch = open_watch(question.context, question.stages)
    return watch.sum_up() if watch else Watched()


def _is_its_own(verdict: Verdict) -> bool:
    """Whether a verdict tells of the answer, and not of the network or of the check."""
    return verdict.detector != "client" and verdict.reason not in NOT_ITS_FAULT
