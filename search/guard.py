"""Watches the processes of the private Ray: without its raylet or its GCS nothing can go on, and Ray would abort."""

import os
import sys
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress

import psutil

from search.cli import BROKEN_OFF
from search.scratch import remove_all

_SERVERS = ("gcs_server", "raylet")
_POLL_SECONDS = 0.5
_PATIENCE_SECONDS = 5


class RayLostError(RuntimeError):
    """A server process of the private Ray has died."""


class RayGuard(threading.Thread):
    """Ends this process when a server of its Ray dies, after it has told the user how to go on.

    Ray itself would abort the process 10 to 60 seconds later without a word, and report healthy trials as failed until
    then. The study is durable: ending at once loses nothing but the running epochs.
    """

    def __init__(self, on_lost: Callable[[RayLostError], None]) -> None:
        super().__init__(name="ray-guard", daemon=True)
        self._on_lost = on_lost
        self._over = threading.Event()
        self._family = set(psutil.Process().children(recursive=True))
        self._servers = {p.name(): p for p in self._family if p.name() in _SERVERS}

    def run(self) -> None:
        """Look twice a second."""
        while not self._over.wait(_POLL_SECONDS):
            self._family |= set(psutil.Process().children(recursive=True))
            for name, server in self._servers.items():
                if not _lives(server) and not self._over.is_set():
                    self._end(f"Ray has died: its process {name} is gone (killed, or out of memory)")

    def stop(self) -> None:
        """Ray is about to be shut down in good order."""
        self._over.set()
        if self.is_alive():
            self.join()

    def kill_stragglers(self) -> None:
        """After the shutdown: what Ray could not end, such as a worker that someone has stopped."""
        _, left = psutil.wait_procs(self._family, timeout=_PATIENCE_SECONDS)
        _kill(left)

    def _end(self, reason: str) -> None:
        with suppress(Exception):
            self._on_lost(RayLostError(reason))
        _kill(self._family)
        remove_all()
        with suppress(OSError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(BROKEN_OFF)


def kill_process(pid: int) -> None:
    """End a process of this machine that hears no gentler word."""
    with suppress(psutil.NoSuchProcess):
        psutil.Process(pid).kill()


def _lives(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _kill(processes: Iterable[psutil.Process]) -> None:
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.kill()
