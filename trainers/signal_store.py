"""A teacher's signal on disk: few tokens of each distribution, found by the row's own tokens.

    SIGNAL/header.json           format, source and cut; a reader that expects others is refused
    SIGNAL/shard-00000/          put there by one rename once all of it is on disk
        index.npz                per row: its key, where its tokens begin, its tail mass
        counts.npy               per token: how many entries its distribution keeps
        ids.npy log_probs.npy    per entry: uint16 (int32 above 65,536 ids), and ln p as float16

The three large files are memory-mapped. A float16 logarithm is off by at most 2⁻¹¹ of itself, so
a token of 1 % keeps its mass to 0.23 %; the sum of a token's masses, and so the tail that they
imply, is off by at most 2⁻¹¹ of the entropy of what is kept.
"""

import functools
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple
from zipfile import BadZipFile

import numpy as np
from pydantic import Field, ValidationError

from generators.errors import InputError, RunError
from generators.records import Record, canonical_json, digest
from trainers.checkpoints import flush, publish_folder

FORMAT = 1
OPEN_SHARDS = 64
"""So many shards' files are kept mapped."""
Array = np.ndarray[Any, Any]


class Source(Record):
    """Whose signal it is, and in which tokens it speaks."""

    teacher: str
    """Name and revision, as `generators.embedded.identify_model` or a client tells them."""
    template: str
    """The digest of the chat template that wrote the rows."""
    vocabulary: str
    """The digest of which id is which string, and which are special."""
    vocabulary_size: int = Field(ge=1)


class TopCut(Record):
    """Keep the likeliest tokens: top-p, then top-k, of the raw masses."""

    kept: Literal["top"] = "top"
    top_p: float = Field(default=0.95, gt=0, le=1)
    """The fewest tokens that have at least this mass together."""
    top_k: int = Field(default=100, ge=1)
    """Of them so many at most. (0.95 and 100 are those of Peng et al. 2024.)"""
    temperature: float = Field(default=1.0, gt=0)
    """At which the teacher's distribution is taken."""


class SampledCut(Record):
    """Keep tokens drawn from the teacher: an estimate of its distribution (random-sampling KD)."""

    kept: Literal["sampled"] = "sampled"
    draws: int = Field(default=50, ge=1)
    proposal: float = Field(default=1.0, ge=0, le=1)
    """See `trainers.sparse.draw_tokens`; unbiased at 1."""
    temperature: float = Field(default=1.0, gt=0)
    seed: int = 0


Cut = Annotated[TopCut | SampledCut, Field(discriminator="kept")]


class SignalHeader(Record):
    """What all rows of a signal have in common."""

    format: Literal[1] = FORMAT
    source: Source
    cut: Cut = TopCut()
    precision: Literal["float32", "bfloat16"] | None = None
    """In which the teacher read the rows; null where a server did, which does not tell."""


class RowSignal(NamedTuple):
    """What is kept of the distributions at a row's N positions, M entries in all."""

    counts_N: Array
    ids_M: Array
    log_probs_M: Array
    """Natural logs, float16."""
    tail: float
    """The mass that is not kept, summed over the positions."""


class SignalSize(NamedTuple):
    rows: int
    tokens: int
    entries: int
    tail: float
    """Summed over the tokens."""
    bytes: int


class _Shard(NamedTuple):
    folder: Path
    tokens_R1: Array
    entries_R1: Array
    tails_R: Array


def identify_source(teacher: str, tokenizer: Any) -> Source:
    """The source of a signal for rows that this tokenizer and its chat template wrote.

    `teacher` is a model of the same vocabulary (`trainers.teachers.check_same_vocabulary`).
    """
    special = [id for id, token in tokenizer.added_tokens_decoder.items() if token.special]
    vocabulary = tokenizer.get_vocab()
    return Source(
        teacher=teacher,
        template=digest("template", tokenizer.chat_template),
        vocabulary=digest("vocabulary", vocabulary, sorted(special)),
        vocabulary_size=max(vocabulary.values()) + 1,
    )


class SignalStore:
    """A signal's folder, opened for reading."""

    def __init__(self, folder: Path) -> None:
        """Raises InputError where there is no signal or a file of it is damaged."""
        self.folder = folder
        self.header = _read_header(folder)
        self._shards: list[_Shard] = []
        self._rows: dict[bytes, tuple[int, int]] = {}
        for path in sorted(folder.glob("shard-?????")):
            with _explain_damage(path):
                self._add_shard(path)
        self._open = functools.lru_cache(maxsize=OPEN_SHARDS)(_open_arrays)

    def __len__(self) -> int:
        return len(self._rows)

    def __contains__(self, key: bytes) -> bool:
        return key in self._rows

    def find(self, key: bytes) -> RowSignal | None:
        """The signal of one row."""
        place = self._rows.get(key)
        if place is None:
            return None
        shard, row = self._shards[place[0]], place[1]
        with _explain_damage(shard.folder):
            counts, ids, log_probs = self._open(shard.folder)
        tokens = slice(*shard.tokens_R1[row : row + 2])
        entries = slice(*shard.entries_R1[row : row + 2])
        tail = float(shard.tails_R[row])
        return RowSignal(counts[tokens], ids[entries], log_probs[entries], tail)

    def measure(self) -> SignalSize:
        """Rows, tokens and bytes of the whole signal."""
        files = [file for shard in self._shards for file in shard.folder.iterdir()]
        return SignalSize(
            rows=len(self),
            tokens=sum(int(shard.tokens_R1[-1]) for shard in self._shards),
            entries=sum(int(shard.entries_R1[-1]) for shard in self._shards),
            tail=sum(float(shard.tails_R.sum()) for shard in self._shards),
            bytes=sum(file.stat().st_size for file in files),
        )

    def _add_shard(self, path: Path) -> None:
        with np.load(path / "index.npz") as index:
            shard = _Shard(path, index["tokens"], index["entries"], index["tails"])
            keys = index["keys"]
        self._rows |= {key.tobytes(): (len(self._shards), row) for row, key in enumerate(keys)}
        self._shards.append(shard)


def open_for_writing(folder: Path, header: SignalHeader) -> SignalStore:
    """The store to go on with; begun where there is none. A shard that a kill left is removed.

    Raises RunError where the folder holds a signal of another header.
    """
    if (folder / "header.json").is_file():
        check_header(folder, _read_header(folder).model_dump(), header.model_dump())
    else:
        folder.mkdir(parents=True, exist_ok=True)
        scratch = folder / "header.json.partial"
        scratch.write_text(header.model_dump_json(indent=2), encoding="utf-8")
        flush(scratch)
        scratch.rename(folder / "header.json")
        flush(folder)
    for leftover in folder.glob("*.partial"):
        shutil.rmtree(leftover) if leftover.is_dir() else leftover.unlink()
    return SignalStore(folder)


def check_header(folder: Path, found: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    """Raise RunError that names what differs."""
    found, wanted = dict(_flatten(found)), dict(_flatten(wanted))
    names = [name for name in found | wanted if found.get(name) != wanted.get(name)]
    if names:
        differences = "; ".join(f"{n} {found.get(n)} → {wanted.get(n)}" for n in names)
        raise RunError(
            f"{folder}: holds the signal of something else ({differences}).\n"
            "Go back to what it was written with, or write the signal into another folder."
        )


def write_shard(folder: Path, rows: Mapping[bytes, RowSignal], vocabulary_size: int) -> None:
    """Add the rows to the signal, all of them or, after a kill, none."""
    last = max((int(path.name[-5:]) for path in folder.glob("shard-?????")), default=-1)
    final = folder / f"shard-{last + 1:05}"
    scratch = folder / f"{final.name}.partial"
    scratch.mkdir()
    signals = list(rows.values())
    np.savez(
        scratch / "index.npz",
        keys=np.frombuffer(b"".join(rows), dtype=np.uint8).reshape(len(rows), -1),
        tokens=_find_starts([len(signal.counts_N) for signal in signals]),
        entries=_find_starts([len(signal.ids_M) for signal in signals]),
        tails=np.array([signal.tail for signal in signals]),
    )
    narrow = np.uint16 if vocabulary_size <= 1 << 16 else np.int32
    counts = np.uint16 if vocabulary_size < 1 << 16 else np.int32
    _save(scratch / "counts.npy", [signal.counts_N for signal in signals], counts)
    _save(scratch / "ids.npy", [signal.ids_M for signal in signals], narrow)
    _save(scratch / "log_probs.npy", [signal.log_probs_M for signal in signals], np.float16)
    publish_folder(scratch, final)


def describe_source(source: Source) -> str:
    """The text that goes into every row's key."""
    return canonical_json(source)


def _read_header(folder: Path) -> SignalHeader:
    file = folder / "header.json"
    if not file.is_file():
        raise InputError(
            f"{folder}: no teacher's signal there.\n"
            "Write one first (trainers.cached_teacher.write_signal), or correct the path."
        )
    try:
        return SignalHeader.model_validate_json(file.read_bytes())
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"])) or "header"
        raise InputError(
            f"{file}: {field}: {first['msg']}.\nThe signal is of another version, or damaged:"
            " write it again into another folder."
        ) from error


def _flatten(nested: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in nested.items():
        if isinstance(value, Mapping):
            yield from _flatten(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value


def _find_starts(lengths: Sequence[int]) -> Array:
    return np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)


def _save(file: Path, parts: Sequence[Array], dtype: Any) -> None:
    np.save(file, np.concatenate(parts).astype(dtype, copy=False))


def _open_arrays(folder: Path) -> tuple[Array, Array, Array]:
    counts, ids, log_probs = (
        np.load(folder / name, mmap_mode="r") for name in ("counts.npy", "ids.npy", "log_probs.npy")
    )
    return counts, ids, log_probs


@contextmanager
def _explain_damage(folder: Path) -> Iterator[None]:
    """Turn what is said of a broken file into an InputError."""
    try:
        yield
    except (OSError, ValueError, EOFError, KeyError, BadZipFile) as error:
        raise InputError(
            f"{folder}: cannot be read: {error}.\n"
            "Delete this folder and write the signal again; only its rows are asked anew."
        ) from error
