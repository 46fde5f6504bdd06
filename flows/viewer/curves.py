"""The curves of trainings: each figure that a training wrote down, over its steps."""

import sqlite3
from collections.abc import Sequence
from typing import NamedTuple

from markupsafe import Markup

from flows import svg
from flows.charts import draw_loss
from flows.facts_learning import LossPoint
from flows.glossary import name_measured
from flows.untrusted_text import show_plainly

WIDTH, HEIGHT, BASE = 240, 132, 104
UNDRAWN = ("epoch", "tokens")
"""Figures that only grow with the steps."""


class Curves(NamedTuple):
    """All curves of one training."""

    file: str
    """The file that they were read from, in the run directory."""
    loss: Markup
    others: list[tuple[str, Markup]]
    """Named, with what is measured on held-out rows first."""


def draw_curves(connection: sqlite3.Connection) -> list[Curves]:
    """The curves of every training of the run."""
    drawn = []
    for (file,) in connection.execute("select distinct file from metrics order by file").fetchall():
        points: dict[str, list[tuple[int, float]]] = {}
        for name, step, value in connection.execute(
            "select name, step, value from metrics where file = ? order by phase, step", (file,)
        ):
            points.setdefault(name, []).append((step, value))
        losses = [LossPoint(step=step, loss=value) for step, value in points.pop("loss", [])]
        names = sorted(points, key=lambda name: (not name.startswith("held out"), name))
        others = [
            (_name(name), _draw(_name(name), points[name]))
            for name in names
            if name not in UNDRAWN and len(points[name]) > 1
        ]
        drawn.append(Curves(file, draw_loss(losses), others))
    return drawn


def _name(figure: str) -> str:
    """`held out: nll` in the report's words."""
    where, colon, name = figure.rpartition("held out: ")
    words = name_measured([name])[name] if colon else name.replace("_", " ")
    return show_plainly(f"{where}{words}", 80)


def _draw(name: str, points: Sequence[tuple[int, float]]) -> Markup:
    """One figure over the steps; both its ends are told."""
    low, high = min(value for _, value in points), max(value for _, value in points)
    first, last = points[0][0], max(step for step, _ in points)
    spread, length = (high - low) or 1.0, (last - first) or 1

    def place(step: int, value: float) -> svg.Point:
        return (
            4 + (step - first) / length * (WIDTH - 64),
            BASE - (value - low) / spread * (BASE - 16),
        )

    x, y = place(*points[-1])
    marks = [
        svg.line((4, BASE), (WIDTH - 60, BASE), "axis"),
        svg.polyline((place(step, value) for step, value in points), "curve"),
        svg.circle(x, y, 3.5, "fill-after"),
        svg.text(x + 8, y + 4, f"{points[-1][1]:.3g}", kind="value"),
        svg.text(4, BASE + 16, f"from {points[0][1]:.3g}", kind="tick"),
        svg.text(WIDTH - 60, BASE + 16, f"step {last}", kind="tick", anchor="end"),
    ]
    told = f"{name}: from {points[0][1]:.3g} at step {first} to {points[-1][1]:.3g} at step {last}"
    return svg.frame(WIDTH, HEIGHT, told, marks)
