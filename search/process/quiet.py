"""Calls code of the user's own without what it prints, where the answer is ours: in the doctor and in a forecast."""

import os
import sys
import tempfile
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout, suppress
from typing import Any

SHOWN_BYTES = 4096


def quietly(function: Callable[..., Any], *arguments: Any) -> Any:
    """What a function returns, in a process of its own whose output nobody needs to see.

    Raises:
        Exception: what the function raises, with the last line that was printed as a note.
    """
    with (
        tempfile.TemporaryFile() as kept,
        open(kept.fileno(), "w", buffering=1, encoding="utf-8", errors="backslashreplace", closefd=False) as stream,
    ):
        _flush()
        shown = [os.dup(1), os.dup(2)]
        for number in (1, 2):
            os.dup2(kept.fileno(), number)
        try:
            with redirect_stdout(stream), redirect_stderr(stream):
                return function(*arguments)
        except Exception as error:
            stream.flush()
            _flush()
            if line := _last_line(kept.fileno()):
                error.add_note(f"printed last: {line}")
            raise
        finally:
            stream.flush()
            _flush()
            for number, descriptor in zip((1, 2), shown, strict=True):
                os.dup2(descriptor, number)
                os.close(descriptor)


def _last_line(file: int) -> str:
    size = os.fstat(file).st_size
    text = os.pread(file, SHOWN_BYTES, max(0, size - SHOWN_BYTES)).decode("utf-8", errors="replace")
    lines = [line.strip() for line in text.replace("\r", "\n").splitlines() if line.strip()]
    return lines[-1][-200:] if lines else ""


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with suppress(AttributeError, OSError, ValueError):  # there is none, or it is closed
            stream.flush()
