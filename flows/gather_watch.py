"""The part of `Facts` that tells what the watch over the teachers saw."""

from collections import Counter
from collections.abc import Iterator

from filters.teacher_watch import Tally
from flows.facts_watch import TeacherFacts
from flows.run_watch import watch_stages
from flows.stages.family import answer_stages
from flows.stages.watch import describe_alarm, find_teachers, read_distrusted
from flows.waves import list_unasked
from flows.work import Context


def gather_teachers(context: Context) -> Iterator[TeacherFacts]:
    """Each teacher in the order in which it is first asked; none in a run without a watch."""
    if context.config.watch is None:
        return
    watched, teachers = watch_stages(context, answer_stages(context)), find_teachers(context)
    quarantined = Counter(teachers[id] for id in read_distrusted(context))
    unasked: Counter[str] = Counter()
    for stage, prompts in list_unasked(context):
        unasked[stage.sampler.model] += prompts
    for name in dict.fromkeys(sampler.model for sampler in context.config.samplers):
        tally, alarm = (
            watched.tallies.get(name, Tally(rows=0, failures=0)),
            watched.alarms.get(name),
        )
        yield TeacherFacts(
            model=name,
            rows=tally.rows,
            failures=tally.failures,
            alarm=alarm and describe_alarm(alarm),
            quarantined=quarantined[name],
            unasked=unasked[name],
        )
