"""Pauses the garbage collector while a study is read."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def collector_paused() -> Iterator[None]:
    """Pause Python's search for reference cycles inside.

    While 5,000 trials are read, it would check everything that was read before again and again, which doubles the time.
    """
    paused = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if paused:
            gc.enable()
