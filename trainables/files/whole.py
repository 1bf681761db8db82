"""Files and folders that are complete or absent: written under another name, then renamed.

    write_whole(path, text)                                    # a file
    with writing(path) as file: ...                            # a file that is written part by part
    with new_folder(path) as partial: ...                      # a folder where there is none yet
    with replacing(folder, "label", parts=names) as new: ...   # several entries of a folder, all at once

A killed process leaves at most a hidden `.NAME.TOKEN.part`, which the next writer of NAME removes. The old content is
removed only when the new one is complete and on the disk.
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
from typing import BinaryIO

_JOURNAL = ".parts.json"


def write_whole(path: Path, content: str | bytes | memoryview) -> None:
    """Write a file, which replaces one with the same name.

    Raises:
        OSError: it cannot be written; the old file stays.
    """
    with writing(path) as file:
        file.write(content.encode() if isinstance(content, str) else content)


@contextmanager
def writing(path: Path) -> Iterator[BinaryIO]:
    """An open file to be filled, which replaces `path` at the end; after an error the old file stays.

    Raises:
        OSError: it cannot be written.
    """
    with _aside(path) as partial:
        with partial.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
        _sync(path.parent)


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """An empty folder to be filled, which is renamed to `path` at the end.

    Raises:
        OSError: it cannot be written, or `path` exists by then and stays.
    """
    with _aside(path, folder=True) as partial:
        yield partial
        _sync_all(partial)
        os.rename(partial, path)
        _sync(path.parent)


@contextmanager
def replacing(folder: Path, label: str, *, parts: Sequence[str]) -> Iterator[Path]:
    """An empty folder to be filled; at the end its entries replace those of `folder`, all or none.

    The filled folder is renamed to `.LABEL.ready`; from then on the new parts count. Moving them takes several renames;
    the next call of `finish` continues where a killed process stopped.

    Args:
        folder: an existing folder.
        label: a name for these parts, unique in the folder.
        parts: names of the entries that belong together, in the order in which they are moved. One that is not written
            is removed from `folder`.

    Raises:
        OSError: the new parts cannot be written; the old ones stay.
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
    """Complete a `replacing` that was killed while it moved its parts; nothing if there is none.

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
    """Move a file or folder to `target`, and then remove what was there."""
    if not target.is_dir() and not source.is_dir():
        os.replace(source, target)
        return
    old = _name_aside(target)
    with suppress(FileNotFoundError):
        os.rename(target, old)
    os.rename(source, target)
    remove(old)


def sweep(path: Path) -> None:
    """Remove what killed writers of `path` left next to it, but nothing that a living process uses."""
    leftover = re.compile(rf"\.{re.escape(path.name)}\.(\d+|[0-9a-f]{{8}}\.part)")  # numbers: of earlier releases
    with suppress(OSError):
        for found in path.parent.iterdir():
            if leftover.fullmatch(found.name):
                _remove_unless_held(found)


def remove(path: str | Path) -> None:
    """Remove a file, a folder with its content, or a symbolic link without its target."""
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
    """A new file or folder next to `path`, locked while it is used and removed at the end."""
    sweep(path)
    partial, lock = _make_held(path, folder=folder)
    try:
        yield partial
    finally:
        remove(partial)
        os.close(lock)


def _make_held(path: Path, *, folder: bool) -> tuple[Path, int]:
    """A new empty file or folder and its lock; if another process removed it before it was locked, try again."""
    while True:
        partial = _name_aside(path)
        if folder:
            partial.mkdir()
            lock = os.open(partial, os.O_RDONLY | os.O_CLOEXEC)
        else:
            lock = os.open(partial, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        with suppress(OSError):  # a file system without locks, on which `sweep` removes nothing
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
    """Wait until a file, or the names in a folder, are on the disk; some file systems cannot do it for folders."""
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    except OSError:
        if not path.is_dir():
            raise
    finally:
        os.close(handle)
