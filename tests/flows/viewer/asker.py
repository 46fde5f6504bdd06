"""Asks a viewer for pages, by Datasette's own client."""

import asyncio
import re
from collections.abc import Mapping
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import httpx

from flows.viewer.serving import make_viewer

ORIGIN = "http://localhost"
INLINE = ("a", "b", "code", "i", "ins", "span")
"""Elements that stand within a line; others begin one."""


class Asker:
    """A viewer of a run, and the cookies that it has set."""

    def __init__(self, root: Path) -> None:
        self.datasette = make_viewer(root)
        self.cookies: dict[str, str] = {}

    def get(self, path: str, **headers: str) -> httpx.Response:
        return asyncio.run(self._ask("get", path, headers=headers))

    def post(self, path: str, form: Mapping[str, str], **headers: str) -> httpx.Response:
        sent = {"origin": ORIGIN} | headers
        return asyncio.run(self._ask("post", path, headers=sent, data={**form}))

    def post_form(self, page: str, action: str, **fields: str) -> httpx.Response:
        """Fill in the form of a page."""
        found = re.search(r'name="csrftoken" value="([^"]+)"', self.get(page).text)
        assert found, f"{page} has no form"
        return self.post(action, {"csrftoken": found[1], **fields})

    async def _ask(self, method: str, path: str, **options: Any) -> httpx.Response:
        ask = getattr(self.datasette.client, method)
        response = await ask(path, cookies=self.cookies, **options)
        self.cookies |= dict(response.cookies)
        return response


class _Reader(HTMLParser):
    """Hears what stands between the tags."""

    def __init__(self) -> None:
        super().__init__()
        self.heard: list[str] = []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        if tag not in INLINE:
            self.heard.append(" ")

    def handle_data(self, data: str) -> None:
        self.heard.append(data)


def read_words(page: str) -> str:
    """What a person reads on a page, on one line."""
    reader = _Reader()
    reader.feed(page)
    return " ".join("".join(reader.heard).split())
