"""A limit that several flows keep together: so many shards at once ask the servers of one name.

The slots are kept by a Prefect server, as one of its global concurrency limits, so flows on one
machine or on many count together. A shard takes one slot before it asks and gives it back when its
requests are answered; a slot whose process was killed comes back when its lease has run out. The
limit is made where it is missing; once it is there, its number is the server's.
"""

import contextvars
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from uuid import UUID

from pydantic import Field

from generators.clients import Stopped
from generators.records import Record

LEASE_S, RENEW_EVERY_S = 60, 20
"""After so long the slot of a killed process is free again; a living one renews its lease."""
LOOK_EVERY_S = 1.0
LOCKED = 423
"""The HTTP status that tells that no slot is free."""


class SharedLimit(Record):
    """A global concurrency limit of the Prefect server."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    """Models that name the same limit share its slots, in whichever configuration they stand."""
    slots: int = Field(ge=1)
    """How many shards ask at once when the limit is first made; each asks with the `concurrency` of
    its model at most. Later `prefect gcl update NAME --limit N` changes it."""


def list_limits(models: Iterable[object]) -> list[SharedLimit]:
    """The limits that models name."""
    limits = [getattr(model, "shared_limit", None) for model in models]
    return [limit for limit in limits if limit is not None]


class SharedSlots:
    """What one run holds of such limits. May be used from any thread."""

    def __init__(self) -> None:
        self._stopped = threading.Event()
        self._known: set[str] = set()
        self._lock = threading.Lock()

    def make(self, limits: Iterable[SharedLimit]) -> None:
        """Make the limits that the server does not have yet.

        Raises ConfigError where no server is named, EndpointError where none answers.
        """
        with self._lock:
            for limit in limits:
                if limit.name not in self._known:
                    _make(limit)
                    self._known.add(limit.name)

    @contextmanager
    def hold(self, limit: SharedLimit | None) -> Iterator[None]:
        """Wait for a slot and hold it while the block goes; nothing is held of None.

        Raises Stopped where the run is interrupted meanwhile.
        """
        if limit is None:
            yield
            return
        self.make([limit])
        while (lease := _take(limit)) is None:
            if self._stopped.wait(LOOK_EVERY_S):
                raise Stopped(f"the run was interrupted while it waited for {limit.name}")
        with lease:
            yield

    def stop(self) -> None:
        """Let nobody wait any longer."""
        self._stopped.set()


class _Lease:
    """A slot that is held; a thread renews it until it is given back.

    Where the server cannot be reached it is left alone: that is no reason to break off requests,
    and what is not given back runs out.
    """

    def __init__(self, id: UUID | None) -> None:
        """Of None nothing is held: the limit was switched off on the server."""
        self._id = id
        self._over = threading.Event()
        # Which server it is, Prefect keeps in the context.
        context = contextvars.copy_context()
        self._renewer = threading.Thread(target=context.run, args=(self._renew,), daemon=True)

    def __enter__(self) -> None:
        if self._id is not None:
            self._renewer.start()

    def __exit__(self, *_: object) -> None:
        if self._id is not None:
            self._over.set()
            self._renewer.join()
            self._tell_server("release_concurrency_slots_with_lease")

    def _renew(self) -> None:
        while not self._over.wait(RENEW_EVERY_S):
            self._tell_server("renew_concurrency_lease", lease_duration=LEASE_S)

    def _tell_server(self, act: str, **details: float) -> None:
        import httpx
        from prefect.client.orchestration import get_client

        with suppress(httpx.HTTPError), get_client(sync_client=True) as client:
            getattr(client, act)(lease_id=self._id, **details)


def _take(limit: SharedLimit) -> _Lease | None:
    """Take a slot; None where none is free.

    `prefect.concurrency` would log an error each time, and could not be interrupted.
    """
    from prefect.client.orchestration import get_client
    from prefect.exceptions import PrefectHTTPStatusError

    with get_client(sync_client=True) as client:
        try:
            response = client.increment_concurrency_slots_with_lease(
                [limit.name], 1, "concurrency", LEASE_S
            )
        except PrefectHTTPStatusError as error:
            if error.response.status_code == LOCKED:
                return None
            raise
    taken = response.json()
    return _Lease(UUID(taken["lease_id"]) if taken["limits"] else None)


def _make(limit: SharedLimit) -> None:
    from prefect.client.schemas.actions import GlobalConcurrencyLimitCreate
    from prefect.exceptions import ObjectAlreadyExists, ObjectNotFound

    from flows.prefect_server import open_server

    wanted = GlobalConcurrencyLimitCreate(name=limit.name, limit=limit.slots)
    with open_server(f"the shared limit {limit.name}") as client:
        try:
            client.read_global_concurrency_limit_by_name(limit.name)
        except ObjectNotFound:
            with suppress(ObjectAlreadyExists):  # another flow was quicker
                client.create_global_concurrency_limit(wanted)
