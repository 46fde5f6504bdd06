"""A picture of the flow for the README: nine stations on one line, with a run's own counts.

It stands alone: type and colours are in the file, and follow the reader's light or dark theme.
"""

from typing import NamedTuple

from markupsafe import Markup

from flows import svg
from flows.facts import Facts
from flows.wording import count_noun, format_count, format_share

WIDTH, HEIGHT = 880, 372
UPPER, LOWER = 104, 272
"""The two runs of the line."""

STYLE = Markup("""<style>
.chart { --ink: #1c2225; --quiet: #566167; --keep: #17705f; --quarantine: #8a5b04;
  --reject: #ad4435; --paper: #ffffff; }
@media (prefers-color-scheme: dark) { .chart { --ink: #e3e7e6; --quiet: #9ba7aa;
  --keep: #58bda6; --quarantine: #dda64f; --reject: #e58674; --paper: #0d1117; } }
text { font: 12.5px system-ui, -apple-system, "Segoe UI", Roboto, "Liberation Sans", sans-serif;
  fill: var(--quiet); }
.name { font-size: 16px; font-weight: 600; fill: var(--ink); }
.count { font-weight: 600; fill: var(--keep); font-size: 13px; }
.result { font-size: 17px; font-weight: 600; fill: var(--keep); }
.quarantine { fill: var(--quarantine); } .reject { fill: var(--reject); }
.track { fill: none; stroke: var(--keep); stroke-width: 3; stroke-linecap: round; }
.again { fill: none; stroke: var(--quiet); stroke-width: 1.5; stroke-dasharray: 1 5;
  stroke-linecap: round; }
.head { fill: var(--keep); } .back { fill: var(--quiet); }
.station { fill: var(--paper); stroke: var(--keep); stroke-width: 3; }
</style>""")


class Station(NamedTuple):
    stage: str
    x: float
    y: float
    does: str


STATIONS = (
    Station("seeds", 70, UPPER, "own or yours"),
    Station("evolve", 245, UPPER, "deeper, wider"),
    Station("eliminate", 420, UPPER, "what adds nothing"),
    Station("answer", 595, UPPER, "weak, then strong"),
    Station("verify", 770, UPPER, "by machine"),
    Station("dedup", 770, LOWER, "exact and near"),
    Station("publish", 557, LOWER, "Parquet, card, lineage"),
    Station("train", 344, LOWER, "the student"),
    Station("evaluate", 131, LOWER, "on held-out prompts"),
)


PARTS = {
    "seeds": ("synthesise",),
    "evolve": (),
    "eliminate": ("evolve", "eliminate", "check"),
    "answer": (),
    "verify": ("answer", "verify"),
}
"""Stages whose fallen are counted at a station, where they are not just its own."""


def draw_flow(facts: Facts | None) -> str:
    """Return the flow as an SVG file's text; without facts, it has no counts."""
    parts = [STYLE, *_draw_track(facts)]
    for station in STATIONS:
        parts.append(svg.circle(station.x, station.y, 8, "station"))
        parts.append(_middle(station, 33, station.stage, "name"))
        parts.append(_middle(station, 51, station.does, ""))
        if facts is not None:
            parts += _draw_fallen(station, facts)
    if facts is not None:
        parts += _draw_counts(facts) + _draw_result(facts)
    title = "The flow: " + ", ".join(station.stage for station in STATIONS)
    return str(svg.frame(WIDTH, HEIGHT, title, parts)) + "\n"


def _draw_track(facts: Facts | None) -> list[Markup]:
    first, last, turn = STATIONS[0], STATIONS[-1], STATIONS[4].x
    bend = (LOWER - UPPER) / 2
    track = f"M{first.x} {UPPER}H{turn}A{bend} {bend} 0 0 1 {turn} {LOWER}H{last.x}"
    evolve, eliminate = STATIONS[1].x, STATIONS[2].x
    again = f"M{eliminate} {UPPER - 14}C{eliminate} 44 {evolve} 44 {evolve} {UPPER - 14}"
    rounds = count_noun(facts.rounds, "round") if facts is not None else "round after round"
    parts = [
        svg.path(track, "track"),
        svg.path(again, "again"),
        _arrow(evolve, UPPER - 13, (0, 1), "back"),
        svg.text((evolve + eliminate) / 2, 42, rounds, anchor="middle"),
        _arrow(turn + bend, (UPPER + LOWER) / 2 + 5, (0, 1), "head"),
    ]
    parts += [_arrow((a.x + b.x) / 2 + 5, UPPER, (1, 0), "head") for a, b in _pairs(0, 4)]
    parts += [_arrow((a.x + b.x) / 2 - 5, LOWER, (-1, 0), "head") for a, b in _pairs(5, 8)]
    return parts


def _draw_counts(facts: Facts) -> list[Markup]:
    """What travels between two stations, above the line."""
    upper = {
        0: count_noun(facts.seeds.total, "seed"),
        1: _say(facts, "eliminate", "total", "evolved")
        or _say(facts, "evolve", "total", "evolved"),
        2: _say(facts, "check", "accepted", "prompts")
        or (count_noun(facts.pool, "prompt") if facts.pool is not None else ""),
        3: _say(facts, "verify", "total", "answers") or _say(facts, "answer", "total", "answers"),
    }
    lower = {
        5: _say(facts, "dedup", "accepted", "distinct"),
        6: count_noun(facts.dataset.rows, "row") if facts.dataset else "",
        7: count_noun(facts.training.steps, "step") if facts.training else "",
    }
    marks = [
        svg.text((STATIONS[i].x + STATIONS[i + 1].x) / 2, y, words, kind="count", anchor="middle")
        for counts, y in ((upper, UPPER - 13), (lower, LOWER - 13))
        for i, words in counts.items()
        if words
    ]
    verified = _say(facts, "verify", "accepted", "verified") or _say(
        facts, "answer", "accepted", "verified"
    )
    bend = STATIONS[4].x + (LOWER - UPPER) / 2 - 10
    return [*marks, svg.text(bend - 4, 218, verified, kind="count", anchor="end")]


def _draw_fallen(station: Station, facts: Facts) -> list[Markup]:
    stages = PARTS.get(station.stage, (station.stage,))
    counts = [count for count in facts.counts if count.stage in stages]
    fallen = (
        (sum(count.quarantined for count in counts), "quarantined", "quarantine"),
        (sum(count.rejected for count in counts), "rejected", "reject"),
    )
    told = [(f"{format_count(n)} {words}", kind) for n, words, kind in fallen if n]
    return [_middle(station, 70 + 17 * i, words, kind) for i, (words, kind) in enumerate(told)]


def _draw_result(facts: Facts) -> list[Markup]:
    before = facts.evaluation and facts.evaluation.arm("before", "zero-shot")
    after = facts.evaluation and facts.evaluation.arm("after", "zero-shot")
    if not before or not after:
        return []
    scores = f"{format_share(before.pass_at_1.value)} → {format_share(after.pass_at_1.value)}"
    station = STATIONS[-1]
    return [_middle(station, 75, scores, "result"), _middle(station, 92, "zero-shot pass@1", "")]


def _say(facts: Facts, stage: str, field: str, what: str) -> str:
    count = facts.count(stage)
    return f"{format_count(getattr(count, field))} {what}" if count is not None else ""


def _pairs(first: int, last: int) -> list[tuple[Station, Station]]:
    return [(STATIONS[i], STATIONS[i + 1]) for i in range(first, last)]


def _middle(station: Station, below: float, words: str, kind: str) -> Markup:
    return svg.text(station.x, station.y + below, words, kind=kind, anchor="middle")


def _arrow(x: float, y: float, way: tuple[int, int], kind: str) -> Markup:
    """A head whose tip is at the point, looking along `way`."""
    dx, dy = way
    back = (x - 10 * dx, y - 10 * dy)
    return svg.polygon(
        ((x, y), (back[0] + 6 * dy, back[1] + 6 * dx), (back[0] - 6 * dy, back[1] - 6 * dx)), kind
    )
