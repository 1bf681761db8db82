"""With --json, stdout gets one JSON object and nothing else; all that the process prints goes to stderr."""

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from search.process.redirect import flush_all
from search.process.tabular import finite

_kept: list[int] = []
"""The descriptor of what stdout was; empty if nothing is to be answered, or when it is answered."""
_found: dict[str, Any] = {}
"""What this command has found so far."""


def add_to_answer(**content: Any) -> None:
    """Note what the next answer contains beside what it is given."""
    _found.update(content)


def keep_stdout() -> None:
    """Keep stdout for the answer: from now on this process and those that it starts print to stderr."""
    if not _kept:
        _found.clear()
        flush_all()
        _kept.append(os.dup(1))
        os.dup2(2, 1)


def answer(content: Mapping[str, Any]) -> None:
    """Write the answer to stdout; nothing without `keep_stdout`, or if there was an answer before."""
    if not _kept:
        return
    text = json.dumps(finite({**content, **_found}), indent=2, default=str, allow_nan=False) + "\n"
    left, descriptor = text.encode(), _kept.pop()
    with suppress(OSError):  # nothing reads it any more
        while left:
            left = left[os.write(descriptor, left) :]
    with suppress(OSError):
        os.close(descriptor)
