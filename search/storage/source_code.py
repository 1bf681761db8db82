"""The user's own code in a run: stored beside the study, and compared when the run resumes."""

import shutil
from pathlib import Path
from typing import Any

from spaces.origin import is_own, locate
from spaces.sources import read_sources

FOLDER = "source"


def canonical(reference: str) -> str:
    """The name of a space as run.json stores it: as it is, or with the absolute path of the user's own file."""
    return locate(reference).text if is_own(reference) else reference


def describe_source(reference: str, *, test: bool) -> dict[str, Any] | None:
    """The field `source` of a `Run`; None for a built-in space.

    Args:
        test: whether the space has a test function.
    """
    if not is_own(reference):
        return None
    sources = read_sources(locate(reference))
    return {
        "sha256": sources.sha256,
        "files": sorted(sources.files),
        "left_out": list(sources.left_out),
        "test": test,
    }


def keep_source(run_dir: Path, reference: str) -> str | None:
    """Copy the user's own files into the run folder; an earlier copy of other code is kept under another name.

    Returns:
        A note for the user if something was left out.
    """
    if not is_own(reference):
        return None
    sources, folder = read_sources(locate(reference)), run_dir / FOLDER
    if _kept(folder) == sources.files:
        return None
    partial = run_dir / f".{FOLDER}"
    shutil.rmtree(partial, ignore_errors=True)
    for name, content in sources.files.items():
        path = partial / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    if folder.exists():
        folder.rename(folder.with_name(f"{folder.name}.{_number(folder)}"))
    partial.rename(folder)
    if not sources.left_out:
        return None
    return f"{', '.join(sources.left_out)} left out of the copy of your code, which is limited to 2 MB"


def describe_change(run_dir: Path, reference: str) -> str | None:
    """A note on training code that has changed since the run was last used; None if it is the same."""
    if not is_own(reference) or not (run_dir / FOLDER).is_dir():
        return None
    kept, now = _kept(run_dir / FOLDER), read_sources(locate(reference)).files
    changed = sorted(name for name in {*kept, *now} if kept.get(name) != now.get(name))
    if not changed:
        return None
    shown = ", ".join(changed[:3]) + (f" and {len(changed) - 3} more" if len(changed) > 3 else "")
    return (
        f"the training code has changed since this run was last used ({shown}); continuing with the new code, the old "
        f"code is kept in {run_dir / FOLDER}.{_number(run_dir / FOLDER)}"
    )


def check_code_exists(run_dir: Path, reference: str) -> None:
    """Raise ValueError unless the file of a run's space still exists; the message says how to go on."""
    if not is_own(reference):
        return
    try:
        locate(reference)
    except ValueError:
        kept = run_dir / FOLDER
        again = f"; a copy is kept in {kept}" if kept.is_dir() else ""
        raise ValueError(
            f"the code of this run is no longer at {reference}{again}; put it back, or give its new place with --space"
        ) from None


def _kept(folder: Path) -> dict[str, bytes]:
    if not folder.is_dir():
        return {}
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def _number(folder: Path) -> int:
    number = 1
    while folder.with_name(f"{folder.name}.{number}").exists():
        number += 1
    return number
