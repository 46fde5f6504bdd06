"""The student reads what it is to be taught, and answers are kept by what it says."""

from collections import Counter
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from filters.diversity import centre
from flows.stages.losses import RowLoss
from flows.store import RunDirectory
from generators.errors import ConfigError
from generators.records import Verdict
from tests.flows.conftest import Finished
from tests.flows.small_run import (
    add_training,
    conduct_plainly,
    describe_run,
    read_cycle,
    read_settings,
    rows_of,
)
from tests.flows.teacher import Teacher

EMBEDDED = {"kind": "embedded", "licence": "cc0-1.0", "outputs_may_train": "yes"}


@pytest.fixture(scope="module")
def settings(
    teacher: Teacher, tiny_model_dir: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Any]:
    settings = describe_run(tmp_path_factory.mktemp("selected"), teacher.url)
    settings["models"]["student"] = EMBEDDED | {"model": str(tiny_model_dir)}
    settings["select"] = {"model": "student", "loss_outliers": 2.5, "words": [1, 12]}
    return settings


@pytest.fixture(scope="module")
def selected(settings: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    folder = tmp_path_factory.mktemp("config")
    return conduct_plainly(read_settings(folder / "small.yaml", settings))[0]


def test_every_wanted_answer_is_read_and_judged(selected: RunDirectory) -> None:
    unique = [v for v in read_cycle(selected, "verdicts-dedup", Verdict) if v.decision == "accept"]
    ids = sorted(verdict.subject_id for verdict in unique)
    losses = read_cycle(selected, "losses-", RowLoss)
    assert sorted(loss.answer_id for loss in losses) == ids
    assert sorted(v.subject_id for v in read_cycle(selected, "verdicts-select", Verdict)) == ids
    # A model with fresh weights finds all 49,152 tokens about as likely.
    assert 9 < median(loss.loss for loss in losses) < 13


def test_rows_fall_for_loss_and_length(selected: RunDirectory) -> None:
    quarantined = rows_of(selected.place("dataset/quarantine.parquet"))
    rejected = rows_of(selected.place("dataset/rejected.parquet"))
    fallen = Counter(r["reason"] for r in [*quarantined, *rejected] if r["stage"] == "select")
    assert {*fallen} & {"loss_too_high", "loss_too_low"}
    assert fallen["too_many_words"] > 0
    long = [r for r in rejected if r["reason"] == "too_many_words"]
    assert all(len(row["completion"].split()) > 10 for row in long)


def test_published_rows_tell_their_loss(selected: RunDirectory) -> None:
    losses = {loss.answer_id: loss for loss in read_cycle(selected, "losses-", RowLoss)}
    rows = rows_of(selected.place("dataset/train.parquet"))
    assert len(rows) > 5
    for row in rows:
        own = losses[row["id"]]
        assert row["student_loss"] == own.loss
        assert row["ifd"] == own.loss / own.loss_alone


def test_report_counts_the_stage(selected: RunDirectory) -> None:
    page = selected.place("report.html").read_text()
    assert "The answer has more words than the configuration wants." in page
    assert "reads the answers" in page


def test_other_bounds_read_nothing_anew(
    selected: RunDirectory, settings: dict[str, Any], tmp_path: Path
) -> None:
    def list_losses() -> dict[str, tuple[str, int]]:
        files = selected.manifest.files
        return {
            path: (entry.key, selected.place(path).stat().st_mtime_ns)
            for path, entry in files.items()
            if "losses-" in path
        }

    before = list_losses()
    changed = settings | {"select": settings["select"] | {"words": [1, 9]}}
    conduct_plainly(read_settings(tmp_path / "small.yaml", changed), update=True)
    assert list_losses() == before != {}


@pytest.fixture(scope="module")
def spread(
    settings: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> tuple[dict[str, Any], RunDirectory]:
    """A run that keeps 8 answers that lie apart, in a folder of its own."""
    folder = tmp_path_factory.mktemp("spread")
    apart = {"model": "student", "min_distance": 0.01, "rows": 8}
    changed = settings | {"runs_dir": str(folder), "select": apart, "shard_rows": 8}
    return changed, conduct_plainly(read_settings(folder / "small.yaml", changed))[0]


def test_answers_that_lie_apart_are_chosen(spread: Any) -> None:
    _, run = spread
    verdicts = read_cycle(run, "verdicts-select", Verdict)
    reasons = Counter(verdict.reason for verdict in verdicts)
    assert reasons["selected"] == 8
    assert reasons["not_chosen"] > 0
    assert {*reasons} <= {"selected", "not_chosen", "too_near"}
    assert len(rows_of(run.place("dataset/train.parquet"))) == 8


def test_vectors_tell_which_answers_are_alike(spread: Any) -> None:
    """Each not chosen answer lies no farther from a chosen one than the chosen lie apart."""
    _, run = spread
    files = [path for path in run.manifest.files if "/embeddings-" in path]
    tables = [pq.read_table(run.place(path)) for path in files]
    assert len(files) > 1
    ids = [id for table in tables for id in table["answer_id"].to_pylist()]
    unit = centre(np.array([v for t in tables for v in t["vector"].to_pylist()]))
    verdicts = {v.subject_id: v for v in read_cycle(run, "verdicts-select", Verdict)}
    assert {*ids} == {*verdicts}
    chosen = [i for i, id in enumerate(ids) if verdicts[id].reason == "selected"]
    others = [i for i, id in enumerate(ids) if verdicts[id].reason == "not_chosen"]
    distances = 1 - unit @ unit[chosen].T
    apart = min(distances[i, j] for j, i in enumerate(chosen[1:], 1) for j in range(j))
    assert distances[others].min(axis=1).max() <= apart + 1e-5
    for i in others:
        assert verdicts[ids[i]].score == pytest.approx(distances[i].min(), abs=1e-5)


def test_the_same_answers_are_chosen_again_and_read_once(spread: Any, tmp_path: Path) -> None:
    changed, run = spread
    before = (run.place("dataset/train.parquet").read_bytes(), dict(run.manifest.files))
    fewer = changed | {"select": changed["select"] | {"rows": 5}}
    conduct_plainly(read_settings(tmp_path / "small.yaml", fewer), update=True)
    again, _ = conduct_plainly(read_settings(tmp_path / "small.yaml", changed), update=True)
    after = dict(again.manifest.files)
    assert again.place("dataset/train.parquet").read_bytes() == before[0]
    vectors = [path for path in after if "/embeddings-" in path]
    assert {path: after[path] for path in vectors} == {p: before[1][p] for p in vectors} != {}


def test_run_without_the_section_selects_nothing(finished: Finished) -> None:
    assert read_cycle(finished.run, "verdicts-select", Verdict) == []
    assert {(row["student_loss"], row["ifd"]) for row in finished.rows()} == {(None, None)}


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (
            "weak",
            "select.model: answers are read by a model in this process: give one of kind embedded",
        ),
        ("nobody", "select.model: no model is called 'nobody' (models: weak, strong, other)"),
        (
            "other",
            "select.model: that is smollm2-135m-instruct, and the student is STUDENT; answers are "
            "read by the student itself",
        ),
        (None, "select: model: is missing; loss_outliers needs one that reads the answers"),
    ],
)
def test_answers_are_read_by_the_student_itself(
    model: str | None, message: str, tmp_path: Path, tiny_model_dir: Path
) -> None:
    settings = add_training(describe_run(tmp_path, "http://x/v1"), tmp_path, tiny_model_dir)
    settings["models"]["other"] = EMBEDDED | {"model": "smollm2-135m-instruct"}
    settings["select"] = {"model": model, "loss_outliers": 6}
    with pytest.raises(ConfigError) as caught:
        read_settings(tmp_path / "small.yaml", settings)
    assert str(caught.value).partition(": ")[2] == message.replace("STUDENT", str(tiny_model_dir))
