"""`tutelage inspect` serves a run on loopback, says where, and refuses what it cannot show."""

import json
import signal
import socket
import threading
import urllib.request
import webbrowser
from pathlib import Path

import pytest

from flows.cli import main
from flows.store import VIEWER, RunDirectory
from flows.viewer import serving
from tests.flows.annotators import Annotated
from tests.flows.small_run import rows_of, start_command


class Stopped:
    """A server that has stopped before it began: what is printed before is looked at."""

    def run(self, sockets: list[socket.socket]) -> None:
        raise KeyboardInterrupt


def test_folder_that_is_no_run_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["inspect", str(tmp_path)]) == 1
    assert capsys.readouterr().err == (
        f"tutelage: {tmp_path}: not a run directory (no manifest.json). Start one with: tutelage "
        "run CONFIG\n"
    )


def test_run_of_another_kind_is_refused(
    annotated: Annotated, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["inspect", str(annotated.run.root)]) == 1
    assert capsys.readouterr().err == (
        f"tutelage: {annotated.run.root}: holds no prompts and answers to look into; inspect a run "
        "from seeds\n"
    )
    assert not annotated.run.place(VIEWER).exists()


def test_port_that_is_taken_is_refused(
    viewed: RunDirectory, capsys: pytest.CaptureFixture[str]
) -> None:
    with serving.listen(None) as taken:
        port = taken.getsockname()[1]
        assert main(["inspect", str(viewed.root), "--port", str(port), "--no-open"]) == 1
    assert capsys.readouterr().err == (
        f"tutelage: port {port} of 127.0.0.1 cannot be used: something listens there, or it is not "
        "yours to use. Name another one with --port, or leave it out and a free one is taken.\n"
    )


@pytest.mark.parametrize("port", ["0", "65536"])
def test_port_must_be_one(port: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", "run", "--port", port]) == 2
    bound = "Must be >= 1." if port == "0" else "Must be <= 65535."
    assert capsys.readouterr().err == (
        f'tutelage: Invalid value "{port}" for --port. {bound} See `tutelage inspect --help`.\n'
    )


def test_usual_port_is_left_to_who_has_it() -> None:
    with serving.listen(None) as first, serving.listen(None) as second:
        assert first.getsockname() != second.getsockname()
        assert second.getsockname()[0] == "127.0.0.1"


def test_command_says_where_the_run_is_shown(
    viewed: RunDirectory, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(serving, "make_server", lambda root: Stopped())
    assert main(["inspect", str(viewed.root), "--no-open", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    tables = ("train", "quarantine", "rejected")
    rows = sum(len(rows_of(viewed.place(f"dataset/{name}.parquet"))) for name in tables)
    assert shown["rows"] == rows
    assert shown["run"] == str(viewed.root)
    assert shown["database"] == str(viewed.place(VIEWER))
    assert shown["url"].startswith("http://127.0.0.1:")


def test_browser_is_opened_on_it(
    viewed: RunDirectory, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    opened: list[str] = []
    done = threading.Event()

    def open_page(url: str) -> bool:
        opened.append(url)
        done.set()
        return True

    monkeypatch.setattr(serving, "make_server", lambda root: Stopped())
    monkeypatch.setattr(webbrowser, "open", open_page)
    assert main(["inspect", str(viewed.root)]) == 0
    assert done.wait(10)
    said = capsys.readouterr().out
    assert said.startswith(f"{viewed.root}: ")
    assert said.endswith(f" rows at {opened[0]} (Ctrl-C ends it)\n")


def test_ctrl_c_ends_the_command_well(viewed: RunDirectory) -> None:
    with start_command("inspect", str(viewed.root), "--no-open", "--json") as command:
        assert command.stdout
        url = json.loads(command.stdout.readline())["url"]
        with urllib.request.urlopen(f"{url}rows", timeout=30) as answer:
            assert answer.status == 200
        command.send_signal(signal.SIGINT)
        out, err = command.communicate(timeout=30)
    assert (command.returncode, out, err) == (0, "", "")


def test_server_answers_until_it_is_told_to_stop(viewed: RunDirectory) -> None:
    server = serving.make_server(viewed.root)
    with serving.listen(None) as listener:
        url = serving.describe(viewed.root, listener).url
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        with urllib.request.urlopen(f"{url}rows", timeout=30) as answer:
            assert answer.status == 200
            assert b"<title>Rows" in answer.read()
        server.should_exit = True
        thread.join(30)
    assert not thread.is_alive()
