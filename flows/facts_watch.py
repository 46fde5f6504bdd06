"""What a run has to say of the watch over its teachers."""

from pydantic import NonNegativeInt

from generators.records import Record


class TeacherFacts(Record):
    """One watched teacher."""

    model: str
    """Its name under `models`."""
    rows: NonNegativeInt
    """That were watched, up to its quarantine if there was one."""
    failures: NonNegativeInt
    alarm: str | None
    """What was seen of it, and when it was told; None if it was asked to the end."""
    quarantined: NonNegativeInt
    """Answers that a verifier accepted, or let on, and that lie in quarantine for their teacher."""
    unasked: NonNegativeInt
    """Prompts that its samplers were not asked any more."""
