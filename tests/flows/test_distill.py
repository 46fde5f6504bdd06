"""The Prefect flow on a real server: the same run, told in tasks and artifacts."""

import importlib
import os
import shutil
import signal
import sqlite3
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from threading import Event
from typing import Any, NamedTuple
from uuid import UUID

import psutil
import pytest

from flows.stages.check import CheckStage
from flows.stages.publish import PublishStage, hash_dataset
from flows.store import FileEntry, RunDirectory
from generators.errors import RunError
from tests.flows.conftest import Finished
from tests.flows.small_run import (
    ROOT,
    conduct_plainly,
    describe_run,
    read_settings,
    rows_of,
    start_command,
    write_config,
)
from tests.flows.teacher import Teacher
from tests.generators.loopback import Call, Fault

MODULES = sorted(
    path.relative_to(ROOT).with_suffix("").as_posix().replace("/", ".").removesuffix(".__init__")
    for path in (ROOT / "flows").rglob("*.py")
)
TRAIN = "dataset/train.parquet"


class Distilled(NamedTuple):
    run: RunDirectory
    flow_run: UUID
    teacher: Teacher


@pytest.fixture(scope="module")
def distilled(prefect_api: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Distilled]:
    """The small run, conducted by the flow."""
    from flows.distill import distill

    folder = tmp_path_factory.mktemp("distilled")
    with Teacher(delay_s=0.02) as teacher:
        file = write_config(folder / "small.yaml", describe_run(folder, teacher.url))
        state: Any = distill(str(file), quiet=True, return_state=True)
        yield Distilled(
            RunDirectory(Path(state.result())), state.state_details.flow_run_id, teacher
        )


def list_task_runs(flow_run: UUID) -> list[Any]:
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId

    with get_client(sync_client=True) as client:
        chosen = FlowRunFilter(id=FlowRunFilterId(any_=[flow_run]))
        return client.read_task_runs(flow_run_filter=chosen)


def read_artifact(key: str) -> Any:
    from prefect.artifacts import Artifact

    found: Any = Artifact.get(key)
    assert found is not None, f"no artifact {key}"
    return found.data


def count_shards(run: RunDirectory) -> Counter[str]:
    """Jobs of each stage: shards carry their number at the end of a file's name."""
    files = [f for f in run.manifest.files.values() if f.stage not in ("config", "versions")]
    shards = {(f.stage, Path(f.path).stem[-3:] if "-00" in f.path[-12:] else "") for f in files}
    return Counter(stage for stage, _ in shards)


@pytest.mark.parametrize("module", MODULES)
def test_module_imports_by_its_path(module: str) -> None:
    assert importlib.import_module(module).__name__ == module


def test_flow_loads_by_its_modules_path(prefect_api: str) -> None:
    """A path to a file would load a second copy of the module, and put flows/ on sys.path."""
    from prefect.flows import load_flow_from_entrypoint

    from flows.distill import distill

    assert load_flow_from_entrypoint("flows.distill.distill") is distill
    assert str(ROOT / "flows") not in sys.path


def test_flow_makes_what_the_plain_run_makes(finished: Finished, distilled: Distilled) -> None:
    run = distilled.run
    assert hash_dataset(run.place(TRAIN)) == hash_dataset(finished.run.place(TRAIN))
    assert len(distilled.teacher.asked_since(0)) == len(finished.requests)
    assert run.manifest.cycles["1"].status == "finished"
    assert {f.path for f in run.manifest.files.values()} == set(finished.run.manifest.files)


def test_shards_at_once_share_the_models_concurrency(distilled: Distilled) -> None:
    """`concurrency` is a promise to the server, however many shards are under way."""
    assert distilled.teacher.most_at_once == 4


def test_each_shard_is_a_task(distilled: Distilled) -> None:
    runs = list_task_runs(distilled.flow_run)
    tasks = Counter(task.name.rpartition(" ")[0] for task in runs)
    assert tasks == count_shards(distilled.run)
    assert tasks["evolve-1"] == 4
    assert {task.state_name for task in runs} == {"Completed"}
    assert {task.run_count for task in runs} == {1}


def test_artifacts_tell_the_run(distilled: Distilled) -> None:
    run = distilled.run
    fallen = [rows_of(run.place(f"dataset/{n}.parquet")) for n in ("quarantine", "rejected")]
    told = read_artifact("small-summary").splitlines()[0]
    assert told.startswith(
        f"{len(rows_of(run.place(TRAIN)))} rows published, {len(fallen[0])} quarantined, "
        f"{len(fallen[1])} rejected, in "
    )
    assert read_artifact("small-report") == (
        f"[report.html]({run.place('report.html').resolve().as_uri()})"
    )
    from flows.run_artifacts import tell_links

    assert read_artifact("small-links") == tell_links(run)
    row = max(rows_of(run.place(TRAIN)), key=lambda row: row["round"])
    assert row["round"] > 0
    lineage = read_artifact("small-lineage")
    assert lineage.startswith("The published row `")
    assert f"Round {row['round']}, `" in lineage
    for stage in count_shards(run):
        assert read_artifact(f"small-{stage}-progress") == 100.0


def test_artifact_lists_why_rows_fell(distilled: Distilled) -> None:
    import json

    told: Counter[tuple[str, str]] = Counter()
    for row in json.loads(read_artifact("small-drops")):
        (count,) = [value for value in row.values() if isinstance(value, int)]
        told[row["decision"], row["reason"]] += count
    fallen = Counter(
        (row["decision"], row["reason"])
        for name in ("quarantine", "rejected")
        for row in rows_of(distilled.run.place(f"dataset/{name}.parquet"))
    )
    assert told == fallen


@pytest.fixture
def prepared(finished: Finished, prefect_api: str, tmp_path: Path) -> Path:
    """A configuration whose answers are all journalled already."""
    shutil.copy(finished.config.journal_place, tmp_path)
    settings = finished.settings | {"runs_dir": str(tmp_path)}
    return write_config(tmp_path / "small.yaml", settings)


def fail_at_first(
    monkeypatch: pytest.MonkeyPatch, stage: type[Any], error: Exception
) -> list[Exception]:
    """Let the stage's first job fail; returns the failures as they come."""
    work, failures = stage.work, []

    def fail(*arguments: Any) -> list[FileEntry]:
        if failures:
            return work(*arguments)
        failures.append(error)
        raise error

    monkeypatch.setattr(stage, "work", fail)
    return failures


def test_transient_failure_is_retried(
    finished: Finished, prepared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from flows.distill import distill

    failures = fail_at_first(monkeypatch, PublishStage, ConnectionResetError("gone"))
    state: Any = distill(str(prepared), quiet=True, return_state=True)

    assert [str(failure) for failure in failures] == ["gone"]
    counts = {task.name: task.run_count for task in list_task_runs(state.state_details.flow_run_id)}
    assert {name: count for name, count in counts.items() if count != 1} == {"publish 0": 2}
    run = RunDirectory(Path(state.result()))
    assert hash_dataset(run.place(TRAIN)) == hash_dataset(finished.run.place(TRAIN))


def test_failure_that_stays_is_raised_at_once(
    prepared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from flows.distill import distill

    fail_at_first(monkeypatch, CheckStage, RunError("no good"))
    state: Any = distill(str(prepared), quiet=True, return_state=True)

    with pytest.raises(RunError) as caught:
        state.result()
    assert str(caught.value) == "no good"
    counts = {task.name: task.run_count for task in list_task_runs(state.state_details.flow_run_id)}
    assert counts["check 0"] == 1
    root = prepared.parent / "small"
    assert {f.stage for f in RunDirectory(root).manifest.files.values()} == {
        *("config", "seeds", "calibrate", "evolve-1", "evolve-2")
    }


def test_ctrl_c_stops_soon_and_the_run_goes_on_later(
    finished: Finished, prefect_api: str, tmp_path: Path
) -> None:
    hurry = Event()

    def dawdle(_: Call) -> Fault | None:
        return None if hurry.is_set() else Fault(delay_s=0.4)

    with Teacher(dawdle) as teacher:
        settings = describe_run(tmp_path, teacher.url)
        file = write_config(tmp_path / "small.yaml", settings)
        process = start_command("run", str(file), PREFECT_API_URL=prefect_api)
        teacher.wait_for_calls(15)
        os.kill(process.pid, signal.SIGINT)
        asked = time.monotonic()
        try:
            _, told = process.communicate(timeout=60)
        finally:
            process.kill()
        waited = time.monotonic() - asked
        interrupted = len(teacher.asked_since(0))
        hurry.set()
        run, _ = conduct_plainly(read_settings(file, settings))
        requests = len(teacher.asked_since(0))

    assert process.returncode == 130
    assert told.splitlines()[-1] == (
        "tutelage: interrupted: what is committed stays; type the same command to go on"
    )
    assert "Traceback" not in told
    assert waited < 15
    assert interrupted < len(finished.requests)
    assert hash_dataset(run.place(TRAIN)) == hash_dataset(finished.run.place(TRAIN))
    assert 0 <= requests - len(finished.requests) <= 4


def test_sigterm_leaves_no_server_behind(tmp_path: Path) -> None:
    """As by `timeout` or a machine that goes down; Prefect's own server is the run's child here."""
    with Teacher(lambda _: Fault(delay_s=0.4)) as teacher:
        file = write_config(tmp_path / "small.yaml", describe_run(tmp_path, teacher.url))
        process = start_command("run", str(file), PREFECT_HOME=str(tmp_path / "home"))
        try:
            teacher.wait_for_calls(5)
            children = psutil.Process(process.pid).children(recursive=True)
            commands = [" ".join(child.cmdline()) for child in children]
            os.kill(process.pid, signal.SIGTERM)
            _, told = process.communicate(timeout=60)
        finally:
            process.kill()

    assert process.returncode == 130
    assert told.splitlines()[-1] == (
        "tutelage: interrupted: what is committed stays; type the same command to go on"
    )
    assert "Traceback" not in told
    assert any("uvicorn" in command for command in commands)
    assert [child for child in children if child.is_running()] == []


def test_ctrl_c_while_a_model_of_this_process_answers(
    tiny_model_dir: Path, prefect_api: str, tmp_path: Path
) -> None:
    """Shards that wait for the journal or for the model's turn let go as well."""
    settings = describe_run(tmp_path, "http://127.0.0.1:1/v1") | {"evolve": None, "shard_rows": 4}
    terms = {"licence": "apache-2.0", "outputs_may_train": "yes"}
    model = {"kind": "embedded", "model": str(tiny_model_dir), "batch_size": 4} | terms
    settings["models"] = {"weak": model, "strong": model}
    file = write_config(tmp_path / "small.yaml", settings)
    process = start_command("run", str(file), PREFECT_API_URL=prefect_api)
    try:
        wait_for_answers(tmp_path / "runs" / "journal.sqlite")
        os.kill(process.pid, signal.SIGINT)
        asked = time.monotonic()
        _, told = process.communicate(timeout=60)
    finally:
        process.kill()

    assert time.monotonic() - asked < 15
    assert process.returncode == 130
    assert told.splitlines()[-1].startswith("tutelage: interrupted: what is committed stays")


def wait_for_answers(journal: Path) -> None:
    """Wait until the first batch is journalled."""
    end = time.monotonic() + 60
    while time.monotonic() < end:
        with (
            suppress(sqlite3.OperationalError),
            closing(sqlite3.connect(f"file:{journal}?mode=ro", uri=True)) as connection,
        ):
            if connection.execute("SELECT count(*) FROM outcomes").fetchone()[0]:
                return
        time.sleep(0.02)
    raise AssertionError("no answer came")
