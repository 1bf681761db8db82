"""The log of every time the test set was opened: final/openings.jsonl, written before anything is computed.

Every number of openings comes from here: an evaluation that was killed leaves a line in the log and nothing else.
"""

import errno
import json
import os
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from analysis.studies.results import FINAL_JSON, PARTS

_WITHOUT = "after an evaluation that ended without results"
_MOST_OPENINGS = 1_000_000
"""A count from here on is damage."""


class OpeningsError(ValueError):
    """The log exists and cannot be read."""


def read_openings(final_dir: Path) -> list[dict[str, Any]]:
    """All openings so far, the first first; a line that cannot be read counts as one.

    The results of an evaluation repeat the log as it was. What is missing in a log that was removed or cut comes from
    there.

    Raises:
        OpeningsError: there is a log that cannot be read, so that it is unknown how often the test set was opened.
    """
    logged = _read_log(final_dir)
    return [*_lost(final_dir, logged), *logged]


def _read_log(final_dir: Path) -> list[dict[str, Any]]:
    path = final_dir / "openings.jsonl"
    try:
        if os.path.lexists(path) and not path.is_file():
            raise OSError(errno.EINVAL, "not a regular file")
        lines = path.read_text(errors="replace").split("\n")
    except FileNotFoundError:
        return []
    except OSError as error:
        raise OpeningsError(
            f"{path} cannot be read ({error.strerror}); it counts how often the test set was opened: make it readable,"
            " or restore it from a copy"
        ) from error
    return [_parse(line) for line in lines if line.strip()]


def _parse(line: str) -> dict[str, Any]:
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _lost(final_dir: Path, logged: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Openings that the results know of and the log does not."""
    results = recorded_openings(final_dir)
    if results is None:
        there = any(os.path.lexists(final_dir / name) for name in PARTS)
        return [{}] if there and not logged else []
    count, recorded = results
    known = {o.get("when") for o in logged if o}
    lost = [o for o in recorded if o and o.get("when") not in known]
    damaged = list(logged).count({}) - recorded.count({})  # lines that can no longer be read, but are counted
    lost = lost[max(0, damaged) :]
    return [{}] * ((count or 1) - len(lost) - len(logged)) + lost


def num_without_results(final_dir: Path, *, concluding: bool = False) -> int:
    """How many openings led to no results: killed, or ended by an error.

    Args:
        concluding: the results of the last one are about to be written.
    """
    openings = read_openings(final_dir)
    ended = {index for index, after in enumerate(openings[1:]) if _WITHOUT in str(after.get("why"))}
    return len(ended | set(range(_num_concluded(final_dir, openings), len(openings) - concluding)))


def _num_concluded(final_dir: Path, openings: Sequence[dict[str, Any]]) -> int:
    """The number of the last opening that led to results; 0 without any."""
    if not (final_dir / FINAL_JSON).exists():
        return 0
    count, _ = recorded_openings(final_dir) or (None, [])
    return len(openings) if count is None else count


def times_opened(final_dir: Path, *, concluding: bool = False) -> str:
    """`once`, `2 times`, `3 times, 1 of them without results`."""
    count, without = len(read_openings(final_dir)), num_without_results(final_dir, concluding=concluding)
    if not without:
        return times(count)
    return "once, without results" if count == 1 else f"{times(count)}, {without} of them without results"


def times(count: int) -> str:
    """`once`, `2 times`."""
    return "once" if count == 1 else f"{count} times"


def record_opening(final_dir: Path, *, command: str, why: str, checksum: str) -> None:
    """Append one opening; it is on the disk when this returns.

    Args:
        checksum: sha256 over the checkpoints of the networks that are about to be evaluated: what was final by then.

    Raises:
        OSError: it cannot be written; the log is as it was.
    """
    opening = {"when": datetime.now(UTC).isoformat(timespec="milliseconds"), "command": command, "why": why}
    opening["checksum"] = checksum
    lost = _lost(final_dir, _read_log(final_dir))
    text = "".join(json.dumps(line) + "\n" for line in [*lost, opening])
    with (final_dir / "openings.jsonl").open("a+b", buffering=0) as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - 1))
        torn = file.read(1) not in (b"", b"\n")  # a full disk or a power cut ended the last line early
        try:
            _write_all(file.fileno(), (("\n" if torn else "") + text).encode())
            os.fsync(file.fileno())
        except OSError:
            file.truncate(size)
            raise


def _write_all(handle: int, data: bytes) -> None:
    while data:
        data = data[os.write(handle, data) :]


def check_opening(final_dir: Path, *, again: bool) -> str:
    """Why the test set is about to be opened.

    Raises:
        ValueError: it was opened before, and --again was not given.
    """
    openings = read_openings(final_dir)
    if not openings:
        return "first evaluation"
    without_results = _num_concluded(final_dir, openings) < len(openings)
    if not again:
        raise ValueError(_refusal(openings, without_results=without_results))
    return f"--again, {_WITHOUT}" if without_results else "--again"


def _refusal(openings: Sequence[dict[str, Any]], *, without_results: bool) -> str:
    count, last = times(len(openings)), str(openings[-1].get("when", "at an unknown time"))[:19]
    if without_results:
        cause = f"the test set was opened ({count}, last {last}) by an evaluation that ended without results"
    else:
        cause = (
            f"the test set was opened {count} already, last {last}; each further opening makes the result less "
            f"trustworthy"
        )
    return f"{cause}; add --again to open it again, which is counted on the page"


def recorded_openings(final_dir: Path) -> tuple[int | None, list[dict[str, Any]]] | None:
    """How often the test set had been opened by final.json, and the lines of openings.jsonl that it repeats.

    Reads these two alone, so that the count is not lost where another part is damaged or of a different release. The
    count is None, and a line empty, where it cannot be read; None without a file that can be read.
    """
    try:
        stored = json.loads((final_dir / FINAL_JSON).read_text(errors="replace"))
    except (OSError, ValueError, RecursionError):
        return None
    if not isinstance(stored, dict):
        return None
    count, opened = stored.get("openings"), stored.get("opened")
    lines = [line if isinstance(line, dict) else {} for line in (opened if isinstance(opened, list) else [])]
    return (count if isinstance(count, int) and 0 < count < _MOST_OPENINGS else None), lines
