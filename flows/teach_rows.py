"""The rows of a training on its own: read from any dataset, chosen by how they were verified."""

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pydantic import ValidationError

from flows.wording import count_noun, join_words
from generators.errors import InputError
from generators.records import CHECK, Record
from generators.seeds import load_texts
from trainers.settings import TrainSettings

ASIDE = ("quarantine.parquet", "rejected.parquet")
"""What lies in a published dataset's folder beside its rows."""
CHUNK = 1 << 20
UNSTATED = "not stated"
"""How rows are counted whose dataset has a column for what it does not tell of them."""


class TaughtRows(Record):
    """Where the rows come from, and what became of them."""

    dataset: str
    kind: Literal["conversations", "prompts", "texts"]
    rows: int
    left_out: dict[str, int]
    """By how they were verified, which the training does not accept."""
    unread_checks: int
    """Rows whose check is none of ours: they are trained on, and judged by nothing."""
    verified_by: dict[str, int]
    teachers: dict[str, int]
    licences: dict[str, int]
    """The last three are empty where the dataset does not tell."""

    @property
    def told(self) -> tuple[str, ...]:
        """In sentences."""
        sources = [f"{count_noun(self.rows, 'row')} of `{self.dataset}` ({self.kind})"]
        for what, counts in (
            ("answered by", self.teachers),
            ("verified by", self.verified_by),
            ("licence", self.licences),
        ):
            names = join_words([f"{name} ({n:,})" for name, n in counts.items()])
            sources.append(f"{what} {names}" if names else f"{what}: the rows do not tell")
        told = ["; ".join(sources) + "."]
        if self.left_out:
            names = [f"{name} ({n:,})" for name, n in self.left_out.items()]
            told.append(f"Left out, as `train.accept` does not name it: {join_words(names)}.")
        if self.unread_checks:
            count = count_noun(self.unread_checks, "row")
            told.append(f"The checks of {count} cannot be read and judge nothing.")
        return tuple(told)


def hash_files(path: Path) -> str:
    """SHA-256 of the files of a dataset; of nothing where there are none, so that the stage tells
    what is missing."""
    hashed = hashlib.sha256()
    for file in list_files(path):
        with file.open("rb") as opened:
            while chunk := opened.read(CHUNK):
                hashed.update(chunk)
    return hashed.hexdigest()


def list_files(path: Path) -> list[Path]:
    """A dataset's files of rows: itself, or a folder's Parquet files, or else its JSONL."""
    if not path.is_dir():
        return [path] if path.is_file() else []
    tables = [file for file in sorted(path.glob("*.parquet")) if file.name not in ASIDE]
    return tables or sorted(path.glob("*.jsonl"))


def read_rows(
    dataset: str, train: TrainSettings, accept: Iterable[str]
) -> tuple[pa.Table, TaughtRows]:
    """Read a dataset, and choose the rows that the training accepts. Raises InputError where it
    cannot be used."""
    table = _read_files(Path(dataset))
    kind = _find_kind(dataset, table, train)
    left_out: dict[str, int] = {}
    if "verified_by" in table.column_names:
        wanted: Any = pc.field("verified_by").isin([*accept])
        left_out = _count(table.filter(~wanted), "verified_by")
        table = table.filter(wanted)
    if not table.num_rows:
        raise InputError(f"{dataset}: no row to train on.\n{_explain_lack(left_out)}")
    table, unread = _drop_unread_checks(table)
    return table, TaughtRows(
        dataset=dataset,
        kind=kind,
        rows=table.num_rows,
        left_out=left_out,
        unread_checks=unread,
        verified_by=_count(table, "verified_by"),
        teachers=_count(table, "teacher"),
        licences=_count(table, "licence"),
    )


def _explain_lack(left_out: Mapping[str, int]) -> str:
    told = {name: n for name, n in left_out.items() if name != UNSTATED}
    unstated = left_out.get(UNSTATED, 0)
    names = join_words([f"{name} ({n:,})" for name, n in told.items()])
    lines = [f"They are verified by {names}: name that in train.accept."] if told else []
    if unstated:
        whose = f"The `verified_by` of {count_noun(unstated, 'row')} is null"
        lines.append(f"{whose}: say there how they were verified, or take the column out.")
    return "\n".join(lines) or "It is empty."


def _read_files(path: Path) -> pa.Table:
    files = list_files(path)
    if not files:
        raise InputError(
            f"{path}: no such file, nor a folder with Parquet files.\n"
            "If a run makes it, run that first: tutelage run CONFIG"
        )
    if files[0].suffix == ".jsonl":
        return pa.table({"text": [text for file in files for text in load_texts(file)]})
    try:
        tables = [pq.read_table(file) for file in files]
        return (
            tables[0] if len(tables) == 1 else pa.concat_tables(tables, promote_options="default")
        )
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"{path}: cannot be read as Parquet: {error}") from error


def _find_kind(
    dataset: str, table: pa.Table, train: TrainSettings
) -> Literal["conversations", "prompts", "texts"]:
    names = table.column_names
    if "prompt" not in names:
        if "text" in names:
            return "texts"
        raise InputError(
            f"{dataset}: has neither a column prompt nor a column text (it has "
            f"{', '.join(names) or 'none'}).\n"
            "Give rows of prompt and completion, lists of {role, content}, or plain texts."
        )
    if "completion" in names:
        return "conversations"
    if not all(part.writes_all for part in train.split()):
        raise InputError(
            f"{dataset}: has no column completion.\n"
            "Prompts are enough only where the student writes everything: set rollouts.share to 1 "
            "in each phase, or give completions."
        )
    return "prompts"


def _drop_unread_checks(table: pa.Table) -> tuple[pa.Table, int]:
    if "check" not in table.column_names:
        return table, 0
    given = table["check"].to_pylist()
    read = [check if check is None or _is_check(check) else None for check in given]
    unread = sum(one is not other for one, other in zip(given, read, strict=True))
    if unread:
        place = table.column_names.index("check")
        table = table.set_column(place, "check", pa.array(read, pa.string()))
    return table, unread


def _is_check(value: Any) -> bool:
    if not isinstance(value, str):
        return False
    try:
        CHECK.validate_json(value)
    except ValidationError:
        return False
    return True


def _count(table: pa.Table, column: str) -> dict[str, int]:
    if column not in table.column_names:
        return {}
    values = (UNSTATED if value is None else str(value) for value in table[column].to_pylist())
    return dict(sorted(Counter(values).items()))
