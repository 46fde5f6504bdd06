"""The loopback server with OpenAI's Batch API, as its documentation describes it.

Files are uploaded as parts, a batch goes from status to status as time passes, and what came of
its lines stands in an output and an error file, in another order. What the documentation forbids
is refused: unknown fields, files of another purpose, lines that are too many, of other paths or of
one `custom_id`. Lines are answered by the loopback server's rule, and spoiled by its `fault`.
"""

import asyncio
import json
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from aiohttp import web

from tests.generators.loopback import Call, Fault, LoopbackServer

MOST_LINES = 50_000
MOST_BYTES = 200_000_000
PATHS = ("/v1/chat/completions", "/v1/completions")
CREATE_FIELDS = {"input_file_id", "endpoint", "completion_window", "metadata"}
UNDER_WAY = ("validating", "in_progress", "finalizing")
UNDONE = {
    "expired": "This request could not be executed before the completion window expired.",
    "cancelled": "This request was cancelled.",
    "lost": "",
}


class Visit(NamedTuple):
    """One request to the files or the batches, as it arrived."""

    method: str
    path: str
    nth: int
    """How many of this method and kind of path came before it."""

    @property
    def kind(self) -> str:
        return kind_of(self.method, self.path)


@dataclass
class Job:
    """A batch, and what is to come of it."""

    id: str
    made: dict[str, Any]
    created_at: float
    lines: list[dict[str, Any]]
    problems: list[dict[str, Any]]
    ends: str = "completed"
    output: list[dict[str, Any]] = field(default_factory=list)
    errors: list[dict[str, Any]] = field(default_factory=list)


class BatchServer(LoopbackServer):
    """`calls` are the lines that were answered, and what was asked live; `jobs` the batches, in the
    order in which they were made."""

    def __init__(
        self,
        fault: Callable[[Call], Fault | None] = lambda _: None,
        *,
        rule: Callable[[Call], dict[str, Any]] | None = None,
        step_s: float = 0.02,
        fate: Callable[[Call], str] = lambda _: "",
        forbid: Callable[[dict[str, Any]], str] = lambda _: "",
        disturb: Callable[[Visit], Fault | None] = lambda _: None,
    ) -> None:
        """`fate` says of a line that it has `expired`, was `cancelled` or is `lost`; `forbid` what
        is wrong with one, so that its batch is refused; `disturb` spoils visits: a bad status
        comes before anything is done, a reset or a delay when it is done."""
        super().__init__(fault, rule=rule)
        self.visits: list[Visit] = []
        self.jobs: list[Job] = []
        self.files: dict[str, bytes] = {}
        self.step_s = step_s
        self._purposes: dict[str, str] = {}
        self._counts: Counter[str] = Counter()
        self._fate = fate
        self._forbid = forbid
        self._disturb = disturb

    def count(self, kind: str) -> int:
        """How many visits of a kind came: `POST files`, `GET batch` …"""
        return sum(visit.kind == kind for visit in self.visits)

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        if request.path.split("/")[2:3] not in (["files"], ["batches"]):
            return await super()._handle(request)
        kind = kind_of(request.method, request.path)
        visit = Visit(request.method, request.path, self._counts[kind])
        self._counts[kind] += 1
        self.visits.append(visit)
        fault = self._disturb(visit) or Fault()
        if fault.status != 200 or fault.body is not None:
            return web.Response(body=fault.body, status=fault.status, headers=fault.headers)
        try:
            done = await self._act(request)
        except web.HTTPException as refusal:
            message = {"message": refusal.text, "type": "invalid_request_error"}
            return web.json_response({"error": message}, status=refusal.status)
        await asyncio.sleep(fault.delay_s)
        if fault.reset:
            assert request.transport is not None
            request.transport.abort()
        return done

    async def _act(self, request: web.Request) -> web.StreamResponse:
        parts = request.path.split("/")[2:]
        if kind_of(request.method, request.path) == "POST files":
            return web.json_response(await self._upload(request))
        if kind_of(request.method, request.path) == "POST batches":
            return web.json_response(self._create(await request.json()))
        if parts == ["batches"]:
            return web.json_response(self._list(request.query))
        if parts[0] == "batches":
            jobs = [job for job in self.jobs if parts[1:] == [job.id]]
            refuse_unless(jobs, f"No batch found with id '{parts[1]}'.", web.HTTPNotFound)
            return web.json_response(self._describe(jobs[0]))
        name = parts[1]
        known = name in self.files and parts[2:] == ["content"]
        refuse_unless(known, f"No such File object: {name}", web.HTTPNotFound)
        return web.Response(body=self.files[name], content_type="application/octet-stream")

    async def _upload(self, request: web.Request) -> dict[str, Any]:
        form = await request.clone(client_max_size=2 * MOST_BYTES).post()
        refuse_unless(set(form) == {"file", "purpose"}, f"fields: {sorted(form)}")
        refuse_unless(form["purpose"] == "batch", "'purpose' is not 'batch'")
        file = form["file"]
        assert isinstance(file, web.FileField)
        refuse_unless(file.filename.endswith(".jsonl"), "not a .jsonl file")
        return self._keep(file.file.read(), "batch")

    def _keep(self, content: bytes, purpose: str) -> dict[str, Any]:
        refuse_unless(len(content) <= MOST_BYTES, "the file is larger than 200 MB")
        name = f"file-{len(self.files)}"
        self.files[name], self._purposes[name] = content, purpose
        return {"id": name, "object": "file", "bytes": len(content), "purpose": purpose}

    def _create(self, asked: dict[str, Any]) -> dict[str, Any]:
        unknown = sorted(asked.keys() - CREATE_FIELDS)
        refuse_unless(not unknown, f"Unknown parameter: {', '.join(unknown)}")
        refuse_unless(asked.get("completion_window") == "24h", "'completion_window' is not '24h'")
        refuse_unless(asked.get("endpoint") in PATHS, "'endpoint' is none of a batch")
        refuse_unless(self._purposes.get(asked["input_file_id"]) == "batch", "no such batch file")
        for name, value in asked.get("metadata", {}).items():
            fits = isinstance(value, str) and len(name) <= 64 and len(value) <= 512
            refuse_unless(fits, f"metadata.{name} is no string, or too long")
        texts = self.files[asked["input_file_id"]].splitlines()
        lines = [json.loads(text) for text in texts]
        problems = [*self._find_problems(lines, asked["endpoint"])]
        job = Job(f"batch_{len(self.jobs)}", asked, time.time(), lines, problems)
        if not problems:
            self._answer_lines(job)
        self.jobs.append(job)
        return self._describe(job)

    def _find_problems(
        self, lines: list[dict[str, Any]], endpoint: str
    ) -> Iterator[dict[str, Any]]:
        if not 0 < len(lines) <= MOST_LINES:
            yield {"code": "too_many_tasks", "message": f"{len(lines)} lines", "line": None}
        seen: set[str] = set()
        for number, line in enumerate(lines, 1):
            faults = {
                "unknown_field": line.keys() != {"custom_id", "method", "url", "body"},
                "duplicate_custom_id": line.get("custom_id") in seen,
                "invalid_method": line.get("method") != "POST",
                "invalid_url": line.get("url") != endpoint,
                "mismatched_model": line["body"].get("model") != lines[0]["body"]["model"],
            }
            forbidden = self._forbid(line)
            seen.add(line.get("custom_id", ""))
            for code in [code for code, found in faults.items() if found]:
                yield {"code": code, "message": code.replace("_", " "), "line": number}
            if forbidden:
                yield {"code": "invalid_request", "message": forbidden, "line": number}

    def _answer_lines(self, job: Job) -> None:
        """Do the lines as the live server does; how the batch ends follows from their fates."""
        for line in job.lines:
            call = Call(len(self.calls), time.monotonic(), line["url"], {}, line["body"])
            fate = self._fate(call)
            job.ends = fate if fate in ("expired", "cancelled") else job.ends
            if fate:
                error = {"code": f"batch_{fate}", "message": UNDONE[fate]}
                told = {"custom_id": line["custom_id"], "response": None, "error": error}
                job.errors += [] if fate == "lost" else [told]
                continue
            self.calls.append(call)
            fault = self._fault(call) or Fault()
            body = self._rule(call) if fault.body is None else json.loads(fault.body)
            response = {"status_code": fault.status, "request_id": f"r{call.number}", "body": body}
            told = {"custom_id": line["custom_id"], "response": response, "error": None}
            (job.output if fault.status == 200 else job.errors).append(told)
        random.Random(job.id).shuffle(job.output)

    def _describe(self, job: Job) -> dict[str, Any]:
        """The batch object as it stands now; its files are there when it has ended."""
        stage = int((time.time() - job.created_at) / self.step_s)
        status = UNDER_WAY[stage] if stage < len(UNDER_WAY) else job.ends
        if job.problems and stage > 0:
            status = "failed"
        files = {"output_file_id": job.output, "error_file_id": job.errors}
        ended = status not in (*UNDER_WAY, "failed")
        return {
            "id": job.id,
            "object": "batch",
            "status": status,
            "created_at": int(job.created_at),
            "errors": {"object": "list", "data": job.problems} if status == "failed" else None,
            "metadata": job.made.get("metadata"),
            **{name: job.made[name] for name in CREATE_FIELDS - {"metadata"}},
            **{name: self._write(job, name, lines) for name, lines in files.items() if ended},
        }

    def _write(self, job: Job, kind: str, lines: list[dict[str, Any]]) -> str | None:
        name = f"{job.id}-{kind}"
        texts = [json.dumps({"id": f"batch_req_{i}", **line}) for i, line in enumerate(lines)]
        self.files[name] = "".join(text + "\n" for text in texts).encode()
        return name if lines else None

    def _list(self, query: Mapping[str, str]) -> dict[str, Any]:
        """A page of the batches, the newest first."""
        limit = int(query.get("limit", 20))
        refuse_unless(1 <= limit <= 100, "'limit' is not from 1 to 100")
        jobs = self.jobs[::-1]
        if "after" in query:
            jobs = jobs[[job.id for job in jobs].index(query["after"]) + 1 :]
        data = [self._describe(job) for job in jobs[:limit]]
        return {"object": "list", "data": data, "has_more": len(jobs) > limit}


def kind_of(method: str, path: str) -> str:
    """What a visit is for, whatever the id in its path: `GET batch`, `GET content` …"""
    parts = path.split("/")[2:]
    return f"{method} {('', parts[0], 'batch', 'content')[len(parts)]}"


def refuse_unless(
    condition: object, message: str, error: type[web.HTTPException] = web.HTTPBadRequest
) -> None:
    if not condition:
        raise error(text=message)
