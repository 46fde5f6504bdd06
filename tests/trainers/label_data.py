"""Texts with soft labels, as an annotation publishes them, for tests to write to Parquet."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

GLAD = ("joy", "Everybody laughs and sings", "The child dances", "They won and they cheer")
SAD = ("sadness", "Nobody came to say goodbye", "The dog is gone", "They lost and they weep")
PLACES = ("in the street", "at the station", "by the sea", "in the hall")
FAN = "a devoted fan"


def list_rows() -> list[dict[str, Any]]:
    """24 texts that their first words tell apart; of 10 votes one or two always go astray."""
    rows = []
    for label, *starts in (GLAD, SAD):
        for i, start in enumerate(starts):
            for place in PLACES:
                right = 8 + i % 2
                rows.append(make_row(f"{start} {place}.", right if label == "joy" else 10 - right))
    return rows


def make_row(text: str, joy: int, *, context: str | None = None, **changes: Any) -> dict[str, Any]:
    """A row in which `joy` of 10 votes went to joy."""
    label = None if joy == 5 else "joy" if joy > 5 else "sadness"
    return {
        "id": f"{text}/{context}",
        "text": text,
        "context": context,
        "pooled": context is None,
        "label": label,
        "label_probs": {"joy": joy / 10, "sadness": 1 - joy / 10},
        "counts": {"joy": joy, "sadness": 10 - joy},
        "n": 10,
        "teacher": "panel",
        "licence": "cc0-1.0",
        "text_licence": "CC0-1.0",
        "root_id": text,
        **changes,
    }


def write_rows(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    names = list(dict.fromkeys(name for row in rows for name in row))
    columns = {name: [row.get(name) for row in rows] for name in names}
    pq.write_table(pa.table(columns), path)
    return path
