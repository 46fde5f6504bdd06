"""What OpenAI's Batch API sends: batches, lists of them, uploaded files, and what came of lines.

After https://platform.openai.com/docs/api-reference/batch. Fields that nothing here needs are left
unread.
"""

import json
import time
from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict

ENDED = frozenset({"completed", "failed", "expired", "cancelled"})
KEPT_S = 30 * 24 * 3600
"""How long the server keeps what came of a batch."""
MOST_PROBLEMS = 3


class _Part(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class Problem(_Part):
    """What is wrong with a batch's file, or with one of its lines."""

    code: str | None = None
    message: str | None = None
    line: int | None = None


class _Problems(_Part):
    data: tuple[Problem, ...] | None = None


class Batch(_Part):
    """A batch as it stands."""

    id: str
    status: str
    created_at: int = 0
    input_file_id: str = ""
    output_file_id: str | None = None
    error_file_id: str | None = None
    errors: _Problems | None = None
    metadata: dict[str, Any] | None = None

    @property
    def has_ended(self) -> bool:
        return self.status in ENDED

    @property
    def is_void(self) -> bool:
        """Whether nothing of it was done: its file was refused."""
        return self.status == "failed" and not self.output_file_id

    @property
    def problems(self) -> tuple[Problem, ...]:
        return (self.errors and self.errors.data) or ()


class Page(_Part):
    """A part of the list of all batches."""

    data: tuple[Batch, ...]
    has_more: bool = False

    @property
    def goes_back_too_far(self) -> bool:
        """Whether a list that has the newest first has come to where no files are left. That order
        is seen, not promised, so it is looked for."""
        times = [batch.created_at for batch in self.data]
        falls = times == sorted(times, reverse=True) and times[0] > times[-1]
        return falls and times[-1] < time.time() - KEPT_S - 24 * 3600


class UploadedFile(_Part):
    id: str


class Answered(_Part):
    """The reply to one line."""

    status_code: int
    body: Any = None


class Result(_Part):
    """What came of one line: a reply, or why there is none."""

    custom_id: str
    response: Answered | None = None
    error: Problem | None = None


def read_results(content: bytes) -> list[Result]:
    """The lines of an output or error file; one that cannot be read is left out. Raises ValueError
    where that leaves nothing, as of a web page."""
    results, unread = [], 0
    for text in filter(None, content.split(b"\n")):
        try:
            results.append(Result.model_validate(json.loads(text)))
        except (ValueError, RecursionError):
            unread += 1
    if unread and not results:
        raise ValueError("no line of the file can be read")
    return results


def tell_problems(problems: Sequence[Problem]) -> str:
    """What the server says is wrong, in one line."""
    said = [
        (f"line {p.line}: " if p.line else "") + (p.message or p.code or "(no text)")
        for p in problems[:MOST_PROBLEMS]
    ]
    more = len(problems) - len(said)
    return "; ".join(said + ([f"and {more} more"] if more else [])) or "no reason was told"
