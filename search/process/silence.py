"""Says on stderr what a command is doing whenever it has printed nothing for some seconds."""

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from search.process.output import Spoken
from search.process.text import duration

SECONDS = 9.0
"""Longest time without output while a command works."""
_doing: list[Callable[[], str]] = []
"""Descriptions of what the command is doing, the innermost last."""


@contextmanager
def doing(what: str | Callable[[], str]) -> Iterator[None]:
    """Describe what happens inside; the description is printed if it takes long.

    Args:
        what: a phrase such as `reading the data`, to which the time so far is added; or a function that returns a line,
            which may be empty if another process prints.
    """
    began = time.monotonic()
    _doing.append(what if callable(what) else lambda: f"{what}: {duration(time.monotonic() - began)} so far")
    try:
        yield
    finally:
        _doing.pop()


def break_silence(seconds: float = SECONDS) -> None:
    """From now on, print what the process is doing whenever it has printed nothing for this time."""
    threading.Thread(target=_follow, args=(seconds,), name="silence", daemon=True).start()


def current(seconds: float) -> str:
    """The line on what the command is doing.

    Args:
        seconds: seconds since the command began, used if there is no description.
    """
    with suppress(IndexError, KeyError, RuntimeError):  # another thread has just changed the description
        return _doing[-1]()
    return f"working: {duration(seconds)} so far"


def _follow(seconds: float) -> None:
    began = word = time.monotonic()
    while True:
        time.sleep(seconds / 20)
        now = time.monotonic()
        if now - max(word, Spoken.at) < seconds or not _is_read():
            continue
        word = now
        if line := current(now - began):
            with suppress(OSError, ValueError):  # the pipe is closed
                print(line, file=sys.stderr, flush=True)


def _is_read() -> bool:
    """Whether everything printed so far has been written; a reader that has stopped needs no more lines."""
    return all(getattr(stream, "idle", True) for stream in (sys.stdout, sys.stderr))
