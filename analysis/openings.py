"""The log of every time the test set was opened: final/openings.jsonl, written before the test set is read."""

import json
import os
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any


def read_openings(final_dir: Path) -> list[dict[str, Any]]:
    """All openings so far, the first first; a line that cannot be read counts as one."""
    try:
        lines = (final_dir / "openings.jsonl").read_text(errors="replace").splitlines()
    except FileNotFoundError:
        return []
    return [_parse(line) for line in lines if line.strip()]


def _parse(line: str) -> dict[str, Any]:
    try:
        found = json.loads(line)
    except json.JSONDecodeError:
        return {}
    return found if isinstance(found, dict) else {}


def record_opening(final_dir: Path, *, command: str, why: str, checksum: str) -> None:
    """Append one opening and see it on the disk before returning.

    Args:
        checksum: sha256 over the checkpoints of the networks that are about to be evaluated: what was final by then.
    """
    line = json.dumps(
        {"when": datetime.now(UTC).isoformat(timespec="milliseconds"), "command": command, "why": why}
        | {"checksum": checksum}
    )
    with (final_dir / "openings.jsonl").open("a") as file:
        file.write(line + "\n")
        file.flush()
        os.fsync(file.fileno())


def check_opening(final_dir: Path, *, again: bool) -> str:
    """Why the test set is about to be opened.

    Raises:
        ValueError: it was opened before, and --again was not given.
    """
    openings = read_openings(final_dir)
    if not openings:
        return "first evaluation"
    without_results = not (final_dir / "final.json").exists()
    if not again:
        raise ValueError(_refusal(openings, without_results=without_results))
    return "--again, after an evaluation that ended without results" if without_results else "--again"


def _refusal(openings: Sequence[dict[str, Any]], *, without_results: bool) -> str:
    times = "once" if len(openings) == 1 else f"{len(openings)} times"
    last = str(openings[-1].get("when", "at an unknown time"))[:19]
    if without_results:
        cause = f"the test set was opened ({times}, last {last}) by an evaluation that ended without results"
    else:
        cause = f"the test set was opened {times} already, last {last}; looking again makes its answer less honest"
    return f"{cause}; add --again to open it once more, which is counted on the page"
