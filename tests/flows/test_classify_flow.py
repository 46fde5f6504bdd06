"""A classifier's training as a verb of the command, as a Prefect flow, and as a chain of two."""

import json
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from flows.classify_figures import ClassifierFigures
from flows.classify_settings import ClassifyConfig, load_classification
from flows.cli import main
from flows.stage_lists import choose_stages
from flows.stages.classify import CARD, read_figures
from flows.store import RunDirectory
from flows.work import attach_context
from generators.errors import RunError
from tests.flows.small_run import write_config
from tests.flows.test_classify_settings import TERMS, describe_classifier
from tests.flows.test_distill import list_task_runs, read_artifact
from tests.trainers.label_data import make_row, write_rows
from trainers.classifier_model import list_labels, load_trained_classifier


class Classified(NamedTuple):
    """A finished training and what the command printed."""

    settings: dict[str, Any]
    file: Path
    run: RunDirectory
    told: ClassifierFigures


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("classified")


@pytest.fixture
def classified(folder: Path, tiny_model_dir: Path, capfd: pytest.CaptureFixture[str]) -> Classified:
    """Trained by the first test that asks; for the others it is finished."""
    settings = describe_classifier(folder, tiny_model_dir)
    write_rows(folder / "labels" / "quarantine.parquet", [make_row("Rain.", 5, reason="tie")])
    settings["data"]["train"] = [str(folder / "labels")]
    file = write_config(folder / "scenes.yaml", settings)
    assert main(["classify", str(file), "--no-prefect", "--json"]) == 0
    told = ClassifierFigures.model_validate_json(capfd.readouterr().out)
    return Classified(settings, file, RunDirectory(load_classification(file).root), told)


def test_the_command_trains_scores_and_tells(classified: Classified) -> None:
    run, told = classified.run, classified.told
    assert told == read_figures(run)
    assert (told.objective, told.steps, told.trained_rows) == ("soft", 12, told.rows.train)
    assert told.rows.train + told.rows.held_out == 25
    assert told.rows.ties == 1
    assert [arm.arm for arm in told.arms] == ["prior", "before", "after"]
    prior, before, after = (arm.score for arm in told.arms)
    assert {score.rows for score in (prior, before, after)} == {told.rows.held_out}
    assert after.kl.value < before.kl.value
    assert before.entropy == pytest.approx(after.entropy)
    assert sorted(path.name for path in run.root.iterdir() if path.name[0] != ".") == [
        *("config.yaml", "curves.svg", "dataset", "evaluation", "manifest.json", "metrics.jsonl"),
        *("student", "summary.json"),
    ]
    student, _ = load_trained_classifier(str(run.place("student")))
    assert list_labels(student) == told.rows.labels == ("joy", "sadness")


def test_the_card_tells_data_licences_and_results(classified: Classified) -> None:
    card = classified.run.place(CARD).read_text(encoding="utf-8")
    assert card.startswith("---\nlicense: apache-2.0\n")
    assert "pipeline_tag: text-classification" in card
    assert "| panel | 25 |" in card
    assert "| cc0-1.0 | 25 |" in card
    assert "| CC0-1.0 | 25 |" in card
    assert "1 row of all have no hard label because the first labels tie" in card
    assert "| the student after | " in card
    assert f"configuration digest | `{load_classification(classified.file).digest}`" in card


def test_a_finished_training_is_left_as_it_is(
    classified: Classified, capfd: pytest.CaptureFixture[str]
) -> None:
    before = classified.run.manifest
    assert main(["classify", str(classified.file)]) == 0
    out = capfd.readouterr().out
    assert "this run is finished; nothing is left to do" in out
    assert "the student after" in out
    assert f"card:    {classified.run.place(CARD)}" in out
    assert classified.run.manifest == before


def test_other_verbs_say_what_a_classifier_is(
    classified: Classified, capfd: pytest.CaptureFixture[str]
) -> None:
    file, root = classified.file, classified.run.root
    assert main(["validate", str(file)]) == 0
    assert main(["run", str(file)]) == 2
    assert main(["report", str(root)]) == 1
    assert main(["release", str(root), "a", "--why", "b"]) == 1
    assert capfd.readouterr().err.splitlines() == [
        f"tutelage: {file}: a classifier's settings. Type: tutelage classify {file}",
        f"tutelage: {root}: a classifier's training has no report. Its card: {root / CARD}",
        f"tutelage: {root}: has no quarantined answers; release those of a run from seeds",
    ]


def test_a_workers_process_opens_a_training(classified: Classified) -> None:
    """There the configuration comes out of the manifest, and every job is found as it was left."""
    context, _ = attach_context(str(classified.run.root))
    assert type(context.config) is ClassifyConfig
    jobs = [job for stage in choose_stages(context.config) for job in stage.plan(context)]
    assert [job.stage for job in jobs] == [
        *("labels", "score-prior", "score-before", "train", "score-after", "card"),
    ]
    assert all(classified.run.has(job.outputs, job.key) for job in jobs)


def test_missing_labels_are_told_with_what_makes_them(
    folder: Path, tiny_model_dir: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    data = {"train": [str(folder / "runs" / "annotate" / "dataset")]}
    settings = describe_classifier(folder, tiny_model_dir) | {"name": "early", "data": data}
    file = write_config(folder / "early.yaml", settings)
    assert main(["classify", str(file), "--no-prefect"]) == 1
    assert capfd.readouterr().err.splitlines()[-2:] == [
        f"tutelage: {data['train'][0]}: no such file or folder.",
        "If an annotation makes it, run that first: tutelage annotate CONFIG",
    ]
    with pytest.raises(RunError) as caught:
        read_figures(RunDirectory(folder / "runs" / "early"))
    assert str(caught.value) == (
        f"{folder}/runs/early: no classifier has been finished here; finish it: tutelage classify"
        " CONFIG"
    )


@pytest.fixture
def flown(classified: Classified, prefect_api: str) -> tuple[RunDirectory, Any]:
    """A student of one layer that follows the first one, by the flow."""
    from flows.classify import classify

    settings = json.loads(json.dumps(classified.settings)) | {"name": "small"}
    teacher = {"kind": "embedded", "model": str(classified.run.place("student")), **TERMS}
    settings["models"]["teacher"] = teacher
    settings["classifier"] |= {"objective": "hinton", "teacher": "teacher", "layers": [0]}
    file = write_config(classified.file.with_name("small.yaml"), settings)
    state: Any = classify(str(file), quiet=True, return_state=True)
    return RunDirectory(Path(state.result())), state


def test_a_smaller_student_follows_the_trained_one_by_the_flow(
    classified: Classified, flown: tuple[RunDirectory, Any]
) -> None:
    run, state = flown
    told = read_figures(run)
    assert [arm.arm for arm in told.arms] == ["prior", "teacher", "before", "after"]
    scores = {arm.arm: arm.score for arm in told.arms}
    taught = {arm.arm: arm.score for arm in classified.told.arms}
    assert scores["teacher"] == taught["after"]  # the same texts are held out
    assert scores["after"].kl.value < scores["before"].kl.value
    assert told.skipped == ({"tie": 1} if told.trained_rows < told.rows.train else {})
    assert told.layers == (0,)
    student, _ = load_trained_classifier(str(run.place("student")))
    assert student.config.num_hidden_layers == 1
    card = run.place(CARD).read_text(encoding="utf-8")
    assert "| teacher | apache-2.0 | yes |" in card
    runs = list_task_runs(state.state_details.flow_run_id)
    names = Counter(task.name.rpartition(" ")[0] for task in runs)
    assert names == Counter(["labels", "train", "card", *(f"score-{arm}" for arm in scores)])
    assert read_artifact("small-summary").startswith("12 steps on ")
