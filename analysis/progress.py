"""Progress of a long command: prints each step, and every few seconds how far it is."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from rich.markup import escape

from search.process.silence import doing
from search.process.text import duration
from search.session.console import Output

Advance = Callable[[], None]
"""Called when one more part of a step is done."""


def no_progress() -> None:
    """An `Advance` that does nothing."""


@contextmanager
def step(what: str, *, total: int = 0, begin: bool = True) -> Iterator[Advance]:
    """Print that a step begins, and its progress whenever the command has printed nothing for some seconds.

    Args:
        what: a noun phrase.
        total: number of its parts; 0 if they are not counted.
        begin: False says nothing of a step that is over before.
    """
    if begin:
        say(f"{what} ...")
    began, done = time.monotonic(), [0]

    def advance() -> None:
        done[0] += 1

    with doing(lambda: f"  {what}: {describe(done[0], total, time.monotonic() - began)}"):
        yield advance


def describe(done: int, total: int, seconds: float) -> str:
    """`12 of 40 done, about 1m10s left`; without parts `20s so far`."""
    if not total or not done:
        return f"{duration(seconds)} so far"
    left = seconds / done * max(0, total - done)
    return f"{done} of {total} done after {duration(seconds)}, about {duration(left)} left"


def say(text: str) -> None:
    """Print a line as it is, without markup and control characters.

    A closed pipe or a full disk loses the line and is no error.
    """
    plain = "".join(c if c.isprintable() or c == "\n" else " " for c in text)
    with suppress(OSError):
        Output().print(escape(plain), soft_wrap=True)
