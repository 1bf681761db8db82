"""Files and folders that are there whole or not at all: written aside, renamed into place.

    write_whole(path, text)                                    # a file
    with new_folder(path) as partial: ...                      # a folder where there is none yet
    with replacing(folder, "label", parts=names) as new: ...   # several entries of a folder, all at once

A process that is killed leaves at most a hidden `.NAME.TOKEN.part`, which the next writer of NAME removes. What was
there before is removed only when the new is whole and on the disk.
"""

import fcntl
import json
import os
import re
import secrets
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

_JOURNAL = ".parts.json"


def write_whole(path: Path, content: str | bytes | memoryview) -> None:
    """Write a file, in the place of one by that name.

    Raises:
        OSError: it cannot be written; what was there stays.
    """
    with _aside(path) as partial:
        with partial.open("wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
        _sync(path.parent)


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """An empty folder to be filled, which becomes `path` at the end.

    Raises:
        OSError: it cannot be written, or there is something at `path` by then, which stays.
    """
    with _aside(path, folder=True) as partial:
        yield partial
        _sync_all(partial)
        os.rename(partial, path)
        _sync(path.parent)


@contextmanager
def replacing(folder: Path, label: str, *, parts: Sequence[str]) -> Iterator[Path]:
    """An empty folder to be filled; at the end its entries take the place of those of `folder`, all or none.

    The filled folder is renamed to `.LABEL.ready`: from then on the new counts. Moving its parts out of it is several
    renames; whoever calls `finish` next goes on where a killed process stopped.

    Args:
        folder: exists.
        label: a name for these parts, unique in the folder.
        parts: names of the entries that belong together, in the order in which they are moved. One that is not
            written anew is removed from `folder`.

    Raises:
        OSError: the new cannot be written; the old parts stay as they are.
    """
    finish(folder, label)
    for name in parts:
        sweep(folder / name)
    with _aside(folder / label, folder=True) as partial:
        yield partial
        moved = [name for name in parts if os.path.lexists(partial / name)]
        removed = [name for name in parts if name not in moved]
        (partial / _JOURNAL).write_text(json.dumps({"moved": moved, "removed": removed}))
        _sync_all(partial)
        os.rename(partial, _ready(folder, label))
        _sync(folder)
    finish(folder, label)


def finish(folder: Path, label: str) -> None:
    """Move what a `replacing` that was killed at its end has left ready; nothing where there is nothing.

    Raises:
        OSError: the folder cannot be written.
    """
    for _ in moves(folder, label):
        pass


def moves(folder: Path, label: str) -> Iterator[str]:
    """The steps of `finish`, one at a time: yields the name of each part that is now in place."""
    ready = _ready(folder, label)
    if not ready.is_dir():
        return
    with _locked(folder):
        if not ready.is_dir():  # another process has finished it meanwhile
            return
        journal = json.loads((ready / _JOURNAL).read_text())
        for name in journal["removed"]:
            remove(folder / name)
            yield name
        for name in journal["moved"]:
            if os.path.lexists(ready / name):
                swap(ready / name, folder / name)
                yield name
        _sync(folder)
        for name in journal["moved"]:
            sweep(folder / name)
        remove(ready)


def swap(source: Path, target: Path) -> None:
    """Move a file or folder to `target`; what was there is removed afterwards."""
    if not target.is_dir() and not source.is_dir():
        os.replace(source, target)
        return
    old = _name_aside(target)
    with suppress(FileNotFoundError):
        os.rename(target, old)
    os.rename(source, target)
    remove(old)


def sweep(path: Path) -> None:
    """Remove what killed writers of `path` left beside it; nothing that a living one holds."""
    leftover = re.compile(rf"\.{re.escape(path.name)}\.(\d+|[0-9a-f]{{8}}\.part)")  # numbers: of earlier releases
    with suppress(OSError):
        for found in path.parent.iterdir():
            if leftover.fullmatch(found.name):
                _remove_unless_held(found)


def remove(path: str | Path) -> None:
    """Remove a file or a whole folder; of a symbolic link only the link, never what it points to."""
    path = Path(path)
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)  # unlinks the links inside
    else:
        path.unlink(missing_ok=True)  # also of a pipe, or a socket


def _ready(folder: Path, label: str) -> Path:
    return folder / f".{label}.ready"


def _name_aside(path: Path) -> Path:
    return path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")


@contextmanager
def _aside(path: Path, *, folder: bool = False) -> Iterator[Path]:
    """A file or folder of this process's own beside `path`, locked while it is used and gone at the end."""
    sweep(path)
    partial, lock = _make_held(path, folder=folder)
    try:
        yield partial
    finally:
        remove(partial)
        os.close(lock)


def _make_held(path: Path, *, folder: bool) -> tuple[Path, int]:
    """Something new and empty with a lock on it; a sweeper that came between the two has removed it: once more."""
    while True:
        partial = _name_aside(path)
        if folder:
            partial.mkdir()
            lock = os.open(partial, os.O_RDONLY | os.O_CLOEXEC)
        else:
            lock = os.open(partial, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        with suppress(OSError):  # a file system without locks: then no sweeper can take it for abandoned either
            fcntl.flock(lock, fcntl.LOCK_EX)
        if partial.exists():
            return partial, lock
        os.close(lock)


def _remove_unless_held(path: Path) -> None:
    with suppress(OSError):
        lock = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            remove(path)
        finally:
            os.close(lock)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    lock = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        with suppress(OSError):
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


def _sync_all(folder: Path) -> None:
    for place, _, names in os.walk(folder):
        for name in names:
            if not os.path.islink(os.path.join(place, name)):
                _sync(Path(place) / name)
        _sync(Path(place))


def _sync(path: Path) -> None:
    """See a file, or the names in a folder, on the disk; some file systems cannot do it for folders."""
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    except OSError:
        if not path.is_dir():
            raise
    finally:
        os.close(handle)
