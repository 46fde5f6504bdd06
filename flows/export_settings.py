"""What is asked of an export of rows, and what came of it."""

from pathlib import Path

from pydantic import Field

from flows.export_forms import RowForm
from generators.records import Record, VerifiedBy

ABOUT, LEFT_OUT = "export.json", "left-out.jsonl"
"""What the export says of itself, and the rows that it left out, with the reason of each."""


class ExportSettings(Record):
    """Which rows, and in which form."""

    form: RowForm
    version: int | None = None
    """A published version; None is the current one."""
    split: float | None = Field(default=None, gt=0, lt=1)
    """The share of the families that goes into a test split."""
    seed: int = 0
    """Draws the families of the test split."""
    accept: tuple[VerifiedBy, ...] | None = None
    """How a row may have been verified; None is whatever was published."""
    push_to_hub: str | None = None
    """The Hugging Face dataset that the rows are pushed to as well."""
    private: bool = False
    """Whether only its owner may see it."""


class ExportedRows(Record):
    """A folder of rows, and what they are."""

    folder: Path
    settings: ExportSettings
    run: str
    config_digest: str
    version: int | None
    """Of the dataset; None where the run is older than versions are."""
    file: str
    """The file of the run that was read."""
    sha256: str
    """Of that file."""
    rows: dict[str, int]
    """By split."""
    left_out: dict[str, int]
    """By reason."""
    pushed_to: str | None = None
    """Its address."""
