"""Serves a run's viewer on this machine: Datasette as a library, behind uvicorn, on loopback."""

import socket
import sys
import threading
import webbrowser
from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from flows.annotate_settings import parse_settings
from flows.config import RunConfig
from flows.console import Console
from flows.printing import print_result
from flows.store import VIEWER, read_manifest
from flows.viewer.database import connect
from generators.errors import RunError
from generators.records import Record

if TYPE_CHECKING:
    import uvicorn
    from datasette.app import Datasette

LOOPBACK = "127.0.0.1"
PORT = 8001
"""Where it listens unless that port is taken or another one is named."""
SETTINGS = {
    "default_page_size": 50,
    "sql_time_limit_ms": 5_000,
    "facet_time_limit_ms": 1_000,
    "suggest_facets": False,
}


class Shown(Record):
    """A run that is being shown."""

    run: str
    url: str
    database: str
    rows: int


def make_viewer(root: Path) -> "Datasette":
    """The viewer of a run, which has its `viewer.db` by then.

    Raises RunError where there is no run, or one of a kind that has no rows to look into.
    """
    if not isinstance(parse_settings(read_manifest(root).config), RunConfig):
        raise RunError(
            f"{root}: holds no prompts and answers to look into; inspect a run from seeds"
        )
    from datasette.app import Datasette

    from flows.viewer.plugin import Viewer, show_run

    datasette = Datasette([], settings=SETTINGS, metadata={"title": root.name})
    datasette.remove_database("_memory")
    show_run(datasette, Viewer(root))
    return datasette


def serve(root: Path, console: Console, *, port: int | None, opens: bool) -> None:
    """Show a run until Ctrl-C, in a browser that is opened on it if asked for."""
    with listen(port) as listener:
        server = make_server(root)
        shown = describe(root, listener)
        with suppress(KeyboardInterrupt):  # which uvicorn raises again when it has closed all
            console.line(f"{shown.run}: {shown.rows:,} rows at {shown.url} (Ctrl-C ends it)")
            print_result(shown, console.json)
            sys.stdout.flush()
            if opens:
                threading.Thread(target=webbrowser.open, args=(shown.url,), daemon=True).start()
            server.run(sockets=[listener])


def listen(port: int | None) -> socket.socket:
    """Listen on loopback; without a port of one's own on the usual one, or on any that is free.

    Raises RunError where the port is taken.
    """
    for wanted in (PORT, 0) if port is None else (port,):
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((LOOPBACK, wanted))
            listener.listen(128)
        except OSError:
            listener.close()
        else:
            return listener
    raise RunError(
        f"port {port} of {LOOPBACK} cannot be used: something listens there, or it is not yours "
        "to use. Name another one with --port, or leave it out and a free one is taken."
    )


def make_server(root: Path) -> "uvicorn.Server":
    """A server of a run's viewer, which speaks of nothing but errors."""
    import uvicorn

    config = uvicorn.Config(
        make_viewer(root).app(),
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=2,
    )
    return uvicorn.Server(config)


def describe(root: Path, listener: socket.socket) -> Shown:
    """Where a run is shown."""
    with closing(connect(root / VIEWER)) as connection:
        (rows,) = connection.execute("select count(*) from rows").fetchone()
    url = f"http://{LOOPBACK}:{listener.getsockname()[1]}/"
    return Shown(run=str(root), url=url, database=str(root / VIEWER), rows=rows)
