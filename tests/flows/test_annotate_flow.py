"""Annotation as a verb of the command, and as a Prefect flow."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from flows.annotate_figures import AnnotationFigures
from flows.annotate_settings import AnnotateConfig
from flows.cli import main
from flows.stage_lists import choose_stages
from flows.stages.soft_labels import CARD, read_figures
from flows.store import RunDirectory
from flows.work import attach_context
from tests.flows.annotators import (
    ASKED,
    TEXTS,
    Annotated,
    AnnotatorServer,
    describe_annotation,
)
from tests.flows.small_run import write_config
from tests.flows.test_distill import list_task_runs, read_artifact


def test_the_command_prints_the_figures_as_json(
    annotated: Annotated, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    file = write_config(tmp_path / "faces.yaml", annotated.settings)
    assert main(["annotate", str(file), "--json"]) == 0
    told = AnnotationFigures.model_validate_json(capfd.readouterr().out)
    assert told == annotated.figures()


def test_other_verbs_say_what_an_annotation_is(
    annotated: Annotated, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    file = write_config(tmp_path / "faces.yaml", annotated.settings)
    assert main(["validate", str(file)]) == 0
    assert main(["run", str(file)]) == 2
    root = annotated.run.root
    assert main(["report", str(root)]) == 1
    assert capfd.readouterr().err.splitlines() == [
        f"tutelage: {file}: an annotation's settings. Type: tutelage annotate {file}",
        f"tutelage: {root}: an annotation has no report. Its figures: {root / CARD}",
    ]


def test_a_workers_process_opens_an_annotation(annotated: Annotated) -> None:
    """There the configuration comes out of the manifest, and every job is found as it was left."""
    context, _ = attach_context(str(annotated.run.root))
    assert type(context.config) is AnnotateConfig
    jobs = [job for stage in choose_stages(context.config) for job in stage.plan(context)]
    assert len(jobs) == 1 + 2 * 3 + 1
    assert all(annotated.run.has(job.outputs, job.key) for job in jobs)


@pytest.fixture(scope="module")
def flown(
    prefect_api: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[RunDirectory, Any, int]]:
    """The same annotation, conducted by the flow."""
    from flows.annotate import annotate

    folder = tmp_path_factory.mktemp("flown")
    with AnnotatorServer(delay_s=0.01) as server:
        file = write_config(folder / "faces.yaml", describe_annotation(folder, server.url))
        state: Any = annotate(str(file), quiet=True, return_state=True)
        yield RunDirectory(Path(state.result())), state, len(server.asked())


def test_the_flow_makes_what_the_plain_calls_make(
    annotated: Annotated, flown: tuple[RunDirectory, Any, int]
) -> None:
    run, _, asked = flown
    assert asked == ASKED
    assert read_figures(run) == annotated.figures()
    assert run.manifest.cycles["1"].status == "finished"


def test_the_flow_tells_tasks_and_what_came_out(
    annotated: Annotated, flown: tuple[RunDirectory, Any, int]
) -> None:
    runs = list_task_runs(flown[1].state_details.flow_run_id)
    tasks = Counter(task.name.rpartition(" ")[0] for task in runs)
    shards = -(-len(TEXTS) // 4)
    assert tasks == {
        "texts": 1,
        "annotate-fans": shards,
        "annotate-strangers": shards,
        "soft-labels": 1,
    }
    assert {task.state_name for task in runs} == {"Completed"}
    told = f"{annotated.figures().published} rows published, "
    assert read_artifact("faces-summary").startswith(told)
    assert read_artifact("faces-annotate-fans-progress") == 100.0
