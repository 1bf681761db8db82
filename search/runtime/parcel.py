"""Packs the code that the nodes of a cluster need: our packages, and the user's own code up to a limit."""

import shutil
from pathlib import Path

from search.process.disk import size
from spaces.origin import SHIPPED, is_own, local_files, locate

_ROOT = SHIPPED.parent
_PACKAGES = ("rungwise", "search", "spaces", "trainables")
MAX_FILES, MAX_BYTES, MAX_FILE_BYTES = 2000, 50_000_000, 10_000_000
"""Limits of the user's folder: number of files, total size, and size of a file, above which it is not sent."""
_LEFT = frozenset("__pycache__ runs node_modules venv env site-packages build dist wandb mlruns lightning_logs".split())


def pack_code(parcel: Path, *, space: str) -> None:
    """Copy our packages that a worker needs, and the user's own code if that is searched."""
    for package in _PACKAGES:
        shutil.copytree(_ROOT / package, parcel / package, ignore=shutil.ignore_patterns("__pycache__"))
    note = pack_own_code(space, parcel)
    if note is not None:
        print(f"note: {note}", flush=True)


def pack_own_code(space: str, parcel: Path) -> str | None:
    """Copy the user's own code into the parcel, and return a note about its size; None for a built-in space.

    The whole folder is sent if it is small, so that files that the code reads are included; of a large one, only the
    modules that the space imports.
    """
    if not is_own(space):
        return None
    origin = locate(space)
    files = _folder(origin.root) if origin.is_file else _folder(origin.root / origin.module.split(".")[0])
    whole = files is not None
    chosen = files if files is not None else local_files(origin)
    for path in dict.fromkeys([*chosen, *local_files(origin)]):
        target = parcel / SHIPPED.name / path.relative_to(origin.root)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
    total = size(sum(path.stat().st_size for path in chosen))
    left = (
        ""
        if whole
        else (f"; its folder is larger than {size(MAX_BYTES)}, so only the modules that it imports are sent")
    )
    return f"sending your code to the nodes: {len(chosen)} files, {total}{left}"


def _folder(root: Path) -> list[Path] | None:
    """The files of a folder without hidden, generated and large ones; None if there are too many."""
    found: list[Path] = []
    total, waiting = 0, [root]
    while waiting:
        for path in sorted(waiting.pop().iterdir()):
            if path.name.startswith(".") or path.name in _LEFT or path.is_symlink():
                continue
            if path.is_dir():
                waiting.append(path)
            elif path.is_file() and (count := path.stat().st_size) <= MAX_FILE_BYTES:
                found.append(path)
                total += count
            if len(found) > MAX_FILES or total > MAX_BYTES:
                return None
    return found
