"""Flow runs as the Prefect server of the tests knows them: made, watched, and read."""

import time
from collections.abc import Callable
from typing import Any
from uuid import UUID

from prefect.client.orchestration import get_client

PATIENCE_S = 120


def wait_for(holds: Callable[[], Any], what: str) -> Any:
    """Wait until something comes, and return it."""
    end = time.monotonic() + PATIENCE_S
    while not (found := holds()):
        assert time.monotonic() < end, f"no {what} within {PATIENCE_S} s"
        time.sleep(0.1)
    return found


def read_state(flow_run: UUID) -> Any:
    with get_client(sync_client=True) as client:
        return client.read_flow_run(flow_run).state


def wait_for_state(flow_run: UUID, *names: str) -> Any:
    """Wait until a flow run is in a state of one of these names."""

    def look() -> Any:
        state = read_state(flow_run)
        return state if state is not None and state.name in names else None

    return wait_for(look, f"state {' or '.join(names)}")


def find_running(flow: str = "distill") -> list[Any]:
    """The flow runs of a flow that are RUNNING and have noted their process."""
    from prefect.client.schemas.filters import FlowFilter, FlowFilterName

    from flows.lost_runs import read_mark

    with get_client(sync_client=True) as client:
        found = client.read_flow_runs(flow_filter=FlowFilter(name=FlowFilterName(any_=[flow])))
    return [run for run in found if run.state and run.state.is_running() and read_mark(run)]
