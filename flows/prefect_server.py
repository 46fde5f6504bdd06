"""The Prefect server that schedules runs and remembers them: where it is, if it answers."""

from collections.abc import Iterator
from contextlib import contextmanager

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.exceptions import PrefectHTTPStatusError
from prefect.settings import PREFECT_API_URL

from generators.errors import ConfigError, EndpointError

FLOWS = ("distill", "annotate", "classify", "teach")
"""The names of our flows."""


@contextmanager
def open_server(purpose: str) -> Iterator[SyncPrefectClient]:
    """A client of the server at PREFECT_API_URL; `purpose` is what it is needed for.

    Raises ConfigError where no server is named, and EndpointError where none answers or it refuses.
    """
    url = PREFECT_API_URL.value()
    if not url:
        raise ConfigError(
            f"{purpose} needs a Prefect server, and PREFECT_API_URL names none. Start one with "
            "`tutelage up`, and export the line that it prints."
        )
    with get_client(sync_client=True) as client:
        if (fault := client.api_healthcheck()) is not None:
            raise EndpointError(
                f"{url}: no Prefect server answers there ({fault}). Start one with `tutelage up`, "
                "or correct PREFECT_API_URL."
            )
        try:
            yield client
        except PrefectHTTPStatusError as error:
            raise EndpointError(
                f"{url}: the Prefect server refused: {_tell_refusal(error)}"
            ) from error


def _tell_refusal(error: PrefectHTTPStatusError) -> str:
    response = error.response
    return f"{response.request.method} {response.request.url.path}: {response.status_code} " + (
        response.text[:300] or response.reason_phrase
    )
