"""Whom a flow tells how it ended: a command of the user's, which reads JSON on its stdin."""

from typing import Literal

from pydantic import Field

from generators.records import Record

Event = Literal["completed", "failed", "crashed"]
EVENTS: tuple[Event, ...] = ("completed", "failed", "crashed")


class NotifySettings(Record):
    """A command that is started when a flow has ended. What becomes of it changes no run."""

    command: tuple[str, ...] = Field(min_length=1)
    """The program and its arguments, as a list: no shell reads them. Secrets belong in the
    environment, which is passed on: this list stands in the run's directory."""
    on: tuple[Event, ...] = Field(default=EVENTS, min_length=1)
    """After which ends."""
    timeout_s: float = Field(default=60, gt=0)
    """After so long it is killed."""
