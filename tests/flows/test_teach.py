"""A training on its own: as a verb of the command, broken off, changed, and as a Prefect flow."""

import io
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow.parquet as pq
import pytest

from flows.cli import main
from flows.conduct import PlainConductor
from flows.console import Console
from flows.pipeline import conduct
from flows.stage_lists import choose_stages
from flows.stages.report import MODEL_CARD
from flows.stages.teach import read_figures
from flows.store import FileEntry, RunDirectory
from flows.teach_card import TeachFigures
from flows.teach_settings import TeachConfig, load_teaching
from flows.work import Job, JobContext, Stage, Tick, attach_context
from generators.errors import RunError
from tests.flows.small_run import write_config
from tests.flows.taught import add_evaluation, describe_teaching, write_rows
from tests.flows.test_distill import list_task_runs, read_artifact
from trainers.teachers import load_teacher

CACHED = {"kind": "cached", "top_k": 8}
STAGES = [
    "rows",
    "evaluate-before",
    "evaluate-teacher",
    "signal",
    "train",
    "evaluate-after",
    "card",
]
DOUBT = (
    "the teacher is not better, beyond chance, than the untrained student: pass@1 0\u202f% (0.0 to "
    "39.0\u202f%) against 0\u202f% (0.0 to 39.0\u202f%); following it may teach nothing, or undo "
    "what the student knows"
)


class Taught(NamedTuple):
    """A finished training and what the command printed."""

    settings: dict[str, Any]
    file: Path
    run: RunDirectory
    told: TeachFigures


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("taught")


@pytest.fixture
def taught(
    folder: Path,
    tiny_model_dir: Path,
    other_tiny_model_dir: Path,
    capfd: pytest.CaptureFixture[str],
) -> Taught:
    """Taught by the first test that asks; for the others it is finished."""
    settings = describe_teaching(folder, tiny_model_dir, other_tiny_model_dir)
    settings["train"] |= {"signal": CACHED}
    settings = add_evaluation(settings, folder)
    file = write_config(folder / "taught.yaml", settings)
    assert main(["teach", str(file), "--no-prefect", "--json"]) == 0
    told = TeachFigures.model_validate_json(capfd.readouterr().out)
    return Taught(settings, file, RunDirectory(load_teaching(file).root), told)


def test_the_command_teaches_evaluates_and_tells(taught: Taught) -> None:
    run, told = taught.run, taught.told
    assert told == read_figures(run)
    assert (told.rows.rows, told.rows.kind, told.training.rows) == (12, "conversations", 12)
    assert told.rows.verified_by == {"program": 12}
    assert told.training.told == ("forward KL on the rows' tokens, the teacher read from disk",)
    assert told.training.signal is not None
    assert told.training.signal.rows == 12
    assert told.training.signal.kept_per_token == 8
    assert [arm.name for arm in told.arms] == [
        *("before, zero-shot", "teacher, zero-shot", "after, zero-shot"),
    ]
    assert told.warnings == (DOUBT,)
    assert sorted(path.name for path in run.root.iterdir() if path.name[0] != ".") == [
        *("config.yaml", "curves.svg", "dataset", "evaluation", "manifest.json", "metrics.jsonl"),
        *("signal", "student", "summary.json"),
    ]
    assert (
        pq.read_table(run.place("dataset/train.parquet")).to_pylist()
        == pq.read_table(taught.settings["dataset"]).to_pylist()
    )


def test_the_card_tells_data_teacher_signal_and_doubt(taught: Taught) -> None:
    card = taught.run.place(MODEL_CARD).read_text(encoding="utf-8")
    signal = taught.told.training.signal
    assert signal is not None
    assert f"{signal.bytes_per_token:.0f} bytes a token" in card
    assert "answered by weak@1 (12); verified by program (12); licence cc0-1.0 (12)." in card
    assert "| teacher of the student | apache-2.0 | yes |" in card
    assert "the teacher is not better, beyond chance, than the untrained student" in card
    assert f"| dataset hash | `{taught.told.dataset_hash}` |" in card
    assert "| teacher, zero-shot | 6 |" in card


def test_a_finished_training_is_left_as_it_is(
    taught: Taught, capfd: pytest.CaptureFixture[str]
) -> None:
    before = taught.run.manifest
    assert main(["teach", str(taught.file)]) == 0
    out = capfd.readouterr().out
    assert "this run is finished; nothing is left to do" in out
    assert "teacher, zero-shot" in out
    assert "signal:  8.0 entries at each of " in out
    assert taught.run.manifest == before


def test_other_verbs_say_what_it_is(taught: Taught, capfd: pytest.CaptureFixture[str]) -> None:
    file, root = taught.file, taught.run.root
    assert main(["validate", str(file)]) == 0
    assert main(["run", str(file)]) == 2
    assert main(["report", str(root)]) == 1
    assert main(["release", str(root), "a", "--why", "b"]) == 1
    assert capfd.readouterr().err.splitlines() == [
        f"tutelage: {file}: the settings of a training on its own. Type: tutelage teach {file}",
        f"tutelage: {root}: a training on its own has no report. Its card: {root / MODEL_CARD}",
        f"tutelage: {root}: has no quarantined answers; release those of a run from seeds",
    ]


def test_a_workers_process_opens_a_training(taught: Taught) -> None:
    context, _ = attach_context(str(taught.run.root))
    assert type(context.config) is TeachConfig
    jobs = [job for stage in choose_stages(context.config) for job in stage.plan(context)]
    assert [job.stage for job in jobs] == STAGES
    assert all(taught.run.has(job.outputs, job.key) for job in jobs)


class Watched(PlainConductor):
    """Notes the stages that work, and interrupts one of them after some ticks."""

    def __init__(self, stage: str = "", ticks: int = 0) -> None:
        self.stage, self.left = stage, ticks
        self.worked: list[str] = []
        self.ticks: Counter[str] = Counter()

    def carry_out(
        self, stage: Stage, context: JobContext[Any], jobs: Sequence[Job], tick: Tick
    ) -> Iterator[list[FileEntry]]:
        self.worked.append(stage.name)

        def count(rows: int) -> None:
            self.ticks[stage.name] += rows
            if stage.name == self.stage and self.ticks[stage.name] >= self.left:
                raise KeyboardInterrupt
            tick(rows)

        yield from super().carry_out(stage, context, jobs, count)


def conduct_watched(
    file: Path, settings: dict[str, Any], conductor: Watched, *, update: bool = False
) -> tuple[RunDirectory, str]:
    config, out = load_teaching(write_config(file, settings)), io.StringIO()
    return conduct(config, Console(out=out, err=out), conductor, update=update), out.getvalue()


@pytest.mark.parametrize(("stage", "ticks"), [("signal", 4), ("train", 3)])
def test_broken_off_it_goes_on_to_the_same_student(
    stage: str, ticks: int, taught: Taught, tmp_path: Path
) -> None:
    settings = json.loads(json.dumps(taught.settings)) | {"runs_dir": str(tmp_path)}
    settings |= {"shard_rows": 4, "evaluate": None}
    file = tmp_path / "taught.yaml"
    with pytest.raises(KeyboardInterrupt):
        conduct_watched(file, settings, Watched(stage, ticks))
    resumed = Watched()
    run, _ = conduct_watched(file, settings, resumed)
    assert (
        resumed.worked == {"signal": ["signal", "train", "card"], "train": ["train", "card"]}[stage]
    )
    if stage == "signal":
        assert resumed.ticks["signal"] == 12  # those of the first shard are told at once
    for name in ("student/model.safetensors", "metrics.jsonl"):
        assert run.place(name).read_bytes() == taught.run.place(name).read_bytes()


def test_an_update_redoes_what_a_change_touches(taught: Taught, tmp_path: Path) -> None:
    settings = json.loads(json.dumps(taught.settings))
    settings |= {"runs_dir": str(tmp_path), "evaluate": None}
    file = tmp_path / "taught.yaml"
    first = Watched()
    conduct_watched(file, settings, first)
    assert first.worked == ["rows", "signal", "train", "card"]
    settings["train"]["max_steps"] = 2
    with pytest.raises(RunError) as caught:
        conduct_watched(file, settings, Watched())
    assert str(caught.value) == (
        f"{tmp_path}/taught: this run was begun with another configuration:\n"
        "  train.max_steps: 4 is now 2\n"
        "Run with --update to redo what these changes touch, or give it another name."
    )
    longer = Watched()
    run, _ = conduct_watched(file, settings, longer, update=True)
    assert longer.worked == ["train", "card"]
    assert read_figures(run).training.steps == 2
    settings["train"]["signal"] = CACHED | {"top_k": 4}
    other = Watched()
    run, _ = conduct_watched(file, settings, other, update=True)
    assert other.worked == ["signal", "train", "card"]
    signal = read_figures(run).training.signal
    assert signal is not None
    assert signal.kept_per_token == 4
    rows = pq.read_table(settings["dataset"]).to_pylist()
    settings["dataset"] = str(write_rows(tmp_path / "fewer.parquet", rows[:8]))
    fewer = Watched()
    run, _ = conduct_watched(file, settings, fewer, update=True)
    assert fewer.worked == ["rows", "signal", "train", "card"]
    assert read_figures(run).training.rows == 8


def test_phases_share_one_signal_and_load_no_teacher(
    taught: Taught, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded: list[str] = []

    def load(name: str, *given: Any, **named: Any) -> Any:
        loaded.append(name)
        return load_teacher(name, *given, **named)

    monkeypatch.setattr("trainers.assembly.load_teacher", load)
    settings = json.loads(json.dumps(taught.settings))
    settings |= {"runs_dir": str(tmp_path), "evaluate": None}
    phases = [{"max_steps": 2}, {"objective": "skew_forward", "max_steps": 1}]
    settings["train"] |= {"phases": phases}
    run, _ = conduct_watched(tmp_path / "taught.yaml", settings, Watched())
    assert loaded == [settings["models"]["big"]["model"]]
    told = read_figures(run).training
    assert (told.objective, told.steps) == ("forward, then skew_forward", 3)


def test_a_prefect_flow_teaches_the_same_student(taught: Taught, prefect_api: str) -> None:
    from flows.teach import teach

    settings = json.loads(json.dumps(taught.settings)) | {"name": "flown"}
    file = write_config(taught.file.with_name("flown.yaml"), settings)
    state: Any = teach(str(file), quiet=True, return_state=True)
    run = RunDirectory(Path(state.result()))
    name = "student/model.safetensors"
    assert run.place(name).read_bytes() == taught.run.place(name).read_bytes()
    runs = list_task_runs(state.state_details.flow_run_id)
    assert Counter(task.name.rpartition(" ")[0] for task in runs) == Counter(STAGES)
    assert read_artifact("flown-summary").startswith("4 steps on 12 rows, loss ")
