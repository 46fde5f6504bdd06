"""What a later cycle takes over: the dataset as it stood when the cycle began, and the answers of
the cycles before it.

The three tables are linked into the cycle's own folder at its begin, so what it goes on from stays
the same whatever is published, released or rolled back meanwhile.
"""

import functools
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from flows.overrides import REJECTED_BY_PERSON
from flows.stages.family import read_entries
from flows.store import (
    QUARANTINE,
    REJECTED,
    TRAIN,
    VERSIONS,
    FileEntry,
    RunDirectory,
    link_file,
    name_folder,
)
from flows.work import Context, enter_cycle
from generators.records import Answer, Verdict, digest
from generators.steering import Weights, weigh_kinds

BASE = "base"
SCORES, CREDIT = "evaluation/after.json", "credit.json"
"""What the student solves of the held-out prompts, and what the operators have earned."""
PUBLISHED = Verdict(
    subject_id="",
    stage="publish",
    detector="publish",
    version="1",
    decision="accept",
    reason="published",
)


def link_base(run: RunDirectory, cycle: int) -> list[FileEntry]:
    """Keep the current tables as those that a cycle begins with; and, where there are any, the
    student's scores and the operators' credit."""
    there = [path for path in (SCORES, CREDIT) if path in run.manifest.files]
    current = run.manifest.current
    assert current is not None
    tables = [place_table(path, current) for path in (TRAIN, QUARANTINE, REJECTED)]
    return [
        link_file(run.root, run.place(path), name_base(path, cycle), stage=BASE, key=digest(cycle))
        for path in (*tables, *there)
    ]


def name_version(number: int) -> str:
    """A version's folder in the run directory."""
    return f"{VERSIONS}/{number:04d}"


def place_table(path: str, number: int) -> str:
    """Where a version keeps one of the files of the dataset."""
    return f"{name_version(number)}/{path.rpartition('/')[2]}"


def name_base(path: str, cycle: int) -> str:
    """Where a cycle keeps one of the files that it began with."""
    return f"{name_folder(cycle)}/base-{path.rpartition('/')[2]}"


def find_base(context: Context, path: str) -> Path | None:
    """A file that this cycle began with; None in the first one, and where there was none."""
    name = name_base(path, context.cycle)
    return context.run.place(name) if name in context.run.manifest.files else None


def read_weights(context: Context) -> Weights | None:
    """What the last student failed at, where that steers this cycle."""
    scores = find_base(context, SCORES)
    if scores is None or not context.config.cycles.steer:
        return None
    return weigh_kinds(json.loads(scores.read_bytes())["by_task"])


def read_base(context: Context, path: str) -> list[dict[str, Any]]:
    """The rows of one of the tables that this cycle began with; none in the first cycle."""
    if context.cycle == 1:
        return []
    rows = pq.read_table(context.run.place(name_base(path, context.cycle))).to_pylist()
    return [row | {"cycle": row.get("cycle") or 1} for row in rows]


def read_base_verdicts(context: Context) -> dict[str, Verdict]:
    """What had been decided about each subject when this cycle began."""
    fields = ("stage", "detector", "version", "decision", "reason", "evidence", "score")
    verdicts = {
        row["id"]: PUBLISHED.model_copy(update={"subject_id": row["id"]})
        for row in read_base(context, TRAIN)
    }
    for path in (QUARANTINE, REJECTED):
        for row in read_base(context, path):
            known = {name: row[name] for name in fields}
            verdicts[row["id"]] = Verdict(subject_id=row["id"], **known)
    return verdicts


def list_earlier(context: Context) -> Iterator[Context]:
    """The cycles before this one, the first one first."""
    for cycle in range(1, context.cycle):
        yield enter_cycle(context.run.root, context.config, context.resources, cycle)


def list_answering(context: Context) -> list[str]:
    """The stages of a cycle that hold answers, whichever samplers the configuration has now."""
    stages = {entry.stage for entry in context.run.entries()}
    return sorted(stage for stage in stages if stage.startswith("answer-"))


def read_earlier_answers(context: Context) -> Iterator[Answer]:
    """The answers of all cycles before this one."""
    yield from read_entries(context.run.root, _list_earlier_files(context), Answer)


def find_earlier_answers(context: Context, ids: Iterable[str]) -> list[Answer]:
    """Some of the answers of the cycles before this one, by their ids."""
    wanted = frozenset(ids)
    return [*_find_answers(context.run.root, _list_earlier_files(context), wanted)]


def _list_earlier_files(context: Context) -> tuple[tuple[str, str], ...]:
    """Path and hash of each file of answers in the cycles before this one."""
    folders = {name_folder(cycle) for cycle in range(1, context.cycle)}
    entries = context.run.manifest.files.values() if folders else ()
    files = [(*e.path.rpartition("/")[::2], e) for e in entries if e.stage.startswith("answer-")]
    own = [e for folder, name, e in files if folder in folders and name.startswith("answers-")]
    return tuple(sorted((entry.path, entry.sha256) for entry in own))


@functools.lru_cache(maxsize=4)
def _find_answers(
    root: Path, files: tuple[tuple[str, str], ...], ids: frozenset[str]
) -> tuple[Answer, ...]:
    """Every shard asks for the same ones again, and there may be many files to look through."""
    found = read_entries(root, files, Answer) if ids else ()
    return tuple(answer for answer in found if answer.id in ids)


def read_published(context: Context) -> list[Answer]:
    """The answers in the dataset that this cycle began with."""
    if context.cycle == 1:
        return []
    base = context.run.place(name_base(TRAIN, context.cycle))
    return find_earlier_answers(context, pq.read_table(base, columns=["id"])["id"].to_pylist())


def read_taken_out(context: Context) -> list[Answer]:
    """The answers that a person had taken out of the dataset before this cycle began."""
    rejected = read_base(context, REJECTED)
    ids = [row["id"] for row in rejected if row["reason"] == REJECTED_BY_PERSON]
    return find_earlier_answers(context, ids)
