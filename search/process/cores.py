"""Cores that this process has to itself among the processes of this user that claim some."""

import fcntl
import os
from contextlib import suppress
from pathlib import Path

from search.process.scratch import PREFIX

_held: list[int] = []


def pin(number: int, *, folder: Path | None = None) -> frozenset[int]:
    """Bind the calling thread, and those that it starts, to cores that no other process has claimed.

    A claim is a lock, which ends with the process. Nothing changes if so many are not free, or the system refuses.

    Args:
        number: of cores.
        folder: of the locks; one for this user on this machine by default.

    Returns:
        The cores; empty if nothing changed.
    """
    if number < 1 or not hasattr(os, "sched_setaffinity"):
        return frozenset()
    folder = folder or Path(f"/tmp/{PREFIX}cores-{os.geteuid()}")
    claimed: dict[int, int] = {}
    with suppress(OSError):
        folder.mkdir(mode=0o700, exist_ok=True)
        if folder.stat().st_uid == os.geteuid():
            for core in sorted(os.sched_getaffinity(0)):
                if len(claimed) < number and (lock := _claim(folder / str(core))) is not None:
                    claimed[core] = lock
            if len(claimed) == number:
                os.sched_setaffinity(0, claimed)
                _held.extend(claimed.values())
                return frozenset(claimed)
    for lock in claimed.values():
        os.close(lock)
    return frozenset()


def _claim(path: Path) -> int | None:
    """A lock on the file; None if another process holds it."""
    lock = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(lock)
        return None
    return lock
