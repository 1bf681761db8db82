"""Says what a long command is doing: each step as it begins, and every few seconds how far it is and what is left."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from analysis.prose.conclusion import say
from search.session.console import duration

Advance = Callable[[], None]
"""Called when one more part of a step is done."""
SECONDS = 8.0
"""Between two lines of one step."""


def no_progress() -> None:
    """An `Advance` for those who do not follow."""


@contextmanager
def step(what: str, *, total: int = 0, seconds: float = SECONDS, begin: bool = True) -> Iterator[Advance]:
    """Say that a step begins, and until it ends how far it is.

    Args:
        what: a noun phrase.
        total: parts that it has; 0 if nobody counts them.
        seconds: between two lines.
        begin: False says nothing of a step that ends before `seconds` are over.
    """
    if begin:
        say(f"{what} ...")
    began, done, ended = time.monotonic(), [0], threading.Event()

    def advance() -> None:
        done[0] += 1

    def follow() -> None:
        while not ended.wait(seconds):
            say(f"  {what}: {describe(done[0], total, time.monotonic() - began)}")

    thread = threading.Thread(target=follow, daemon=True)
    thread.start()
    try:
        yield advance
    finally:
        ended.set()


def describe(done: int, total: int, seconds: float) -> str:
    """`12 of 40 done, about 1m10s left`; without parts `20s so far`."""
    if not total or not done:
        return f"{duration(seconds)} so far"
    left = seconds / done * max(0, total - done)
    return f"{done} of {total} done after {duration(seconds)}, about {duration(left)} left"
