"""The lock of a run folder: one search at a time; the kernel releases it when its owner dies."""

import fcntl
import json
import os
import socket
import time
from contextlib import suppress
from pathlib import Path
from typing import Self


def is_held(run_dir: Path) -> bool | None:
    """Whether a search holds the run now; None if its owner is on another host and cannot be checked."""
    try:
        stamp = json.loads((run_dir / "run.lock").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False  # an owner that ends regularly empties the file
    if not isinstance(stamp, dict) or not isinstance(stamp.get("pid"), int):
        return False
    if stamp.get("host") != socket.gethostname():
        return None
    try:
        os.kill(stamp["pid"], 0)
    except (ProcessLookupError, OverflowError):
        return False  # without trying the lock, which a search that starts now would find taken
    except PermissionError:
        pass
    try:
        RunLock(run_dir).check()
    except ValueError:
        return True
    return False


class RunLock:
    """Holds `run.lock` while it is entered.

    The file contains the process, the host and the start of its owner. Most network file systems do not show a lock of
    another host. Then the run is refused unless forced, or the lease of the study decides (`search.storage.lease`).
    """

    def __init__(self, run_dir: Path, *, force: bool = False) -> None:
        self._path = run_dir / "run.lock"
        self._force = force
        self._file: int | None = None

    def __enter__(self) -> Self:
        self._file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        owner = self._owner()
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self._refuse(owner)
        foreign = owner.get("host") not in (None, socket.gethostname()) and "leased" not in owner
        if foreign and not self._force:
            self._refuse(owner)
        stamp = {"pid": os.getpid(), "host": socket.gethostname(), "since": time.strftime("%Y-%m-%d %H:%M:%S %Z")}
        stamp["leased"] = True
        os.ftruncate(self._file, 0)
        os.pwrite(self._file, json.dumps(stamp).encode(), 0)
        return self

    def __exit__(self, *_: object) -> None:
        assert self._file is not None
        os.ftruncate(self._file, 0)
        os.close(self._file)

    def check(self) -> None:
        """Raise ValueError if another process holds the lock now; this does not take it."""
        with suppress(FileNotFoundError):
            self._file = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                fcntl.flock(self._file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except OSError:
                self._refuse(self._owner())
            os.close(self._file)

    def _owner(self) -> dict[str, str]:
        assert self._file is not None
        with suppress(ValueError):
            stamp = json.loads(os.pread(self._file, 4096, 0))
            return stamp if isinstance(stamp, dict) else {}
        return {}

    def _refuse(self, owner: dict[str, str]) -> None:
        assert self._file is not None
        os.close(self._file)
        who = f"pid {owner.get('pid', '?')} on {owner.get('host', '?')} since {owner.get('since', '?')}"
        raise ValueError(
            f"run {self._path.parent.name!r} is in use by {who}; wait for it, or give another --name"
            " (--force takes over the lock of a dead host)"
        )
