"""Which benchmarks rows must not give away, and the files in which those stand."""

from collections.abc import Iterator
from pathlib import Path

from pydantic import Field

from filters.contamination import BenchmarkItem
from filters.paraphrases import SemanticSettings
from flows.row_files import Row, read_rows
from flows.store import hash_input
from generators.errors import InputError
from generators.lines import Fault, raise_faults
from generators.records import Record

MAX_TOLD = 20


class DecontaminateSettings(Record):
    """Rows that give away an item of a benchmark are quarantined."""

    benchmarks: tuple[str, ...] = Field(min_length=1)
    """JSONL, CSV or Parquet files, relative to where the command is typed."""
    fields: tuple[str, ...] = Field(
        default=("question", "prompt", "problem", "instruction", "text"), min_length=1
    )
    """The columns that hold an item's text; of a row the first one that it has."""
    coverage: float = Field(default=0.5, gt=0, le=1)
    """The share of an item's word 8-grams from which on a row gives it away."""
    neighbours: SemanticSettings | None = None
    """Without it an item in other words is not found."""


def load_benchmarks(settings: DecontaminateSettings) -> list[BenchmarkItem]:
    """All items, in the order of the files. Raises InputError, which lists the rows that have no
    text."""
    items: list[BenchmarkItem] = []
    faults: list[Fault] = []
    for path in settings.benchmarks:
        for row in read_rows(Path(path)):
            texts = (row.value.get(name) for name in settings.fields)
            text = next((text for text in texts if text is not None), None)
            if isinstance(text, str) and text.strip():
                items.append(BenchmarkItem(path, f"{path}:{row.number}", text))
            elif len(faults) < MAX_TOLD:
                faults.append(_find_fault(row, settings))
    if faults:
        raise_faults(faults)
    return items


def _find_fault(row: Row, settings: DecontaminateSettings) -> Fault:
    named = ", ".join(settings.fields)
    message = row.problem or f"has no text in {named}; name its column in decontaminate.fields"
    return Fault(row.place, row.number, "", message)


def hash_benchmarks(settings: DecontaminateSettings) -> list[str]:
    """The content of each file, by its digest."""
    return [hash_input(Path(path)) for path in settings.benchmarks]


def find_benchmark_problems(settings: DecontaminateSettings | None) -> Iterator[tuple[str, str]]:
    """What is wrong with the files that are there: the setting, and the trouble."""
    if settings is None:
        return
    for i, path in enumerate(settings.benchmarks):
        setting = f"decontaminate.benchmarks.{i}"
        if path in settings.benchmarks[:i]:
            yield setting, f"{path} is named twice; name it once"
        elif Path(path).is_dir():
            yield setting, f"{path} is a folder; name its files"
        elif Path(path).exists():
            try:
                items = load_benchmarks(settings.model_copy(update={"benchmarks": (path,)}))
            except InputError as error:
                yield from ((setting, line) for line in str(error).splitlines())
            else:
                if not items:
                    yield setting, f"{path} is empty; take it out, or name a file of rows"
