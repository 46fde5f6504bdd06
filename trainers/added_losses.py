"""What may be added to an objective: layers that follow the teacher's, and texts to keep knowing.

L + weight · mean over pairs of layers of their distance      `trainers.hidden_matching`
L + weight · cross-entropy of a corpus                        `trainers.corpus`
"""

from typing import Annotated, Literal

from pydantic import Field, NonNegativeInt

from generators.records import Record

Pair = tuple[NonNegativeInt, NonNegativeInt]


class HiddenSettings(Record, allow_inf_nan=False):
    """The student's layers learn to say what the teacher's layers say, at the target tokens."""

    pairs: Literal["spread"] | Annotated[tuple[Pair, ...], Field(min_length=1)] = "spread"
    """Layers of student and teacher, counted from 0; `spread` pairs each layer of the student with
    the teacher's at the same share of the depth."""
    kind: Literal["mse", "cosine"] = "mse"
    """`mse` is relative to the teacher's state; `cosine` is blind to length."""
    weight: float = Field(default=1.0, gt=0)
    learned: bool = False
    """A projection is learned even where the sizes agree; where they differ, one always is."""


class CorpusSettings(Record, allow_inf_nan=False):
    """Texts that the student goes on modelling while it learns from what it writes itself."""

    texts: str
    """A JSONL or Parquet file with `text`, or a folder of either."""
    weight: float = Field(default=1.0, gt=0)
    rows: int = Field(default=4, ge=1)
    """Windows of text beside each batch."""
    window: int = Field(default=256, ge=3)
    """Tokens of a window."""
