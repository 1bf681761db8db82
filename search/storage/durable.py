"""The storage of a running search: Optuna's database, to which only the process with the lease writes."""

import sqlite3
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial, TrialState

from search.process.faults import fault_point
from search.storage.presence import Presence, StudyLostError

LEASE = "rungwise:lease"
"""System attribute of a study: the process that may write to it."""
Entries = Mapping[str, str | None]
"""System attributes of a study as JSON; None to remove one."""


class NumberTakenError(StudyLostError):
    """Another program has stored a trial under the number of a new one, of which nothing was stored."""


class StudyStorage(RDBStorage):
    """What a search needs beyond Optuna's storage; the two subclasses differ in how they write.

    A search writes with these methods alone: they write no row after the file was replaced or another process took the
    lease.
    """

    presence: Presence | None = None
    """Whether the file is still the same; checked before each write."""
    study_id: int = -1
    """Study whose lease is held."""
    owner: str | None = None
    """Identifier that the lease must contain for a write; None for a study without a lease."""
    where: str | Path = "the study"
    """File or URL, for messages."""
    lost: Exception | None = None
    """Why nothing can be written any more, if the thread that renews the lease has noticed it."""
    _num_writes: int = 0

    @abstractmethod
    def store_trial(self, study_id: int, trial: FrozenTrial, *, entries: Mapping[str, Any]) -> int:
        """Store a new trial that has no value yet, and return its identifier.

        Args:
            entries: system attributes of the study that are stored with it.

        Raises:
            NumberTakenError: the study has a trial with this number.
            StudyLostError: the study has fewer trials than it had.
        """

    @abstractmethod
    def record_epoch(self, trial_id: int, *, epoch: int, value: float, history: Sequence[Mapping], base: int) -> int:
        """Store a finished epoch, and return the checksum that the trial now has.

        Args:
            history: records of all epochs up to this one.
            base: checksum of the configuration.
        """

    @abstractmethod
    def finish_trial(
        self,
        trial_id: int,
        state: TrialState,
        *,
        value: float | None,
        attrs: Mapping[str, Any],
        checksum: int,
    ) -> None:
        """Store the end of a trial.

        Args:
            state: its final state.
            value: its final value; None without one.
            attrs: further user attributes.
            checksum: that of the trial with this state.
        """

    @abstractmethod
    def begin_waiting(
        self, study_id: int, trial_id: int, trial: FrozenTrial, *, before: FrozenTrial, entries: Mapping[str, Any]
    ) -> None:
        """Store the configuration of a trial that was WAITING, and its new state.

        Args:
            before: the trial as it waited, which is what the study contains.
            entries: system attributes of the study that are stored with it.

        Raises:
            StudyLostError: another process has begun it.
        """

    @abstractmethod
    def newest_trial(self, study_id: int) -> int | None:
        """Identifier of the trial that was stored last; None without trials."""

    @abstractmethod
    def exchange_lease(self, study_id: int, choose: Callable[[str | None], Entries]) -> None:
        """Read the lease and write entries, so that no other process writes a lease in between.

        Args:
            choose: gets the stored lease as JSON, and returns the entries to write, which may be none.
        """

    def store_entry(self, study_id: int, key: str, text: str) -> None:
        """Store a system attribute of the study as JSON, in the transaction that checks the lease.

        Raises:
            StudyLostError: another process holds the study.
        """

        def choose(holder: str | None) -> Entries:
            self._before_write()
            self._check_owner(holder)
            return {key: text}

        self.exchange_lease(study_id, choose)

    def keep_copy(self, path: Path) -> None:
        """Write the SQLite database that is open to a new file, also when its own file is gone."""
        source = self.engine.raw_connection()
        try:
            with closing(sqlite3.connect(path)) as target:
                source.driver_connection.backup(target)  # type: ignore[union-attr]
        finally:
            source.close()

    def _before_write(self) -> None:
        """Raise StudyLostError if the file is no longer the one that was opened."""
        self._num_writes += 1
        fault_point("write", self._num_writes)
        if self.presence is not None:
            self.presence.check()

    def _check_owner(self, holder: str | None) -> None:
        """Raise StudyLostError unless this process holds the lease, which it may have lost while it was suspended."""
        if self.owner is not None and self.owner not in (holder or ""):
            raise StudyLostError(
                "another search took over this study; what this search stored is saved; wait for the other search, or "
                "stop it and resume"
            )


def begun_by_another(number: int) -> StudyLostError:
    """The error when a trial that waited was begun by another process."""
    return StudyLostError(f"trial {number} was started by another process; stop that process and resume")


def stored_by_another(number: int, *, held: int) -> StudyLostError:
    """The error when a new trial cannot have its number.

    Args:
        held: number of trials in the study before this one.
    """
    kind = NumberTakenError if held > number else StudyLostError
    return kind(
        f"trial {number} cannot be stored, because the study has {held} trials: another process writes to it; stop "
        f"that process and resume"
    )
