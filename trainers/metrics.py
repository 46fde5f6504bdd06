"""`metrics.jsonl`: one JSON object a line, appended while a run goes on.

Two kinds of line: a training step (`step`, `loss`, …), and an evaluation (`step`, `evaluation`:
name to value, or to `[value, low, high]`). A run that goes on from a checkpoint first forgets
the steps after it, so no step stands twice.
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def append_metrics(path: Path, line: Mapping[str, Any]) -> None:
    """Add one line."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """Every whole line; a last line that a kill cut short is left out."""
    if not path.exists():
        return []
    text = path.read_text(encoding="utf-8")
    return [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines() if line]


def forget_steps_after(path: Path, step: int) -> None:
    """Drop what was told of later steps than this one, and a line cut short."""
    if not path.exists():
        return
    kept = [m for m in read_metrics(path) if m["step"] <= step]
    scratch = path.with_name(path.name + ".partial")
    with scratch.open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(line) + "\n" for line in kept)
        file.flush()
        os.fsync(file.fileno())
    scratch.replace(path)
