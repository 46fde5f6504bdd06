"""Pictures of the claims: static, on a light ground, the same figures giving the same file."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from claims_lab.evidence import Figures, estimate
from matplotlib import rc_context
from matplotlib.figure import Figure

PICTURES = Path(__file__).parents[2] / "docs" / "pictures"
INK, GREY = "#1c2a38", "#9aa7b4"
COLOURS = ("#1f4e79", "#b5492b", "#3c7a4e", "#7a5aa6", "#a57a1c", "#4a8a94")
STYLE: Any = {
    "font.size": 10,
    "axes.titlesize": 10,
    "text.color": INK,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "svg.hashsalt": "tutelage",
    "axes.spines.top": False,
    "axes.spines.right": False,
}


@contextmanager
def draw(name: str, title: str, *, width: float = 7.2, height: float) -> Iterator[Figure]:
    """A figure that is written to docs/pictures/ when it is done."""
    PICTURES.mkdir(parents=True, exist_ok=True)
    with rc_context(STYLE):
        figure = Figure(figsize=(width, height), layout="constrained", facecolor="white")
        figure.suptitle(title, x=0.01, horizontalalignment="left", fontsize=11, weight="bold")
        yield figure
        figure.savefig(PICTURES / name, metadata={"Date": None})


def draw_arms(
    name: str,
    title: str,
    panels: Figures,
    *,
    columns: int = 2,
    groups: Sequence[int] = (),
) -> str:
    """Each panel has a figure, each line of it an arm: its seeds, their mean and its interval.

    `groups` says how many arms in turn share a colour; one each where it says nothing.
    """
    arms = list(next(iter(panels.values())))
    sizes = groups or [1] * len(arms)
    colours = [COLOURS[group] for group, size in enumerate(sizes) for _ in range(size)]
    lines = -(-len(panels) // columns)
    height = 0.3 + lines * (0.75 + 0.27 * len(arms))
    with draw(name, title, height=height) as figure:
        axes = figure.subplots(lines, columns, squeeze=False, sharey=True).flat
        for axis, (measured, values) in zip(axes, panels.items(), strict=False):
            axis.set_title(measured, loc="left")
            for place, (arm, colour) in enumerate(zip(arms, colours, strict=True)):
                _draw_arm(axis, place, values[arm], colour)
            axis.set_yticks(range(len(arms)), arms)
            axis.set_ylim(len(arms) - 0.5, -0.5)
            axis.locator_params(axis="x", nbins=5)
            axis.grid(axis="x", color=GREY, alpha=0.3, linewidth=0.6)
        for axis in list(axes)[len(panels) :]:
            axis.set_visible(False)
    return name


def _draw_arm(axis: Any, place: int, values: Sequence[float], colour: str) -> None:
    mean, low, high = estimate(values)
    axis.plot(values, [place] * len(values), "o", color=colour, alpha=0.35, markersize=4)
    axis.plot([mean], [place], "|", color=colour, markersize=12, markeredgewidth=2)
    if len(values) > 1:
        axis.plot([low, high], [place, place], color=colour, linewidth=1.6)
