"""The verbs of the command, on real small runs."""

import copy
import io
import re
import shutil
import tempfile
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest

from flows import verbs
from flows.config import RunConfig
from flows.console import Console
from flows.stages.evaluate import ArmResult
from flows.store import RunDirectory
from flows.summary import summarise_run, tell_summary
from generators.errors import ConfigError, RunError
from generators.records import Prompt
from tests.flows.conftest import Finished
from tests.flows.small_run import ROOT, describe_run, read_settings, rows_of, write_config
from tests.flows.stages.samples import seed
from tests.flows.teacher import Teacher


def listen() -> tuple[Console, io.StringIO]:
    out = io.StringIO()
    return Console(out=out, err=io.StringIO()), out


@pytest.fixture
def copied(trained: Finished, tmp_path: Path) -> RunConfig:
    """A trained run of one's own."""
    shutil.copytree(trained.config.runs_dir, tmp_path / "runs")
    return trained.config.model_copy(update={"runs_dir": str(tmp_path / "runs")})


def test_preview_writes_nothing(
    teacher: Teacher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    config = read_settings(tmp_path / "small.yaml", describe_run(tmp_path, teacher.url))
    before = sorted(tmp_path.rglob("*"))
    console, out = listen()
    rows = verbs.preview(config, 5, console)

    assert sorted(tmp_path.rglob("*")) == before
    seeds = {row.seed for row in rows}
    assert len(seeds) == 5
    for told in ([row.seed for row in rows], [(row.seed, row.prompt) for row in rows]):
        assert [one for one, _ in groupby(told)] == list(dict.fromkeys(told))
    same = [row for row in rows if row.prompt == row.seed]
    assert {row.operator for row in same if row.reason != "unchanged"} == {"seed"}
    assert {row.decision for row in rows} == {"accept", "quarantine", "reject"}
    assert {"check", "evolve", "verify"} <= {row.stage for row in rows}
    for row in rows:
        assert f"{row.operator}: {row.prompt}" in out.getvalue()
        assert f"  {row.stage}: {row.decision}, {row.reason}\n" in out.getvalue()


def test_few_seeds_are_of_many_domains() -> None:
    maths = [seed(f"sum {n}", domain="maths") for n in range(9)]
    others = [seed(text, domain=text) for text in ("writing", "code")]

    def domains(picked: list[Prompt]) -> list[str]:
        return sorted(prompt.domain for prompt in picked)

    pool = [*maths, *others]
    assert domains(verbs.pick_few(pool, 3, 0)) == ["code", "maths", "writing"]
    assert domains(verbs.pick_few(pool, 5, 0)) == ["code", "maths", "maths", "maths", "writing"]
    assert len(verbs.pick_few(pool, 99, 0)) == 11
    assert verbs.pick_few(pool, 5, 0) == verbs.pick_few(pool, 5, 0)


def test_training_a_trained_student_changes_nothing(trained: Finished) -> None:
    before = trained.run.manifest
    console, out = listen()
    result = verbs.train(trained.config, console)

    assert trained.run.manifest == before
    place = trained.run.place("student")
    assert (result.steps, result.rows, result.output) == (40, len(trained.rows()), place)
    assert out.getvalue() == (
        f"nothing to do, it was taught before: 40 steps on {result.rows} rows, "
        f"loss {result.train_loss:.3f}\nstudent: {place}\n"
    )


def test_train_and_evaluate_after_the_dataset(trained: Finished, copied: RunConfig) -> None:
    """The verbs bring a run that stopped at its dataset as far as `run` does."""
    run = RunDirectory(copied.root)
    old = trained.run.manifest.files
    run.keep_stages({entry.stage for entry in old.values()} - {"train", "evaluate-after", "report"})
    assert not run.place("student/model.safetensors").exists()
    console, out = listen()
    result = verbs.train(copied, console)
    arms = verbs.evaluate(copied, console)

    new = run.manifest.files
    assert result.steps == 40
    assert new["student/model.safetensors"].sha256 == old["student/model.safetensors"].sha256
    assert [arm.arm for arm in arms] == ["before", "few-shot", "after"]
    assert arms == read_arms(trained.run)
    assert "before, few-shot" in out.getvalue()


def read_arms(run: RunDirectory) -> list[ArmResult]:
    files = [run.place(f"evaluation/{arm}.json") for arm in ("before", "few-shot", "after")]
    return [ArmResult.model_validate_json(file.read_bytes()) for file in files]


def test_evaluate_before_there_is_a_student(trained: Finished, copied: RunConfig) -> None:
    stages = {entry.stage for entry in trained.run.manifest.files.values()}
    RunDirectory(copied.root).keep_stages(stages - {"train", "evaluate-after"})
    arms = verbs.evaluate(copied, listen()[0])
    assert arms == read_arms(trained.run)[:2]


@pytest.mark.parametrize("verb", [verbs.train, verbs.evaluate], ids=["train", "evaluate"])
def test_verbs_that_need_a_run_make_none(trained: Finished, tmp_path: Path, verb: Any) -> None:
    config = trained.config.model_copy(update={"runs_dir": str(tmp_path / "runs")})
    with pytest.raises(RunError) as caught:
        verb(config, listen()[0])
    assert str(caught.value) == (
        f"{tmp_path}/runs/small: not a run directory (no manifest.json). Start one with: "
        "tutelage run CONFIG"
    )
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("verb", [verbs.train, verbs.evaluate], ids=["train", "evaluate"])
def test_verbs_refuse_a_run_of_other_settings(trained: Finished, verb: Any) -> None:
    assert trained.config.train is not None
    train = trained.config.train.model_copy(update={"max_steps": 2})
    settings = trained.config.model_dump() | {"train": train.model_dump()}
    before = trained.run.manifest

    with pytest.raises(RunError) as caught:
        verb(RunConfig.model_validate(settings), listen()[0])
    assert str(caught.value) == (
        f"{trained.run.root}: this run was begun with another configuration:\n"
        "  train.max_steps: 40 is now 2\n"
        "Run with --update to redo what these changes touch, or give it another name."
    )

    assert trained.run.manifest == before


def test_verbs_need_their_section(finished: Finished) -> None:
    with pytest.raises(ConfigError) as untrained:
        verbs.train(finished.config, listen()[0])
    with pytest.raises(ConfigError) as unmeasured:
        verbs.evaluate(finished.config, listen()[0])
    assert str(untrained.value) == ("small: there is no train section: write what is to be trained")
    assert str(unmeasured.value) == ("small: there is no evaluate section: name held-out prompts")


def test_nothing_is_trained_on_before_it_is_published(trained: Finished, copied: RunConfig) -> None:
    RunDirectory(copied.root).keep_stages({"seeds", "evolve-1"})
    with pytest.raises(RunError) as caught:
        verbs.train(copied, listen()[0])
    assert str(caught.value) == (
        f"{copied.root}: nothing is published yet. First: tutelage run CONFIG"
    )


def test_report_is_written_anew_and_needs_no_network(copied: RunConfig) -> None:
    run = RunDirectory(copied.root)
    run.keep_stages({e.stage for e in run.manifest.files.values()} - {"report"})
    page = verbs.report(copied.root)

    text = page.read_text(encoding="utf-8")
    assert page == run.place("report.html")
    assert re.findall(r"""(?:src|href)=["'](?!#|data:)[^"']*|@import|url\((?!data:)""", text) == []
    cards = {"dataset/README.md", "student/README.md"}
    assert {"report.html", "flow.svg", "curves.svg", "credit.json", *cards} == {
        entry.path for entry in run.manifest.files.values() if entry.stage == "report"
    }
    assert run.place("curves.svg").read_text(encoding="utf-8").rstrip().endswith("</svg>")


def test_report_of_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError) as caught:
        verbs.report(tmp_path)
    assert str(caught.value) == (
        f"{tmp_path}: not a run directory (no manifest.json). Start one with: tutelage run CONFIG"
    )


def test_summary_has_the_files_figures(trained: Finished) -> None:
    run = trained.run
    summary = summarise_run(run)
    counts = [len(rows_of(run.place(f"dataset/{n}.parquet"))) for n in ("quarantine", "rejected")]

    assert [summary.rows, summary.quarantined, summary.rejected] == [len(trained.rows()), *counts]
    assert summary.seconds == round(sum(run.manifest.seconds.values()), 1)
    assert (summary.status, summary.run) == ("finished", str(run.root))
    assert summary.student == str(run.place("student"))
    for arm, result in zip(summary.arms, read_arms(run), strict=True):
        assert arm.prompts == result.pass_1.prompts == 10
        assert arm.pass_at_1.value == sum(result.pass_1.correct.values()) / 10
    told = tell_summary(summary)
    assert f"{summary.rows} rows published, {counts[0]} quarantined, {counts[1]} rejected" in told
    assert told.count("\n| ") == 4
    assert f"- student: `{run.place('student')}`" in told


def test_run_tells_its_summary(finished: Finished, tmp_path: Path) -> None:
    console, out = listen()
    file = write_config(tmp_path / "small.yaml", copy.deepcopy(finished.settings))
    summary = verbs.run(file, {}, console, prefect=False)

    assert summary == summarise_run(finished.run)
    assert out.getvalue().splitlines() == [
        f"{finished.run.root}: this run is finished; nothing is left to do.",
        tell_summary(summary).splitlines()[0],
        f"dataset:  {summary.dataset}",
        f"report:   {summary.report}",
    ]


def test_any_model_is_scored_on_the_held_out_arithmetic(
    tiny_model_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    console, out = listen()
    [result] = verbs.evaluate(str(tiny_model_dir), console)

    assert (result.arm, result.pass_1.prompts, result.pass_1.samples) == ("zero-shot", 200, 1)
    assert result.pass_k is not None
    assert (result.pass_k.prompts, result.pass_k.samples) == (50, 4)
    assert result.text is not None
    assert result.text.perplexity > 10_000  # fresh weights know nothing
    assert re.search(r"^zero-shot +200 ", out.getvalue(), re.MULTILINE)
