"""The right to write to a study, stored in the study itself: one search at a time, from any folder or host.

The holder changes its entry every few seconds. A holder on this machine is dead if its process is; one on another host
if its entry has not changed for a minute, whatever its clock says. A holder that was suspended and lost the lease
without noticing cannot write: each transaction first makes other writers wait, then checks the entry.
"""

import json
import os
import socket
import sys
import threading
import time
import uuid
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Self

from optuna.storages import BaseStorage

from search.storage.database import AWAY, StudyError, reading
from search.storage.durable import LEASE, Entries, StudyStorage
from search.storage.presence import FileIdentity, StudyLostError
from search.storage.run import Run
from search.storage.soundness import CLOSED
from search.storage.study import resume_study

RENEW_SECONDS, PATIENCE_SECONDS = 10.0, 60.0
"""Time between two changes of the entry; time without a change after which a holder on another host is dead."""


@dataclass(frozen=True, kw_only=True)
class Holder:
    """The process that holds a study."""

    owner: str
    """Random identifier."""
    host: str
    pid: int
    started: str
    """Start of the process, which distinguishes it from a later process with the same number."""
    machine: str
    """Identifies this boot of the host and its process numbers."""
    since: str
    seen: str
    """Time of the last renewal, by the holder's clock."""
    turn: int = 0
    """Number of renewals."""
    file: tuple[int, int] | None = None
    """Device and number of the SQLite file that it writes to; a copy of that file has the same entry."""

    @classmethod
    def here(cls, file: tuple[int, int] | None) -> "Holder":
        """This process."""
        return cls(
            owner=uuid.uuid4().hex, host=socket.gethostname(), pid=os.getpid(), started=_started(os.getpid()) or "",
            machine=_machine(), since=_now(), seen=_now(), file=file,
        )  # fmt: skip

    @classmethod
    def read(cls, text: str | None) -> "Holder | None":
        """The holder in this entry; None if there is none."""
        with suppress(ValueError, TypeError):
            stored = dict(json.loads(text or ""))
            file = stored.pop("file", None)
            return cls(**stored, file=None if file is None else (int(file[0]), int(file[1])))
        return None

    @property
    def is_here(self) -> bool:
        """Whether its process runs, or ran, on this machine since it was booted."""
        return self.machine == _machine()

    @property
    def lives(self) -> bool:
        """Whether its process, on this machine, still runs."""
        return _started(self.pid) == self.started

    def text(self) -> str:
        return json.dumps(asdict(self))

    def __str__(self) -> str:
        return f"pid {self.pid} on {self.host} since {self.since}, last seen {self.seen}"


class Lease:
    """Holds a study while it is entered."""

    def __init__(
        self,
        storage: StudyStorage,
        study: str,
        *,
        shares: bool,
        force: bool = False,
        say: Callable[[str], None] = lambda line: print(line, file=sys.stderr, flush=True),
        renew_seconds: float = RENEW_SECONDS,
        patience_seconds: float = PATIENCE_SECONDS,
    ) -> None:
        """
        Args:
            study: name of the study.
            shares: whether a copy of the study uses the same database or the same checkpoints as the original.
            force: take the study over from any holder.
            say: called with a note if the start takes a minute.
            renew_seconds: seconds between two renewals.
            patience_seconds: seconds without a renewal from another host after which its search is dead.
        """
        self._storage, self._study, self._shares, self._force, self._say = storage, study, shares, force, say
        self._renew_seconds, self._patience_seconds = renew_seconds, patience_seconds
        file = None if storage.presence is None else storage.presence.known
        self._me = Holder.here(file)
        self._study_id = storage.get_study_id_from_name(study)
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="lease", daemon=True)

    def __enter__(self) -> Self:
        self._take()
        self._storage.study_id, self._storage.owner = self._study_id, self._me.owner
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join(timeout=5)
        self._storage.owner = None
        with suppress(*AWAY, StudyLostError):
            self._release()

    def _take(self) -> None:
        """Take the lease, if necessary after waiting to see whether its holder is alive."""
        first: Holder | None = None
        deadline = 0.0
        while (holder := self._try(first if first and time.monotonic() >= deadline else None)) is not None:
            if holder.is_here or (first is not None and holder != first):
                raise StudyError(
                    f"study {self._study!r} is in use by {holder}; wait for it, or give another --name (--force takes"
                    " it over from a search that is dead or hangs)"
                )
            if first is None:
                first, deadline = holder, time.monotonic() + self._patience_seconds
                self._say(
                    f"note: study {self._study!r} was in use by {holder}; waiting {self._patience_seconds:.0f} s for a"
                    " sign of life (--force takes it over at once)"
                )
            time.sleep(min(1.0, self._patience_seconds / 10))

    def _try(self, silent: Holder | None) -> Holder | None:
        """Take the lease in one transaction if it is free; else return its holder.

        Args:
            silent: a holder that has not renewed the lease for too long.
        """
        holders: list[Holder] = []

        def choose(stored: str | None) -> Entries:
            holder = Holder.read(stored)
            if holder is not None and not self._force and holder != silent and not self._is_free(holder):
                holders.append(holder)
                return {}
            return {LEASE: self._me.text()}

        self._storage.exchange_lease(self._study_id, choose)
        return holders[0] if holders else None

    def _is_free(self, holder: Holder) -> bool:
        if not holder.is_here:
            return False
        is_copy = holder.file is not None and holder.file != self._me.file and not self._shares
        return is_copy or not holder.lives

    def _keep(self) -> None:
        """Renew the lease again and again; if the database does not answer, try again later."""
        while not self._done.wait(self._renew_seconds):
            try:
                self._renew()
            except StudyLostError as error:
                self._storage.lost = error
                return
            except AWAY:
                continue

    def _renew(self) -> None:
        if self._storage.presence is not None:
            self._storage.presence.check()

        def choose(stored: str | None) -> Entries:
            holder = Holder.read(stored)
            if holder is None or holder.owner != self._me.owner:
                raise StudyLostError(
                    f"study {self._study!r} was taken over by {holder or 'another search, which has ended'}; what "
                    f"this search stored is saved; wait for the other search, or stop it and resume"
                )
            return {LEASE: replace(holder, seen=_now(), turn=holder.turn + 1).text()}

        self._storage.exchange_lease(self._study_id, choose)

    def _release(self) -> None:
        """Remove the entry, and store the number of trials, so that a lost trial is detected."""
        num_trials = self._storage.get_n_trials(self._study_id)

        def choose(stored: str | None) -> Entries:
            holder = Holder.read(stored)
            mine = holder is not None and holder.owner == self._me.owner
            return {LEASE: None, CLOSED: str(num_trials)} if mine else {}

        self._storage.exchange_lease(self._study_id, choose)


def hold_study(stack: ExitStack, run_dir: Path, run: Run, *, force: bool = False) -> StudyStorage:
    """The storage of an existing run, whose lease this process holds until the stack is left.

    Raises:
        ValueError: the study is missing, damaged or in use.
    """
    storage = resume_study(run_dir, run)
    shares = run.study_url is not None or run.storage is not None
    stack.callback(storage.engine.dispose)  # the last connection merges study.db-wal into study.db
    with reading(storage.where):
        stack.enter_context(Lease(storage, run.name, shares=shares, force=force))
    return storage


def is_searched(storage: BaseStorage, study_id: int, *, file: FileIdentity | None) -> bool:
    """Whether a search holds the study now; one on another host is taken to be alive.

    Args:
        file: identity of the SQLite file; a copy of it has the same entry. None for a study on a server.
    """
    holder = Holder.read(json.dumps(storage.get_study_system_attrs(study_id).get(LEASE)))
    if holder is None or (file is not None and holder.file != file):
        return False
    return holder.lives if holder.is_here else True


def _now() -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S %Z")


def _started(pid: int) -> str | None:
    """When a process started, independent of changes of the clock; None if there is no such process."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return None if fields[0] in "ZX" else fields[19]
    except FileNotFoundError:
        if Path("/proc/self/stat").exists():
            return None
    import psutil  # not Linux

    with suppress(psutil.Error):
        return f"{psutil.Process(pid).create_time():.0f}"
    return None


def _machine() -> str:
    facts = [socket.gethostname()]
    with suppress(OSError):
        facts.append(Path("/proc/sys/kernel/random/boot_id").read_text().strip())
    with suppress(OSError):
        facts.append(os.readlink("/proc/self/ns/pid"))
    return " ".join(facts)
