"""One event loop, in a thread of its own, for all requests of a process to model servers.

However many shards are under way, they share a model's connections.
"""

import asyncio
import gc
import threading
from collections.abc import Coroutine, Iterable
from concurrent.futures import CancelledError
from typing import Any, TypeVar

from generators.clients import Client, Stopped

T = TypeVar("T")


class RequestLoop:
    """Runs coroutines for any thread; started when made."""

    def __init__(self) -> None:
        # The collector's walks through all that was imported would hold up all requests.
        gc.freeze()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="requests", daemon=True)
        self._thread.start()

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Wait for a coroutine's result. Raises Stopped when the loop is closed meanwhile."""
        future = asyncio.run_coroutine_threadsafe(coroutine, self._loop)
        try:
            return future.result()
        except CancelledError:
            raise Stopped("the run was interrupted") from None
        except BaseException:
            future.cancel()
            raise

    def close(self, clients: Iterable[Client]) -> None:
        """Break off what is under way, close the clients' connections, and end the thread."""

        async def wind_up() -> None:
            others = asyncio.all_tasks() - {asyncio.current_task()}
            for task in others:
                task.cancel()
            await asyncio.gather(*others, return_exceptions=True)
            for client in clients:
                await client.close()

        asyncio.run_coroutine_threadsafe(wind_up(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        gc.unfreeze()
