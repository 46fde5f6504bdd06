"""A training on its own: as a verb of the command, broken off, changed, and as a Prefect flow."""

import io
import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow.parquet as pq
import pytest

from flows.cli import main
from flows.console import Console
from flows.pipeline import PlainConductor, choose_stages, conduct
from flows.stages.report import MODEL_CARD
from flows.stages.teach import read_figures
from flows.store import FileEntry, RunDirectory
from flows.teach_card import TeachFigures
from flows.teach_settings import TeachConfig, load_teaching
from flows.work import Job, JobContext, Stage, Tick, attach_context
from generators.errors import HeldOutError, InputError, LicenceError, RunError
from tests.flows.small_run import LICENSED, write_config
from tests.flows.taught import add_evaluation, describe_teaching, list_rows, write_rows
from tests.flows.test_distill import list_task_runs, read_artifact
from tests.json_lines import write_lines
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
    with pytest.raises(RunError, match=r"train\.max_steps: 4 is now 2"):
        conduct_watched(file, settings, Watched())
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


def test_rows_of_other_verification_and_strange_checks_are_told(
    tiny_model_dir: Path, tmp_path: Path
) -> None:
    settings = describe_teaching(tmp_path, tiny_model_dir)
    rows = list_rows(tmp_path)
    rows[0]["verified_by"] = rows[1]["verified_by"] = "judge"
    rows[2]["check"] = "looks right"
    settings["dataset"] = str(write_rows(tmp_path / "mixed" / "train.parquet", rows))
    write_rows(tmp_path / "mixed" / "quarantine.parquet", [{"id": "a", "reason": "b"}])
    settings["dataset"] = str(tmp_path / "mixed")
    run, _ = conduct_watched(tmp_path / "taught.yaml", settings, Watched())
    found = read_figures(run).rows
    assert (found.rows, found.left_out, found.unread_checks) == (10, {"judge": 2}, 1)
    card = run.place(MODEL_CARD).read_text(encoding="utf-8")
    assert "Left out, as `train.accept` does not name it: judge (2)." in card
    assert "The checks of 1 row cannot be read and judge nothing." in card
    kept = pq.read_table(run.place("dataset/train.parquet"), columns=["check"])["check"]
    assert kept.null_count == 1


def hold_out_a_row(settings: dict[str, Any], folder: Path) -> None:
    add = {"domain": "maths"} | LICENSED
    (row, *_) = list_rows(folder)
    check = {"kind": "exact", "answer": "4"}
    asked = [{"prompt": row["prompt"][0]["content"], "check": check, **add}]
    write_lines(folder / "held-out.jsonl", asked)
    held_out = {"held_out": [str(folder / "held-out.jsonl")], "prompts": 1, "k_prompts": 0}
    settings["evaluate"] = held_out | {"max_tokens": 2}


def hold_out_a_text(settings: dict[str, Any], folder: Path) -> None:
    text = {"text": "A river rarely runs straight for long.", "domain": "nature"} | LICENSED
    settings["dataset"] = str(folder / "texts.jsonl")
    write_lines(folder / "texts.jsonl", [text, text | {"text": "Swifts live in the air."}])
    settings |= {"evaluate": add_evaluation({}, folder)["evaluate"] | {"text": settings["dataset"]}}


def drop_columns(*names: str) -> Callable[[dict[str, Any], Path], None]:
    def change(settings: dict[str, Any], folder: Path) -> None:
        rows = [{n: v for n, v in row.items() if n not in names} for row in list_rows(folder)]
        settings["dataset"] = str(write_rows(folder / "less.parquet", rows))

    return change


def judge_all(settings: dict[str, Any], folder: Path) -> None:
    rows = [row | {"verified_by": "judge"} for row in list_rows(folder)]
    settings["dataset"] = str(write_rows(folder / "judged.parquet", rows))


def forbid(settings: dict[str, Any], folder: Path) -> None:
    settings["models"] = {
        "shut": {"kind": "embedded", "model": "x", "licence": "closed", "outputs_may_train": "no"}
    }


REFUSED: dict[str, tuple[Callable[[dict[str, Any], Path], None], type[Exception], str]] = {
    "a prompt is held out": (
        hold_out_a_row,
        HeldOutError,
        "1 of 1 held-out prompts occur in training: ",
    ),
    "a text is held out": (
        hold_out_a_text,
        HeldOutError,
        "texts.jsonl: 2 of its texts are trained on, such as 'A river rarely runs straight for",
    ),
    "no completions": (
        drop_columns("completion"),
        InputError,
        "less.parquet: has no column completion.\nPrompts are enough only where the student writes",
    ),
    "neither prompts nor texts": (
        drop_columns("prompt", "completion"),
        InputError,
        "less.parquet: has neither a column prompt nor a column text (it has id, prompt_id,",
    ),
    "nothing accepted": (
        judge_all,
        InputError,
        "judged.parquet: no row to train on.\nThey are verified by judge (12): name that in "
        "train.accept.",
    ),
    "no dataset": (
        lambda settings, folder: settings.update(dataset=str(folder / "runs/demo/train.parquet")),
        InputError,
        "runs/demo/train.parquet: no such file, nor a folder with Parquet files.\nIf a run makes "
        "it, run that first: tutelage run CONFIG",
    ),
    "a teacher's terms": (
        forbid,
        LicenceError,
        "models.shut: its terms (closed) do not let its outputs train a model. Nothing was asked",
    ),
}


@pytest.mark.parametrize(("change", "error", "text"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_used_is_refused(
    change: Callable[[dict[str, Any], Path], None],
    error: type[Exception],
    text: str,
    tiny_model_dir: Path,
    tmp_path: Path,
) -> None:
    settings = describe_teaching(tmp_path, tiny_model_dir)
    change(settings, tmp_path)
    with pytest.raises(error) as raised:
        conduct_watched(tmp_path / "taught.yaml", settings, Watched())
    assert text in str(raised.value)
    assert not (tmp_path / "runs" / "taught" / "student").exists()


def test_prompts_alone_are_enough_where_the_student_writes(
    tiny_model_dir: Path, other_tiny_model_dir: Path, tmp_path: Path
) -> None:
    settings = describe_teaching(tmp_path, tiny_model_dir, other_tiny_model_dir)
    drop_columns("completion", "verified_by", "id", "teacher")(settings, tmp_path)
    settings["train"] |= {"objective": "reverse", "rollouts": {"max_new_tokens": 3}}
    run, _ = conduct_watched(tmp_path / "taught.yaml", settings, Watched())
    found = read_figures(run)
    assert (found.rows.kind, found.rows.rows, found.training.rows) == ("prompts", 12, 12)
    assert found.rows.teachers == {}
    assert "answered by: the rows do not tell" in run.place(MODEL_CARD).read_text("utf-8")


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
