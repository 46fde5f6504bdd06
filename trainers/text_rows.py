"""Plain text as rows, for pre-training distillation: every token is a target.

Documents are written one after another, each with the end token behind it, and the whole is cut
into windows. Each token stands in exactly one window. A window's first token has nothing before
it that would predict it, so it alone is no target; the last window is as long as what is left.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from generators.errors import ConfigError, InputError
from generators.seeds import load_texts
from trainers.rows import TokenRow, TokenRows, find_parquet_files

MIN_WINDOW = 3


def holds_texts(dataset: Path) -> bool:
    """Whether a dataset is plain text: JSONL, or Parquet with a column `text` and no prompts."""
    if dataset.is_dir() and not any(dataset.glob("*.parquet")):
        return any(dataset.glob("*.jsonl"))
    if dataset.suffix == ".jsonl":
        return True
    try:
        names = pq.read_schema(find_parquet_files(dataset)[0]).names
    except (OSError, pa.ArrowInvalid):
        return False  # whoever reads it says what is wrong
    return "text" in names and "prompt" not in names


def load_text_rows(path: Path, tokenizer: Any, *, window: int) -> TokenRows:
    """Read texts and cut them into windows of so many tokens.

    `path` is a JSONL or Parquet file with a column `text`, or a folder of either. Blank texts are
    left out and counted (`empty_text`). Raises InputError where nothing can be read, and
    ConfigError for a window that is too short.
    """
    skipped: Counter[str] = Counter()

    def keep() -> Iterator[str]:
        for text in read_texts(path):
            if text and not text.isspace():
                yield text
            else:
                skipped["empty_text"] += 1

    rows = cut_windows(keep(), tokenizer, window=window)
    if not rows:
        raise InputError(f"{path}: every text in it is blank.\nGive texts to train on.")
    return TokenRows(rows, dict(skipped))


def cut_windows(texts: Iterable[str], tokenizer: Any, *, window: int) -> list[TokenRow]:
    """Pack texts into windows, in their order. Raises ConfigError for a window that is too short.

    A single token that is left over would predict nothing and be predicted by nothing, so the
    window before gives it one of its own.
    """
    if window < MIN_WINDOW:
        raise ConfigError(f"window {window}: must be at least {MIN_WINDOW} tokens")
    rows: list[TokenRow] = []
    stream: list[int] = []
    for text in texts:
        stream += tokenizer(text, add_special_tokens=False)["input_ids"]
        stream.append(tokenizer.eos_token_id)
        whole = max(0, len(stream) - 2) // window  # what is left over is never a single token
        rows += [TokenRow(stream[i * window : (i + 1) * window], 1) for i in range(whole)]
        del stream[: whole * window]
    while stream:
        end = len(stream) if len(stream) <= window else window - (len(stream) == window + 1)
        rows.append(TokenRow(stream[:end], 1))
        del stream[:end]
    return rows


def read_texts(path: Path) -> Iterator[str | None]:
    """The texts of a JSONL or Parquet file, or of a folder of either, blank ones too. Raises
    InputError where nothing can be read."""
    if path.suffix == ".jsonl" or (path.is_dir() and any(path.glob("*.jsonl"))):
        yield from load_texts(path)
        return
    for file in find_parquet_files(path):
        try:
            table = pq.ParquetFile(file)
        except (pa.ArrowInvalid, OSError) as error:
            raise InputError(f"{file}: cannot be read as Parquet: {error}") from error
        if "text" not in table.schema_arrow.names:
            raise InputError(f"{file}: has no column text.\nGive plain texts, one a row.")
        for batch in table.iter_batches(columns=["text"]):
            yield from batch.column("text").to_pylist()
