"""What stops a run before it begins: one clear message, nothing asked, nothing half-written."""

import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flows.conduct import PlainConductor
from flows.config import RunConfig
from flows.console import Console
from flows.pipeline import conduct, list_changes
from flows.store import create_run, hold_run
from flows.teach_settings import load_teaching
from generators.errors import EndpointError, LicenceError, RunError
from tests.flows.conftest import Finished
from tests.flows.small_run import conduct_plainly, describe_run, read_settings, write_config
from tests.flows.taught import describe_teaching
from tests.flows.teacher import Teacher

Change = Callable[[dict[str, Any]], None]


def change(settings: dict[str, Any], place: str, value: Any) -> dict[str, Any]:
    """The settings with one of them changed, named as `answer.samplers.0.n`."""
    name, _, rest = place.partition(".")
    holder: Any = settings.copy() if isinstance(settings, dict) else list(settings)
    key: Any = int(name) if name.isdigit() else name
    holder[key] = change(holder[key], rest, value) if rest else value
    return holder


def list_files(folder: Path) -> list[str]:
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())


def find_free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def test_licence_that_forbids_it_stops_before_the_first_request(tmp_path: Path) -> None:
    with Teacher() as teacher:
        settings = describe_run(tmp_path, teacher.url)
        settings = change(settings, "models.strong.outputs_may_train", "no")
        with pytest.raises(LicenceError) as caught:
            conduct_plainly(read_settings(tmp_path / "small.yaml", settings))

    assert str(caught.value) == (
        "models.strong: its terms (apache-2.0) do not let its outputs train a model. Nothing was "
        "asked of it. Take another teacher."
    )
    assert teacher.calls == []
    assert not (tmp_path / "runs").exists()


def test_unreachable_endpoint_leaves_no_run_behind(teacher: Teacher, tmp_path: Path) -> None:
    port = find_free_port()
    url = f"http://127.0.0.1:{port}/v1"
    settings = change(describe_run(tmp_path, teacher.url), "models.strong.base_url", url)
    before = len(teacher.calls)

    with pytest.raises(EndpointError) as caught:
        conduct_plainly(read_settings(tmp_path / "small.yaml", settings))

    assert str(caught.value) == (
        f"{url}: cannot be reached ([Errno 111] Connect call failed ('127.0.0.1', {port})); start"
        " it, or check base_url"
    )
    assert list_files(tmp_path / "runs") == ["small/.lock"]
    assert [call.path for call in teacher.calls[before:]] == ["/v1/models"]


@pytest.mark.parametrize("which", ["student", "model"])
def test_model_that_is_to_be_made_first_is_not_asked_of_a_hub(
    tiny_model_dir: Path, tmp_path: Path, which: str
) -> None:
    made = tmp_path / "runs" / "small"
    student = made if which == "student" else tiny_model_dir
    settings = describe_teaching(tmp_path, student, made if which == "model" else None)
    file = write_config(tmp_path / "taught.yaml", settings)
    with pytest.raises(RunError) as caught:
        conduct(load_teaching(file), Console(), PlainConductor())

    assert str(caught.value) == (
        f"{made}: no such folder. If another run makes this model, run that first; a smaller copy "
        f"of a model is made by: tutelage cut MODEL {made} --layers 0 1 …"
    )
    assert list_files(tmp_path / "runs") == ["taught/.lock"]


def test_folder_of_other_things_is_not_touched(teacher: Teacher, tmp_path: Path) -> None:
    root = tmp_path / "runs" / "small"
    root.mkdir(parents=True)
    for name in ("photos.zip", "letters.txt"):
        (root / name).write_text("mine")
    before = len(teacher.calls)

    with pytest.raises(RunError) as caught:
        conduct_plainly(read_settings(tmp_path / "small.yaml", describe_run(tmp_path, teacher.url)))

    assert str(caught.value) == (
        f"{root}: this folder holds other things (letters.txt) and no manifest. Give the run "
        "another name, or move the folder away."
    )
    assert list_files(root) == ["letters.txt", "photos.zip"]
    assert len(teacher.calls) == before


@pytest.mark.parametrize(
    ("place", "value", "told"),
    [
        ("seed", 7, "seed: 0 is now 7"),
        ("answer.samplers.1.n", 4, "answer.samplers.1.n: 3 is now 4"),
        ("models.weak.model", "other", "models.weak.model: 'weak' is now 'other'"),
        ("evolve", None, None),
    ],
    ids=["number", "inside a list", "text", "a whole section"],
)
def test_changed_configuration_is_refused_with_what_changed(
    finished: Finished, teacher: Teacher, tmp_path: Path, place: str, value: Any, told: str | None
) -> None:
    root = finished.run.root
    before = {f: (root / f).read_bytes() for f in list_files(root)}, len(teacher.calls)
    config = read_settings(tmp_path / "small.yaml", change(finished.settings, place, value))

    with pytest.raises(RunError) as caught:
        conduct_plainly(config)

    told = told or f"evolve: {finished.run.manifest.config['evolve']!r} is now None"
    assert str(caught.value) == (
        f"{root}: this run was begun with another configuration:\n  {told}\n"
        "Run with --update to redo what these changes touch, or give it another name."
    )
    assert before == ({f: (root / f).read_bytes() for f in list_files(root)}, len(teacher.calls))


@pytest.mark.parametrize(
    ("old", "new", "changes"),
    [
        ({"a": 1, "b": {"c": [1, 2]}}, {"a": 1, "b": {"c": [1, 2]}}, []),
        ({"b": {"c": [1, 2]}}, {"b": {"c": [1, 3]}}, ["b.c.1: 2 is now 3"]),
        ({"b": [1]}, {"b": [1, 2]}, ["b: [1] is now [1, 2]"]),
        ({"a": 1}, {"b": "x"}, ["a: 1 is now None", "b: None is now 'x'"]),
        ({"name": "a", "runs_dir": "b"}, {"name": "c", "runs_dir": "d", "journal": "e"}, []),
        ({"s": [{"name": "a"}]}, {"s": [{"name": "b"}]}, ["s.0.name: 'a' is now 'b'"]),
    ],
    ids=["equal", "in a list", "longer list", "gone and new", "place of the run", "sampler's name"],
)
def test_changes_are_listed(old: Any, new: Any, changes: list[str]) -> None:
    assert list(list_changes(old, new)) == changes


def test_run_under_way_is_not_joined(finished: Finished, teacher: Teacher) -> None:
    before = len(teacher.calls)
    with hold_run(finished.run.root), pytest.raises(RunError) as caught:
        conduct_plainly(finished.config)
    assert str(caught.value) == (
        f"{finished.run.root}: another process is working on this run. Wait for it, or give this"
        " run another name in its configuration."
    )
    assert len(teacher.calls) == before


def test_settings_of_pace_and_place_are_no_change(finished: Finished) -> None:
    """A server that was restarted on another port is the same teacher."""
    models = {
        name: model.model_copy(update={"base_url": "http://127.0.0.1:1/v1", "concurrency": 9})
        for name, model in finished.config.models.items()
    }
    places = {"runs_dir": "x", "name": "y", "journal": "postgresql://host/answers"}
    moved = finished.config.model_copy(update={"models": models, **places})
    other = RunConfig.model_validate(finished.config.model_dump() | {"seed": 1})

    assert moved.digest == finished.config.digest != other.digest


def test_damaged_manifest_stops_the_run(finished: Finished, tmp_path: Path) -> None:
    config = finished.config.model_copy(update={"runs_dir": str(tmp_path)})
    run = create_run(config.root, finished.run.manifest)
    run.place("manifest.json").write_text("{}")

    with pytest.raises(RunError) as caught:
        conduct_plainly(config)
    assert str(caught.value) == (
        f"{config.root}/manifest.json: cannot be understood: Field required. It was edited or "
        "written by another version; move the run directory away."
    )

    assert run.place("manifest.json").read_text() == "{}"
