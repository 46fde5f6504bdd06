"""The versions of a run's dataset: each is kept as it was published, and one of them is current.

`dataset/` holds the current version. `versions/0001/` and so on hold every one, as links to the
same files as long as these are the same, so a version costs only what changed. With a version lies
the student that was taught on it and promoted.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from flows.console import Console
from flows.history import SCORES, name_version, place_table
from flows.stages.publish import hash_dataset
from flows.stages.train import METRICS, STUDENT
from flows.store import (
    CARD,
    QUARANTINE,
    REJECTED,
    TRAIN,
    VERSIONS,
    FileEntry,
    Manifest,
    RunDirectory,
    Version,
    hash_file,
    hold_run,
    link_file,
)
from flows.wording import count_noun
from generators.errors import RunError
from generators.records import Record

TABLES = (TRAIN, QUARANTINE, REJECTED)


class VersionDiff(Record):
    """What changed from one version to another."""

    a: int
    b: int
    added: tuple[str, ...]
    """Ids of rows that only `b` has."""
    removed: tuple[str, ...]
    """Ids of rows that only `a` has."""
    kept: int
    added_by: dict[str, dict[str, int]]
    """How many of the added rows have each domain, operator and kind of verification."""
    removed_for: dict[str, int]
    """Where the removed rows are in `b`: the reasons for which they were set aside, or `gone`."""


def keep_version(run: RunDirectory, why: str) -> Version | None:
    """Keep the dataset as it stands as a new version; None where its rows are the current one's,
    which then gets what has been set aside since."""
    manifest, hash = run.manifest, hash_dataset(run.place(TRAIN))
    for version in manifest.versions:
        if version.number == manifest.current and version.hash == hash:
            aside = (QUARANTINE, REJECTED)
            run.commit(_link(run, [(path, place_table(path, version.number)) for path in aside]))
            return None
    number = len(manifest.versions) + 1
    version = Version(
        number=number,
        cycle=run.cycle,
        created=run.now(),
        rows=pq.read_metadata(run.place(TRAIN)).num_rows,
        hash=hash,
        why=why,
    )
    links = _link(run, [(path, place_table(path, number)) for path in TABLES])
    files = manifest.files | {entry.path: entry for entry in links}
    run.update(files=files, versions=(*manifest.versions, version), current=number)
    return version


def restore_files(run: RunDirectory) -> None:
    """Put the dataset and the student back as the manifest has them, where a killed command had
    replaced some of their files."""
    files = run.manifest.files
    kept = {e.sha256: path for path, e in files.items() if path.startswith(f"{VERSIONS}/")}
    for path, entry in files.items():
        if entry.sha256 not in kept or not (path in (*TABLES, CARD) or _is_students(path)):
            continue
        source, place = run.place(kept[entry.sha256]), run.place(path)
        if place.exists() and (place.samefile(source) or hash_file(place) == entry.sha256):
            continue
        link_file(run.root, source, path, stage=entry.stage, key=entry.key)


def keep_card(run: RunDirectory) -> None:
    """Put the dataset's card beside the current version's tables."""
    number = run.manifest.current
    if number is not None and CARD in run.manifest.files:
        run.commit(_link(run, [(CARD, place_table(CARD, number))]))


def keep_student(run: RunDirectory, number: int) -> None:
    """Put the run's student beside the version that it was taught on; its card is the report's,
    which writes it anew."""
    files = run.manifest.files.items()
    paths = [path for path, e in files if _is_students(path) and e.stage != "report"]
    run.commit(_link(run, [(path, f"{name_version(number)}/{path}") for path in paths]))


def keep_scores(run: RunDirectory) -> None:
    """Put what the run's student scored beside the version that it was taught on."""
    current = run.manifest.current
    taught = current and find_taught(run.manifest, current)
    if taught and SCORES in run.manifest.files:
        run.commit(_link(run, [(SCORES, f"{name_version(taught)}/{SCORES}")]))


def find_version(manifest: Manifest, number: int) -> Version:
    """Raises RunError where there is no such version."""
    for version in manifest.versions:
        if version.number == number:
            return version
    known = ", ".join(str(version.number) for version in manifest.versions) or "none"
    raise RunError(f"{manifest.name}: there is no version {number} (versions: {known})")


def choose_pair(run: RunDirectory, a: int | None, b: int | None) -> tuple[int, int]:
    """The two versions to compare: as named, else the newest and the one before it. Raises RunError
    where there are not two."""
    versions = run.manifest.versions
    b = b if b is not None else len(versions)
    a = a if a is not None else b - 1
    if len(versions) < 2:
        raise RunError(
            f"{run.root}: has {count_noun(len(versions), 'version')}, and two are compared. Add "
            "one with: tutelage run CONFIG --new-cycle"
        )
    return a, b


def compare_versions(run: RunDirectory, a: int, b: int) -> VersionDiff:
    """Tell which rows came and went from version `a` to version `b`."""
    manifest = run.manifest
    one, other = (_read_table(run, find_version(manifest, n).number, TRAIN) for n in (a, b))
    before, after = ({row["id"]: row for row in rows} for rows in (one, other))
    added = sorted(after.keys() - before.keys())
    removed = sorted(before.keys() - after.keys())
    aside = {row["id"]: row for p in (QUARANTINE, REJECTED) for row in _read_table(run, b, p)}
    names = ("domain", "operator", "verified_by")
    return VersionDiff(
        a=a,
        b=b,
        added=tuple(added),
        removed=tuple(removed),
        kept=len(before.keys() & after.keys()),
        added_by={name: _count(after[id][name] for id in added) for name in names},
        removed_for=_count(aside[id]["reason"] if id in aside else "gone" for id in removed),
    )


def rollback(root: Path, number: int, console: Console) -> Version:
    """Make a version the current one again, with the student of its time; nothing is lost, and
    the next cycle goes on from it."""
    from flows.verbs import report

    with hold_run(root):
        run = RunDirectory(root)
        manifest = run.manifest
        version = find_version(manifest, number)
        restore_files(run)
        if number == manifest.current:
            console.line(f"{root}: version {number} is the current one already.")
            return version
        names = [*TABLES, *([CARD] if place_table(CARD, number) in manifest.files else [])]
        paths = [(place_table(path, number), path) for path in names]
        taught = find_taught(manifest, number)
        if taught is not None:
            prefix = f"{name_version(taught)}/"
            kept = [p for p in manifest.files if p.startswith(prefix)]
            paths += [(p, p.removeprefix(prefix)) for p in kept if _is_students(p[len(prefix) :])]
        _put_back(run, paths, number)
    report(root)
    console.line(f"{root}: version {number} is current: {count_noun(version.rows, 'row')}")
    if taught is not None:
        console.line(f"student: the one that was taught on version {taught}")
    return version


def find_taught(manifest: Manifest, number: int) -> int | None:
    """The nearest version, from this one back, on which a student was taught that is kept."""
    before: int | None = number
    while before and f"{name_version(before)}/{STUDENT}/config.json" not in manifest.files:
        before = _find_parent(manifest, before)
    return before


def show_versions(run: RunDirectory, console: Console) -> None:
    """Print the versions as a table; the current one is marked."""
    manifest = run.manifest
    rows = [
        [
            f"{v.number}{' (current)' if v.number == manifest.current else ''}",
            f"{v.created:%Y-%m-%d %H:%M}",
            v.rows,
            v.why,
            "yes" if find_taught(manifest, v.number) == v.number else "",
        ]
        for v in manifest.versions
    ]
    console.table("Versions", ["version", "published (UTC)", "rows", "why", "student"], rows)


def show_diff(diff: VersionDiff, console: Console) -> None:
    """Print what came and went."""
    added, removed = len(diff.added), len(diff.removed)
    console.line(
        f"version {diff.a} to {diff.b}: {count_noun(added, 'row')} added, {removed:,} removed, "
        f"{diff.kept:,} kept"
    )
    for name, counts in diff.added_by.items():
        if counts:
            told = ", ".join(f"{value} {count}" for value, count in counts.items())
            console.line(f"added by {name.replace('_', ' ')}: {told}")
    for reason, count in diff.removed_for.items():
        console.line(f"removed: {count} ({reason})")


def _put_back(run: RunDirectory, paths: Sequence[tuple[str, str]], number: int) -> None:
    """Link files of a version to their old places, whatever lies there now."""
    manifest = run.manifest
    old = manifest.files
    entries = [
        link_file(
            run.root,
            run.place(source),
            target,
            stage=old[target].stage if target in old else _stage_of(target),
            key=old[source].key,
        )
        for source, target in paths
    ]
    taken = {entry.path for entry in entries}
    changes_student = any(map(_is_students, taken))
    stale = {p for p in old if changes_student and _is_students(p) and p not in taken}
    files = {p: e for p, e in old.items() if p not in stale} | {e.path: e for e in entries}
    run.update(files=files, current=number)
    for path in stale:
        run.place(path).unlink(missing_ok=True)


def _link(run: RunDirectory, paths: Iterable[tuple[str, str]]) -> list[FileEntry]:
    """Give files a second name; each keeps the key of the work that made it."""
    files = run.manifest.files
    return [
        link_file(run.root, run.place(source), target, stage=VERSIONS, key=files[source].key)
        for source, target in paths
    ]


def _find_parent(manifest: Manifest, number: int) -> int | None:
    """The version that one went on from: its cycle's base, or the one before it in the cycle."""
    version = find_version(manifest, number)
    base = manifest.cycles[str(version.cycle)].base
    earlier = [v.number for v in manifest.versions[: number - 1] if v.cycle == version.cycle]
    return earlier[-1] if earlier else base


def _stage_of(path: str) -> str:
    if path == SCORES:
        return "evaluate-after"
    return "train" if _is_students(path) else "publish"


def _is_students(path: str) -> bool:
    return path in (METRICS, SCORES) or path.startswith(f"{STUDENT}/")


def _read_table(run: RunDirectory, number: int, path: str) -> list[dict[str, Any]]:
    table = pq.read_table(run.place(place_table(path, number)))
    wanted = ("id", "domain", "operator", "verified_by", "reason")
    return table.select([name for name in table.column_names if name in wanted]).to_pylist()


def _count(values: Iterable[str]) -> dict[str, int]:
    return dict(Counter(values).most_common())
