"""The requests' own loop, and what it leaves behind."""

import gc
import weakref

from flows.request_loop import RequestLoop


class Model:
    """Something large that refers to itself."""

    def __init__(self) -> None:
        self.itself = self


def test_closed_loop_keeps_nothing_from_the_collector() -> None:
    gc.disable()  # or it might collect before the loop is made
    try:
        model = Model()
        left = weakref.ref(model)
        del model
        loop = RequestLoop()
    finally:
        gc.enable()
    loop.close([])

    gc.collect()
    assert left() is None
