"""Checkpoints that survive a kill at any moment.

`transformers.Trainer` writes a checkpoint's files one by one into its final folder, so a kill
leaves a folder that looks like a checkpoint and is none. A checkpoint counts only with the
marker that is written after all else is on disk; the marker lists every file and its size.
"""

import json
import os
import shutil
from pathlib import Path

MARKER = "complete.json"


def commit_checkpoint(folder: Path) -> None:
    """Flush a checkpoint's files to disk, then mark it as complete; older ones go."""
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    for file in files:
        flush(file)
    sizes = {str(file.relative_to(folder)): file.stat().st_size for file in files}
    scratch = folder / (MARKER + ".partial")
    scratch.write_text(json.dumps(sizes))
    flush(scratch)
    scratch.rename(folder / MARKER)
    flush(folder)
    _remove_all_but(folder)


def find_checkpoint(root: Path) -> Path | None:
    """The newest complete checkpoint; whatever else lies beside it is removed."""
    whole = [folder for folder in root.glob("checkpoint-*") if _is_complete(folder)]
    newest = max(whole, key=lambda folder: int(folder.name.rpartition("-")[2]), default=None)
    if newest is not None:
        _remove_all_but(newest)
    else:
        shutil.rmtree(root, ignore_errors=True)
    return newest


def publish_folder(scratch: Path, final: Path) -> None:
    """Give a finished folder its final name, once all that is in it has reached the disk."""
    for file in scratch.rglob("*"):
        flush(file)
    flush(scratch)
    scratch.rename(final)
    flush(final.parent)


def put_copy(source: str | Path, target: str | Path) -> None:
    """Give a file a second name, without its bytes where the disk can: both are to be replaced,
    never written into."""
    Path(target).unlink(missing_ok=True)
    try:
        os.link(source, target)
    except OSError:  # not all disks have links
        shutil.copy2(source, target)


def flush(path: Path) -> None:
    """fsync one file or folder."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _is_complete(folder: Path) -> bool:
    marker = folder / MARKER
    if not marker.is_file():
        return False
    sizes: dict[str, int] = json.loads(marker.read_text())
    return all(
        (folder / name).is_file() and (folder / name).stat().st_size == size
        for name, size in sizes.items()
    )


def _remove_all_but(folder: Path) -> None:
    for other in folder.parent.glob("checkpoint-*"):
        if other != folder:
            shutil.rmtree(other)
