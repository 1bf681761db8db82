"""Pauses the garbage collector while a study is read."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def collector_paused() -> Iterator[None]:
    """Inside, Python looks for no cycles: while 5,000 trials are read it would go through all that was read before
    again and again, which takes as long as the reading."""
    paused = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if paused:
            gc.enable()
