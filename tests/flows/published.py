"""A published dataset of one's own making: a run directory with rows of every kind of turn."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa

from flows.card import add_front
from flows.stages.publish import ROW_SCHEMA, write_table
from flows.store import TRAIN, Cycle, FileEntry, Manifest, create_run, describe_file
from generators.records import canonical_json

PUBLISHED = datetime(2026, 11, 28, tzinfo=UTC)
TOOL = {"type": "function", "function": {"name": "look_up", "parameters": {"type": "object"}}}
CARD = """# small

## Loading it

```python
rows = load_dataset("parquet", data_files="train.parquet", split="train")
```

## What is in it

The rows of a test.
"""


def say(*turns: tuple[str, str]) -> list[dict[str, str]]:
    return [{"role": role, "content": content} for role, content in turns]


def make_row(id: str, *prompt: tuple[str, str], answer: str = "4", **fields: Any) -> dict[str, Any]:
    """A row as a run publishes it; what is not said of its prompt is the question 2 + 2."""
    return {
        "id": id,
        "prompt": say(*(prompt or [("user", "What is 2 + 2?")])),
        "completion": say(("assistant", answer)),
        "root_id": f"root-{id}",
        "prompt_id": f"prompt-{id}",
        "round": 0,
        "operator": "seed",
        "domain": "maths",
        "verified_by": "reference",
        "confidence": 1.0,
        "weight": 1.0,
        "teacher": "a-teacher@1",
        "author": "tutelage authors",
        "source": "sums.jsonl:1",
        "licence": "cc0-1.0",
        "check": canonical_json({"kind": "exact", "answer": answer}),
        **fields,
    }


def list_kinds() -> list[dict[str, Any]]:
    """A row of each kind of turn that a published row can have."""
    asked = ("user", "What is 2 + 2?")
    return [
        make_row("a", answer="4\u2028</script>\u202e מ"),
        make_row("b", ("system", "Be brief."), asked),
        make_row("c", asked, ("assistant", "4"), ("user", "And doubled?"), answer="8"),
        make_row("d", tools=canonical_json([TOOL])),
        make_row("e", asked, ("assistant", ""), ("tool", "4")),
        make_row("f", answer=" "),
    ]


def publish(root: Path, rows: Sequence[dict[str, Any]], schema: pa.Schema = ROW_SCHEMA) -> Path:
    """Make a run directory whose dataset has these rows."""
    (root / "dataset").mkdir(parents=True)
    write_table(root / TRAIN, rows, schema)
    front = {"pretty_name": "small", "license": "cc0-1.0", "configs": [{"config_name": "default"}]}
    (root / "dataset/README.md").write_text(add_front(front, CARD), encoding="utf-8")
    files = [TRAIN, "dataset/README.md"]
    create_run(root, make_manifest([describe_file(root, f, stage="x", key="k") for f in files]))
    return root


def make_manifest(files: Sequence[FileEntry]) -> Manifest:
    return Manifest(
        name="small",
        config_digest="0123456789abcdef",
        config={},
        cycles={"1": Cycle(status="finished", started=PUBLISHED)},
        files={entry.path: entry for entry in files},
    )
