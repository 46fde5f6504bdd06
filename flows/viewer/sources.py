"""Reads a run's committed files, a batch of rows at a time, as lines of the viewer's tables.

Nothing here knows which stages a configuration has: a file's name says what it holds and its
stage when in a run it was made, so files of earlier cycles and of other settings are read as well.
"""

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow.parquet as pq

from flows.store import Manifest

Line = dict[str, Any]
"""A line of a table, by column."""
BATCH = 2_000
"""Rows of a Parquet file that are in memory at once."""
RECORDS = re.compile(r"cycle-(\d{4,})/(prompts|answers|verdicts)-.+\.parquet")
METRICS = re.compile(r"(?:.+/)?metrics[\w-]*\.jsonl")
UNITS = {
    "seeds": "prompts",
    "synthesise": "synthesised prompts",
    "evolve": "evolved prompts",
    "check": "prompts",
    "answer": "answers",
    "watch": "answers let through",
    "consensus": "answers voted on",
    "judge": "answers put to the judge",
    "release": "answers out of quarantine",
    "decontaminate": "accepted answers",
    "dedup": "verified answers",
    "screen": "unique answers",
    "difficulty": "unique answers",
    "select": "wanted answers",
    "publish": "rows",
}
"""What each phase of a run judges, in the order of the phases."""
PHASES = (*UNITS,)


class Source(NamedTuple):
    """A committed file of records."""

    path: Path
    kind: str
    """`prompts`, `answers` or `verdicts`."""
    cycle: int
    phase: str
    """The stage without its number or its sampler's name: `evolve`, `answer`."""
    stage: str

    @property
    def place(self) -> int:
        """Grows with the course of the run: a later verdict on a subject has a higher one."""
        rank = PHASES.index(self.phase) if self.phase in PHASES else len(PHASES)
        return 100 * self.cycle + rank


def list_sources(root: Path, manifest: Manifest) -> list[Source]:
    """The committed files of records of all cycles, in the order in which they were made."""
    sources = []
    for entry in manifest.files.values():
        if found := RECORDS.fullmatch(entry.path):
            phase = entry.stage.partition("-")[0]
            place = root / entry.path
            sources.append(Source(place, found[2], int(found[1]), phase, entry.stage))
    return sorted(sources, key=lambda source: (source.place, source.path))


def read_batches(path: Path, leave_out: Sequence[str] = ()) -> Iterator[Line]:
    """The rows of a Parquet file, without these columns."""
    with pq.ParquetFile(path, pre_buffer=False) as file:
        columns = [name for name in file.schema_arrow.names if name not in leave_out]
        for batch in file.iter_batches(batch_size=BATCH, columns=columns):
            yield from batch.to_pylist()


def read_prompts(source: Source) -> Iterator[Line]:
    """Lines for `prompts`."""
    copied = ("id", "root_id", "parent_id", "round", "operator", "domain", "author", "source")
    for row in read_batches(source.path):
        yield {name: row[name] for name in copied} | {
            "cycle": source.cycle,
            "kind": "prompt",
            "licence": row["licence"],
            "template_hash": row["template_hash"],
            "check": row["check"],
            "text": find_question(json.loads(row["messages"])),
            "messages": row["messages"],
            "tools": row["tools"],
        }


def read_answers(source: Source) -> Iterator[Line]:
    """Lines for `answers`; log-probabilities stay in the file."""
    copied = ("id", "prompt_id", "sampler", "sample_index", "model", "reasoning", "finish_reason")
    for row in read_batches(source.path, leave_out=("logprobs", "params", "request_key")):
        usage = json.loads(row["usage"])
        calls = row["tool_calls"]
        yield {name: row[name] for name in copied} | {
            "cycle": source.cycle,
            "completion": json.loads(row["messages"])[-1]["content"],
            "tool_calls": None if calls == "[]" else calls,
            "prompt_tokens": usage["prompt_tokens"],
            "completion_tokens": usage["completion_tokens"],
        }


def read_verdicts(source: Source) -> Iterator[Line]:
    """Lines for `verdicts`."""
    for row in read_batches(source.path):
        yield row | {
            "cycle": source.cycle,
            "phase": source.phase,
            "place": source.place,
            "sampler": source.stage.partition("-")[2] if source.phase == "answer" else None,
        }


def read_published(path: Path) -> Iterator[Line]:
    """Lines for `rows` out of the table of published rows."""
    copied = (
        *("id", "root_id", "parent_id", "prompt_id", "round", "operator", "domain", "verified_by"),
        *("confidence", "weight", "student_pass_rate", "teacher", "author", "source", "licence"),
    )
    for row in read_batches(path):
        yield {name: row.get(name) for name in copied} | {
            "cycle": row.get("cycle") or 1,
            "decision": "accept",
            "stage": "publish",
            "detector": "publish",
            "reason": "published",
            "prompt": find_question(row["prompt"]),
            "completion": row["completion"][-1]["content"],
        }


def read_set_aside(path: Path) -> Iterator[Line]:
    """Lines for `rows` out of a table of rows that were held back."""
    copied = (
        *("id", "stage", "decision", "reason", "evidence", "detector", "score", "prompt"),
        *("completion", "prompt_id", "root_id", "parent_id", "round", "operator", "domain"),
        *("author", "teacher"),
    )
    for row in read_batches(path):
        yield {name: row.get(name) for name in copied} | {"cycle": row.get("cycle") or 1}


def list_metrics(manifest: Manifest) -> list[str]:
    """The files of figures that trainings wrote down, once each: the student's own first, then
    those that lie with earlier versions and with candidates."""
    entries = [e for e in manifest.files.values() if METRICS.fullmatch(e.path)]
    found: dict[str, str] = {}
    for entry in sorted(entries, key=lambda entry: (entry.path.count("/"), entry.path)):
        found.setdefault(entry.sha256, entry.path)
    return [*found.values()]


def read_metrics(path: Path) -> Iterator[Line]:
    """Lines for `metrics`: one for each figure that a training wrote down."""
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            entry = json.loads(line)
            told = entry.pop("evaluation", {})
            step, phase = entry.pop("step"), entry.pop("phase", 1)
            for name, value in (entry | {f"held out: {n}": v for n, v in told.items()}).items():
                figure = value[0] if isinstance(value, list) else value
                if isinstance(figure, int | float):
                    yield {"step": step, "phase": phase, "name": name, "value": float(figure)}


def find_question(messages: Iterable[Line]) -> str:
    """The last user turn: what is being asked."""
    asked = [message["content"] for message in messages if message["role"] == "user"]
    return asked[-1] if asked else ""
