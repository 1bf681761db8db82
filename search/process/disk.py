"""Names the file system that a path is on, and its room."""

import errno
import os
import shutil
import tempfile
from pathlib import Path

import psutil

from search.process.allotted import available_memory


def free_space(path: str | Path) -> str:
    """`/scratch (tmpfs) has 0.1 MB of 24.0 MB free`: the file system of a path that need not exist yet."""
    path = existing(Path(path))
    mount = path
    while not os.path.ismount(mount):
        mount = mount.parent
    kinds = {part.mountpoint: part.fstype for part in psutil.disk_partitions(all=True)}
    usage = shutil.disk_usage(path)
    return f"{mount} ({kinds.get(str(mount), 'file system')}) has {size(usage.free)} of {size(usage.total)} free"


def check_room(folder: Path, needed: int) -> None:
    """Raise OSError unless so many bytes can be written into the folder now, by its disk and by the user's quota.

    Nothing is left in the folder, also by a process that is killed.
    """
    with tempfile.TemporaryFile(dir=folder) as file:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file.fileno(), 0, needed)
        elif shutil.disk_usage(folder).free < needed:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


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
    """Bytes that the processes of this machine may share: nearly what is free in /dev/shm, at most Ray's own share of
    the memory, 30 %. It is a bound: what is not used is not taken."""
    shared = Path("/dev/shm")
    free = shutil.disk_usage(shared).free if shared.is_dir() else 0
    return max(at_least, int(min(0.9 * free, 0.3 * available_memory())))
