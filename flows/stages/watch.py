"""Stage `watch`: answers that a teacher gave after it had turned bad are quarantined (poison L4).

Who turned bad, and since when, is what `flows.run_watch` says of all samplers' answers. They do not
vote and are not published, also where a verifier accepted them: a teacher that fails more often
than it did is not trusted with the answers that pass.
"""

from filters.teacher_watch import Alarm
from flows.run_watch import watch_stages
from flows.stages.family import answer_stages, evolve_stages, read_stage
from flows.store import FileEntry
from flows.watch_settings import WatchSettings
from flows.work import Context, Job, Tick
from generators.records import Answer, Verdict

WATCH = "watch"
QUARANTINED, TRUSTED = "teacher_quarantined", "teacher_trusted"
VERSION = "1"


class WatchStage:
    """One verdict for each answer that a sampler's stage accepted or let on."""

    name = WATCH

    def __init__(self, settings: WatchSettings) -> None:
        self.settings = settings

    def plan(self, context: Context) -> list[Job]:
        samplers = [[s.name, s.model, s.asks] for s in context.config.samplers]
        settings = [self.settings.model_dump(mode="json"), samplers, VERSION]
        key = context.key(self.name, settings, [*evolve_stages(context), *answer_stages(context)])
        output = f"{context.folder}/verdicts-watch.parquet"
        rows = len(list_let_through(context))
        return [Job(stage=self.name, outputs=(output,), rows=rows, key=key)]

    def work(self, context: Context, job: Job, tick: Tick) -> list[FileEntry]:
        watched = watch_stages(context, answer_stages(context))
        teachers = find_teachers(context)
        verdicts = [
            judge_teacher(id, watched.alarms[teachers[id]] if id in watched.suspects else None)
            for id in list_let_through(context)
        ]
        tick(job.rows)
        return [context.write_records(job, job.outputs[0], Verdict, verdicts)]


def list_let_through(context: Context) -> list[str]:
    """The answers that the samplers' stages accepted or let on, in the order of the stages."""
    return [
        verdict.subject_id
        for stage in answer_stages(context)
        for verdict in read_stage(context, stage, "verdicts-", Verdict)
        if verdict.decision == "accept"
    ]


def find_teachers(context: Context) -> dict[str, str]:
    """By answer the model under `models` that gave it."""
    return {
        answer.id: sampler.model
        for sampler in context.config.samplers
        for answer in read_stage(context, f"answer-{sampler.name}", "answers-", Answer)
    }


def judge_teacher(id: str, alarm: Alarm | None) -> Verdict:
    """Accept an answer of a teacher that nothing was found against when it gave it."""
    return Verdict(
        subject_id=id,
        stage=WATCH,
        detector="teacher_watch",
        version=VERSION,
        decision="accept" if alarm is None else "quarantine",
        reason=TRUSTED if alarm is None else QUARANTINED,
        evidence=alarm and describe_alarm(alarm),
        score=alarm and alarm.score,
    )


def describe_alarm(alarm: Alarm) -> str:
    """What was seen of the teacher, and when it was told."""
    before, after = alarm.before, alarm.after
    rows = "rows in which others part from it" if alarm.signal == "disagreement" else "rows"
    return (
        f"{alarm.teacher}: {alarm.signal}, {before.failures} of {before.rows} {rows} before the "
        f"change, {after.failures} of {after.rows} after it; told at row {alarm.row}, {alarm.id}"
    )


def read_distrusted(context: Context) -> set[str]:
    """The answers that this stage put into quarantine."""
    verdicts = read_stage(context, WATCH, "verdicts-", Verdict)
    return {verdict.subject_id for verdict in verdicts if verdict.decision == "quarantine"}
