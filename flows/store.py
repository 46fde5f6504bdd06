"""The run directory: what is committed, how it gets there, and what is left over.

The manifest alone says what is committed. A file is written beside its place, flushed to disk,
renamed into place, and its directory flushed; only then does the manifest, itself replaced in the
same way, name it. Whatever the manifest does not list is a leftover of a killed process and is
removed when the run is taken up again (training checkpoints apart, which carry their own marks).

Each file carries the key of the work that made it: a digest of the stage's settings and of the
files it read. A run whose configuration has changed keeps every file whose key still holds.
"""

import fcntl
import hashlib
import os
import re
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError

from generators.errors import RunError
from generators.records import Record

MANIFEST = "manifest.json"
FIRST_MANIFEST = re.compile(rf"\.\d+\.{re.escape(MANIFEST)}")
"""What a process leaves behind that is killed while it writes a run's first manifest."""
CONFIG, CONFIG_FILE = "config", "config.yaml"
"""The resolved configuration's place, and the stage under whose name it is committed."""
TRAINING = "training"
"""Checkpoints and work of a training under way; swept by the trainer, not by the store."""
TRAIN, QUARANTINE, REJECTED = (f"dataset/{n}.parquet" for n in ("train", "quarantine", "rejected"))
"""The dataset, and beside it everything that is not in it."""
CARD = "dataset/README.md"
VERSIONS = "versions"
"""Where every version of the dataset is kept, and the stage under whose name they are committed."""
VIEWER = "viewer.db"
"""What `tutelage inspect` builds out of the committed files, and builds again when they change."""
CYCLE_FOLDER = re.compile(r"cycle-\d{4,}")


class FileEntry(Record):
    """One committed file."""

    path: str
    """Relative to the run directory, with forward slashes."""
    sha256: str
    bytes: int
    stage: str
    key: str
    """Digest of the settings and inputs that this file was made of."""


class Cycle(Record):
    """One pass from seeds to student."""

    status: Literal["running", "finished"]
    started: datetime
    finished: datetime | None = None
    base: int | None = None
    """The version of the dataset that it goes on from; None for the first cycle."""
    taught_on: int | None = None
    """The version that its student was taught on; None where none was taught."""


class Version(Record):
    """The dataset as it was published once. Its rows, under `versions/`, are never changed."""

    number: int
    cycle: int
    created: datetime
    rows: int
    hash: str
    """Of the rows, as `flows.stages.publish.hash_dataset` takes it."""
    why: str
    """`cycle 2`, `released 1 row`."""


class Manifest(Record):
    """The truth about a run directory."""

    version: Literal[1] = 1
    name: str
    config_digest: str
    config: dict[str, Any]
    cycles: dict[str, Cycle]
    """By number; the last one is the newest."""
    versions: tuple[Version, ...] = ()
    """Of the dataset, the oldest first."""
    current: int | None = None
    """The version that `dataset/` holds; None before anything was published."""
    seconds: dict[str, float] = Field(default_factory=dict)
    """Seconds spent in each stage, over all sittings."""
    files: dict[str, FileEntry] = Field(default_factory=dict)

    @property
    def newest(self) -> int:
        """The number of the newest cycle."""
        return max(map(int, self.cycles))


class RunDirectory:
    """A run directory on a local disk, opened by the one process that conducts the run.

    It shows what one cycle sees (by default the newest): its own files, and those that belong to
    the run as a whole. What lies in another cycle's folder is neither shown nor dropped.
    """

    def __init__(self, root: Path, cycle: int | None = None) -> None:
        self.root = root
        self._cycle = cycle

    @property
    def manifest(self) -> Manifest:
        """The manifest as it stands on disk."""
        return read_manifest(self.root)

    @property
    def cycle(self) -> int:
        """The cycle whose files are shown."""
        return self._cycle if self._cycle is not None else self.manifest.newest

    def place(self, path: str) -> Path:
        """Where a committed or coming file lies."""
        return self.root / path

    def entries(self) -> list[FileEntry]:
        """The committed files that this cycle sees, in the order of their names."""
        manifest = self.manifest
        own = name_folder(manifest.newest if self._cycle is None else self._cycle)
        entries = sorted(manifest.files.values(), key=_path_of)
        return [e for e in entries if _folder_of(e) in (own, None)]

    def files(self, stage: str) -> list[Path]:
        """The committed files of a stage, in the order of their names."""
        return [self.place(entry.path) for entry in self.entries() if entry.stage == stage]

    def has(self, outputs: Iterable[str], key: str) -> bool:
        """Whether all these outputs are committed under this key."""
        files = self.manifest.files
        return all(path in files and files[path].key == key for path in outputs)

    def commit(self, entries: Iterable[FileEntry]) -> None:
        """Name files in the manifest."""
        self.update(files=self.manifest.files | {entry.path: entry for entry in entries})

    def keep_only(self, stage: str, keys: set[str]) -> None:
        """Drop what a stage committed under other keys than these: the past of a changed run."""
        self.drop([e.path for e in self.entries() if e.stage == stage and e.key not in keys])

    def drop(self, paths: Iterable[str]) -> None:
        """Drop these files, as far as they are committed."""
        files = self.manifest.files
        stale = {path for path in paths if path in files}
        if stale:
            self.update(files={p: e for p, e in files.items() if p not in stale})
            for path in stale:
                self.place(path).unlink(missing_ok=True)

    def keep_stages(self, stages: Iterable[str]) -> None:
        """Drop what stages committed that the configuration no longer has."""
        for stage in {entry.stage for entry in self.entries()} - {*stages}:
            self.keep_only(stage, set())

    def update(self, **changes: Any) -> Manifest:
        """Replace fields of the manifest, durably."""
        manifest = self.manifest.model_copy(update=changes)
        text = manifest.model_dump_json(indent=1)
        write_durably(self.place(MANIFEST), lambda path: path.write_text(text, encoding="utf-8"))
        return manifest

    def add_seconds(self, stage: str, seconds: float) -> None:
        """Add to the time that a stage has taken."""
        spent = self.manifest.seconds
        self.update(seconds=spent | {stage: round(spent.get(stage, 0.0) + seconds, 2)})

    def sweep(self) -> list[str]:
        """Remove what the manifest does not list; return the removed paths."""
        listed = {MANIFEST, ".lock", VIEWER, *self.manifest.files}
        removed = []
        for path in sorted(self.root.rglob("*"), reverse=True):
            relative = path.relative_to(self.root).as_posix()
            if relative in listed or relative.partition("/")[0] == TRAINING:
                continue
            if not path.is_dir():
                path.unlink()
                removed.append(relative)
            elif not any(path.iterdir()):
                path.rmdir()
        return sorted(removed)

    def now(self) -> datetime:
        return datetime.now(UTC).replace(microsecond=0)


def name_folder(cycle: int) -> str:
    """A cycle's folder in the run directory."""
    return f"cycle-{cycle:04d}"


def create_run(root: Path, manifest: Manifest) -> RunDirectory:
    """Make a run directory with its first manifest."""
    root.mkdir(parents=True, exist_ok=True)
    text = manifest.model_dump_json(indent=1)
    write_durably(root / MANIFEST, lambda path: path.write_text(text, encoding="utf-8"))
    return RunDirectory(root)


def read_manifest(root: Path) -> Manifest:
    """Read a run's manifest; RunError where there is none or it cannot be understood."""
    file = root / MANIFEST
    try:
        return Manifest.model_validate_json(file.read_bytes())
    except FileNotFoundError:
        raise RunError(
            f"{root}: not a run directory (no {MANIFEST}). Start one with: tutelage run CONFIG"
        ) from None
    except ValidationError as error:
        raise RunError(
            f"{file}: cannot be understood: {error.errors()[0]['msg']}. "
            "It was edited or written by another version; move the run directory away."
        ) from error


@contextmanager
def hold_run(root: Path) -> Iterator[None]:
    """Keep a second process from conducting the same run at the same time."""
    root.mkdir(parents=True, exist_ok=True)
    with (root / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RunError(
                f"{root}: another process is working on this run. Wait for it, or give this "
                "run another name in its configuration."
            ) from None
        yield


def write_durably(path: Path, write: Callable[[Path], Any]) -> None:
    """Have `write` fill a file beside `path`, flush it and rename it into place."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{os.getpid()}.{path.name}")
    try:
        write(beside)
        _flush(beside)
        beside.replace(path)
    except BaseException:
        with suppress(FileNotFoundError):
            beside.unlink()
        raise
    _flush(path.parent)


def write_file(
    root: Path, path: str, write: Callable[[Path], Any], *, stage: str, key: str
) -> FileEntry:
    """Write one file of a run durably and describe it; the conductor commits it."""
    place = root / path
    write_durably(place, write)
    return describe_file(root, path, stage=stage, key=key)


def describe_file(root: Path, path: str, *, stage: str, key: str) -> FileEntry:
    """The manifest's entry for a file that is in place."""
    place = root / path
    size = place.stat().st_size
    return FileEntry(path=path, sha256=hash_file(place), bytes=size, stage=stage, key=key)


def hash_file(path: Path) -> str:
    """SHA-256 of a file."""
    with path.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def link_file(root: Path, source: Path, path: str, *, stage: str, key: str) -> FileEntry:
    """Let a finished file be a file of the run under a second name; copied where the disk knows no
    links. Neither is ever written into, so what becomes of one leaves the other as it is."""
    there = root / path
    if there.exists() and there.samefile(source):  # renaming onto itself would leave a second name
        return describe_file(root, path, stage=stage, key=key)

    def link(place: Path) -> None:
        try:
            os.link(source, place)
        except OSError:
            shutil.copyfile(source, place)

    return write_file(root, path, link, stage=stage, key=key)


def hash_input(path: Path) -> str:
    """SHA-256 of an input file of lines, or of all such files of a folder."""
    files = sorted(path.glob("*.jsonl")) if path.is_dir() else [path]
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()


def copy_folder(root: Path, source: Path, target: str, *, stage: str, key: str) -> list[FileEntry]:
    """Put a copy of a finished folder (a trained model) into place and describe its files."""
    place = root / target
    beside = place.with_name(f".{os.getpid()}.{place.name}")
    try:
        shutil.copytree(source, beside)
        for file in beside.rglob("*"):
            _flush(file)
        shutil.rmtree(place, ignore_errors=True)
        beside.replace(place)
    except BaseException:
        shutil.rmtree(beside, ignore_errors=True)
        raise
    _flush(place.parent)
    return [
        describe_file(root, file.relative_to(root).as_posix(), stage=stage, key=key)
        for file in sorted(place.rglob("*"))
        if file.is_file()
    ]


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _path_of(entry: FileEntry) -> str:
    return entry.path


def _folder_of(entry: FileEntry) -> str | None:
    """The folder of the cycle that a file belongs to; None where it is the whole run's."""
    folder = entry.path.partition("/")[0]
    return folder if CYCLE_FOLDER.fullmatch(folder) else None
