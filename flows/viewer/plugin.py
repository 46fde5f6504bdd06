"""The plugin that puts the viewer's own pages in front of Datasette's.

Datasette brings the router, the pool of threads that ask SQLite, the protection of forms
(asgi-csrf) and its own pages of the raw tables, which stay reachable and read only.
"""

import asyncio
import sqlite3
import sys
from collections.abc import Awaitable, Callable
from contextlib import closing
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import unquote
from weakref import WeakKeyDictionary

from datasette import hookimpl
from datasette.app import Datasette, DatasetteClient
from datasette.database import Database
from datasette.plugins import pm
from datasette.utils.asgi import Request, Response

from flows.store import MANIFEST, RunDirectory
from flows.viewer import views
from flows.viewer.acts import carry_out
from flows.viewer.browsing import Choice
from flows.viewer.database import connect, refresh_database
from flows.viewer.guard import Application, guard
from flows.viewer.pages import ASSETS, render
from generators.errors import TutelageError

NAME = "viewer"
"""Of the database among Datasette's, and of this plugin."""
T = TypeVar("T")
View = Callable[[Request, Datasette], Awaitable[Response]]


class FreshDatabase(Database):
    """Opens its file for each question: Datasette itself keeps connections, and would go on to read
    a file that a newly built one has replaced."""

    def __init__(self, datasette: Datasette, place: Path) -> None:
        super().__init__(datasette, path=str(place), is_mutable=True)
        self.place = place

    async def execute_fn(self, fn: Callable[[sqlite3.Connection], Any]) -> Any:
        def ask() -> Any:
            with closing(connect(self.place)) as connection:
                self.ds._prepare_connection(connection, self.name)
                return fn(connection)

        return await asyncio.get_running_loop().run_in_executor(self.ds.executor, ask)


class Viewer:
    """A run that is shown."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.stamp = self._read_stamp()
        self.place = refresh_database(root).place
        self.lock = asyncio.Lock()
        """Held while something is done about a row, and while the database is built anew."""

    @property
    def is_stale(self) -> bool:
        """Whether the run has gone on since the database was built."""
        return self._read_stamp() != self.stamp

    async def refresh(self) -> None:
        """Build the database anew, if the manifest has changed."""
        self.stamp = self._read_stamp()
        await asyncio.to_thread(refresh_database, self.root)

    def _read_stamp(self) -> tuple[int, int] | None:
        try:
            stat = (self.root / MANIFEST).stat()
        except FileNotFoundError:
            return None
        return stat.st_mtime_ns, stat.st_size


_VIEWERS: "WeakKeyDictionary[Datasette, Viewer]" = WeakKeyDictionary()
"""What each Datasette of this process shows; one that shows none of ours is left alone."""


def show_run(datasette: Datasette, viewer: Viewer) -> None:
    """Let a Datasette show a run."""
    if not pm.has_plugin(NAME):
        pm.register(sys.modules[__name__], name=NAME)
    _VIEWERS[datasette] = viewer
    datasette.add_database(FreshDatabase(datasette, viewer.place), name=NAME)
    datasette.client = DatasetteClient(datasette)  # its old one has not heard of our routes


@hookimpl
def asgi_wrapper(datasette: Datasette) -> Callable[[Application], Application]:
    """Put the guard around everything."""
    return guard if datasette in _VIEWERS else lambda application: application


@hookimpl
def register_routes(datasette: Datasette) -> list[tuple[str, View]]:
    """The pages of our own."""
    if datasette not in _VIEWERS:
        return []
    return [
        (r"/$", _show(show_dashboard)),
        (r"/rows$", _show(show_rows)),
        (r"/row/(?P<id>[^/]+)$", _show(show_row)),
        (r"/row/(?P<id>[^/]+)/(?P<act>release|reject)$", _take(do_act)),
        (r"/versions$", _show(show_versions)),
        (r"/refresh$", _take(read_anew)),
        (r"/assets/(?P<name>[\w.-]+)$", send_asset),
    ]


def _show(page: Callable[[Request, Datasette], Awaitable[Response]]) -> View:
    """A view of a page; what goes wrong as expected becomes a page as well."""

    async def view(request: Request, datasette: Datasette) -> Response:
        try:
            return await page(request, datasette)
        except TutelageError as error:
            return _tell(request, datasette, "This did not work", str(error), status=500)

    return view


def _take(page: Callable[[Request, Datasette], Awaitable[Response]]) -> View:
    """The same for what is posted."""

    async def take(request: Request, datasette: Datasette) -> Response:
        if request.method != "POST":
            return _tell(request, datasette, "Nothing here", "This address takes forms.", 405)
        return await _show(page)(request, datasette)

    return take


async def show_dashboard(request: Request, datasette: Datasette) -> Response:
    told = await _ask(datasette, views.read_dashboard)
    return _answer(request, datasette, "dashboard.html.jinja", **told)


async def show_rows(request: Request, datasette: Datasette) -> Response:
    choice = Choice.read(_read_query(request))
    page = _read_number(request, "page", 1)
    told = await _ask(datasette, views.read_list, choice, page)
    if found := told.pop("is_id", None):
        return Response.redirect(f"/row/{found}")
    return _answer(request, datasette, "rows.html.jinja", **told)


async def show_row(request: Request, datasette: Datasette) -> Response:
    done = request.args.get("done", "")
    return await _show_row(request, datasette, done=done if done in ("release", "reject") else "")


async def _show_row(
    request: Request, datasette: Datasette, *, done: str = "", fault: str = "", why: str = ""
) -> Response:
    id = unquote(request.url_vars["id"])
    choice, position = Choice.read(_read_query(request)), _read_number(request, "at", -1)
    told = await _ask(datasette, views.read_row, id, choice, position)
    if told is None:
        sorry = "No row, prompt or answer of this run has this id."
        return _tell(request, datasette, id, sorry, status=404)
    told |= {"done": done, "fault": fault, "why": why}
    status = 400 if fault else 200
    return _answer(request, datasette, "row.html.jinja", status=status, **told)


async def do_act(request: Request, datasette: Datasette) -> Response:
    """Release or reject a row; an error is told on its page, with what was typed."""
    viewer, form = _VIEWERS[datasette], await request.post_vars()
    id, act, why = unquote(request.url_vars["id"]), request.url_vars["act"], form.get("why", "")
    async with viewer.lock:
        fault = await asyncio.to_thread(carry_out, viewer.root, act, id, why)
        if fault is None:
            await viewer.refresh()
    if fault is not None:
        return await _show_row(request, datasette, fault=fault, why=why)
    query = Choice.read(_read_query(request)).write(done=act, at=request.args.get("at", ""))
    return Response.redirect(f"/row/{request.url_vars['id']}?{query}", status=303)


async def show_versions(request: Request, datasette: Datasette) -> Response:
    run = RunDirectory(_VIEWERS[datasette].root)
    pair = _read_number(request, "from", 0), _read_number(request, "to", 0)
    told = await _ask(datasette, views.read_versions, run, *pair)
    return _answer(request, datasette, "versions.html.jinja", **told)


async def read_anew(request: Request, datasette: Datasette) -> Response:
    """Build the database anew, because the run has gone on."""
    viewer = _VIEWERS[datasette]
    async with viewer.lock:
        await viewer.refresh()
    return Response.redirect("/", status=303)


async def send_asset(request: Request, datasette: Datasette) -> Response:
    """One of our own files."""
    name = request.url_vars["name"]
    if name not in ASSETS:
        return _tell(request, datasette, name, "There is no such file.", status=404)
    path, kind = ASSETS[name]
    return Response(path.read_text(encoding="utf-8"), content_type=f"{kind}; charset=utf-8")


async def _ask(datasette: Datasette, question: Callable[..., T], *arguments: Any) -> T:
    """Ask the database, in one of Datasette's threads."""
    database = datasette.get_database(NAME)
    return await database.execute_fn(lambda connection: question(connection, *arguments))


def _answer(
    request: Request, datasette: Datasette, template: str, *, status: int = 200, **told: Any
) -> Response:
    viewer = _VIEWERS[datasette]
    text = render(
        template,
        run=viewer.root.name,
        is_stale=viewer.is_stale,
        token=request.scope["csrftoken"](),
        path=request.path,
        **told,
    )
    return Response.html(text, status=status)


def _tell(request: Request, datasette: Datasette, title: str, told: str, status: int) -> Response:
    return _answer(request, datasette, "message.html.jinja", status=status, title=title, told=told)


def _read_query(request: Request) -> dict[str, str]:
    return {name: request.args.get(name) or "" for name in request.args}


def _read_number(request: Request, name: str, otherwise: int) -> int:
    text = request.args.get(name) or ""
    return int(text) if text.isdecimal() and len(text) < 10 else otherwise
