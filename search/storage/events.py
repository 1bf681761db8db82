"""events.jsonl: what happens in a search, one line of JSON for each event; docs/reference/events.md describes it."""

import json
import math
import os
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from search.process.faults import fault_point
from search.process.tabular import finite as as_json

FILE = "events.jsonl"
FORMAT = 1
"""Version of the lines; a line that a reader does not know is from a newer release."""
COMMON = {"number": "count", "time": "text", "event": "text", "recovered": "flag"}
"""Fields of every line, with their types."""
SCHEMA: dict[str, dict[str, str]] = {
    "search_started": {
        "format": "count", "run": "text", "space": "text", "metric": "text", "direction": "text", "trials": "count",
        "epochs": "count", "rungs": "counts", "sampler": "text", "pruner": "text", "seed": "count",
    },
    "search_resumed": {"trials": "count"},
    "range_changed": {
        "parameter": "text", "before": "text", "after": "text", "first_trial": "count", "changed": "text",
    },
    "search_stopped": {"reason": "text", "detail": "text or null", "trials": "count"},
    "trial_started": {"trial": "count", "params": "object", "seed": "count", "tag": "text or null"},
    "epoch_reported": {"trial": "count", "epoch": "count", "value": "number or null", "metrics": "numbers"},
    "trial_paused": {"trial": "count", "epoch": "count"},
    "trial_promoted": {"trial": "count", "epoch": "count"},
    "trial_interrupted": {"trial": "count", "epoch": "count"},
    "trial_continued": {"trial": "count", "epoch": "count"},
    "trial_finished": {"trial": "count", "epochs": "count", "value": "number or null"},
    "trial_pruned": {"trial": "count", "epochs": "count", "value": "number or null"},
    "trial_failed": {"trial": "count", "epochs": "count", "cause": "text", "kind": "text"},
    "request_accepted": {
        "request": "count", "text": "text", "verb": "text", "trial": "count or null", "trials": "counts",
        "answer": "text",
    },
    "request_refused": {
        "request": "count", "text": "text", "verb": "text", "trial": "count or null", "trials": "counts",
        "answer": "text",
    },
    "best_changed": {"trial": "count", "value": "number", "previous": "number or null"},
}  # fmt: skip
"""Event -> its own fields, with their types."""


class EventFile:
    """The file of a run, to which events are appended."""

    def __init__(self, run_dir: Path) -> None:
        """Open the file; a last line that a killed search left incomplete is removed.

        Raises:
            OSError: it cannot be read or written.
        """
        self.path = run_dir / FILE
        self.lines = _repaired(self.path)
        """The events that are in the file when it is opened."""
        self._file = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        self._number = len(self.lines)

    def append(self, event: str, *, recovered: bool = False, **fields: Any) -> None:
        """Write one event with one write, so that other processes see whole lines.

        Args:
            recovered: whether it happened before, in a search that was killed before it could write the line.

        Raises:
            OSError: it cannot be written.
        """
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        line = {"number": self._number, "time": now, "event": event, "recovered": recovered, **fields}
        fault_point("event", self._number)
        data = (json.dumps(as_json(line), default=str, allow_nan=False) + "\n").encode()
        if os.write(self._file, data) != len(data):
            raise OSError(28, os.strerror(28), str(self.path))
        self._number += 1

    def clear(self) -> None:
        """Remove all lines: the events are not those of the study.

        Raises:
            OSError: it cannot be written.
        """
        os.ftruncate(self._file, 0)
        self.lines, self._number = [], 0

    def close(self) -> None:
        """Close the file."""
        os.close(self._file)


def read_events(run_dir: Path) -> list[dict[str, Any]]:
    """The events of a run in order; a last line that is still being written is left out.

    Raises:
        OSError: there is no such file.
    """
    return _whole((run_dir / FILE).read_bytes())[0]


def check_event(line: Mapping[str, Any]) -> None:
    """Raise ValueError unless this line has the fields of its event and no others, each of its type."""
    event = line.get("event")
    if event not in SCHEMA:
        raise ValueError(f"unknown event {event!r}")
    types = {**COMMON, **SCHEMA[event]}
    if set(line) != set(types):
        raise ValueError(f"{event} must have the fields {', '.join(types)}, got {', '.join(line)}")
    for name, kind in types.items():
        if not _is(kind, line[name]):
            raise ValueError(f"{name} of {event} must be a {kind}, got {line[name]!r}")


def finite(value: Any) -> float | int | None:
    """A number as JSON has it: None for infinity, and for what is no number."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return value


def _is(kind: str, value: Any) -> bool:
    if kind.endswith(" or null"):
        return value is None or _is(kind.removesuffix(" or null"), value)
    if kind == "counts":
        return isinstance(value, list) and all(_is("count", one) for one in value)
    if kind == "numbers":
        return isinstance(value, dict) and all(_is("number or null", one) for one in value.values())
    types: dict[str, Any] = {"count": int, "number": int | float, "object": dict, "text": str, "flag": bool}
    is_type = isinstance(value, types[kind]) and isinstance(value, bool) == (kind == "flag")
    return is_type and (kind != "count" or value >= 0)


def _repaired(path: Path) -> list[dict[str, Any]]:
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return []
    lines, size = _whole(data)
    if size < len(data):
        os.truncate(path, size)
    return lines


def _whole(data: bytes) -> tuple[list[dict[str, Any]], int]:
    """The complete lines at the beginning, and their size in bytes."""
    lines, size = [], 0
    for number, text in enumerate(data.splitlines(keepends=True)):
        try:
            line = json.loads(text) if text.endswith(b"\n") else None
        except ValueError:
            line = None
        if not isinstance(line, dict) or line.get("number") != number or not isinstance(line.get("event"), str):
            break
        lines.append(line)
        size += len(text)
    return lines, size
