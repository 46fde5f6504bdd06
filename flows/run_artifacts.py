"""What Prefect's pages show of a run: progress, counts, a lineage, links.

Text that a model wrote stands there in fenced code, with hidden characters made visible: it can
neither act nor end the fence.
"""

import re
import shlex
import threading
from collections.abc import Iterable
from typing import Any
from uuid import UUID

import pyarrow.parquet as pq
from prefect.artifacts import (
    create_markdown_artifact,
    create_progress_artifact,
    create_table_artifact,
    update_progress_artifact,
)

from flows.facts import Lineage, StageCount
from flows.gather import gather_counts, gather_lineages
from flows.run_settings import RunSettings
from flows.stages.family import read_family
from flows.stages.report import REPORT
from flows.stages.soft_labels import CARD
from flows.stages.train import STUDENT
from flows.store import TRAIN, RunDirectory
from flows.untrusted_text import show_plainly
from flows.wording import count_noun
from flows.work import Context

LONGEST = 1_500
"""Characters of one text that are shown."""


class Progress:
    """A stage's progress as an artifact, renewed as shards end."""

    def __init__(self, config: RunSettings, stage: str, total: int) -> None:
        self.total, self.done = max(total, 1), 0
        self._lock = threading.Lock()
        key = name_key(config, f"{stage}-progress")
        created = create_progress_artifact(0.0, key=key, description=stage)
        self._id = created if isinstance(created, UUID) else None

    def advance(self, rows: int) -> None:
        with self._lock:
            self.done += rows

    def report(self) -> None:
        if self._id is not None:
            update_progress_artifact(self._id, min(100.0, 100 * self.done / self.total))


def publish_summary(settings: RunSettings, markdown: str) -> None:
    """Show what came out where Prefect shows it."""
    _publish(settings, "summary", markdown, "What came out")


def publish_counts(context: Context) -> None:
    """Show why rows fell, and how one of those that did not came about."""
    family, config = read_family(context), context.config
    drops = _list_drops(gather_counts(context, family))
    create_table_artifact(drops, key=name_key(config, "drops"), description="Why rows fell")
    rows = pq.read_table(context.run.place(TRAIN)).to_pylist()
    longest = next(iter(gather_lineages(family, rows)), None)  # they come by their length
    if longest is not None:
        _publish(config, "lineage", tell_lineage(longest), "How a published row came about")


def publish_report(settings: RunSettings, run: RunDirectory) -> None:
    """Link the report."""
    _publish(settings, "report", f"[report.html]({_link(run, REPORT)})", "The report")


def publish_links(settings: RunSettings, run: RunDirectory) -> None:
    """Link what the run has made, and say how to look into it."""
    _publish(settings, "links", tell_links(run), "Where everything lies")


def tell_lineage(lineage: Lineage) -> str:
    """A published row, back to its seed, as Markdown."""
    lines = [f"The published row {_code(lineage.row_id)} ({_code(lineage.domain)}):", ""]
    for step in lineage.steps:
        made = "Seed" if step.round == 0 else f"Round {step.round}, {_code(step.operator)}"
        by = f", by {_code(step.author)}" if step.author else ""
        lines += [f"{made}{by}:", "", _quote(step.text), ""]
    lines += [f"Answer, by {_code(lineage.teacher)}:", "", _quote(lineage.answer), ""]
    return "\n".join([*lines, f"Accepted by {lineage.verified_by}:", "", _quote(lineage.check)])


def tell_links(run: RunDirectory) -> str:
    """The run's cycle and version, and links to what it has made, as Markdown."""
    manifest, root = run.manifest, shlex.quote(str(run.root.resolve()))
    lines = [f"- cycle {manifest.newest}, {manifest.cycles[str(manifest.newest)].status}"]
    for version in manifest.versions:
        if version.number == manifest.current:
            rows = count_noun(version.rows, "row")
            lines.append(f"- version {version.number} of the dataset: {rows} ({version.why})")
    places = {"dataset": TRAIN, "card": CARD, "report": REPORT, "student": STUDENT}
    lines += [
        f"- [{name}]({_link(run, path)})"
        for name, path in places.items()
        if run.place(path).exists()
    ]
    return "\n".join([*lines, f"- to look into it: {_code(f'tutelage inspect {root}')}"])


def name_key(config: RunSettings, name: str) -> str:
    """Artifact keys are lower-case letters, digits and dashes."""
    text = f"{config.name}-{name}".lower()
    return "".join(c if c.isalnum() and c.isascii() else "-" for c in text)


def _publish(settings: RunSettings, name: str, markdown: str, description: str) -> None:
    create_markdown_artifact(markdown, key=name_key(settings, name), description=description)


def _list_drops(counts: Iterable[StageCount]) -> list[dict[str, Any]]:
    return [
        {"stage": c.stage, "decision": r.decision, "reason": r.reason, c.unit: r.count}
        for c in counts
        for r in c.reasons
    ]


def _link(run: RunDirectory, path: str) -> str:
    return (run.root.resolve() / path).as_uri()


def _code(text: str) -> str:
    """A short text as code in a line, whatever is in it."""
    return f"`{' '.join(show_plainly(text, 200).split()).replace('`', chr(39))}`"


def _quote(text: str) -> str:
    """A text as fenced code; the fence is longer than any in it."""
    shown = show_plainly(text, LONGEST)
    longest = max(map(len, re.findall("`+", shown)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}text\n{shown}\n{fence}"
