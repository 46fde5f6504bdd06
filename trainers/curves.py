"""The training's curves as one static picture, drawn from `metrics.jsonl`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from generators.errors import InputError
from trainers.metrics import read_metrics

RAW, SMOOTH, MARKS = "#9db4c8", "#1f4e79", ("#b5492b", "#3c7a4e", "#7a5aa6", "#a57a1c")


def plot_curves(metrics: Path, picture: Path, *, unit: str = "token") -> Path:
    """Draw the loss by `unit` (raw and smoothed) and, below it, what was evaluated between the
    steps.

    The picture's ending (.svg, .png) decides its format. Raises InputError without a step.
    """
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    lines = read_metrics(metrics)
    steps = [line for line in lines if "loss" in line]
    if not steps:
        raise InputError(f"{metrics}: no training step in it, so there is no curve to draw.")
    groups = _group_evaluations([line for line in lines if "evaluation" in line])
    style: dict[Any, Any] = {
        "font.size": 10,
        "svg.hashsalt": "tutelage",  # the same curves give the same file
        "axes.spines.top": False,
        "axes.spines.right": False,
    }
    with rc_context(style):
        height = 3.0 + 1.7 * len(groups)
        figure = Figure(figsize=(7.2, height), layout="constrained")
        axes = figure.subplots(1 + len(groups), 1, sharex=True, squeeze=False)[:, 0]
        _draw_loss(axes[0], [line["step"] for line in steps], [line["loss"] for line in steps])
        axes[0].set_ylabel(f"loss (nats per {unit})")
        for axis, (name, points) in zip(axes[1:], groups.items(), strict=True):
            _draw_evaluation(axis, name, points)
        axes[-1].set_xlabel("step")
        picture.parent.mkdir(parents=True, exist_ok=True)
        dateless = {"Date": None} if picture.suffix == ".svg" else {}
        figure.savefig(picture, dpi=144, metadata=dateless)
    return picture


def smooth(values: Sequence[float], decay: float = 0.8) -> list[float]:
    """Exponential moving average, corrected for its start (as Adam corrects its moments)."""
    smoothed, average = [], 0.0
    for count, value in enumerate(values, start=1):
        average = decay * average + (1 - decay) * value
        smoothed.append(average / (1 - decay**count))
    return smoothed


def _group_evaluations(lines: Sequence[dict[str, Any]]) -> dict[str, dict[str, list[Any]]]:
    """Panels of curves: pass@1 and pass@4 share one."""
    groups: dict[str, dict[str, list[Any]]] = {}
    for line in lines:
        for name, value in line["evaluation"].items():
            stem, at, _ = name.partition("@")
            curves = groups.setdefault(f"{stem}@k" if at else name, {})
            curves.setdefault(name, []).append((line["step"], value))
    return groups


def _draw_loss(axis: Any, steps: Sequence[int], losses: Sequence[float]) -> None:
    axis.plot(steps, losses, color=RAW, linewidth=1, label="each step")
    axis.plot(steps, smooth(losses), color=SMOOTH, linewidth=2, label="smoothed")
    axis.legend(frameon=False)


def _draw_evaluation(axis: Any, name: str, curves: dict[str, list[Any]]) -> None:
    for place, (label, points) in enumerate(curves.items()):
        triples = [v if isinstance(v, list) else [v, v, v] for _, v in points]
        spread = [[v - low for v, low, _ in triples], [high - v for v, _, high in triples]]
        axis.errorbar(
            [step for step, _ in points],
            [v for v, _, _ in triples],
            yerr=spread,
            color=MARKS[place % len(MARKS)],
            marker="o",
            linestyle=":",  # nothing was measured between the points
            capsize=3,
            label=label,
        )
    axis.set_ylabel(name)
    if len(curves) > 1:
        axis.legend(frameon=False)
