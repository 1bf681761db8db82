"""Says on stderr what a command is doing whenever it has printed nothing for some seconds."""

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from search.process.output import Spoken
from search.process.text import duration

SECONDS = 9.0
"""The longest silence of a command that works."""
_doing: list[Callable[[], str]] = []
"""What the command is doing; the last is the innermost part."""


@contextmanager
def doing(what: str | Callable[[], str]) -> Iterator[None]:
    """Name what happens inside, for the case that it takes long.

    Args:
        what: a phrase such as `reading the data`, to which the time so far is added; or what returns a whole line. An
            empty one prints nothing: another process speaks.
    """
    began = time.monotonic()
    _doing.append(what if callable(what) else lambda: f"{what}: {duration(time.monotonic() - began)} so far")
    try:
        yield
    finally:
        _doing.pop()


def break_silence(seconds: float = SECONDS) -> None:
    """From now on this process is never silent for longer."""
    threading.Thread(target=_follow, args=(seconds,), name="silence", daemon=True).start()


def current(seconds: float) -> str:
    """The line on what the command is doing.

    Args:
        seconds: since it began, for the case that nothing is known of what it does.
    """
    with suppress(IndexError, KeyError, RuntimeError):  # what is described has just changed, or has ended
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
            with suppress(OSError, ValueError):  # nobody reads it
                print(line, file=sys.stderr, flush=True)


def _is_read() -> bool:
    """Whether what was printed before has been written: a reader that waits does not need more."""
    return all(getattr(stream, "idle", True) for stream in (sys.stdout, sys.stderr))
