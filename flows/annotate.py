"""The Prefect flow of an annotation: the stages of `flows.pipeline`, each job a task."""

from typing import Any

from flows.annotate_card import tell_annotation
from flows.annotate_settings import load_annotation
from flows.distill import THREADS, conduct_in_tasks, flow
from flows.notify import HOOKS
from flows.run_artifacts import publish_summary
from flows.stages.soft_labels import read_figures


@flow(name="annotate", task_runner=THREADS, **HOOKS)
def annotate(
    config: str,
    overrides: dict[str, Any] | None = None,
    update: bool = False,
    quiet: bool = False,
) -> str:
    """Take a configuration file from texts to soft labels; return the run directory."""
    settings = load_annotation(config, overrides)
    run = conduct_in_tasks(settings, quiet=quiet, update=update)
    publish_summary(settings, tell_annotation(read_figures(run)))
    return str(run.root)
