"""The report of a run: one HTML page that needs nothing but itself.

No script, no font, no picture comes from elsewhere, and the page's own policy forbids it. Text
that a model wrote is escaped, hidden characters in it are made visible, and huge texts are cut
(`flows.untrusted_text`). The page is `templates/report.html.jinja` and its parts; charts are
drawn by `flows.charts`.
"""

from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import NamedTuple

from jinja2 import Environment

from flows import charts, glossary, wording, wording_sampling, wording_training
from flows.facts import Facts, OperatorFacts, StageCount
from flows.facts_learning import Arm, EvaluationFacts
from flows.picture import draw_flow
from flows.template_words import open_templates
from flows.untrusted_text import show_added, show_text

__all__ = ["draw_flow", "render_report"]

TEMPLATES = Path(__file__).with_name("templates")


class OperatorTotal(NamedTuple):
    """One operator over all rounds."""

    operator: str
    tried: int
    survived: int
    published: int


class Drop(NamedTuple):
    """One reason of one stage."""

    decision: str
    reason: str
    number: int
    meaning: str


def render_report(facts: Facts) -> str:
    """Return the page as HTML. Sections whose stage has not run are left out."""
    totals = sum_operators(facts.operators)
    return (
        _load_templates()
        .get_template("report.html.jinja")
        .render(
            facts=facts,
            lede=_tell_lede(facts),
            funnel=charts.draw_funnel(facts),
            drops=[(count, drops) for count in facts.counts if (drops := list_drops(count))],
            operators=totals,
            most_tried=max((total.tried for total in totals), default=0),
            tallest=_find_tallest(facts),
            evaluation=facts.evaluation and _Evaluation.of(facts.evaluation),
            loss=facts.training and charts.draw_loss(facts.training.losses),
        )
    )


def sum_operators(operators: Iterable[OperatorFacts]) -> list[OperatorTotal]:
    """Add up each operator's rounds, the best survivor first."""
    totals: dict[str, OperatorTotal] = {}
    for row in operators:
        seen = totals.get(row.operator, OperatorTotal(row.operator, 0, 0, 0))
        totals[row.operator] = OperatorTotal(
            row.operator,
            seen.tried + row.tried,
            seen.survived + row.survived,
            seen.published + row.published,
        )
    return sorted(totals.values(), key=lambda t: (-t.survived / max(t.tried, 1), t.operator))


def list_drops(count: StageCount) -> list[Drop]:
    """Why subjects fell at one stage, the commonest reason first."""
    drops = (
        Drop(r.decision, r.reason, r.count, glossary.explain_reason(r.reason))
        for r in count.reasons
        if r.decision != "accept"
    )
    return sorted(drops, key=lambda drop: (-drop.number, drop.reason))


class _Evaluation(NamedTuple):
    """What the page shows of an evaluation beyond its facts."""

    plot: str
    sampled_plot: str
    task_plot: str
    format_told: str
    skill_told: str
    selection_told: str
    """Empty where no student was taught on random rows."""
    learned: bool | None
    """None where before and after are not both there."""

    @classmethod
    def of(cls, evaluation: EvaluationFacts) -> "_Evaluation":
        before = evaluation.arm("before", "zero-shot")
        after = evaluation.arm("after", "zero-shot")
        parts = evaluation.attribution
        learned = None
        if before is not None and after is not None:
            rose = after.pass_at_1.value > before.pass_at_1.value
            learned = rose and not after.pass_at_1.overlaps(before.pass_at_1)
        tasks = list(dict.fromkeys(t.task for arm in evaluation.arms for t in arm.by_task))
        return cls(
            plot=charts.draw_scores([_group_greedy(evaluation)], parts),
            sampled_plot=_plot_sampled(evaluation.every_arm),
            task_plot=_plot_tasks(evaluation.every_arm, tasks),
            format_told=wording.tell_format(parts) if parts else "",
            skill_told=wording.tell_skill(parts) if parts else "",
            selection_told=wording.tell_selection(evaluation.random) if evaluation.random else "",
            learned=learned,
        )


def _group_greedy(evaluation: EvaluationFacts) -> charts.ScoreGroup:
    """pass@1 of every arm, the untrained student's zero-shot score first."""
    order = {
        "before, zero-shot": 0,
        "before, few-shot": 1,
        "teacher, zero-shot": 2,
        "after, zero-shot": 3,
    }
    arms = sorted(evaluation.every_arm, key=lambda arm: order.get(arm.name, 4))
    title = f"pass@1, {wording.count_noun(arms[0].prompts, 'held-out prompt')}"
    return charts.ScoreGroup(
        title, [charts.ScoreRow(arm.name, arm.pass_at_1, arm.when) for arm in arms]
    )


def _plot_sampled(arms: Iterable[Arm]) -> str:
    """pass@k of the arms that were sampled; nothing where none was."""
    sampled = [(arm, arm.pass_at_k) for arm in arms if arm.pass_at_k is not None]
    if not sampled:
        return ""
    first = sampled[0][1]
    title = f"pass@{first.k}, {wording.count_noun(first.prompts, 'prompt')}"
    rows = [charts.ScoreRow(arm.name, k.score, arm.when) for arm, k in sampled]
    return charts.draw_scores([charts.ScoreGroup(title, rows)])


def _plot_tasks(arms: Iterable[Arm], tasks: Iterable[str]) -> str:
    """Each task's scores, arm by arm; nothing where no arm was split by task."""
    arms = list(arms)
    groups = []
    for task in tasks:
        scored = [(arm, t) for arm in arms for t in arm.by_task if t.task == task]
        rows = [charts.ScoreRow(arm.name, t.score, arm.when) for arm, t in scored]
        title = f"{task}, {wording.count_noun(scored[0][1].prompts, 'prompt')}"
        groups.append(charts.ScoreGroup(title, rows))
    return charts.draw_scores(groups) if groups else ""


def _tell_lede(facts: Facts) -> list[str]:
    told = [wording.tell_making(facts), wording.tell_verification(facts)]
    if facts.evaluation is not None:
        told.append(wording.tell_learning(facts.evaluation))
    return [sentence for sentence in told if sentence]


def _find_tallest(facts: Facts) -> float:
    rows = [*facts.difficulty, *facts.student_difficulty]
    return max((max(row.histogram) / row.prompts for row in rows), default=1.0)


@cache
def _load_templates() -> Environment:
    env = open_templates(TEMPLATES, autoescape=True)
    env.filters.update(
        show=show_text,
        show_added=show_added,
        points=wording.format_points,
        points_range=wording.format_points_range,
        signed=wording.format_signed,
    )
    env.globals.update(
        draw_survival=charts.draw_survival,
        tell_judge=wording.tell_judge,
        tell_rate=wording_sampling.tell_rate,
        tell_cost=wording_sampling.tell_cost,
        tell_gain=wording_sampling.tell_gain,
        draw_share=charts.draw_share,
        draw_difficulty=charts.draw_difficulty,
        name_measured=glossary.name_measured,
        tell_signal=wording_training.tell_signal,
    )
    return env
