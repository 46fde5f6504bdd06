"""A journal's rows: what is written, what comes back, and how damage is found out.

The same in every database: an outcome as canonical JSON, the model that gave it, the run that
paid for it, and a checksum of key, model and outcome. What comes back comes as bytes, since
damaged text may not be UTF-8.
"""

import hashlib
import time
from collections.abc import Iterable
from typing import NamedTuple

from pydantic import TypeAdapter

from generators.clients import Outcome
from generators.records import canonical_json

OUTCOME: TypeAdapter[Outcome] = TypeAdapter(Outcome)


class NewRow(NamedTuple):
    """A row to be written; its fields are the table's columns, in their order."""

    key: str
    model: str
    outcome: str
    checksum: str
    run: str
    at: int
    """Seconds since 1970."""


class StoredRow(NamedTuple):
    """A row as the database gives it, sound or not."""

    id: int
    """Counts up; the database's own name for the row."""
    key: bytes
    model: bytes
    outcome: bytes
    checksum: bytes
    run: bytes
    at: int

    @property
    def is_sound(self) -> bool:
        """Whether the checksum is that of the row."""
        return self.checksum == sum_up(self.key, self.model, self.outcome)


class Read(NamedTuple):
    """What was read, with the damaged rows apart."""

    sound: dict[str, Outcome]
    damaged: list[StoredRow]


def make_row(key: str, outcome: Outcome, *, model: str, run: str) -> NewRow:
    """The row of an outcome that came just now."""
    text = canonical_json(outcome)
    checksum = sum_up(key.encode(), model.encode(), text.encode())
    return NewRow(key, model, text, checksum.decode(), run, int(time.time()))


def read_outcomes(rows: Iterable[StoredRow]) -> Read:
    """Read the outcomes of rows, by key."""
    read = Read({}, [])
    for row in rows:
        try:
            if not row.is_sound:
                raise ValueError("checksum")
            read.sound[decode(row.key)] = OUTCOME.validate_json(row.outcome)
        except ValueError:
            read.damaged.append(row)
    return read


def sum_up(key: bytes, model: bytes, text: bytes) -> bytes:
    """The checksum of a row."""
    return hashlib.sha256(b"\n".join((key, model, text))).hexdigest()[:32].encode()


def decode(text: bytes) -> str:
    """A stored text, however damaged it is."""
    return text.decode(errors="replace")
