"""With --json, stdout gets one JSON object and nothing else; all that the process prints goes to stderr."""

import json
import os
import select
import signal
import threading
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from search.process.redirect import flush_all
from search.process.signals import STOP_SIGNALS
from search.process.tabular import finite

_kept: list[int] = []
"""The descriptor of what stdout was; empty without --json."""
_found: dict[str, Any] = {}
"""What this command has found so far."""
_is_due = [False]
_writing = threading.Lock()
_lost: list[OSError] = []
"""Why the answer could not be written."""


def add_to_answer(**content: Any) -> None:
    """Note what the next answer contains beside what it is given."""
    _found.update(content)


def take_error() -> str | None:
    """The error that was noted last, once; None without one."""
    return _found.pop("error", None)


def keep_stdout() -> None:
    """Keep stdout for the answer: from now on this process and those that it starts print to stderr."""
    if not _kept:
        _found.clear()
        flush_all()
        _kept.append(os.dup(1))
        os.dup2(2, 1)
        _is_due[0] = True


def answer(content: Mapping[str, Any]) -> None:
    """Write the answer to stdout; nothing without `keep_stdout`, or if there was an answer before.

    Signals are ignored while it is written. A reader that is gone is no error.
    """
    with _writing:
        _answer(content)


def _answer(content: Mapping[str, Any]) -> None:
    if not _is_due[0]:
        return
    text = json.dumps(finite({**content, **_found}), indent=2, default=_plain, allow_nan=False) + "\n"
    is_main = threading.current_thread() is threading.main_thread()  # elsewhere Python sets no handlers
    before = {number: signal.signal(number, signal.SIG_IGN) for number in STOP_SIGNALS} if is_main else {}
    try:
        _is_due[0] = False
        with suppress(BrokenPipeError):
            _write(_kept[0], text.encode())
    except OSError as error:
        _lost.append(error)
    finally:
        for number, handler in before.items():
            if handler is not None:  # one that Python did not set cannot be set again
                signal.signal(number, handler)


def restore_stdout() -> OSError | None:
    """Print to stdout again, for a process that goes on after the command.

    Returns:
        Why the answer could not be written; None if it was.
    """
    if _kept:
        flush_all()
        os.dup2(_kept[0], 1)
        os.close(_kept.pop())
        _is_due[0] = False
    return _lost.pop() if _lost else None


def _write(descriptor: int, left: bytes) -> None:
    while left:
        try:
            left = left[os.write(descriptor, left) :]
        except BlockingIOError:  # a pipe whose reader is slow
            select.select([], [descriptor], [])


def _plain(value: Any) -> Any:
    """What JSON has for a value that it lacks: a number for one of NumPy, else a text."""
    return finite(value.item()) if hasattr(value, "item") and getattr(value, "size", 0) == 1 else str(value)
