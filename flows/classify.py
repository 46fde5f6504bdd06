"""The Prefect flow of a classifier's training: the stages of `flows.pipeline`, each job a task."""

from typing import Any

from flows.classify_card import tell_training
from flows.classify_settings import load_classification
from flows.distill import THREADS, conduct_in_tasks, flow
from flows.notify import HOOKS
from flows.run_artifacts import publish_summary
from flows.stages.classify import read_figures


@flow(name="classify", task_runner=THREADS, **HOOKS)
def classify(
    config: str,
    overrides: dict[str, Any] | None = None,
    update: bool = False,
    quiet: bool = False,
) -> str:
    """Take a configuration file from soft labels to a classifier; return the run directory."""
    settings = load_classification(config, overrides)
    run = conduct_in_tasks(settings, quiet=quiet, update=update)
    publish_summary(settings, tell_training(read_figures(run)))
    return str(run.root)
