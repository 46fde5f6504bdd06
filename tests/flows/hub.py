"""A hub on 127.0.0.1: what the Hugging Face Hub answers when a dataset is pushed to it.

It takes commits and large files as the real one does, and keeps them in memory. The client knows
its address from HF_ENDPOINT, which is read at import, so a command that pushes is a process.
"""

import base64
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

SHA = "0" * 39 + "1"
MISSING = {"error": "Entry not found", "code": "EntryNotFound"}


class Hub:
    """Datasets by name: who may see them, and their files."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.private: dict[str, bool] = {}
        self.files: dict[str, dict[str, bytes]] = {}
        self.blobs: dict[str, bytes] = {}
        self.tokens: set[str | None] = set()
        self.refuses: tuple[int, str] | None = None
        """A status and a message for whoever wants to make a dataset."""

    def answer(self, method: str, path: str, body: bytes) -> tuple[int, Any]:
        """A status, and JSON or bytes."""
        for wanted, pattern, act in ROUTES:
            if method in wanted and (match := re.fullmatch(pattern, path)):
                return getattr(self, act)(body, *match.groups())
        return 404, {"error": f"{method} {path}"}

    def create(self, body: bytes) -> tuple[int, Any]:
        if self.refuses:
            return self.refuses[0], {"error": self.refuses[1]}
        asked = json.loads(body)
        name = f"{asked.get('organization') or 'me'}/{asked['name']}"
        address = {"url": f"{self.url}/datasets/{name}"}
        if name in self.private:
            return 409, address | {"error": "You already created this dataset repo"}
        is_private = asked.get("private") or asked.get("visibility") == "private"
        self.private[name], self.files[name] = bool(is_private), {}
        return 200, address

    def tell(self, _: bytes, name: str) -> tuple[int, Any]:
        if name not in self.private:
            return 404, {"error": "Repository not found"}
        files = [{"rfilename": path} for path in self.files[name]]
        return 200, {"id": name, "sha": SHA, "private": self.private[name], "siblings": files}

    def validate(self, _: bytes) -> tuple[int, Any]:
        return 200, {"errors": [], "warnings": []}

    def preupload(self, body: bytes, _: str) -> tuple[int, Any]:
        files = [
            {
                "path": file["path"],
                "uploadMode": "lfs" if file["path"].endswith(".parquet") else "regular",
                "shouldIgnore": False,
            }
            for file in json.loads(body)["files"]
        ]
        return 200, {"files": files}

    def batch(self, body: bytes, _: str) -> tuple[int, Any]:
        objects = [
            asked | {"actions": {"upload": {"href": f"{self.url}/lfs/{asked['oid']}"}}}
            for asked in json.loads(body)["objects"]
        ]
        return 200, {"transfer": "basic", "objects": objects}

    def keep(self, body: bytes, oid: str) -> tuple[int, Any]:
        self.blobs[oid] = body
        return 200, {}

    def commit(self, body: bytes, name: str) -> tuple[int, Any]:
        for line in map(json.loads, body.splitlines()):
            value = line["value"]
            if line["key"] == "file":
                self.files[name][value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                self.files[name][value["path"]] = self.blobs[value["oid"]]
        return 200, {"commitUrl": f"{self.url}/datasets/{name}/commit/{SHA}", "commitOid": SHA}

    def list_tree(self, _: bytes, name: str, folder: str | None) -> tuple[int, Any]:
        prefix = f"{folder}/" if folder else ""
        files = [
            {"type": "file", "path": path, "size": len(content), "oid": SHA}
            for path, content in self.files[name].items()
            if path.startswith(prefix)
        ]
        return (200, files) if files else (404, MISSING)

    def list_paths(self, body: bytes, name: str) -> tuple[int, Any]:
        asked, files = json.loads(body)["paths"], self.files[name]
        return 200, [
            {"type": "file", "path": path, "size": len(files[path]), "oid": SHA}
            for path in asked
            if path in files
        ]

    def read(self, _: bytes, name: str, path: str) -> tuple[int, Any]:
        content = self.files[name].get(path)
        return (404, MISSING) if content is None else (200, content)


NAME = r"([\w.-]+/[\w.-]+)"
ROUTES = (
    (("POST",), "/api/repos/create", "create"),
    (("POST",), "/api/validate-yaml", "validate"),
    (("GET",), rf"/api/datasets/{NAME}(?:/revision/\w+)?", "tell"),
    (("POST",), rf"/api/datasets/{NAME}/preupload/\w+", "preupload"),
    (("POST",), rf"/datasets/{NAME}\.git/info/lfs/objects/batch", "batch"),
    (("PUT",), r"/lfs/(\w+)", "keep"),
    (("POST",), rf"/api/datasets/{NAME}/commit/\w+", "commit"),
    (("GET",), rf"/api/datasets/{NAME}/tree/\w+(?:/(.+))?", "list_tree"),
    (("POST",), rf"/api/datasets/{NAME}/paths-info/\w+", "list_paths"),
    (("GET", "HEAD"), rf"/datasets/{NAME}/resolve/\w+/(.+)", "read"),
)


class _Handler(BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"

    def _handle(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.command == "POST":
            self.hub.tokens.add(self.headers.get("Authorization"))
        status, said = self.hub.answer(self.command, self.path.partition("?")[0], body)
        content = said if isinstance(said, bytes) else json.dumps(said).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Content-Type", "application/json")
        self.send_header("ETag", f'"{SHA}"')
        self.send_header("X-Repo-Commit", SHA)
        if isinstance(said, dict) and "error" in said:
            self.send_header("X-Error-Message", said["error"])
            self.send_header("X-Error-Code", said.get("code", ""))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    do_GET = do_POST = do_PUT = do_HEAD = _handle

    def log_message(self, format: str, *args: Any) -> None:
        pass


@contextmanager
def open_hub() -> Iterator[Hub]:
    """The hub, in a thread, until the block ends."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.daemon_threads = True
    hub = _Handler.hub = Hub(f"http://127.0.0.1:{server.server_port}")
    thread = Thread(target=server.serve_forever)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
