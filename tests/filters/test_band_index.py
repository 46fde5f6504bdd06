"""An index remembers what calls saw: whatever their order, their batches and their ends."""

import contextlib
import random
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from filters.band_index import BandIndex
from filters.dedup import Duplicate, find_duplicates
from filters.sketch_file import SketchFile
from filters.sketches import sketch_texts
from generators.errors import ConfigError, RunError
from tests.filters.test_dedup import chain, mixture

A = "one two three four five six seven eight nine ten eleven twelve"
B = A.replace("twelve", "thirteen")
C = B.replace("one two", "uno due")
SUM = "Sam has 17 red apples and then buys 25 more of them at the market; how many are there"
WORDLESS = {"none": "\u2605", "none-2": "\u2606", "empty": "", "empty-2": "..."}
ROOT = Path(__file__).parents[2]


def add(
    path: Path,
    texts: Mapping[str, str],
    *,
    threshold: float = 0.7,
    numbers_must_agree: bool = False,
    batch: int = 7,
) -> dict[str, Duplicate]:
    """Give texts to an index in batches; what they repeat, by id."""
    path.parent.mkdir(exist_ok=True)
    ids = [*texts]
    folder = path.parent / f"sketches-{random.random()}"
    folder.mkdir()
    file = SketchFile(folder)
    for begin in range(0, len(ids), batch):
        some = (texts[id] for id in ids[begin : begin + batch])
        for sketches in sketch_texts(some, numbers_must_agree=numbers_must_agree):
            file.append(sketches)
    order = sorted(range(len(ids)), key=lambda place: ids[place])
    settings = {"threshold": threshold, "numbers_must_agree": numbers_must_agree}
    with BandIndex(path, **settings) as index:
        assert index.find_clashes(ids, file.read().digests) == []
        found = index.add(ids, file, order)
    return {ids[place]: duplicate for place, duplicate in found.items()}


def read_index(path: Path) -> list[list[tuple]]:
    """All that an index holds."""
    with contextlib.closing(sqlite3.connect(path)) as connection:
        tables = ("header", "texts", "bands", "shingles")
        return [[*connection.execute(f"SELECT * FROM {table}")] for table in tables]


@pytest.mark.parametrize("numbers_must_agree", [False, True])
@pytest.mark.parametrize("batch", [1, 8, 1000])
def test_one_call_finds_what_is_found_in_memory(
    batch: int, numbers_must_agree: bool, tmp_path: Path
) -> None:
    texts = mixture() | chain() | WORDLESS
    expected = find_duplicates(texts, numbers_must_agree=numbers_must_agree)
    assert len(expected) > 10
    options = {"numbers_must_agree": numbers_must_agree, "batch": batch}
    assert add(tmp_path / "one", texts, **options) == expected
    shuffled = {id: texts[id] for id in random.Random(3).sample([*texts], len(texts))}
    assert add(tmp_path / "other", shuffled, **options) == expected
    assert read_index(tmp_path / "one") == read_index(tmp_path / "other")


def test_later_texts_are_compared_with_all_that_were_kept(tmp_path: Path) -> None:
    texts = mixture() | chain() | WORDLESS
    ids = sorted(texts, key=lambda id: id[::-1])
    kept: dict[str, str] = {}
    repeats = 0
    for begin in range(0, len(ids), 16):
        some = {id: texts[id] for id in ids[begin : begin + 16]}
        found = add(tmp_path / "index", some)
        assert found == find_duplicates(some, known=kept)
        repeats += sum(duplicate.of not in some for duplicate in found.values())
        kept |= {id: text for id, text in some.items() if id not in found}
    assert repeats > 5
    assert find_duplicates(kept) == {}


def test_the_same_texts_again_are_themselves_and_change_nothing(tmp_path: Path) -> None:
    texts = mixture() | chain() | WORDLESS
    first = add(tmp_path / "index", texts)
    before = read_index(tmp_path / "index")
    assert add(tmp_path / "index", texts) == first
    some = {id: texts[id] for id in [*texts][20:40]}
    assert add(tmp_path / "index", some) == {id: first[id] for id in some if id in first}
    assert read_index(tmp_path / "index") == before


def test_what_equals_a_dropped_text_names_the_kept_one(tmp_path: Path) -> None:
    assert add(tmp_path / "index", {"a": A, "b": B}) == {"b": Duplicate("a", "near", 9 / 11)}
    assert add(tmp_path / "index", {"c": B.upper(), "d": f" {A}.", "e": C}) == {
        "c": Duplicate("a", "near", 9 / 11),
        "d": Duplicate("a", "exact", 1.0),
    }


def test_numbers_must_agree_with_earlier_texts_too(tmp_path: Path) -> None:
    texts = {"b": SUM.replace("25", "26"), "c": SUM.replace("red", "big")}
    for strict, found in ((True, {"c"}), (False, {"b", "c"})):
        index = tmp_path / str(strict)
        assert add(index, {"a": SUM}, numbers_must_agree=strict) == {}
        assert add(index, texts, numbers_must_agree=strict).keys() == found


def test_an_id_with_another_text_is_a_clash(tmp_path: Path) -> None:
    add(tmp_path / "index", {"a": A, "b": B, "c": SUM})
    file = SketchFile(tmp_path)
    for sketches in sketch_texts([A, A, SUM.upper(), A], numbers_must_agree=False):
        file.append(sketches)
    with BandIndex(tmp_path / "index", threshold=0.7, numbers_must_agree=False) as index:
        assert index.find_clashes(["a", "b", "c", "new"], file.read().digests) == [1]


@pytest.mark.parametrize(
    ("options", "difference"),
    [
        ({"threshold": 0.8}, "threshold is 0.7 there and 0.8 here"),
        ({"numbers_must_agree": True}, "numbers must agree is no there and yes here"),
        (
            {"threshold": 1.0, "numbers_must_agree": True},
            "threshold is 0.7 there and 1.0 here; numbers must agree is no there and yes here",
        ),
    ],
    ids=["threshold", "numbers", "both"],
)
def test_an_index_of_other_settings_is_refused(
    options: dict[str, float], difference: str, tmp_path: Path
) -> None:
    path = tmp_path / "index"
    add(path, {"a": A})
    before = read_index(path)
    message = (
        f"{path}: this index was made otherwise: {difference}. Ask for the same, or name another "
        "index and give it the earlier files again"
    )
    with pytest.raises(ConfigError) as caught:
        add(path, {"b": B}, **options)  # pyright: ignore[reportArgumentType]
    assert str(caught.value) == message
    assert read_index(path) == before


@pytest.mark.parametrize(
    ("name", "place", "there"),
    [
        ("algorithm", "filters.sketches.VERSION", 1),
        ("normaliser", "filters.band_index.NORMALISER", 1),
        ("seed", "filters.sketches.SEED", 20231),
        ("permutations", "filters.sketches.PERMUTATIONS", 128),
        ("n-gram", "filters.sketches.NGRAM", 3),
    ],
)
def test_an_index_of_another_version_is_refused(
    name: str, place: str, there: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "index"
    add(path, {"a": A})
    monkeypatch.setattr(place, 99)
    with (
        pytest.raises(ConfigError) as caught,
        BandIndex(path, threshold=0.7, numbers_must_agree=False),
    ):
        pass
    assert str(caught.value) == (
        f"{path}: this index was made otherwise: {name} is {there} there and 99 here. Ask for the"
        " same, or name another index and give it the earlier files again"
    )


def test_an_error_leaves_the_index_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "index"
    add(path, {"a": A})
    before = read_index(path)
    file = SketchFile(tmp_path)
    for sketches in sketch_texts([SUM], numbers_must_agree=False):
        file.append(sketches)

    def fail_late() -> None:
        with BandIndex(path, threshold=0.7, numbers_must_agree=False) as index:
            assert index.add(["s"], file, [0]) == {}
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail_late()
    assert read_index(path) == before


HOLD = """
import sys, time
from pathlib import Path
from filters.band_index import BandIndex
from filters.sketch_file import SketchFile
from filters.sketches import sketch_texts
folder = Path(sys.argv[1])
texts = [f"{chr(97 + i % 26)} {chr(97 + i // 26 % 26)} {i} new text" for i in range(20_000)]
file = SketchFile(folder)
for sketches in sketch_texts(texts, numbers_must_agree=False):
    file.append(sketches)
with BandIndex(folder / "index", threshold=0.7, numbers_must_agree=False) as index:
    index.add([f"n{i}" for i in range(len(texts))], file, range(len(texts)))
    print("added", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def holding(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that has added 20,000 texts to an index and not yet committed them."""
    add(tmp_path / "index", {"a": A})
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "added\n"
        yield process
        process.kill()


def test_a_killed_call_leaves_nothing(holding: subprocess.Popen[str], tmp_path: Path) -> None:
    holding.send_signal(signal.SIGKILL)
    holding.wait()
    assert (tmp_path / "index-wal").stat().st_size > 1_000_000  # it had begun to write
    assert add(tmp_path / "index", {"b": B}) == {"b": Duplicate("a", "near", 9 / 11)}
    assert [row[1] for row in read_index(tmp_path / "index")[1]] == ["a", "b"]


@pytest.mark.usefixtures("holding")
def test_an_index_in_use_is_not_waited_for_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("filters.band_index.BUSY_TIMEOUT_S", 0.1)
    message = (
        f"{tmp_path / 'index'}: database is locked; another call is using it; wait for it to end "
        "and type the same again"
    )
    with pytest.raises(RunError) as caught:
        add(tmp_path / "index", {"b": B})
    assert str(caught.value) == message


@pytest.mark.parametrize("kind", ["text", "database"])
def test_a_file_of_something_else_is_let_be(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    if kind == "text":
        path.write_text('{"id": "a", "text": "b"}\n' * 100, "utf-8")
    else:
        with contextlib.closing(sqlite3.connect(path)) as connection:
            connection.execute("CREATE TABLE other (x)")
    before = path.read_bytes()
    with pytest.raises(RunError) as caught:
        add(path, {"a": A})
    said = "file is not a database; " if kind == "text" else ""
    assert str(caught.value) == f"{path}: {said}it is not an index; name another file"
    assert path.read_bytes() == before


def test_an_index_that_cannot_be_made_says_why(tmp_path: Path) -> None:
    path = tmp_path / "none" / "index"
    message = (
        f"{path}: unable to open database file; check that its folder exists and may be written to"
    )
    with (
        pytest.raises(RunError) as caught,
        BandIndex(path, threshold=0.7, numbers_must_agree=False),
    ):
        pass
    assert str(caught.value) == message
