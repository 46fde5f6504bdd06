"""`tutelage release`: what a person lets out of quarantine is published, and on record."""

import getpass
import io
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from flows.cli import main
from flows.console import Console
from flows.facts import StageCount
from flows.gather import gather_counts
from flows.overrides import OVERRIDES_FILE, Override, read_log, read_overrides, write_log
from flows.release import release
from flows.stages.family import read_family
from flows.stages.publish import hash_dataset
from flows.store import RunDirectory
from flows.work import open_context
from generators.errors import InputError, RunError
from generators.records import Verdict
from tests.flows.small_run import conduct_plainly, read_cycle, read_settings, rows_of

WHY = "read it: it ends where it should"


@pytest.fixture
def run(copied: dict[str, Any]) -> RunDirectory:
    """A finished run of one's own."""
    return RunDirectory(Path(copied["runs_dir"]) / copied["name"])


def read_dataset(run: RunDirectory, name: str = "train") -> dict[str, dict[str, Any]]:
    return {row["id"]: row for row in rows_of(run.place(f"dataset/{name}.parquet"))}


def pick(
    run: RunDirectory, reason: str, name: str = "quarantine", published: int | None = None
) -> str:
    """The first row that was set aside for this reason, and whose prompt has so many published
    rows."""
    aside = read_dataset(run, name)
    counts = Counter(row["prompt_id"] for row in read_dataset(run).values())
    return min(
        id
        for id, row in aside.items()
        if row["reason"] == reason and published in (None, counts[row["prompt_id"]])
    )


def let_out(run: RunDirectory, *rows: str, why: str = WHY) -> str:
    """Release rows; returns what was printed."""
    out = io.StringIO()
    release(run.root, rows, why, Console(out=out, err=out))
    return out.getvalue()


def count_stages(run: RunDirectory, settings: dict[str, Any], folder: Path) -> list[StageCount]:
    config = read_settings(folder / "small.yaml", settings)
    with open_context(run.root, config) as context:
        return list(gather_counts(context, read_family(context)))


def test_released_answer_is_published_as_a_persons(run: RunDirectory) -> None:
    row = pick(run, "truncated", published=1)
    before, aside = read_dataset(run), read_dataset(run, "quarantine")
    said = let_out(run, row)

    after = read_dataset(run)
    assert {*after} - {*before} == {row}
    assert {*before} - {*after} == set()
    assert after[row]["verified_by"] == "person"
    assert after[row]["completion"][-1]["content"] == aside[row]["completion"]
    assert {*aside} - {*read_dataset(run, "quarantine")} == {row}
    assert said.splitlines()[-2:] == [
        f"{row}: released from truncated; is in the dataset",
        f"dataset: {run.place('dataset/train.parquet')}",
    ]
    assert "by a person, who let them out of quarantine" in run.place("report.html").read_text()


def test_release_is_on_record(run: RunDirectory) -> None:
    row = pick(run, "truncated")
    let_out(run, row)

    lines = run.place(OVERRIDES_FILE).read_text().splitlines()
    act = json.loads(lines[0])
    assert len(lines) == 1
    assert act["row"] == row
    assert (act["decision"], act["why"], act["by"]) == ("accept", WHY, getpass.getuser())
    assert act["overruled"]["detector"] == "answer_form"
    assert act["overruled"]["reason"] == "truncated"
    assert run.manifest.files[OVERRIDES_FILE].stage == "overrides"


def test_verdicts_of_all_stages_still_add_up(
    run: RunDirectory, copied: dict[str, Any], tmp_path: Path
) -> None:
    before = {c.stage: c for c in count_stages(run, copied, tmp_path)}
    let_out(run, pick(run, "truncated"))
    after = {c.stage: c for c in count_stages(run, copied, tmp_path)}

    assert (after["release"].total, after["release"].accepted) == (1, 1)
    assert after["answer"] == before["answer"]
    assert after["dedup"].total == before["dedup"].total + 1
    aside = [id for n in ("quarantine", "rejected") for id in read_dataset(run, n)]
    assert Counter(aside).most_common(1)[0][1] == 1
    assert not {*aside} & {*read_dataset(run)}


def test_released_row_never_pushes_out_a_verified_one(run: RunDirectory) -> None:
    row = pick(run, "truncated", published=2)
    before = read_dataset(run)
    said = let_out(run, row)

    assert read_dataset(run) == before
    assert read_dataset(run, "rejected")[row]["reason"] == "surplus"
    assert row not in read_dataset(run, "quarantine")
    assert f"{row}: released from truncated; fell: surplus" in said.splitlines()


def test_second_release_of_a_row_changes_nothing(run: RunDirectory) -> None:
    row = pick(run, "truncated")
    let_out(run, row)
    manifest = run.manifest.files
    let_out(run, row, why="another reason")

    assert run.manifest.files == manifest
    assert [o.why for o in read_log(run)] == [WHY]


def test_release_that_was_killed_behind_its_record_is_finished(run: RunDirectory) -> None:
    row = pick(run, "truncated", published=1)
    verdicts = {v.subject_id: v for v in read_cycle(run, "verdicts-", Verdict)}
    act = Override(row=row, why=WHY, by="me", at=run.now(), overruled=verdicts[row])
    run.commit([write_log(run, [act])])
    assert row not in read_dataset(run)
    let_out(run, row)

    assert row in read_dataset(run)


def test_update_keeps_what_was_released(
    run: RunDirectory, copied: dict[str, Any], tmp_path: Path
) -> None:
    row = pick(run, "truncated", published=1)
    let_out(run, row)
    released = hash_dataset(run.place("dataset/train.parquet"))
    copied["dedup"] = {"threshold": 0.71}
    conduct_plainly(read_settings(tmp_path / "small.yaml", copied), update=True)

    assert row in read_dataset(run)
    assert hash_dataset(run.place("dataset/train.parquet")) == released
    assert [*read_overrides(run)] == [(row, "structure", "truncated")]


def test_only_quarantined_answers_can_be_released(run: RunDirectory) -> None:
    published = min(read_dataset(run))
    wrong = pick(run, "wrong", "rejected")
    prompt = min(
        id
        for id, row in read_dataset(run, "quarantine").items()
        if row["stage"] == "check" and row["reason"] == "no_check"
    )
    with pytest.raises(InputError) as caught:
        let_out(run, published, wrong, prompt, "abc")

    assert str(caught.value) == (
        f"{published}: is published already (published); "
        "only what lies in quarantine can be released\n"
        f"{wrong}: was rejected (wrong); only what lies in quarantine can be released\n"
        f"{prompt}: is no answer (no_check); only answers can be released\n"
        "abc: no row of this run; the ids stand in dataset/quarantine.parquet"
    )
    assert read_log(run) == []


def test_release_wants_a_reason(run: RunDirectory) -> None:
    with pytest.raises(InputError) as caught:
        let_out(run, pick(run, "truncated"), why=" ")
    assert str(caught.value) == "--why: is empty; say for what reason the row may be trusted"


def test_release_wants_a_run(tmp_path: Path) -> None:
    with pytest.raises(RunError) as caught:
        release(tmp_path, ["abc"], WHY, Console())
    assert str(caught.value) == (
        f"{tmp_path}: not a run directory (no manifest.json). Start one with: tutelage run CONFIG"
    )


def test_command_releases_and_tells_as_json(
    run: RunDirectory, capsys: pytest.CaptureFixture[str]
) -> None:
    row = pick(run, "truncated", published=1)
    assert main(["release", str(run.root), row, "--why", WHY, "--json"]) == 0

    assert json.loads(capsys.readouterr().out) == [
        {
            "row": row,
            "decision": "accept",
            "stage": "publish",
            "reason": "published",
            "overruled": "truncated",
            "why": WHY,
        }
    ]


def test_command_without_a_row_is_wrong_use(
    run: RunDirectory, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["release", str(run.root), "--why", WHY]) == 2
    assert capsys.readouterr().err == (
        'tutelage: Command "release" parameter ROW requires an argument.'
        " See `tutelage release --help`.\n"
    )


def test_kind_of_verification_that_is_not_let_in_can_be_released(
    run: RunDirectory, copied: dict[str, Any], tmp_path: Path
) -> None:
    copied["publish"] |= {"accept": ["program", "constraint", "person"]}
    conduct_plainly(read_settings(tmp_path / "small.yaml", copied), update=True)
    row = pick(run, "verified_by_reference")
    let_out(run, row)

    assert read_dataset(run)[row]["verified_by"] == "person"
    others = {r["verified_by"] for id, r in read_dataset(run).items() if id != row}
    assert others <= {"program", "constraint"}
