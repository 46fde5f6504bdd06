"""What `tutelage export` does with a run's dataset: write its rows in the form that another program
reads, with where each came from, and the card.

The rows go by in batches, and are never in memory all at once. The folder is made beside its place
and renamed when it is whole: an export that fails leaves nothing.
"""

import functools
import json
import os
import shutil
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from typing import Any, TextIO

from flows.console import Console
from flows.export_card import render_exported_card
from flows.export_forms import FORMS, FileForm, Inexpressible, tell_provenance
from flows.export_hub import check_hub, push_rows
from flows.export_parts import Aside, Parts, read_parts
from flows.export_settings import ABOUT, LEFT_OUT, ExportedRows, ExportSettings
from flows.store import TRAIN, Manifest, hash_file, read_manifest
from flows.versions import find_version, name_version
from flows.wording import count_noun, join_words
from generators.errors import ConfigError, RunError

FILES = {".json", ".jsonl", ".parquet", ".gguf"}
"""Endings of a name that was meant as a file's."""
SPLITS = ("train", "test")


def export_rows(
    run: Path, folder: Path, settings: ExportSettings, console: Console
) -> ExportedRows:
    """Write the rows of a run's dataset into a new folder, and push them where that is asked for.

    Raises RunError where there is no such dataset, the folder is taken or no row is left,
    InputError where a row does not know where it is from, ConfigError where a split has no row or
    the hub cannot be asked.
    """
    manifest = read_manifest(run)
    file = find_rows(run, manifest, settings.version)
    _check_folder(folder)
    _check_push(settings)
    scratch = folder.resolve().with_name(f".{os.getpid()}.{folder.resolve().name}")
    try:
        scratch.mkdir(parents=True)
        rows, left_out = _write_rows(file, scratch, settings, console)
        done = ExportedRows(
            folder=folder,
            settings=settings,
            run=manifest.name,
            config_digest=manifest.config_digest,
            version=settings.version or manifest.current,
            file=file.relative_to(run).as_posix(),
            sha256=hash_file(file),
            rows=rows,
            left_out=left_out,
        )
        done = _finish(done, file.with_name("README.md"), scratch)
        scratch.replace(folder)
    except BaseException:
        shutil.rmtree(scratch, ignore_errors=True)
        raise
    _tell(done, console)
    return done


def find_rows(run: Path, manifest: Manifest, version: int | None) -> Path:
    """The file of a version, or of the current one. Raises RunError where there is none."""
    if version is not None:
        return run / name_version(find_version(manifest, version).number) / Path(TRAIN).name
    if TRAIN not in manifest.files:
        raise RunError(
            f"{run}: has published no dataset (no {TRAIN}). Finish it first: tutelage run CONFIG"
        )
    return run / TRAIN


def _check_folder(folder: Path) -> None:
    if folder.suffix.lower() in FILES and not folder.is_dir():
        raise ConfigError(
            f"{folder}: this is the name of a file, and rows go into a folder, with their card"
            f" beside them; name one: {folder.with_suffix('')}"
        )
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise RunError(f"{folder}: there is something already; give the name of a new folder")


def _check_push(settings: ExportSettings) -> None:
    if settings.push_to_hub is None:
        if settings.private:
            raise ConfigError("--private goes with --push-to-hub NAME")
        return
    if settings.form != "datasets":
        raise ConfigError(
            f"--push-to-hub goes with --form datasets, not with {settings.form}: the hub's rows"
            " keep where they are from in columns of their own"
        )
    check_hub(settings.push_to_hub)


def _finish(done: ExportedRows, card: Path, folder: Path) -> ExportedRows:
    """Write the card and what the export says of itself; push the rows where that is asked for."""
    text = render_exported_card(card, done)
    (folder / "README.md").write_text(text, encoding="utf-8")
    if name := done.settings.push_to_hub:
        text = render_exported_card(card, done, hub=name)
        place = push_rows(folder, name, text, private=done.settings.private)
        done = done.model_copy(update={"pushed_to": place})
    about = done.model_dump_json(indent=1, exclude={"folder"})
    (folder / ABOUT).write_text(about + "\n", encoding="utf-8")
    return done


def _write_rows(
    file: Path, folder: Path, settings: ExportSettings, console: Console
) -> tuple[dict[str, int], dict[str, int]]:
    """Write the splits; return how many rows each has, and how many were left out for what."""
    left_out = folder / LEFT_OUT
    with left_out.open("w", encoding="utf-8") as lines:
        aside = Aside(lines)
        parts = read_parts(file, settings, aside, console)
        if settings.form == "datasets":
            rows = _write_tables(parts, folder)
        else:
            rows = _write_lines(parts, folder, settings.form, aside)
    if not aside.counts:
        left_out.unlink()
    _check_counts(file, rows, aside.counts, settings)
    return {split: rows[split] for split in SPLITS if rows[split]}, dict(aside.counts)


def _write_lines(parts: Parts, folder: Path, form: FileForm, aside: Aside) -> Counter[str]:
    """Write rows as lines of JSON. OpenAI takes no further fields, so there the provenance lies
    beside the rows, line by line."""
    express, rows = FORMS[form], Counter[str]()
    with ExitStack() as stack:
        open_once = functools.cache(
            lambda name: stack.enter_context((folder / name).open("w", encoding="utf-8"))
        )
        for split, batch in parts:
            for row in batch.to_pylist():
                try:
                    said = express(row)
                except Inexpressible as reason:
                    aside.note(row["id"], str(reason))
                    continue
                known = tell_provenance(row)
                if form == "openai":
                    _write_line(open_once(f"{split}.provenance.jsonl"), known)
                else:
                    said["metadata"] = known
                _write_line(open_once(f"{split}.jsonl"), said)
                rows[split] += 1
    return rows


def _write_line(file: TextIO, value: dict[str, Any]) -> None:
    file.write(json.dumps(value, ensure_ascii=False) + "\n")


def _write_tables(parts: Parts, folder: Path) -> Counter[str]:
    """Write rows as `datasets` saves them: all their columns, provenance among them."""
    import pyarrow as pa
    from datasets import Dataset, DatasetDict, disable_progress_bars

    disable_progress_bars()
    rows: Counter[str] = Counter()
    streams = {split: folder / f".{split}.arrow" for split in SPLITS}
    with ExitStack() as stack:
        writers: dict[str, Any] = {}
        for split, batch in parts:
            if split not in writers:
                stream = pa.ipc.new_stream(str(streams[split]), batch.schema)
                writers[split] = stack.enter_context(stream)
            writers[split].write_batch(batch)
            rows[split] += batch.num_rows
    tables = {s: Dataset.from_file(str(place)) for s, place in streams.items() if rows[s]}
    DatasetDict(**tables).save_to_disk(folder)
    for place in streams.values():
        place.unlink(missing_ok=True)
    return rows


def _check_counts(
    file: Path, rows: Counter[str], left_out: Counter[str], settings: ExportSettings
) -> None:
    if not rows.total():
        why = join_words([f"{n:,} {reason}" for reason, n in left_out.items()])
        raise RunError(
            f"{file}: no row is left to export as {settings.form} ({why or 'it has none'})."
            " Take another --form, or --accept more kinds of verification"
        )
    wanted = ["train"] if settings.split is None else ["train", "test"]
    if empty := [split for split in wanted if not rows[split]]:
        raise ConfigError(
            f"--split {settings.split:g}: of {count_noun(rows.total(), 'row')} none falls into"
            f" {empty[0]}, for a family stays together; take another share or another --seed"
        )


def _tell(done: ExportedRows, console: Console) -> None:
    counts = ", ".join(f"{n:,} {split}" for split, n in done.rows.items())
    console.line(f"{done.folder}: {counts} ({done.settings.form}), from {done.file} of {done.run}")
    if done.left_out:
        rows = sorted(done.left_out.items(), key=lambda item: -item[1])
        console.table(f"Left out, see {LEFT_OUT}", ["reason", "rows"], rows)
    if done.pushed_to:
        console.line(f"pushed to {done.pushed_to}")
