"""A real browser: Debian's Chromium, driven by Playwright, without a window."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Dialog, Page, sync_playwright

PROGRAM = Path("/usr/bin/chromium")
MISSING = "Chromium is not installed; type: make system"
ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--no-first-run",
    "--disable-component-update",
    "--disable-sync",
)
TIMEOUT_MS = 20_000


@contextmanager
def open_chromium() -> Iterator[Browser]:
    """Start the browser; a test fails where it is not installed."""
    if not PROGRAM.exists():
        pytest.fail(MISSING)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(PROGRAM), args=[*ARGUMENTS])
        try:
            yield browser
        finally:
            browser.close()


class Visitor:
    """A page, and all that should not happen on it."""

    def __init__(self, page: Page, url: str) -> None:
        self.page = page
        self.url = url
        self.dialogs: list[str] = []
        self.strangers: list[str] = []
        """Requests to anywhere but the viewer."""
        self.faults: list[str] = []
        page.set_default_timeout(TIMEOUT_MS)
        page.on("dialog", self._dismiss)
        page.on("pageerror", lambda error: self.faults.append(str(error)))
        page.on("request", lambda request: self._note(request.url))

    def _dismiss(self, dialog: Dialog) -> None:
        self.dialogs.append(dialog.message)
        dialog.dismiss()

    def _note(self, url: str) -> None:
        if not url.startswith((self.url, "data:,")):
            self.strangers.append(url)

    def go(self, path: str) -> Page:
        self.page.goto(f"{self.url.rstrip('/')}{path}")
        return self.page

    def assert_unharmed(self) -> None:
        """No dialog was shown, no script of a model ran, and nobody else was asked."""
        assert self.page.evaluate("window.harmed === undefined")
        assert (self.dialogs, self.strangers, self.faults) == ([], [], [])
