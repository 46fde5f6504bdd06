"""How a run goes on after its first cycle: when it teaches again, and which student it keeps."""

from typing import Literal

from pydantic import Field

from generators.records import Record


class CycleSettings(Record):
    """What a later cycle (`tutelage run CONFIG --new-cycle`) does besides adding rows."""

    train_after: int = Field(default=1, ge=1)
    """A new student is taught once so many rows have come since the last one was."""
    promote: Literal["better", "surely"] = "better"
    """A new student takes the last one's place where it solves more of the held-out prompts, or
    where the 95 % interval of the gain lies above zero."""
    steer: bool = False
    """What the student fails at on the held-out prompts gets more of the next cycle's parents and
    draws, and operators are chosen by the credit that they have earned."""
