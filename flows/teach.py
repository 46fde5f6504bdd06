"""The Prefect flow of a training on its own: the stages of `flows.pipeline`, each job a task."""

from typing import Any

from flows.distill import THREADS, conduct_in_tasks, flow
from flows.notify import HOOKS
from flows.run_artifacts import publish_summary
from flows.stages.teach import read_figures
from flows.teach_card import tell_teaching
from flows.teach_settings import load_teaching


@flow(name="teach", task_runner=THREADS, **HOOKS)
def teach(
    config: str,
    overrides: dict[str, Any] | None = None,
    update: bool = False,
    quiet: bool = False,
) -> str:
    """Take a configuration file from any rows to a taught student; return the run directory."""
    settings = load_teaching(config, overrides)
    run = conduct_in_tasks(settings, quiet=quiet, update=update)
    publish_summary(settings, tell_teaching(read_figures(run)))
    return str(run.root)
