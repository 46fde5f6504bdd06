from pathlib import Path

from trainers.metrics import append_metrics, forget_steps_after, read_metrics


def test_lines_come_back_and_one_cut_short_does_not(tmp_path: Path) -> None:
    path = tmp_path / "run" / "metrics.jsonl"
    assert read_metrics(path) == []
    append_metrics(path, {"step": 1, "loss": 2.5})
    append_metrics(path, {"step": 1, "evaluation": {"pass@1": [0.5, 0.4, 0.6]}})
    with path.open("a") as file:
        file.write('{"step": 2, "lo')
    assert read_metrics(path) == [
        {"step": 1, "loss": 2.5},
        {"step": 1, "evaluation": {"pass@1": [0.5, 0.4, 0.6]}},
    ]


def test_forgetting_drops_what_was_told_of_later_steps(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    for step in (1, 2, 3):
        append_metrics(path, {"step": step, "loss": 1.0})
    for step in (0, 2, 3):
        append_metrics(path, {"step": step, "evaluation": {"perplexity": 9.0}})
    with path.open("a") as file:
        file.write('{"step": 4')
    forget_steps_after(path, 2)
    append_metrics(path, {"step": 3, "loss": 0.5})
    assert read_metrics(path) == [
        {"step": 1, "loss": 1.0},
        {"step": 2, "loss": 1.0},
        {"step": 0, "evaluation": {"perplexity": 9.0}},
        {"step": 2, "evaluation": {"perplexity": 9.0}},
        {"step": 3, "loss": 0.5},
    ]
