"""What a program in the sandbox can see, reach and use up, and that none of it is left."""

import contextlib
import errno
import inspect
import json
import os
import platform
import re
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from pathlib import Path
from typing import Any

import pytest

from filters import sandbox, system_calls
from filters.sandbox import End, Limits, Sandbox, find_obstacle, write_command

ROOT = Path(__file__).parents[2]
SHORT = Limits(cpu_seconds=1, wall_seconds=20.0)
ROOT_FOLDERS = ["bin", "dev", "lib", "lib64", "tmp", "usr"]
REPORT = "import json\ndef tell(value): print(json.dumps(value), flush=True)\n"


def run(program: str, limits: Limits = SHORT, request: Any = None) -> Any:
    """What a program tells first, or why it tells nothing."""
    with Sandbox(REPORT + program, request, limits, stderr=subprocess.DEVNULL) as box:
        line = box.read_line()
    return line if isinstance(line, End) else json.loads(line)


def attempt(action: str) -> Any:
    """The name of the error that an action ends in, or what it gives."""
    lines = "".join(f"    {line}\n" for line in action.splitlines())
    return run(
        "import ctypes, os, resource, signal, socket, sys, threading, time\n"
        f"def act():\n{lines}\n"
        "try: tell(act())\nexcept Exception as error: tell(type(error).__name__)"
    )


def count_processes(mark: str) -> int:
    """The living processes here that have a mark in their command line."""
    found = 0
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            found += mark.encode() in (folder / "cmdline").read_bytes()
    return found


def test_a_sandbox_can_be_had_here() -> None:
    assert find_obstacle() is None


def test_a_request_comes_in_and_cannot_be_changed() -> None:
    assert run("import sys\ntell(json.load(sys.stdin))", request={"é": [1]}) == {"é": [1]}
    assert run("import os\ntry: os.write(0, b'x')\nexcept OSError as e: tell(e.strerror)") == (
        "Operation not permitted"
    )


def test_nothing_of_this_machine_is_seen(tmp_path: Path) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_text("the key")
    for path in (secret, ROOT / "pyproject.toml", Path("/etc/passwd"), Path("/proc/self/status")):
        assert attempt(f"return open({str(path)!r}).read()") == "FileNotFoundError"
    assert attempt("return sorted(os.listdir('/'))") == ROOT_FOLDERS
    assert attempt("return os.listdir('/dev') + os.listdir('/tmp')") == ["shm"]
    assert attempt("return os.listdir('/usr/local')") == []
    assert attempt("return os.uname().nodename") == "sandbox"


def test_no_variable_of_ours_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    seen = attempt("return dict(os.environ)")
    assert seen == {"PYTHONHASHSEED": "0", "PWD": "/tmp", "LC_CTYPE": "C.UTF-8"}


def test_the_program_is_nobody_without_privileges() -> None:
    assert attempt("return [os.getuid(), os.geteuid(), os.getgid(), os.getgroups()]") == [
        *(65534, 65534, 65534),
        [65534] * len(os.getgroups() if os.geteuid() else []),
    ]
    assert attempt("return os.setuid(0)") == "OSError"  # no such user is inside
    assert attempt("return os.chroot('/tmp')") == "PermissionError"
    assert attempt("return resource.setrlimit(resource.RLIMIT_AS, (-1, -1))") == "ValueError"
    new_user = 0x10000000
    assert attempt(f"return ctypes.CDLL(None).unshare({new_user})") == -1


def test_no_other_process_can_be_reached() -> None:
    assert attempt(f"return os.kill({os.getpid()}, 9)") == "ProcessLookupError"
    assert attempt("os.kill(1, 9)\nreturn os.getppid()") == 1
    assert attempt("return os.kill(-1, 9)") == "ProcessLookupError"


def test_no_descriptor_of_ours_is_open_inside() -> None:
    listed = (
        "found = []\n"
        "for fd in range(64):\n"
        "    try: os.fstat(fd)\n"
        "    except OSError: continue\n"
        "    found.append(fd)\n"
        "return found"
    )
    assert attempt(listed) == [0, 1, 2]


def test_there_is_no_network() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        socket.create_connection(("127.0.0.1", port)).close()
        connect = "return socket.create_connection(('{}', {}), 2)"
        assert attempt(connect.format("127.0.0.1", port)) == "ConnectionRefusedError"
        assert attempt(connect.format("192.0.2.1", 80)) == "OSError"
    assert attempt("return socket.getaddrinfo('example.org', 80)") == "gaierror"


def test_only_two_small_places_can_be_written() -> None:
    for path in ("/x", "/usr/x", "/usr/local/x", "/usr/bin/x", "/lib/x", "/dev/x"):
        assert attempt(f"return open({path!r}, 'w')") == "OSError"
    assert attempt("open('x', 'w').write('ab')\nreturn open('/tmp/x').read()") == "ab"
    for folder in ("/tmp", "/dev/shm"):
        fill = (
            "total = 0\n"
            "try:\n"
            "    for number in range(99):\n"
            f"        with open(f'{folder}/{{number}}', 'wb', buffering=0) as file:\n"
            "            for _ in range(4):\n"
            "                total += file.write(bytes(1 << 20))\n"
            "except OSError as error:\n"
            "    return [total >> 20, error.strerror]"
        )
        assert attempt(fill) == [16, "No space left on device"]


def test_a_file_a_process_and_their_number_are_bounded() -> None:
    assert attempt("open('x', 'wb').truncate(5 << 20)") == "OSError"
    assert attempt("return len(bytes(300 << 20))") == "MemoryError"
    assert attempt("files = [open('x', 'w') for _ in range(40)]") == "OSError"
    fork = (
        "count = 0\n"
        "try:\n"
        "    while True:\n"
        "        if os.fork() == 0: time.sleep(9)\n"
        "        count += 1\n"
        "except OSError: return count"
    )
    assert attempt(fork) == SHORT.processes - 2
    threads = "for _ in range(20): threading.Thread(target=time.sleep, args=(9,)).start()"
    assert attempt(threads) == "RuntimeError"


@pytest.mark.parametrize(
    ("program", "limits", "end"),
    [
        pytest.param("", SHORT, End("exited", "exit code 0"), id="at its end"),
        pytest.param("raise SystemExit(3)", SHORT, End("exited", "exit code 3"), id="exit"),
        pytest.param("import os\nos.abort()", SHORT, End("exited", "SIGABRT"), id="abort"),
        pytest.param(
            "while True: pass", SHORT, End("cpu", "no result after 1 s of work"), id="busy"
        ),
        pytest.param(
            "import signal\nsignal.signal(signal.SIGXCPU, signal.SIG_IGN)\nwhile True: pass",
            *(SHORT, End("killed", "killed, as past its last limit or for want of memory")),
            id="busy and deaf",
        ),
        pytest.param(
            "import time\ntime.sleep(99)",
            *(Limits(wall_seconds=0.5), End("wall", "no result after 0.5 s")),
            id="asleep",
        ),
        pytest.param(
            "import os, time\nos.close(1)\ntime.sleep(99)",
            *(Limits(wall_seconds=0.5), End("wall", "no result after 0.5 s")),
            id="asleep and silent",
        ),
        pytest.param(
            "print('x' * 3000, end='', flush=True)",
            *(Limits(output_bytes=2000), End("flood", "more than 2000 bytes of results")),
            id="a flood",
        ),
    ],
)  # fmt: skip
def test_how_a_program_ends_is_told(program: str, limits: Limits, end: End) -> None:
    assert run(program, limits) == end


def test_nothing_is_left_when_a_sandbox_is_closed() -> None:
    mark = f"mark-{uuid.uuid4()}"
    fork = f"import os, time # {mark}\nos.fork()\ntell(os.fork())\ntime.sleep(99)"
    box = Sandbox(REPORT + fork, None, SHORT, stderr=subprocess.DEVNULL)
    for _ in range(4):
        assert isinstance(box.read_line(), bytes)
    assert count_processes(mark) == 6  # bubblewrap twice, and four of the program's
    box.close()
    assert count_processes(mark) == 0


@pytest.mark.parametrize("after_s", [0, 0.001, 0.003, 0.01, 0.03])
def test_a_sandbox_may_be_closed_while_it_is_being_made(after_s: float) -> None:
    mark = f"mark-{uuid.uuid4()}"
    box = Sandbox(f"while True: pass # {mark}", None, SHORT, stderr=subprocess.DEVNULL)
    time.sleep(after_s)
    box.close()
    assert count_processes(mark) == 0


def test_descriptors_are_closed() -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(3):
        run("tell(1)")
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_the_same_program_gives_the_same_again() -> None:
    shuffled = "tell(list(set('abcdefghij')))"
    assert run(shuffled) == run(shuffled)


@pytest.mark.parametrize("name", system_calls.MACHINES[platform.machine()].refused)
def test_calls_that_no_limit_covers_are_refused(name: str) -> None:
    assert call_kernel(system_calls.MACHINES[platform.machine()].refused[name]) == [-1, errno.EPERM]


@pytest.mark.skipif(platform.machine() != "x86_64", reason="only x86_64 has a second set of calls")
def test_the_second_set_of_calls_is_refused() -> None:
    getpid = 39
    assert call_kernel(getpid)[0] > 0
    assert call_kernel(0x40000000 + getpid) == [-1, errno.EPERM]


def call_kernel(number: int) -> Any:
    """What a call of the kernel returns in the sandbox, and the error that it ends in."""
    return attempt(
        "kernel = ctypes.CDLL(None, use_errno=True)\n"
        f"return [kernel.syscall({number}, 0, 0, 0, 0, 0), ctypes.get_errno()]"
    )


def test_a_machine_whose_calls_are_not_known_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "s390x")
    assert find_obstacle.__wrapped__() == (
        "no filter of system calls for s390x; verify code on x86_64 or aarch64"
    )


@pytest.mark.skipif(os.geteuid() != 0, reason="is somebody else than root already")
def test_somebody_who_is_not_root_has_a_sandbox_too() -> None:
    own = re.sub(r"^from filters\.system_calls .*$", "", inspect.getsource(sandbox), flags=re.M)
    program = inspect.getsource(system_calls) + own + "\nprint(os.getuid(), find_obstacle())"
    done = subprocess.run(
        ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups",
         os.path.realpath(sys.executable), "-I", "-c", program],
        cwd="/", capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout == "65534 None\n"


def test_root_becomes_nobody_first() -> None:
    command = write_command("pass", SHORT, 9, 10)
    assert (command[0] == "setpriv") == (os.geteuid() == 0)


def test_a_machine_without_bubblewrap_says_what_to_type(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    missing = "bwrap, setpriv" if os.geteuid() == 0 else "bwrap"
    assert find_obstacle.__wrapped__() == f"not installed: {missing}; type: make system"


def test_a_machine_that_forbids_namespaces_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    with tempfile.TemporaryDirectory() as name:  # others than its owner must come to the program
        folder = Path(name)
        folder.chmod(0o755)
        refusing = folder / "bwrap"
        refusing.write_text(
            "#!/bin/sh\necho 'bwrap: setting up uid map: Permission denied' >&2\nexit 1\n"
        )
        refusing.chmod(0o755)
        monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
        assert find_obstacle.__wrapped__() == (
            "bubblewrap fails: bwrap: setting up uid map: Permission denied; "
            "allow user namespaces, or update it (make system)"
        )
