"""Watches the processes of the private Ray: without its raylet or its GCS nothing can go on, and Ray would abort."""

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path

import psutil

from search import reaper
from search.cli import BROKEN_OFF
from search.environment import allowed
from search.scratch import remove_all

_CONNECT_SECONDS = 5
_SERVERS = ("gcs_server", "raylet")
_POLL_SECONDS = 0.5
_PATIENCE_SECONDS = 5


class RayLostError(RuntimeError):
    """A server process of Ray has died, or the head of a cluster."""


class RayGuard(threading.Thread):
    """Ends this process when Ray is lost for good, after it has told the user how to go on.

    Ray itself would abort the process 10 to 60 seconds later without a word, and report healthy trials as failed until
    then. The study is durable: ending at once loses nothing but the running epochs.
    """

    def __init__(
        self, on_lost: Callable[[RayLostError], None], *, signs: Mapping[str, Callable[[], bool]] | None = None
    ) -> None:
        """
        Args:
            signs: what to say when a sign of life is missing -> whether it is there. By default those of a private Ray:
                its servers are among the children of this process.
        """
        super().__init__(name="ray-guard", daemon=True)
        self._on_lost = on_lost
        self._over = threading.Event()
        self._family = set(psutil.Process().children(recursive=True))
        self._signs = signs if signs is not None else _servers_live(self._family)

    def run(self) -> None:
        """Look twice a second."""
        while not self._over.wait(_POLL_SECONDS):
            self._family |= set(psutil.Process().children(recursive=True))
            for reason, is_there in self._signs.items():
                if not is_there() and not self._over.is_set():
                    self._end(reason)

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


class Reaper:
    """Ends a private Ray with this process, also when this process is killed; Linux only."""

    def __init__(self, folder: Path) -> None:
        """
        Args:
            folder: of this Ray alone.
        """
        self.variables = {"RUNGWISE_RAY": str(folder)}
        """What Ray's processes, and no others, must have in their environment."""
        self._process = None
        if sys.platform == "linux":
            own = allowed(os.environ)
            command = [sys.executable, "-I", "-S", reaper.__file__, str(folder)]
            self._process = subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True, env=own)

    def stop(self) -> None:
        """Ray has been shut down; whatever is left of it is ended."""
        if self._process is not None:
            self._process.communicate(b"shut down")


class Line:
    """Whether somebody listens at an address; a short silence is forgiven."""

    def __init__(
        self,
        address: tuple[str, int] | str,
        *,
        patience_seconds: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """
        Args:
            address: host and port, or the path of a Unix socket.
        """
        self._address, self._patience, self._clock = address, patience_seconds, clock
        self._heard = clock()

    def __call__(self) -> bool:
        try:
            with socket.socket(socket.AF_UNIX) if isinstance(self._address, str) else _tcp(self._address) as line:
                if isinstance(self._address, str):
                    line.settimeout(_CONNECT_SECONDS)
                    line.connect(self._address)
            self._heard = self._clock()
        except OSError:
            return self._clock() - self._heard < self._patience
        return True


def _tcp(address: tuple[str, int]) -> socket.socket:
    return socket.create_connection(address, timeout=_CONNECT_SECONDS)


def _servers_live(family: Iterable[psutil.Process]) -> dict[str, Callable[[], bool]]:
    servers = {process.name(): process for process in family if process.name() in _SERVERS}
    return {
        f"Ray has died: its process {name} is gone (killed, or out of memory)": partial(_lives, server)
        for name, server in servers.items()
    }


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
