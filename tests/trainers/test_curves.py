from pathlib import Path

import pytest

from generators.errors import InputError
from trainers.curves import plot_curves, smooth
from trainers.metrics import append_metrics


def write_metrics(path: Path) -> Path:
    for step in range(1, 41):
        append_metrics(path, {"step": step, "loss": 3.0 / step**0.5 + 0.1 * (step % 3)})
    for step, value in ((0, 0.2), (40, 0.5)):
        spread = [value, value - 0.05, value + 0.05]
        evaluation = {"pass@1": spread, "pass@4": [0.7, 0.6, 0.8], "perplexity": 20.0 - step / 10}
        append_metrics(path, {"step": step, "evaluation": evaluation})
    return path


def test_the_svg_names_every_curve_and_is_the_same_each_time(tmp_path: Path) -> None:
    metrics = write_metrics(tmp_path / "metrics.jsonl")
    first = plot_curves(metrics, tmp_path / "plots" / "a.svg")
    second = plot_curves(metrics, tmp_path / "plots" / "b.svg")
    text = first.read_text()
    for label in ("loss (nats per token)", "smoothed", "pass@1", "pass@4", "perplexity", "step"):
        assert label in text
    assert second.read_text() == text


def test_a_png_is_written_too(tmp_path: Path) -> None:
    metrics = write_metrics(tmp_path / "metrics.jsonl")
    assert plot_curves(metrics, tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")


def test_no_step_no_curve(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        plot_curves(tmp_path / "metrics.jsonl", tmp_path / "a.svg")
    assert str(caught.value) == (
        f"{tmp_path}/metrics.jsonl: no training step in it, so there is no curve to draw."
    )


def test_smoothing_follows_a_constant_at_once_and_damps_noise() -> None:
    assert smooth([2.0, 2.0, 2.0]) == pytest.approx([2.0, 2.0, 2.0])
    assert smooth([0.0, 1.0], decay=0.5) == pytest.approx([0.0, 2 / 3])
