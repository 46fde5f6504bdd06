"""The report's charts, as inline SVG drawn by hand: labels stand at the marks, no legends.

Every chart is at most 480 units wide with type of 12 to 14, so that it stays readable on a
phone. Colours mean the same everywhere: kept, quarantined, rejected, before, after.
"""

import math
from collections.abc import Sequence
from textwrap import wrap
from typing import NamedTuple

from markupsafe import Markup

from flows import svg
from flows.facts import DIFFICULTY_BINS, DifficultyFacts, Facts, StageCount
from flows.facts_learning import Attribution, LossPoint
from flows.glossary import name_stage
from flows.intervals import Interval
from flows.untrusted_text import show_plainly
from flows.wording import count_noun, format_count, format_points, format_share

WIDTH = 480
BAR = 20
"""Height of a bar of the funnel."""
LINE = 17
"""From one line of type to the next."""
LABELS = 132
"""Width of the labels left of the scores."""


class ScoreRow(NamedTuple):
    """One mark of the dot-and-interval plot."""

    label: str
    score: Interval
    kind: str
    """`before`, `after` or `teacher`."""


class ScoreGroup(NamedTuple):
    title: str
    rows: Sequence[ScoreRow]


def draw_funnel(facts: Facts) -> Markup:
    """From seeds to rows: a bar per stage, split by what was decided; what is kept flows on."""
    most = max(1, facts.seeds.total, *(count.total for count in facts.counts))
    scale = WIDTH / most
    seeds = count_noun(facts.seeds.total, "prompt")
    flows: list[Markup] = []
    marks = [svg.text(0, 14, "Seeds", kind="strong"), _right(14, seeds)]
    marks.append(svg.rect(0, 22, max(2, facts.seeds.total * scale), BAR, "fill-keep", round=2))
    bottom, kept = 22.0 + BAR, facts.seeds.total * scale
    for count in facts.counts:
        note = wrap(show_plainly(count.note or "", 200), 74)
        top = bottom + 52 + LINE * len(note)
        flows.append(_flow(bottom, kept, top, count.total * scale))
        marks += _draw_stage(count, note, top, scale)
        bottom, kept = top + BAR, count.accepted * scale
        marks.append(svg.phrases(0, bottom + 16, _sorted_counts(count)))
    told = "; ".join(
        f"{name_stage(c.stage)}: {c.total} {c.unit}, {c.accepted} kept, "
        f"{c.quarantined} quarantined, {c.rejected} rejected"
        for c in facts.counts
    )
    told = f"From seeds to rows. Seeds: {seeds}. {told}"
    return svg.frame(WIDTH, bottom + 24, told, flows + marks)


def _draw_stage(count: StageCount, note: Sequence[str], top: float, scale: float) -> list[Markup]:
    first = top - 8 - LINE * len(note)
    marks = [
        svg.text(0, first, name_stage(count.stage), kind="strong"),
        _right(first, f"{format_count(count.total)} {count.unit}"),
    ]
    for i, words in enumerate(note, 1):
        marks.append(svg.text(0, first + LINE * i, words, kind="quiet"))
    x = 0.0
    for number, kind in _decided(count):
        if number:
            width = max(2.0, number * scale)
            marks.append(svg.rect(x, top, width - 1, BAR, f"fill-{kind}", round=2))
            x += width
    return marks


def _flow(top: float, kept: float, bottom: float, taken: float) -> Markup:
    """The band from what one stage kept to what the next one took."""
    middle = (top + bottom) / 2
    return svg.path(
        f"M0 {top:.1f}H{max(2, kept):.1f}C{max(2, kept):.1f} {middle:.1f} {max(2, taken):.1f} "
        f"{middle:.1f} {max(2, taken):.1f} {bottom:.1f}H0Z",
        "fill-flow",
    )


def _decided(count: StageCount) -> tuple[tuple[int, str], ...]:
    return (
        (count.accepted, "keep"),
        (count.quarantined, "quarantine"),
        (count.rejected, "reject"),
    )


def _sorted_counts(count: StageCount) -> list[tuple[str, str]]:
    names = {"keep": "kept", "quarantine": "quarantined", "reject": "rejected"}
    return [
        (f"{format_count(number)} {names[kind]}", f"word-{kind}")
        for number, kind in _decided(count)
        if number or kind == "keep"
    ]


def _right(y: float, words: str) -> Markup:
    return svg.text(WIDTH, y, words, kind="quiet", anchor="end")


def draw_scores(groups: Sequence[ScoreGroup], attribution: Attribution | None = None) -> Markup:
    """Scores as dots with their 95 % intervals on one scale from 0 to 100 %."""
    marks: list[Markup] = []
    y = 0.0
    for group in groups:
        y += 20
        marks.append(svg.text(0, y - 6, group.title, kind="strong"))
        y += 6
        for row in group.rows:
            y += 32
            marks += _draw_score(row, y - 10)
        y += 10
    if attribution is not None:
        marks += _draw_attribution(groups[0].rows[0].score.value, attribution, y + 16)
        y += 76
    ticks = [svg.line((_at(t), 6), (_at(t), y), "grid") for t in (0, 0.25, 0.5, 0.75, 1)]
    ticks += [
        svg.text(_at(t), y + 15, format_share(t), kind="tick", anchor="middle") for t in (0, 0.5, 1)
    ]
    told = "; ".join(
        f"{group.title}, {row.label}: {format_share(row.score.value)} "
        f"({format_share(row.score.low)} to {format_share(row.score.high)})"
        for group in groups
        for row in group.rows
    )
    return svg.frame(WIDTH, y + 22, f"Scores with 95 % intervals. {told}", ticks + marks)


def _at(share: float) -> float:
    """Where a share stands on the scale of the scores."""
    return LABELS + 8 + share * (WIDTH - LABELS - 34)


def _draw_score(row: ScoreRow, y: float) -> list[Markup]:
    x = _at(row.score.value)
    return [
        svg.text(LABELS - 8, y + 4, row.label, kind="label", anchor="end"),
        svg.line((_at(row.score.low), y), (_at(row.score.high), y), f"interval line-{row.kind}"),
        svg.circle(x, y, 5.5, f"fill-{row.kind}"),
        svg.text(x, y - 10, format_share(row.score.value), kind="value", anchor="middle"),
    ]


def _draw_attribution(start: float, attribution: Attribution, y: float) -> list[Markup]:
    """The gain in two steps: what examples alone unlock, and what training adds beyond."""
    title = f"{format_points(attribution.total.value)} points, of which"
    marks = [svg.text(0, y, title, kind="strong")]
    y += 10
    for label, part, kind in (
        ("format", attribution.format, "format"),
        ("skill", attribution.skill, "skill"),
    ):
        end = start + part.value
        left, right = sorted((_at(start), _at(end)))
        fill = f"fill-{kind}" if part.value >= 0 else "fill-reject"
        marks += [
            svg.text(LABELS - 8, y + 10, label, kind="label", anchor="end"),
            svg.rect(left, y, max(right - left, 1.5), 13, fill, round=2),
            svg.text(right + 7, y + 11, format_points(part.value), kind="value"),
        ]
        start, y = end, y + 24
    return marks


def draw_loss(points: Sequence[LossPoint]) -> Markup:
    """The training loss: every step faintly, a running mean over it, its two ends named."""
    known = [p for p in points if math.isfinite(p.loss)]
    if len(known) < 2:
        return Markup("")
    height, left, right, base = 240, 34, WIDTH - 46, 208
    first, last = known[0].step, max(known[-1].step, known[0].step + 1)
    top = _round_up(max(p.loss for p in known))

    def place(step: float, loss: float) -> svg.Point:
        x = left + (step - first) / (last - first) * (right - left)
        return x, base - loss / top * (base - 18)

    mean = _smooth(known)
    marks: list[Markup] = []
    for loss in (0, top / 2, top):
        y = place(first, loss)[1]
        marks.append(svg.line((left, y), (right, y), "grid"))
        marks.append(svg.text(left - 7, y + 4, f"{loss:g}", kind="tick", anchor="end"))
    marks.append(svg.polyline((place(p.step, p.loss) for p in known), "curve faint"))
    marks.append(svg.polyline((place(p.step, p.loss) for p in mean), "curve"))
    x, y = place(first, mean[0].loss)
    marks.append(svg.text(x + 9, y + 2, f"{mean[0].loss:.2f}", kind="value"))
    x, y = place(mean[-1].step, mean[-1].loss)
    marks.append(svg.circle(x, y, 4, "fill-after"))
    marks.append(svg.text(x + 9, y + 4, f"{mean[-1].loss:.2f}", kind="value"))
    marks.append(svg.text(left, height - 14, f"step {first}", kind="tick"))
    marks.append(svg.text(right, height - 14, f"step {last}", kind="tick", anchor="end"))
    ends = f"from {known[0].loss:.2f} at step {first} to {mean[-1].loss:.2f} at step {last}"
    return svg.frame(WIDTH, height, f"Training loss {ends}", marks)


def _smooth(points: Sequence[LossPoint]) -> list[LossPoint]:
    """Mean over the last twentieth of the points, at most 400 of them."""
    window, every = max(1, len(points) // 20), max(1, len(points) // 400)
    ends = [*range(0, len(points) - 1, every), len(points) - 1]
    spans = [points[max(0, end - window + 1) : end + 1] for end in ends]
    return [LossPoint(step=s[-1].step, loss=sum(p.loss for p in s) / len(s)) for s in spans]


def _round_up(value: float) -> float:
    """The next of 1, 2, 4, 5, 6, 8, 10 times a power of ten."""
    unit = 10 ** math.floor(math.log10(max(value, 1e-6)))
    return next(n * unit for n in (1, 2, 3, 4, 5, 6, 8, 10) if n * unit >= value)


def draw_survival(tried: int, survived: int, published: int, most: int) -> Markup:
    """A bar for one operator: tried, of which survived, of which published."""
    scale = 200 / max(most, 1)
    told = f"{tried} tried, {survived} survived, {published} published"
    return svg.frame(
        200,
        12,
        told,
        [
            svg.rect(0, 0, tried * scale, 12, "fill-track", round=2),
            svg.rect(0, 0, survived * scale, 12, "fill-format", round=2),
            svg.rect(0, 0, published * scale, 12, "fill-keep", round=2),
        ],
    )


def draw_share(number: int, whole: int, kind: str = "keep") -> Markup:
    """A small bar for a share, for a table's cell."""
    told = f"{number} of {whole}"
    marks = [
        svg.rect(0, 0, 120, 8, "fill-track", round=2),
        svg.rect(0, 0, 120 * number / max(whole, 1), 8, f"fill-{kind}", round=2),
    ]
    return svg.frame(120, 8, told, marks)


def draw_difficulty(row: DifficultyFacts, tallest: float) -> Markup:
    """How often one round's prompts were solved; `tallest` is the highest share of any round."""
    width, base, step = 240, 112, 40
    marks: list[Markup] = [svg.line((0, base), (width, base), "axis")]
    for i, (number, name) in enumerate(zip(row.histogram, DIFFICULTY_BINS, strict=True)):
        high = number / row.prompts / tallest * 88
        kind = "fill-before" if i == 0 else "fill-format" if i < 5 else "fill-keep"
        middle = i * step + step / 2
        marks.append(svg.rect(i * step + 4, base - high, step - 8, high, kind, round=1))
        if number:
            y, words = base - high - 5, format_count(number)
            marks.append(svg.text(middle, y, words, kind="value", anchor="middle"))
        marks.append(svg.text(middle, base + 15, name, kind="tick", anchor="middle"))
    told = ", ".join(
        f"{name}: {number}" for name, number in zip(DIFFICULTY_BINS, row.histogram, strict=True)
    )
    return svg.frame(width, 132, f"Round {row.round}, prompts by pass rate. {told}", marks)
