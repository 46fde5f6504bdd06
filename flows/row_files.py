"""Rows of anybody's files, one at a time: JSONL, CSV, Parquet, or a folder that `datasets` loads.

A row that cannot be read is given with its problem, so that a caller can report all of them at
once. Only one batch of a file is in memory at a time.
"""

import csv
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from generators.errors import InputError
from generators.strict_json import refuse_constant

BATCH = 500


class Row(NamedTuple):
    """A row, its file (and split) and its line or row number from 1; `problem` says why there is
    no value."""

    place: str
    number: int
    value: dict[str, Any]
    problem: str = ""


def read_rows(path: Path) -> Iterator[Row]:
    """All rows of a file or folder in order. Raises InputError where it cannot be read at all."""
    if not path.exists():
        raise InputError(
            f"{path}: no such file or folder; give a JSONL, CSV or Parquet file, "
            f"or a folder that datasets loads"
        )
    if path.is_dir():
        return _read_folder(path)
    readers = {".parquet": _read_parquet, ".csv": _read_csv}
    return readers.get(path.suffix.lower(), _read_jsonl)(path)


def _read_jsonl(path: Path) -> Iterator[Row]:
    with path.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            if not line.strip(b" \t\r\n\xef\xbb\xbf"):
                continue
            try:
                text = line.decode("utf-8-sig" if number == 1 else "utf-8")
                value = json.loads(text, parse_constant=refuse_constant)
            except UnicodeDecodeError:
                yield Row(str(path), number, {}, "is not UTF-8; save the file as UTF-8")
            except (ValueError, RecursionError) as error:
                yield Row(str(path), number, {}, f"is not JSON: {error}")
            else:
                is_object = isinstance(value, dict)
                problem = "" if is_object else "must be a JSON object"
                yield Row(str(path), number, value if is_object else {}, problem)


def _read_csv(path: Path) -> Iterator[Row]:
    csv.field_size_limit(min(sys.maxsize, 2**31 - 1))
    try:
        with path.open(encoding="utf-8-sig", newline="") as lines:
            reader = csv.DictReader(lines, strict=True)
            for row in reader:
                told = "has more cells than the header; quote those with commas"
                problem = told if None in row else ""
                value = {key: cell for key, cell in row.items() if key is not None}
                yield Row(str(path), reader.line_num, value, problem)
    except (csv.Error, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read as CSV: {error}; save it as UTF-8") from error


def _read_parquet(path: Path) -> Iterator[Row]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    number = 0
    try:
        for batch in pq.ParquetFile(path).iter_batches(BATCH):
            for value in batch.to_pylist():
                number += 1
                yield Row(str(path), number, _drop_nulls(value))
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"{path}: cannot be read as Parquet: {error}") from error


def _read_folder(path: Path) -> Iterator[Row]:
    import datasets
    from datasets.exceptions import DatasetsError

    is_saved = any((path / name).exists() for name in ("state.json", "dataset_dict.json"))
    try:
        loaded: Any = (
            datasets.load_from_disk(path) if is_saved else datasets.load_dataset(str(path))
        )
    except (DatasetsError, OSError, ValueError) as error:
        first = str(error).partition("\n")[0]
        raise InputError(f"{path}: datasets cannot load this folder: {first}") from error
    splits = loaded.items() if isinstance(loaded, datasets.DatasetDict) else [("", loaded)]
    for split, rows in splits:
        for number, value in enumerate(rows, start=1):
            place = f"{path}[{split}]" if split else str(path)
            yield Row(place, number, _drop_nulls(dict(value)))


def _drop_nulls(value: Any) -> Any:
    """A table's value without the fields that only other rows have."""
    if isinstance(value, dict):
        return {key: _drop_nulls(item) for key, item in value.items() if item is not None}
    return [_drop_nulls(item) for item in value] if isinstance(value, list) else value
