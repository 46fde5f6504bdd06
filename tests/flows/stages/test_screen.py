"""Rows with secrets are set aside in a run, and rows with personal data tagged."""

import io
import shutil
from pathlib import Path
from typing import Any

import pytest

from filters.language_id import list_languages
from flows.console import Console
from flows.overrides import Override, overrule, read_overrides, write_log
from flows.release import release
from flows.store import RunDirectory
from generators.errors import ConfigError
from generators.records import Verdict
from tests.flows.conftest import Finished
from tests.flows.small_run import (
    LICENSED,
    conduct_plainly,
    describe_run,
    list_seeds,
    read_cycle,
    read_settings,
    rows_of,
    write_lines,
)
from tests.flows.teacher import Teacher

TOKEN = "ghp_" + "q7Rt2LmVx9ZbKd4NwPf8Hs3Yc6JgTu5AeQoB1"[:36]
SEEDS = [
    ("What is 13 + 21? Answer with the number only; joe.doe@mail.de asks.", "34"),
    (f"What is 14 + 22? Answer with the number only. Key: {TOKEN}", "36"),
]


@pytest.fixture(scope="module")
def screened(teacher: Teacher, tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    folder = tmp_path_factory.mktemp("screened")
    settings: dict[str, Any] = describe_run(folder, teacher.url)
    marked = [
        {"prompt": text, "check": {"kind": "exact", "answer": answer}, "domain": "maths"}
        for text, answer in SEEDS
    ]
    write_lines(folder / "seeds.jsonl", [*list_seeds(), *(m | LICENSED for m in marked)])
    settings |= {"screen": {}, "evolve": None}
    return conduct_plainly(read_settings(folder / "small.yaml", settings))[0]


def test_rows_with_a_secret_are_quarantined(screened: RunDirectory) -> None:
    aside = rows_of(screened.place("dataset/quarantine.parquet"))
    found = [row for row in aside if row["stage"] == "screen"]
    assert {(row["prompt"], row["reason"]) for row in found} == {(SEEDS[1][0], "secrets")}
    assert {row["evidence"] for row in found} == {"GitHub Token in the prompt: gh…oB"}


def test_rows_with_personal_data_are_tagged(screened: RunDirectory) -> None:
    rows = rows_of(screened.place("dataset/train.parquet"))
    tagged = {row["prompt"][0]["content"]: row["tags"] for row in rows if row["tags"]}
    assert tagged == {SEEDS[0][0]: ["email"]}


def test_every_unique_answer_has_one_verdict(screened: RunDirectory) -> None:
    unique = [v for v in read_cycle(screened, "verdicts-dedup", Verdict) if v.decision == "accept"]
    verdicts = read_cycle(screened, "verdicts-screen", Verdict)
    assert sorted(v.subject_id for v in verdicts) == sorted(v.subject_id for v in unique)
    assert {v.reason for v in verdicts} == {"clean", "tagged", "secrets"}


def test_report_counts_the_stage(screened: RunDirectory) -> None:
    page = screened.place("report.html").read_text()
    assert "A key, a token or a password stands in the prompt or in the answer." in page


def test_run_without_the_section_is_not_screened(finished: Finished) -> None:
    assert read_cycle(finished.run, "verdicts-screen", Verdict) == []
    assert {row["tags"] for row in finished.rows()} == {None}


def test_configuration_with_an_unknown_language_is_refused(tmp_path: Path) -> None:
    settings = describe_run(tmp_path, "http://127.0.0.1:9/v1") | {"screen": {"languages": ["eng"]}}
    with pytest.raises(ConfigError) as caught:
        read_settings(tmp_path / "small.yaml", settings)
    known = ", ".join(sorted(list_languages()))
    assert str(caught.value).partition(": ")[2] == (
        f"screen.languages: 'eng' is not known; choose from {known} (did you mean en?)"
    )


def test_released_row_is_verified_as_it_was(screened: RunDirectory, tmp_path: Path) -> None:
    """What is lifted is the quarantine for the secret; a reference stands behind the answer."""
    run = RunDirectory(Path(shutil.copytree(screened.root, tmp_path / "small")))
    aside = rows_of(run.place("dataset/quarantine.parquet"))
    row = min(row["id"] for row in aside if row["stage"] == "screen")
    release(run.root, [row], "the key is revoked", Console(out=io.StringIO(), err=io.StringIO()))

    published = {r["id"]: r for r in rows_of(run.place("dataset/train.parquet"))}
    assert published[row]["verified_by"] == "reference"
    assert published[row]["tags"] == ["GitHub Token"]


def test_release_from_an_earlier_quarantine_does_not_lift_this_one(
    screened: RunDirectory, tmp_path: Path
) -> None:
    """Whoever let an answer through that was cut off has not seen the secret in its prompt."""
    run = RunDirectory(Path(shutil.copytree(screened.root, tmp_path / "small")))
    console = Console(out=io.StringIO(), err=io.StringIO())
    verdicts = read_cycle(run, "verdicts-screen", Verdict)
    verdict = min((v for v in verdicts if v.reason == "secrets"), key=lambda v: v.subject_id)
    cut = verdict.model_copy(update={"stage": "structure", "reason": "truncated"})
    row, at = verdict.subject_id, run.now()
    act = Override(row=row, why="it is whole", by="me", at=at, overruled=cut)
    run.commit([write_log(run, [act])])
    assert overrule(verdict, read_overrides(run)) == verdict
    assert overrule(cut, read_overrides(run)).reason == "released"

    (fate,) = release(run.root, [row], "the key is revoked", console)
    assert (fate.decision, fate.overruled) == ("accept", "secrets")
    assert [*read_overrides(run)] == [
        (row, "structure", "truncated"),
        (row, "screen", "secrets"),
    ]
