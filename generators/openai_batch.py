"""The client for OpenAI's Batch API: half the price, and the answers within 24 hours.

Requests become lines of a file. The file is uploaded, a batch is made of it and looked at until it
has ended; what came of each line stands in two more files, in any order
(https://platform.openai.com/docs/guides/batch).

Nothing is paid twice. A batch carries the digest of its lines in its metadata, and before one is
made the server is asked for its batches: one of the same lines, left by a process that ended, is
waited for and read instead. Files are never deleted here, because what was read may not yet be
journalled; the server drops them after 30 days.
"""

import asyncio
import hashlib
import json
import time
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any, NamedTuple, TypeVar

from generators.batch_replies import (
    Batch,
    Page,
    Problem,
    Result,
    UploadedFile,
    read_results,
    tell_problems,
)
from generators.clients import Divisible, Failure, Outcome, Request, request_key
from generators.endpoint_settings import BatchSettings, EndpointSettings
from generators.errors import EndpointError
from generators.openai_answers import Expected, Reply, read_reply
from generators.openai_compatible import OpenAICompatibleClient, compose_plea, judge_repair
from generators.openai_requests import group_samples
from generators.retries import draw_backoff, read_retry_after

ROOT = "/v1"
"""What every line's path begins with, wherever the server has its API."""
WINDOW = "24h"
MARK = "lines"
"""Under this name a batch's metadata holds the digest of its lines."""
PAGE = 100
REFUSED, USELESS = "endpoint", "endpoint_answer"
"""The reasons of lines whose status, or whose answer, tells of a fault of the endpoint. They do not
end the run as long as other lines of the unit are answered."""
SETTLED = frozenset({REFUSED, USELESS, "schema", "batch_cancelled"})
"""The reasons of failures that a further batch would only repeat, or that somebody wanted."""

T = TypeVar("T")
Outcomes = dict[str, Sequence[Outcome]]
"""What came of lines, by their ids: an outcome for each sample."""


class _NotThere(EndpointError):
    """The server knows no such path, file or batch."""


class Line(NamedTuple):
    """One request of a batch, for one draw or several."""

    id: str
    """The first draw's key in the journal."""
    path: str
    body: dict[str, Any]
    expected: Expected
    schema: dict[str, Any] | None
    said: Outcome | None = None
    """The answer that broke the schema, where it is sent back."""

    def write(self) -> bytes:
        """The line as it stands in the file."""
        written = {
            "custom_id": self.id,
            "method": "POST",
            "url": ROOT + self.path,
            "body": self.body,
        }
        return json.dumps(written, separators=(",", ":")).encode() + b"\n"

    def send_back(self, outcome: Outcome) -> "Line | None":
        """The line that asks once more, if the outcome is an answer that breaks the schema."""
        plea = None if self.schema is None else compose_plea(outcome, self.schema)
        if plea is None:
            return None
        turns = self.body["messages"] + plea[0]
        return self._replace(body=self.body | {"messages": turns}, said=outcome)

    def deal_out(self, found: Failure | list[Outcome]) -> Sequence[Outcome]:
        """What came of the line, for each of its samples."""
        outcomes = found if isinstance(found, list) else [found] * self.expected.samples
        if self.said is None:
            return outcomes
        return [judge_repair(self.said, outcomes[0], self.schema or {})]


class BatchClient(OpenAICompatibleClient):
    """A model asked by the Batch API; a unit is one batch.

    Its id and the keys of its requests are the live client's, so what one has answered the other
    does not ask again.
    """

    def __init__(self, settings: EndpointSettings, batch: BatchSettings, *, model_id: str) -> None:
        """Raises ConfigError if the key's environment variable is not set."""
        super().__init__(settings, model_id=model_id)
        self._batch = batch

    def plan(self, requests: Sequence[Request]) -> list[list[int]]:
        """Units that fit into one batch each, by lines and bytes. A batch has one path: chats and
        raw completions do not mix."""
        units: list[list[int]] = []
        filling: dict[str, tuple[list[int], int, int]] = {}
        for group in group_samples(requests, self.settings.samples_per_request):
            line = self._compose_line([requests[i] for i in group])
            size = len(line.write())
            unit, count, total = filling.get(line.path, ([], 0, 0))
            full = count == self._batch.max_requests or total + size > self._batch.max_mb * 1e6
            if not unit or full:
                unit, count, total = Divisible(), 0, 0
                units.append(unit)
            unit += group
            filling[line.path] = (unit, count + 1, total + size)
        return units

    async def probe(self) -> None:
        """Check that the server lets us in and has batches; raises EndpointError if not."""
        await super().probe()
        path = "/batches?limit=1"
        reply = await self._send("GET", path)
        said = self._take(reply, path, Page.model_validate_json)
        if isinstance(said, Failure) and said.reason != "http_429":
            raise self._complain(f"{said.message} at {path}; is the server well?")

    async def _answer(self, unit: Sequence[Request]) -> list[Outcome]:
        """The outcomes of the requests of one batch. Answers that break their schema are sent back
        in a second one. Raises EndpointError where the endpoint is at fault and nothing lasts."""
        groups = group_samples(unit, self.settings.samples_per_request)
        lines = [self._compose_line([unit[i] for i in group]) for group in groups]
        found = await self._run([*{line.id: line for line in lines}.values()])
        repairs = [back for line in lines if (back := line.send_back(found[line.id][0]))]
        if repairs:
            found |= await self._run(repairs)
        if not _lasts(found) and (fault := _find_first(found, REFUSED, USELESS)):
            raise EndpointError(fault.message)
        outcomes = {
            i: outcome
            for line, group in zip(lines, groups, strict=True)
            for i, outcome in zip(group, found[line.id], strict=True)
        }
        return [outcomes[i] for i in range(len(unit))]

    def _compose_line(self, group: Sequence[Request]) -> Line:
        request = group[0]
        path, body = self._compose(request, len(group))
        expected = self._expect(request, len(group))
        return Line(request_key(self.id, request), path, body, expected, request.json_schema)

    async def _run(self, lines: Sequence[Line]) -> Outcomes:
        """What comes of lines. Those that failed for now go into a further batch, as long as the
        last one brought anything and `max_attempts` allows."""
        outcomes: Outcomes = {}
        for _ in range(self.settings.max_attempts):
            settled = await self._settle(lines)
            outcomes |= settled
            left = [line for line in lines if all(map(_may_do_better, settled[line.id]))]
            if not left or not _lasts(settled):
                break
            lines = left
        return outcomes

    async def _settle(self, lines: Sequence[Line], *, mended: bool = False) -> Outcomes:
        """What comes of lines in one batch: in the one that holds them already, unless it brought
        nothing that lasts, or else in a new one. `mended` where lines were left out before."""
        mark = _mark(lines)
        left = await self._find(
            lambda batch: (batch.metadata or {}).get(MARK) == mark and not batch.is_void
        )
        if left is not None:
            outcomes = await self._collect(left, lines, mended)
            # What is useless was paid for; another batch would be as useless.
            if _lasts(outcomes) or _find_first(outcomes, USELESS):
                return outcomes
        made = await self._make(lines, mark)
        return await self._collect(made, lines, mended)

    async def _make(self, lines: Sequence[Line], mark: str) -> Batch:
        """Upload the lines and make a batch of them. Where it is not known whether that worked, the
        server is asked before it is tried again."""
        content = b"".join(line.write() for line in lines)
        form = {
            "purpose": (None, "batch"),
            "file": ("tutelage.jsonl", content, "application/jsonl"),
        }
        file = await self._call("POST", "/files", UploadedFile.model_validate_json, form=form)
        wanted = {
            "input_file_id": file.id,
            "endpoint": ROOT + lines[0].path,
            "completion_window": WINDOW,
            "metadata": {"made_by": "tutelage", MARK: mark},
        }
        return await self._call(
            "POST",
            "/batches",
            Batch.model_validate_json,
            body=wanted,
            look=lambda: self._find(lambda batch: batch.input_file_id == file.id),
        )

    async def _find(self, is_wanted: Callable[[Batch], bool]) -> Batch | None:
        """The newest of the server's batches that is wanted and whose files are still there."""
        found: list[Batch] = []
        path, last = f"/batches?limit={PAGE}", ""
        while True:
            page = await self._call("GET", path, Page.model_validate_json)
            found += [batch for batch in page.data if is_wanted(batch)]
            at_end = not page.has_more or not page.data or page.data[-1].id == last
            if at_end or page.goes_back_too_far:
                return max(found, key=lambda batch: batch.created_at, default=None)
            last = page.data[-1].id
            path = f"/batches?limit={PAGE}&after={last}"

    async def _collect(self, batch: Batch, lines: Sequence[Line], mended: bool) -> Outcomes:
        """Wait until a batch has ended, and deal out what came of it."""
        while not batch.has_ended:
            await asyncio.sleep(self._batch.poll_s)
            batch = await self._call("GET", f"/batches/{batch.id}", Batch.model_validate_json)
        if batch.is_void:
            return await self._leave_out(batch, lines, mended)
        results: dict[str, Result] = {}
        for file in (batch.output_file_id, batch.error_file_id):
            for result in await self._download(file) if file else []:
                results.setdefault(result.custom_id, result)
        return {
            line.id: line.deal_out(self._read_result(line.expected, results.get(line.id), batch))
            for line in lines
        }

    async def _leave_out(self, batch: Batch, lines: Sequence[Line], mended: bool) -> Outcomes:
        """Ask again without the lines that made a whole batch fail, and blame them if that helps.
        Raises EndpointError where it does not, or where no line is to blame, or every one is."""
        blamed = {p.line: p for p in batch.problems if p.line and p.line <= len(lines)}
        rest = [line for number, line in enumerate(lines, 1) if number not in blamed]
        if mended or not blamed or not rest:
            raise self._complain(
                f"the batch {batch.id} was refused: {tell_problems(batch.problems)}; nothing of it "
                "was asked. Put that right and type the same command again; where it is about "
                "enqueued tokens, set batch.max_requests or concurrency lower"
            )
        outcomes = await self._settle(rest, mended=True)
        for number, problem in blamed.items():
            message = self._hide(tell_problems([problem]))
            failure = Failure(reason="batch_refused", message=message, permanent=True)
            line = lines[number - 1]
            outcomes[line.id] = line.deal_out(failure)
        return outcomes

    async def _download(self, file: str) -> list[Result]:
        """The results in a file; none where it is there no longer."""
        try:
            return await self._call("GET", f"/files/{file}/content", read_results)
        except _NotThere:
            return []

    def _read_result(
        self, expected: Expected, result: Result | None, batch: Batch
    ) -> Failure | list[Outcome]:
        """What came of a line. One that was not answered may be so by the next run."""
        if result is None:
            reason = "batch_no_answer" if batch.status == "completed" else f"batch_{batch.status}"
            message = f"the batch {batch.id} ended without this request: {batch.status}"
            return Failure(reason=reason, message=message, permanent=False)
        if result.response is None:
            error = result.error or Problem()
            message = self._hide(error.message or "(no text)")
            return Failure(reason=error.code or "batch_error", message=message, permanent=False)
        body = json.dumps(result.response.body).encode()
        reply = Reply(result.response.status_code, {}, body)
        try:
            return self._read(reply, partial(read_reply, expected=expected))
        except EndpointError as error:
            reason = USELESS if reply.status < 300 else REFUSED
            return Failure(reason=reason, message=str(error), permanent=False)

    async def _call(
        self,
        method: str,
        path: str,
        read: Callable[[bytes], T],
        *,
        body: dict[str, Any] | None = None,
        form: dict[str, Any] | None = None,
        look: Callable[[], Awaitable[T | None]] | None = None,
    ) -> T:
        """What a good reply holds. Failures that may pass are waited out for `deadline_s`; `look`
        may find that the last attempt has worked all the same.

        Raises EndpointError when the time is over and for what will not pass, and its _NotThere for
        what the server does not have.
        """
        began, attempt = time.monotonic(), 0
        while True:
            attempt += 1
            reply = await self._send(method, path, body, form)
            said = self._take(reply, path, read)
            if not isinstance(said, Failure):
                return said
            pause_s = _choose_pause(reply, attempt)
            if look is not None:
                pause_s = max(pause_s, self._batch.poll_s)  # A list may lag behind.
            waited_s = time.monotonic() - began
            if said.permanent:
                raise self._complain(f"{said.message} ({method} {path})")
            if waited_s + pause_s > self.settings.deadline_s:
                raise self._complain(
                    f"nothing but failures for {waited_s:.0f} s ({method} {path}: {said.message}); "
                    "batches that are under way go on: type the same command again later"
                )
            await asyncio.sleep(pause_s)
            if look is not None and (found := await look()) is not None:
                return found

    def _take(self, reply: Reply | Failure, path: str, read: Callable[[bytes], T]) -> T | Failure:
        """What a reply holds, or why it holds nothing."""
        if isinstance(reply, Failure):
            return reply
        if reply.status in (404, 405):
            what = (
                f"HTTP {reply.status} at {path}; if the server has no Batch API, take `batch` out"
            )
            raise _NotThere(str(self._complain(what)))
        if not 200 <= reply.status < 300:
            refused = self._read(reply, partial(read_reply, expected=Expected(max_tokens=1)))
            assert isinstance(refused, Failure)
            return refused
        try:
            return read(reply.body)
        except ValueError:
            message = f"{len(reply.body)} bytes came that cannot be read"
            return Failure(reason="malformed", message=message, permanent=False)


def _mark(lines: Sequence[Line]) -> str:
    """The digest of what `lines` write."""
    written = hashlib.sha256()
    for line in lines:
        written.update(line.write())
    return written.hexdigest()


def _lasts(outcomes: Outcomes) -> bool:
    """Whether any outcome is one that is remembered."""
    return any(o.kind == "response" or o.permanent for found in outcomes.values() for o in found)


def _may_do_better(outcome: Outcome) -> bool:
    return outcome.kind == "failure" and not outcome.permanent and outcome.reason not in SETTLED


def _find_first(outcomes: Outcomes, *reasons: str) -> Failure | None:
    """The first failure with one of these reasons."""
    failures = (o for found in outcomes.values() for o in found if o.kind == "failure")
    return next((failure for failure in failures if failure.reason in reasons), None)


def _choose_pause(reply: Reply | Failure, attempt: int) -> float:
    """Seconds until the next attempt: what the server says, or a backoff."""
    told_s = None if isinstance(reply, Failure) else read_retry_after(reply.headers)
    return draw_backoff(attempt) if told_s is None else told_s
