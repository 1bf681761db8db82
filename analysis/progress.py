"""Says what a long command is doing: each step as it begins, and every few seconds how far it is and what is left."""

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
    """An `Advance` for those who do not follow."""


@contextmanager
def step(what: str, *, total: int = 0, begin: bool = True) -> Iterator[Advance]:
    """Say that a step begins, and how far it is whenever the command has been silent for some seconds.

    Args:
        what: a noun phrase.
        total: parts that it has; 0 if nobody counts them.
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
    """Print a line without anything in it acting as markup or control character.

    That nobody reads it, or that the file it goes to is full, costs the line and nothing else.
    """
    plain = "".join(c if c.isprintable() or c == "\n" else " " for c in text)
    with suppress(OSError):
        Output().print(escape(plain), soft_wrap=True)
