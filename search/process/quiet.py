"""Calls a function and keeps back what it prints: the doctor and the forecast run code of the user's own this way."""

import os
import tempfile
from collections.abc import Callable
from typing import Any

from search.process.redirect import flush_all, printing_to

SHOWN_BYTES = 4096
"""End of the output in which the last line is looked for."""


def quietly(function: Callable[..., Any], *arguments: Any) -> Any:
    """What a function returns; its output is discarded. Call this in a process of its own.

    Raises:
        Exception: what the function raises, with the last line that was printed as a note.
    """
    with (
        tempfile.TemporaryFile() as kept,
        open(kept.fileno(), "w", buffering=1, encoding="utf-8", errors="backslashreplace", closefd=False) as stream,
        printing_to(kept.fileno(), stream),
    ):
        try:
            return function(*arguments)
        except Exception as error:
            flush_all()
            if line := _last_line(kept.fileno()):
                error.add_note(f"printed last: {line}")
            raise


def _last_line(file: int) -> str:
    size = os.fstat(file).st_size
    text = os.pread(file, SHOWN_BYTES, max(0, size - SHOWN_BYTES)).decode("utf-8", errors="replace")
    lines = [line.strip() for line in text.replace("\r", "\n").splitlines() if line.strip()]
    return lines[-1][-200:] if lines else ""
