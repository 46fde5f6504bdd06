"""The card that goes along with exported rows: what they are and how they are read, and then the
card of the dataset they were made of, which tells how that came about."""

import re
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from flows.card import SIZES, add_front, load_templates
from flows.export_forms import tell_reason
from flows.export_settings import ExportedRows
from generators.errors import RunError

CARD = re.compile(r"---\n(?P<front>.*?\n)---\n+(?P<body>.*)", re.DOTALL)
LOADING = re.compile(r"^## Loading it\n.*?(?=^## )", re.DOTALL | re.MULTILINE)
"""How the run's own files are read, which are not the exported ones."""


def render_exported_card(dataset_card: Path, done: ExportedRows, hub: str | None = None) -> str:
    """The README.md of exported rows, for a folder or for the hub. Raises RunError where the
    dataset's own card is missing or has no front matter."""
    try:
        parts = CARD.fullmatch(dataset_card.read_text(encoding="utf-8"))
    except FileNotFoundError:
        parts = None
    if parts is None:
        raise RunError(
            f"{dataset_card}: the dataset's card is missing or was edited, and no rows are exported"
            f" without one. Write it anew: tutelage report RUN"
        )
    front = YAML(typ="safe").load(parts["front"]) | _describe(done)
    if done.settings.form == "datasets":
        del front["configs"]
    body = LOADING.sub("", parts["body"], count=1)
    template = load_templates().get_template("exported_card.md.jinja")
    reasons = {reason: tell_reason(reason) for reason in done.left_out}
    return add_front(front, template.render(done=done, hub=hub, body=body, reasons=reasons))


def _describe(done: ExportedRows) -> dict[str, Any]:
    """What the Hub reads of the exported rows."""
    count = sum(done.rows.values())
    files = [{"split": split, "path": f"{split}.jsonl"} for split in done.rows]
    return {
        "size_categories": [next((size for n, size in SIZES if count < n), "1M<n<10M")],
        "configs": [{"config_name": "default", "data_files": files}],
    }
