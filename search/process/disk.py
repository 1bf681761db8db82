"""The file system of a path, its free space, and sizes in words."""

import errno
import os
import shutil
import tempfile
from pathlib import Path

import psutil

from search.process.allotted import available_memory


def free_space(path: str | Path) -> str:
    """The file system of a path, which need not exist: `/scratch (tmpfs) has 0.1 MB of 24.0 MB free`."""
    path = existing(Path(path))
    mount = path
    while not os.path.ismount(mount):
        mount = mount.parent
    kinds = {part.mountpoint: part.fstype for part in psutil.disk_partitions(all=True)}
    usage = shutil.disk_usage(path)
    return f"{mount} ({kinds.get(str(mount), 'file system')}) has {size(usage.free)} of {size(usage.total)} free"


def check_room(folder: Path, needed: int) -> None:
    """Raise OSError unless this many bytes can be written into the folder now, by its disk and by the user's quota.

    Nothing stays in the folder, even if the process is killed.
    """
    with tempfile.TemporaryFile(dir=folder) as file:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file.fileno(), 0, needed)
        elif shutil.disk_usage(folder).free < needed:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def writable(folder: Path, what: str) -> Path:
    """The folder, made if it is missing.

    Args:
        what: is to be written there, such as `the report`.

    Raises:
        ValueError: nothing can be written there.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return folder
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise ValueError(f"{what} cannot be written to {folder} ({reason}); give another folder with --out") from None


def size(count: float) -> str:
    """`24.0 MB`, `3.2 GB`."""
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.1f} MB"


def existing(path: Path) -> Path:
    """The path, or the nearest folder above it that exists."""
    path = path.absolute()
    while not path.exists():
        path = path.parent
    return path.resolve()


def shared_room(*, at_least: int) -> int:
    """Upper limit of the memory that Ray's processes share: 90 % of what is free in /dev/shm, at most 30 % of the
    memory, as Ray limits it."""
    shared = Path("/dev/shm")
    free = shutil.disk_usage(shared).free if shared.is_dir() else 0
    return max(at_least, int(min(0.9 * free, 0.3 * available_memory())))
