"""The house keeps its own rules: layers, sizes, names, and data that can be read."""

import ast
import importlib
import importlib.metadata
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import huggingface_hub.constants
import pytest

from flows.annotate_settings import load_annotation, load_settings
from generators.annotation import LabelledText, load_annotation_texts
from generators.calibration import load_pairs
from generators.seeds import load_examples, load_seeds, load_texts

ROOT = Path(__file__).parents[1]
LAYERS = {
    "generators": {"generators"},
    "filters": {"filters", "generators"},
    "trainers": {"trainers", "generators"},
    "flows": {"flows", "trainers", "filters", "generators"},
}
"""What each room may import of the house."""
CODE = sorted(
    path
    for room in (*LAYERS, "tests", "benchmarks")
    for path in (ROOT / room).rglob("*")
    if path.suffix in {".py", ".jinja", ".css"}
)
MODULES = [path for path in CODE if path.suffix == ".py"]
ROOMS = [path for path in MODULES if path.relative_to(ROOT).parts[0] in LAYERS]
LEFTOVERS = {"base", "common", "helpers", "misc", "utils"}
WORDLESS = {
    *("KeyboardInterrupt", "TimeoutError", "asyncio.CancelledError"),
    *("Crash", "Interrupted", "Killed"),
}
"""What tests raise themselves, or Python without a word: there is no message to assert."""


def place(path: Path) -> str:
    return str(path.relative_to(ROOT))


def find_imports(path: Path) -> Iterator[str]:
    """Every module that a file names in an import, inside functions too; dots stay in front."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield "." * node.level + (node.module or "")


def test_every_room_is_walked() -> None:
    assert {path.relative_to(ROOT).parts[0] for path in ROOMS} == set(LAYERS)


@pytest.mark.parametrize("room", LAYERS)
def test_imports_run_one_way(room: str) -> None:
    rooms = {*LAYERS, "tests", "benchmarks"}
    upward = [
        f"{place(path)}: {name}"
        for path in (ROOT / room).rglob("*.py")
        for name in find_imports(path)
        if name.split(".")[0] in rooms - LAYERS[room] or name.startswith(".")
    ]
    assert upward == []


def test_prefect_is_imported_in_flows_only() -> None:
    users = {
        path.relative_to(ROOT).parts[0]
        for path in ROOMS
        for name in find_imports(path)
        if re.match(r"prefect(_|\.|$)", name)
    }
    assert users == {"flows"}


def test_models_are_loaded_in_one_place() -> None:
    loaders = {place(path) for path in ROOMS if ".from_pretrained(" in path.read_text("utf-8")}
    assert loaders == {"generators/embedded.py"}


@pytest.mark.parametrize("path", [path for path in ROOMS if "flows" in path.parts], ids=place)
def test_every_flow_module_can_be_imported(path: Path) -> None:
    name = place(path).removesuffix(".py").removesuffix("/__init__").replace("/", ".")
    assert importlib.import_module(name).__doc__


def test_no_file_is_over_400_lines() -> None:
    lengths = {place(path): len(path.read_text(encoding="utf-8").splitlines()) for path in CODE}
    assert {name: lines for name, lines in lengths.items() if lines > 400} == {}


def test_no_function_is_over_60_lines() -> None:
    lengths = {
        f"{place(path)}:{node.lineno} {node.name}": (node.end_lineno or 0) - node.lineno + 1
        for path in MODULES
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    assert {name: lines for name, lines in lengths.items() if lines > 60} == {}


def test_every_module_says_what_it_is_for() -> None:
    silent = [place(p) for p in ROOMS if not ast.get_docstring(ast.parse(p.read_text("utf-8")))]
    assert silent == []


def test_no_file_is_named_like_a_library_or_a_drawer() -> None:
    libraries = set(importlib.metadata.packages_distributions()) - set(LAYERS)
    taken = sys.stdlib_module_names | libraries | LEFTOVERS
    named = {name for path in ROOMS for name in (path.stem, path.parent.name)}
    assert named & taken == set()


def test_tests_never_ask_a_hub_and_tell_nobody() -> None:
    assert huggingface_hub.constants.HF_HUB_OFFLINE is True
    assert huggingface_hub.constants.HF_HUB_DISABLE_TELEMETRY is True


def find_loose_errors(path: Path) -> Iterator[str]:
    """The places where a test expects an error and does not hold its whole message to a text."""
    for function in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        lines = [ast.unparse(node) for node in ast.walk(function) if isinstance(node, ast.stmt)]
        asserted = [line for line in lines if line.startswith(("assert ", "return "))]
        taken = [line for line in lines if re.match(r"[\w, *()]+ = ", line)]
        blocks = [node for node in ast.walk(function) if isinstance(node, ast.With)]
        for node, item in ((block, item) for block in blocks for item in block.items):
            call, name = item.context_expr, item.optional_vars
            if not isinstance(call, ast.Call) or ast.unparse(call.func) != "pytest.raises":
                continue
            value = f"{ast.unparse(name)}.value" if name else "?"
            held = any(value in line for line in taken) or any(
                value in line and (" == " in line or line.startswith("return")) for line in asserted
            )
            if ast.unparse(call.args[0]) not in WORDLESS and (call.keywords or not held):
                yield f"{place(path)}:{node.lineno}"


def test_errors_are_asserted_with_their_whole_message() -> None:
    tests = [path for path in MODULES if path.relative_to(ROOT).parts[0] == "tests"]
    assert [found for path in tests for found in find_loose_errors(path)] == []


def test_nothing_is_left_for_later() -> None:
    marks = re.compile(r"\b(TO" r"DO|FIX" r"ME|XX" r"X)\b")
    places = [
        f"{place(path)}:{number}"
        for path in (*CODE, ROOT / "Makefile", ROOT / "pyproject.toml")
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if marks.search(line)
    ]
    assert places == []


@pytest.mark.parametrize("path", sorted((ROOT / "flows/configs").glob("*.yaml")), ids=place)
def test_every_config_can_be_run(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    assert load_settings(path).name == path.stem


def load_annotated(path: Path) -> list[LabelledText]:
    """The texts of a file, with the labels of the configuration that reads it."""
    return load_annotation_texts([path], load_annotation("flows/configs/annotate.yaml").labels)


@pytest.mark.parametrize("path", sorted((ROOT / "seeds").rglob("*.jsonl")), ids=place)
def test_every_seed_file_gives_what_it_holds(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    load = load_seeds
    if path.parent.name == "examples":
        load = load_examples
    elif path.parent.name == "annotation":
        monkeypatch.chdir(ROOT)
        load = load_annotated
    elif path.parent.name == "calibration":
        load = load_pairs
    elif path.stem == "text":
        load = load_texts
    assert len(load(path)) == sum(line.get("procedural", {}).get("count", 1) for line in lines) > 0
