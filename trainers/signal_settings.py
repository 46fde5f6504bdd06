"""How a teacher is heard, where its weights are not simply read beside the student."""

from collections.abc import Mapping
from typing import Literal, Self

from pydantic import Field, model_validator

from generators.records import Record


class TopSignal(Record):
    """The teacher's few most probable tokens, written to disk before the training."""

    kind: Literal["cached"]
    top_p: float = Field(default=1.0, gt=0, le=1)
    """The fewest tokens with at least so much probability are kept; cut before `top_k`."""
    top_k: int = Field(default=50, ge=1)
    kept: Literal["top", "sampled"] = "top"
    """`sampled` keeps `top_k` draws from the distribution instead: noisier, and unbiased."""

    @model_validator(mode="after")
    def _cuts_by_what_it_keeps(self) -> Self:
        if self.kept == "sampled" and self.top_p != 1:
            raise ValueError("top_p: tokens that are drawn are not cut; take it out, or keep top")
        return self


class RemoteSignal(Record):
    """The teacher is a vLLM server of the student's vocabulary, and tells its likeliest tokens."""

    kind: Literal["remote"]
    top: int = Field(default=20, ge=1)
    """So many tokens of each place; a server tells up to its --max-logprobs."""


class Refresh(Record):
    """When the teacher's weights follow the student's."""

    mode: Literal["fixed", "copy", "ema"] = "copy"
    every: int | None = Field(default=None, ge=1)
    """Steps between two refreshes, for `copy` and `ema`."""
    decay: float | None = Field(default=None, ge=0, lt=1)
    """The share of its own weights that the teacher keeps at a refresh, for `ema`."""

    @model_validator(mode="after")
    def _takes_its_own(self) -> Self:
        if (self.mode == "fixed") != (self.every is None):
            raise ValueError("every: copy and ema need it, a number of steps; fixed takes none")
        if (self.mode == "ema") != (self.decay is not None):
            raise ValueError("decay: ema needs it, from 0 to below 1; only ema takes one")
        return self


Put = Literal["turns", "preamble", "raw"]
"""How examples stand before a prompt: see `trainers.contexts`."""


class ContextSignal(Record):
    """The student's own weights behind worked examples are the teacher (context distillation)."""

    kind: Literal["context"]
    examples: str
    """A JSONL file of worked examples by task; rows of other tasks are left out."""
    put: Put = "turns"
    """As earlier turns, above the prompt in its own turn, or as raw text."""
    refresh: Refresh = Refresh(mode="fixed")
    """Whether the teacher stays as the student began, or follows it."""


Teacher = str | Mapping[str, str]
"""A model's name or folder, or those of several, by the domain of the rows that each reads."""
Signal = TopSignal | ContextSignal | RemoteSignal
