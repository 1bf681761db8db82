"""Names of runs and trials, and checks of run folders. Imports nothing slow: a mistyped name is answered at once."""

import os
import re
import time
from contextlib import suppress
from pathlib import Path

from trainables.data.names import did_you_mean
from trainables.files.whole import finish

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_LONGEST = 80
"""Letters of a space in the name of a run; the time takes another sixteen."""


def check_name(name: str) -> None:
    """Raise ValueError unless this is a valid name of a run."""
    if not _NAME.fullmatch(name):
        rule = "1 to 100 letters, digits, '.', '_' or '-', the first a letter or digit"
        raise ValueError(f"--name must be {rule}, got {name[:80]!r}")


def trial_name(number: int) -> str:
    """How files and folders of a trial are called: `trial-00012`."""
    return f"trial-{number:05d}"


def new_name(space: str) -> str:
    """Name of a run without --name: the short name of its space, in the letters that a name may have, and the time."""
    letters = re.sub(r"[^A-Za-z0-9._-]+", "-", space).lstrip("._-") or "run"
    return f"{letters[:_LONGEST]}-{time.strftime('%Y%m%d-%H%M%S')}"


def check_run(run_dir: Path) -> None:
    """Raise ValueError unless this is the folder of a run.

    If a publication was killed between its last two renames, it is completed first.
    """
    if not (run_dir / "run.json").is_file():
        with suppress(OSError):
            finish(run_dir.parent, run_dir.name)
    if not (run_dir / "run.json").is_file():
        raise ValueError(f"{str(run_dir)!r} is not a run: it has no run.json; give the folder of a search")


def find_run(name: str, runs_dir: Path) -> Path:
    """The folder of the run with this name in `runs_dir`, or the folder `name` itself.

    Raises:
        ValueError: there is no such run; the line has the nearest name, and lists some.
    """
    for folder in (runs_dir / name, Path(name)):
        if (folder / "run.json").is_file():
            return folder
    if not (runs_dir / name).is_dir():
        known = _some_runs(runs_dir, name)
        raise ValueError(f"there is no run {name!r} in {str(runs_dir)!r}" + (f"; there are {known}" if known else ""))
    check_run(runs_dir / name)
    return runs_dir / name


def check_free(run_dir: Path) -> None:
    """Raise ValueError if the folder of a new run already exists."""
    if run_dir.exists() or run_dir.is_symlink():
        name = run_dir.name
        raise ValueError(f"run {name!r} already exists; add --resume to continue it, or give another --name")


def check_writable(runs_dir: Path) -> None:
    """Raise ValueError if no run can be created there; nothing is created."""
    parent = runs_dir
    while not parent.exists() and parent != parent.parent:
        parent = parent.parent
    if not parent.is_dir():
        raise cannot_make(runs_dir, "Not a directory")
    if not os.access(parent, os.W_OK | os.X_OK):
        read_only = os.statvfs(parent).f_flag & os.ST_RDONLY
        raise cannot_make(runs_dir, "Read-only file system" if read_only else "Permission denied")


def cannot_make(runs_dir: Path, reason: str | None) -> ValueError:
    """The error for a folder in which no run can be created."""
    return ValueError(f"no run can be created in {str(runs_dir)!r} ({reason}); give another --runs-dir")


def check_exists(run_dir: Path) -> None:
    """Raise ValueError, which lists the runs that there are, unless this run exists."""
    if not run_dir.is_dir():
        known = _some_runs(run_dir.parent, run_dir.name)
        hint = f"; runs there: {known}" if known else ""
        raise ValueError(f"there is no run {run_dir.name!r} in {str(run_dir.parent)!r} to resume{hint}")


def _some_runs(runs_dir: Path, name: str) -> str:
    """The last five runs of this folder in alphabetical order, how many more there are, and the nearest to `name`."""
    names = sorted(path.parent.name for path in runs_dir.glob("*/run.json"))
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return ", ".join(names[-5:]) + more + did_you_mean(name, names)
