"""Private temporary folders: mode 0700, locked by their process, removed with it or by the next one after a crash."""

import atexit
import fcntl
import os
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path

PREFIX = "rungwise-"
_LOCK = ".owner"
_held: dict[Path, int] = {}


def make_scratch(*, short: bool = False) -> Path:
    """A new folder that only this user can enter; it is removed when the process ends.

    Folders of killed processes, which are no longer locked, are removed as well.

    Args:
        short: create it under /tmp, whatever TMPDIR is, because paths of Unix sockets are limited to 107 bytes.
    """
    parent = Path("/tmp") if short and os.access("/tmp", os.W_OK) else Path(tempfile.gettempdir())
    sweep(parent)
    while True:
        folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=parent))
        lock = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(lock, fcntl.LOCK_EX)
        if os.fstat(lock).st_nlink:
            break
        os.close(lock)  # another process swept the folder before it was locked
    if not _held:
        atexit.register(remove_all)
    _held[folder] = lock
    return folder


def remove_scratch(folder: Path) -> None:
    """Remove a folder that `make_scratch` made."""
    shutil.rmtree(folder, ignore_errors=True)
    with suppress(KeyError):
        os.close(_held.pop(folder))


def remove_all() -> None:
    """Remove every folder of this process."""
    for folder in list(_held):
        remove_scratch(folder)


def sweep(parent: Path) -> None:
    """Remove the folders that killed processes of this user left behind."""
    for folder in parent.glob(f"{PREFIX}*"):
        with suppress(OSError):
            if folder.is_symlink() or folder.stat().st_uid != os.geteuid():
                continue
            lock = os.open(folder / _LOCK, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(lock)
