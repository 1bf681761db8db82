"""The right to write to a study, kept in the study itself: one search at a time, from whatever folder or host.

The holder's entry changes every few seconds. A holder on this machine is dead when its process is; another host's when
its entry has not changed for a minute, whatever its clock says. One that lost the lease without noticing, because it
was suspended, cannot write either: each of its writes looks at the entry in the same transaction.
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

from optuna.exceptions import StorageInternalError
from sqlalchemy.exc import SQLAlchemyError

from search.storage.database import StudyError, reading
from search.storage.durable import LEASE, Entries, StudyStorage
from search.storage.presence import StudyLostError
from search.storage.run import Run
from search.storage.soundness import CLOSED
from search.storage.study import resume_study

_AWAY = (SQLAlchemyError, StorageInternalError)
"""A database that does not answer now."""
RENEW_SECONDS, PATIENCE_SECONDS = 10.0, 60.0


@dataclass(frozen=True, kw_only=True)
class Holder:
    """Who holds a study."""

    owner: str
    host: str
    pid: int
    started: str
    """Tells this process from a later one of the same number."""
    machine: str
    """Tells this host, since it was booted, and its process numbers, from all others."""
    since: str
    seen: str
    """On the holder's own clock."""
    turn: int = 0
    """Times that the lease was renewed."""
    file: tuple[int, int] | None = None
    """Which SQLite file it writes to; a copy of it holds the same entry."""

    @classmethod
    def here(cls, file: tuple[int, int] | None) -> "Holder":
        """This process."""
        return cls(
            owner=uuid.uuid4().hex, host=socket.gethostname(), pid=os.getpid(), started=_started(os.getpid()) or "",
            machine=_machine(), since=_now(), seen=_now(), file=file,
        )  # fmt: skip

    @classmethod
    def read(cls, text: str | None) -> "Holder | None":
        """The holder that this entry names; None where it names none."""
        with suppress(ValueError, TypeError):
            stored = dict(json.loads(text or ""))
            file = stored.pop("file", None)
            return cls(**stored, file=None if file is None else (int(file[0]), int(file[1])))
        return None

    @property
    def is_here(self) -> bool:
        """Whether its process can be looked up from this one."""
        return self.machine == _machine()

    @property
    def lives(self) -> bool:
        """Whether its process, on this machine, is there."""
        return _started(self.pid) == self.started

    def text(self) -> str:
        return json.dumps(asdict(self))

    def __str__(self) -> str:
        return f"pid {self.pid} on {self.host} since {self.since}, last seen {self.seen}"


class Lease:
    """Holds a study for as long as it is entered."""

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
            shares: whether a copy of the study would have its database or its checkpoints in common with the original.
            force: take the study over, whoever holds it.
            say: told why the start takes a minute.
            renew_seconds: between two signs of life.
            patience_seconds: without a sign of life from another host, after which its search is dead.
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
        with suppress(*_AWAY, StudyLostError):
            self._release()

    def _take(self) -> None:
        """Take the lease, or wait until it is known whether its holder lives."""
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
        """Take the lease in one transaction if it is free; else its holder.

        Args:
            silent: a holder that has given no sign of life for too long.
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
        """Give signs of life; a database that is away for a while is asked again."""
        while not self._done.wait(self._renew_seconds):
            try:
                self._renew()
            except StudyLostError as error:
                self._storage.lost = error
                return
            except _AWAY:
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
        """Remove the entry, and note how many trials there are, so that one that is lost is missed."""
        num_trials = self._storage.get_n_trials(self._study_id)

        def choose(stored: str | None) -> Entries:
            holder = Holder.read(stored)
            mine = holder is not None and holder.owner == self._me.owner
            return {LEASE: None, CLOSED: str(num_trials)} if mine else {}

        self._storage.exchange_lease(self._study_id, choose)


def hold_study(stack: ExitStack, run_dir: Path, run: Run, *, force: bool = False) -> StudyStorage:
    """The storage of an existing run, which is this process's alone until the stack is left.

    Raises:
        ValueError: the study is missing, damaged or in use.
    """
    storage = resume_study(run_dir, run)
    shares = run.study_url is not None or run.storage is not None
    stack.callback(storage.engine.dispose)  # the last connection folds study.db-wal into study.db, which is then whole
    with reading(storage.where):
        stack.enter_context(Lease(storage, run.name, shares=shares, force=force))
    return storage


def _now() -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S %Z")


def _started(pid: int) -> str | None:
    """When a process started, in a form that the clock does not change; None if there is none."""
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
    told = [socket.gethostname()]
    with suppress(OSError):
        told.append(Path("/proc/sys/kernel/random/boot_id").read_text().strip())
    with suppress(OSError):
        told.append(os.readlink("/proc/self/ns/pid"))
    return " ".join(told)
