"""Watches the processes of Ray, and ends the search when one that it needs has died."""

import os
import re
import select
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from search.process.answer import answer
from search.process.arguments import BROKEN_OFF
from search.process.environment import allowed
from search.process.output import drain_all
from search.process.scratch import remove_all
from search.runtime import reaper

_SERVERS = ("gcs_server", "raylet")
_AGENT = re.compile(r"(RuntimeEnv|Dashboard)Agent|(runtime_env|dashboard)/agent")
"""Agents, without which the raylet ends: by their process name, or by their program until they have set it."""
_POLL_SECONDS = 0.5
_PATIENCE_SECONDS = 5
"""How long processes may take to end after a shutdown before they are killed."""


class RayLostError(RuntimeError):
    """A server process of Ray has died, or the head of a cluster."""


@dataclass(frozen=True, kw_only=True)
class LastWords:
    """What another process prints on stderr if this one is killed."""

    begun: Path
    """A file that exists once there is something to resume."""
    words: str
    """How to continue if `begun` exists."""
    otherwise: str
    """How to continue if it does not."""


class RayGuard(threading.Thread):
    """Ends this process when Ray is lost for good, after printing how to continue.

    Ray itself would abort the process at once, or after 10 to 60 seconds in which it reports healthy trials as failed.
    The study is durable, so ending at once loses only the running epochs.
    """

    def __init__(
        self,
        on_lost: Callable[[RayLostError], int | None],
        *,
        signs: Mapping[str, Callable[[], bool]] | None = None,
        reaper: "Reaper | None" = None,
    ) -> None:
        """
        Args:
            on_lost: prints what has happened, and may return the exit code of this process.
            signs: message -> function that returns False when the message applies. By default the processes of a
                private Ray are watched: its servers, which are children of this process, and their agents.
            reaper: ends processes that start while this process ends.
        """
        super().__init__(name="ray-guard", daemon=True)
        self._on_lost, self._signs, self._reaper = on_lost, signs or {}, reaper
        self._over = threading.Event()
        self._family: set[psutil.Process] = set()
        self._watched: dict[psutil.Process, str] = {}
        """Process that Ray needs -> its name."""
        self._handles: list[int] = []
        self._wake, self._waker = os.pipe()
        self._events = select.poll()
        self._events.register(self._wake, select.POLLIN)
        self._private = signs is None
        self._look_around()

    def run(self) -> None:
        """Check twice a second, and at once when one of the processes ends, because Ray then soon ends this one."""
        while not self._over.is_set():
            for reason in self._missing():
                self._end(reason)
            self._events.poll(1000 * _POLL_SECONDS)
            self._look_around()
        for handle in (self._wake, self._waker, *self._handles):
            os.close(handle)

    def stop(self) -> None:
        """Stop watching: Ray is about to be shut down regularly."""
        self._over.set()
        if self.is_alive():
            os.write(self._waker, b".")
            self.join()

    def kill_stragglers(self) -> None:
        """After the shutdown, kill what Ray could not end, such as a worker that is stopped by a signal."""
        _, left = psutil.wait_procs(self._family, timeout=_PATIENCE_SECONDS)
        _kill(left)

    def _look_around(self) -> None:
        """Find the processes that have started since the last call."""
        with suppress(psutil.Error):
            own = psutil.Process().children(recursive=True)
            self._family |= {p for p in own if self._reaper is None or p.pid != self._reaper.pid}
            if self._private:
                self._watch(own)

    def _watch(self, processes: Iterable[psutil.Process]) -> None:
        raylets = {p.pid for p, name in self._watched.items() if name == "raylet"}
        for process in processes:
            if process in self._watched:
                continue
            with suppress(psutil.Error, OSError):
                name = process.name()
                if name not in _SERVERS:
                    agent = _AGENT.search(" ".join(process.cmdline())) if process.ppid() in raylets else None
                    if agent is None:
                        continue
                    name = f"{agent[1] or agent[2]} agent"
                self._watched[process] = name
                if hasattr(os, "pidfd_open"):
                    self._handles.append(os.pidfd_open(process.pid))
                    self._events.register(self._handles[-1], select.POLLIN)

    def _missing(self) -> list[str]:
        gone = [name for process, name in self._watched.items() if not _lives(process)]
        of_ray = f"its process {gone[0]} is" if len(gone) == 1 else f"its processes {', '.join(gone)} are"
        return [
            *([f"Ray stopped: {of_ray} gone (killed, or out of memory)"] if gone else []),
            *(reason for reason, is_there in self._signs.items() if not is_there()),
        ]

    def _end(self, reason: str) -> None:
        if self._over.is_set():
            return
        code = None
        with suppress(Exception):
            code = self._on_lost(RayLostError(reason))
            drain_all()  # Ray may end this process at any moment
            if self._reaper is not None:
                self._reaper.all_said()
        with suppress(Exception):
            answer({"exit_code": BROKEN_OFF if code is None else code, "error": reason})
        _kill(self._family)
        remove_all()
        drain_all()
        os._exit(BROKEN_OFF if code is None else code)


class Reaper:
    """A process that ends the private Ray when this process ends or is killed, and prints the last words; Linux
    only."""

    def __init__(self, folder: Path, *, last_words: LastWords | None = None) -> None:
        """
        Args:
            folder: folder of this Ray, which no other process uses.
            last_words: what it prints if this process is killed; nothing by default.
        """
        self.variables = {"RUNGWISE_RAY": str(folder), "SPT_NOENV": "1"}
        """Environment variables by which Ray's processes are recognised. SPT_NOENV keeps them from writing their name
        over their environment."""
        self._process = None
        if sys.platform == "linux":
            own = allowed(os.environ)
            said = [str(last_words.begun), last_words.words, last_words.otherwise] if last_words else []
            command = [sys.executable, "-I", "-S", reaper.__file__, str(folder), *said]
            self._process = subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True, env=own)

    @property
    def pid(self) -> int | None:
        """Number of the process."""
        return None if self._process is None else self._process.pid

    def all_said(self) -> None:
        """Tell it that this process has printed how to continue, and ends without shutting Ray down."""
        self._write(reaper.SAID)

    def ended_by(self, number: int) -> None:
        """Tell it that this second signal ends this process at once."""
        self._write(reaper.SIGNAL + str(int(number)).encode())

    def _write(self, word: bytes) -> None:
        if self._process is not None and self._process.stdin is not None:
            with suppress(OSError):
                os.write(self._process.stdin.fileno(), word)

    def stop(self) -> None:
        """Tell it that Ray has been shut down; it ends what is left, and itself."""
        if self._process is not None:
            self._process.communicate(reaper.SHUT_DOWN)


def kill_process(pid: int) -> None:
    """Kill a process of this machine that does not react to other signals."""
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
