"""`viewer.db`: a run's committed files as tables that can be counted, searched and walked.

It is built in one pass, a batch of rows at a time, beside its place, and renamed; it holds the
digest of the manifest that it was built from. A run builds it at its end, and it is built anew
when it is looked into and the manifest has changed. Nothing depends on it: it may be deleted at any
time.
"""

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from flows.console import Console
from flows.overrides import read_log
from flows.store import (
    MANIFEST,
    QUARANTINE,
    REJECTED,
    TRAIN,
    VIEWER,
    Manifest,
    RunDirectory,
    read_manifest,
    write_durably,
)
from flows.viewer import sources
from flows.viewer.sources import Line
from generators.errors import RunError
from generators.records import digest

if TYPE_CHECKING:
    import sqlite_utils

VERSION = "1"
"""Raised when the tables change, so that a file of an older form is built anew."""
ATTEMPTS = 3
"""A run that goes on may replace a file while it is read; then the build starts over."""
FACETS = (
    *("decision", "reason", "operator", "round", "domain", "verified_by", "teacher", "cycle"),
)
"""By what rows are sorted into heaps; `heaps` counts every combination that occurs."""
NUMBERS = ("round", "cycle")
"""Those of them that are numbers."""
REPEATS = "repeats "
"""How the evidence of a duplicate begins that names its original."""
_VERDICT = {
    "decision": str,
    "reason": str,
    "stage": str,
    "detector": str,
    "evidence": str,
    "score": float,
}
_ORIGIN = {"root_id": str, "parent_id": str, "round": int, "operator": str, "domain": str}
TABLES: dict[str, dict[str, type]] = {
    "about": {"key": str, "value": str},
    "rows": {
        "n": int,
        "id": str,
        "cycle": int,
        **_VERDICT,
        **_ORIGIN,
        "verified_by": str,
        "teacher": str,
        "prompt_id": str,
        "author": str,
        "source": str,
        "licence": str,
        "confidence": float,
        "weight": float,
        "student_pass_rate": float,
        "words": int,
        "heap": int,
        "prompt": str,
        "completion": str,
    },
    # What rows are chosen and sorted by, without their texts, so that a list reads few pages.
    "places": {"n": int, "heap": int, "confidence": float, "score": float, "words": int},
    "heaps": {
        "heap": int,
        **{name: int if name in NUMBERS else str for name in FACETS},
        "rows": int,
    },
    "prompts": {
        "id": str,
        "cycle": int,
        "kind": str,
        **_ORIGIN,
        "author": str,
        "source": str,
        "licence": str,
        "template_hash": str,
        **_VERDICT,
        "check": str,
        "text": str,
        "messages": str,
        "tools": str,
    },
    "answers": {
        "id": str,
        "prompt_id": str,
        "cycle": int,
        "sampler": str,
        "sample_index": int,
        "model": str,
        "finish_reason": str,
        "prompt_tokens": int,
        "completion_tokens": int,
        **_VERDICT,
        "reasoning": str,
        "tool_calls": str,
        "completion": str,
    },
    "verdicts": {
        "subject_id": str,
        "cycle": int,
        "phase": str,
        "sampler": str,
        "place": int,
        "version": str,
        **_VERDICT,
    },
    "duplicates": {
        "subject_id": str,
        "original": str,
        "decision": str,
        "kind": str,
        "score": float,
    },
    "acts": {
        "row": str,
        "decision": str,
        "why": str,
        "by": str,
        "at": str,
        "stage": str,
        "reason": str,
    },
    "versions": {
        "number": int,
        "cycle": int,
        "created": str,
        "rows": int,
        "hash": str,
        "why": str,
        "current": int,
    },
    "metrics": {"file": str, "phase": int, "step": int, "name": str, "value": float},
}
KEYS = {
    "about": "key",
    "rows": "n",
    "places": "n",
    "heaps": "heap",
    "prompts": "id",
    "answers": "id",
}
INDEXES = {
    "rows": [["id"], ["prompt_id"]],
    "places": [["heap"], ["confidence"], ["score"], ["words"]],
    "prompts": [["parent_id"], ["root_id"], ["round"]],
    "answers": [["prompt_id"], ["sampler"]],
    "verdicts": [["subject_id", "place"], ["phase", "cycle"]],
    "duplicates": [["original"], ["subject_id"]],
    "acts": [["row"]],
}


class Built(NamedTuple):
    """A `viewer.db` as it lies on the disk."""

    place: Path
    digest: str
    """Of the manifest that it was built from."""


def refresh_database(root: Path) -> Built:
    """Build a run's `viewer.db`, unless the one that is there tells of the manifest as it stands.

    Raises RunError where there is no run.
    """
    place = root / VIEWER
    for attempt in range(ATTEMPTS):
        manifest = read_manifest(root)
        wanted = digest_manifest(manifest)
        if read_digest(place) == wanted:
            return Built(place, wanted)
        try:
            write_durably(place, lambda beside, m=manifest: build_database(root, m, beside))
        except FileNotFoundError:
            if attempt == ATTEMPTS - 1:
                raise RunError(
                    f"{root / MANIFEST}: names files that are not there. If a run is at work "
                    "here, wait for it; else type its command again, and they are made anew."
                ) from None
        else:
            return Built(place, wanted)
    raise AssertionError("the last attempt returns or raises")


def prepare_database(root: Path, console: Console) -> None:
    """Build it at a run's end, so that the run opens at once; that it cannot be built is a warning,
    since the run is done."""
    try:
        refresh_database(root)
    except (OSError, sqlite3.Error, RunError) as error:
        console.warn(
            f"{root / VIEWER}: could not be built ({error}); the run is whole without it, and "
            f"`tutelage inspect {root}` tries again"
        )


def digest_manifest(manifest: Manifest) -> str:
    """What tells a manifest, and the form of the tables, from another."""
    return digest(VERSION, manifest, length=64)


def read_digest(place: Path) -> str | None:
    """The manifest that a `viewer.db` was built from; None where there is none that can be read."""
    if not place.is_file():
        return None
    try:
        with closing(connect(place)) as connection:
            found = connection.execute("select value from about where key = 'manifest'").fetchone()
    except sqlite3.DatabaseError:
        return None
    return found[0] if found else None


def connect(place: Path) -> sqlite3.Connection:
    """Open a `viewer.db` for reading."""
    connection = sqlite3.connect(f"{place.absolute().as_uri()}?mode=ro", uri=True)
    connection.row_factory = sqlite3.Row
    return connection


def build_database(root: Path, manifest: Manifest, place: Path) -> None:
    """Fill a new file with a run's committed files."""
    import sqlite_utils  # takes a second, since it imports pandas where that is installed

    from flows.viewer.board import sum_up_board

    database = sqlite_utils.Database(sqlite3.connect(place, isolation_level=None))
    with closing(database.conn):
        # A file that a crash spoils is never renamed into place, so nothing need be journalled.
        database.conn.execute("pragma journal_mode = off")
        database.conn.execute("pragma synchronous = off")
        database.conn.execute("begin")
        for name, columns in TABLES.items():
            database.table(name).create(columns, pk=KEYS.get(name))
        _fill_records(database, sources.list_sources(root, manifest))
        _fill_rows(database, root, manifest)
        _fill_others(database, RunDirectory(root), manifest)
        for name, indexes in INDEXES.items():
            for index in indexes:
                database.table(name).create_index(index)
        _settle_verdicts(database.conn)
        database.conn.execute("commit")
        database.table("rows").enable_fts(["prompt", "completion"])
        database.conn.execute("analyze")
        board = sum_up_board(database.conn, root, manifest)
        told = {"manifest": digest_manifest(manifest), "board": board.model_dump_json()}
        _insert(database, "about", ({"key": key, "value": text} for key, text in told.items()))


def _fill_records(database: "sqlite_utils.Database", files: Iterable[sources.Source]) -> None:
    for source in files:
        if source.kind == "prompts":
            _insert(database, "prompts", sources.read_prompts(source), replace=True)
        elif source.kind == "answers":
            _insert(database, "answers", sources.read_answers(source), replace=True)
        else:
            _insert(database, "verdicts", sources.read_verdicts(source))


def _fill_rows(database: "sqlite_utils.Database", root: Path, manifest: Manifest) -> None:
    readers = {
        TRAIN: sources.read_published,
        QUARANTINE: sources.read_set_aside,
        REJECTED: sources.read_set_aside,
    }
    heaps: dict[tuple, list[int]] = {}

    def sort_into_heaps() -> Iterator[Line]:
        for path, read in readers.items():
            for row in read(root / path) if path in manifest.files else ():
                row = dict.fromkeys(FACETS, "") | {k: v for k, v in row.items() if v is not None}
                heap = heaps.setdefault(tuple(row[name] for name in FACETS), [len(heaps), 0])
                heap[1] += 1
                words = len(row["completion"].split()) if "completion" in row else None
                yield row | {"heap": heap[0], "words": words}

    _insert(database, "rows", sort_into_heaps())
    columns = ", ".join(TABLES["places"])
    database.conn.execute(f"insert into places ({columns}) select {columns} from rows")
    counted = (
        {"heap": number, "rows": rows} | dict(zip(FACETS, values, strict=True))
        for values, (number, rows) in heaps.items()
    )
    _insert(database, "heaps", counted)


def _fill_others(database: "sqlite_utils.Database", run: RunDirectory, manifest: Manifest) -> None:
    """What a person did, the versions of the dataset, and the figures of trainings."""
    acts = (
        {
            **act.model_dump(mode="json", include={"row", "decision", "why", "by", "at"}),
            "stage": act.overruled.stage,
            "reason": act.overruled.reason,
        }
        for act in read_log(run)
    )
    _insert(database, "acts", acts)
    versions = (
        version.model_dump(mode="json") | {"current": int(version.number == manifest.current)}
        for version in manifest.versions
    )
    _insert(database, "versions", versions)
    for path in sources.list_metrics(manifest):
        lines = sources.read_metrics(run.place(path))
        _insert(database, "metrics", (line | {"file": path} for line in lines))


def _insert(
    database: "sqlite_utils.Database", table: str, lines: Iterable[Line], *, replace: bool = False
) -> None:
    """Add lines to a table; a column that a line lacks is null."""
    names = [name for name in TABLES[table] if name != "n"]
    verb = "insert or replace" if replace else "insert"
    marks = ", ".join("?" for _ in names)
    columns = ", ".join(f"[{name}]" for name in names)
    database.conn.executemany(
        f"{verb} into [{table}] ({columns}) values ({marks})",
        (tuple(line.get(name) for name in names) for line in lines),
    )


def _settle_verdicts(connection: sqlite3.Connection) -> None:
    """Note the last word on each prompt and answer, the attempts that brought no child, and which
    subject repeats which."""
    attempts = connection.execute(
        "select subject_id, cycle from verdicts where phase = 'evolve' and instr(subject_id, ':')"
    ).fetchall()
    for subject, cycle in attempts:
        parent, operator, round = subject.split(":")
        connection.execute(
            "insert or ignore into prompts (id, cycle, kind, root_id, parent_id, round, operator, "
            "domain) select ?, ?, 'attempt', root_id, id, ?, ?, domain from prompts where id = ?",
            (subject, cycle, int(round), operator, parent),
        )
    columns = ", ".join(_VERDICT)
    for table in ("prompts", "answers"):
        connection.execute(
            f"update {table} set ({columns}) = (select {columns} from verdicts "
            f"where subject_id = {table}.id order by place desc limit 1)"
        )
        connection.execute(
            f"update {table} set ({columns}) = (select {columns} from rows where rows.id = "
            f"{table}.id) where id in (select id from rows)"
        )
    connection.execute(
        "update prompts set decision = 'accept', reason = 'seed' where decision is null"
    )
    connection.execute(
        "insert into duplicates (subject_id, original, decision, kind, score) "
        "select subject_id, substr(evidence, ?), decision, reason, score from verdicts "
        "where phase = 'dedup' and decision != 'accept' and evidence glob ?",
        (len(REPEATS) + 1, f"{REPEATS}*"),
    )
