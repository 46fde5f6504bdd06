"""How long a large run takes to open in `tutelage inspect`, and its pages to come.

A made-up run (`viewer_rows.py`) gets its `viewer.db` as a run builds it at its end, and is opened
by the command as a person types it; then without a `viewer.db`, as a run leaves none that is told
not to (`viewer: false`) or that was changed since. Told is the time from typing to the first page
of rows, whole and with its style, in Chromium; then what each page takes, over HTTP (median and
slowest of so many visits) and in Chromium from the click to the load event. An opening that is not
counted comes before, so that Python has compiled its modules.

    python benchmarks/viewer.py [--rows 100000] [--visits 20]      # a few minutes
"""

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from paired import describe_machine, write_result
from viewer_rows import make_run

from flows.console import Console
from flows.store import VIEWER
from flows.viewer.database import prepare_database
from tests.flows.viewer.chromium import open_chromium

SHOWN = "/rows"


class Opening(NamedTuple):
    seconds: float
    peak_mib: float


@contextmanager
def inspect(run: Path) -> Iterator[tuple[str, int]]:
    """Type the command; the address at which the run is shown, and the process's id."""
    command = [sys.executable, "-m", "flows.cli", "inspect", str(run), "--no-open", "--json"]
    # Python keeps compiled modules, as it does unless it is told not to.
    kept = os.environ | {"PYTHONPYCACHEPREFIX": str(run.parent / "compiled")}
    kept.pop("PYTHONDONTWRITEBYTECODE", None)
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=kept) as process:
        assert process.stdout
        try:
            yield json.loads(process.stdout.readline())["url"].rstrip("/"), process.pid
        finally:
            process.terminate()


def time_opening(run: Path) -> Opening:
    """From typing the command until the first page of rows is there, and the most memory that the
    process had by then."""
    started = time.perf_counter()
    with inspect(run) as (url, pid):
        fetch(f"{url}{SHOWN}")
        seconds = time.perf_counter() - started
        (told,) = re.findall(r"VmHWM:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())
        return Opening(seconds, int(told) / 1024)


def fetch(address: str) -> str:
    with urllib.request.urlopen(address, timeout=60) as answer:
        return answer.read().decode()


def time_fetches(address: str, visits: int) -> list[float]:
    seconds = []
    for _ in range(visits):
        started = time.perf_counter()
        fetch(address)
        seconds.append(time.perf_counter() - started)
    return seconds


def list_pages(url: str, rows: int) -> dict[str, str]:
    """What is visited."""
    first = fetch(f"{url}/rows?decision=accept").partition('href="/row/')[2].partition('"')[0]
    common, rare = find_words(fetch(f"{url}/rows"))
    return {
        "dashboard": "/",
        "rows, first page": "/rows",
        "rows, second page": "/rows?page=2",
        "rows, last page": f"/rows?page={rows // 50}",
        "one facet": "/rows?decision=quarantine",
        "three facets": "/rows?decision=reject&operator=deepen&domain=code",
        "sorted by confidence": "/rows?sort=-confidence",
        "sorted, last page": f"/rows?sort=words&page={rows // 50}",
        "a word of most rows": f"/rows?q={common}",
        "the same, best match first": f"/rows?q={common}&sort=match",
        "a rare word": f"/rows?q={rare}",
        "a word and a facet": f"/rows?q={common}&decision=accept&page=100",
        "a row": "/row/" + first.replace("&amp;", "&"),
    }


def find_words(page: str) -> tuple[str, str]:
    """A common word and a rare one, of those that a page of rows shows."""
    shown = [piece.partition("<")[0] for piece in page.split('dir="auto">')[1:]]
    words = [word for text in shown for word in text.split() if word.isalpha()]
    counted = statistics.multimode(words)
    return counted[0], next(word for word in reversed(words) if words.count(word) == 1)


def time_in_chromium(url: str, pages: dict[str, str]) -> tuple[float, dict[str, float]]:
    """Seconds of the first page in a browser that is open, and of each page after it."""
    with open_chromium() as browser, browser.new_context() as context:
        page = context.new_page()

        def visit(path: str) -> float:
            started = time.perf_counter()
            page.goto(f"{url}{path}", wait_until="load")
            return time.perf_counter() - started

        first = visit(SHOWN)
        seconds = {name: [visit(path) for _ in range(5)] for name, path in pages.items()}
    return first, {name: statistics.median(taken) for name, taken in seconds.items()}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--visits", type=int, default=20)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        run = make_run(Path(folder), arguments.rows).root
        started = time.perf_counter()
        prepare_database(run, Console())
        building = time.perf_counter() - started
        time_opening(run)
        opening = [time_opening(run).seconds for _ in range(5)]
        (run / VIEWER).unlink()
        waiting, peak = time_opening(run)
        size = (run / VIEWER).stat().st_size / 2**20
        with inspect(run) as (url, _):
            pages = list_pages(url, arguments.rows)
            fetched = {n: time_fetches(f"{url}{p}", arguments.visits) for n, p in pages.items()}
            first, loaded = time_in_chromium(url, pages)
    lines = [
        f"# A run of {arguments.rows:,} rows in the viewer",
        "",
        f"Published, quarantined and rejected rows together; `viewer.db` has {size:.0f} MiB. "
        f"{describe_machine('datasette', 'sqlite-utils', 'playwright')}.",
        "",
        "| | seconds |",
        "|---|--:|",
        f"| what a run spends at its end to build `viewer.db` | {building:.1f} |",
        "| from typing `tutelage inspect` to the first page of rows, median of 5 "
        f"(slowest {max(opening):.2f}) | {statistics.median(opening):.2f} |",
        f"| in Chromium, from there to the page drawn | {first:.2f} |",
        f"| the same typing where `viewer.db` is missing or of an earlier state, and is built on "
        f"the way (at most {peak:.0f} MiB of memory) | {waiting:.1f} |",
        "",
        f"| page | HTTP, median of {arguments.visits} | slowest | Chromium, median of 5 |",
        "|---|--:|--:|--:|",
        *(
            f"| {name} | {statistics.median(seconds):.3f} | {max(seconds):.3f} "
            f"| {loaded[name]:.3f} |"
            for name, seconds in fetched.items()
        ),
    ]
    write_result("viewer", lines)


if __name__ == "__main__":
    main()
