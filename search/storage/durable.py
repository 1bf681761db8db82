"""The storage of a running search: Optuna's database, written while the study is this process's alone."""

import sqlite3
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import TypeGuard

from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial

from search.storage.presence import Presence, StudyLostError

LEASE = "rungwise:lease"
"""System attribute of a study: which process may write to it."""
Entries = Mapping[str, str | None]
"""System attributes of a study as JSON; None for one that is to be removed."""


class StudyStorage(RDBStorage):
    """What a search needs beyond Optuna's storage. Its two forms differ in how they write.

    No row is written once the file has been replaced, or another process has the study.
    """

    presence: Presence | None = None
    """Of the file; checked before each write."""
    study_id: int = -1
    """Study that is held."""
    owner: str | None = None
    """Who must contain the lease of that study for a write; None for a study without one."""
    where: str | Path = "the study"
    """For messages."""
    lost: Exception | None = None
    """Why nothing can be written any more, where the keeper of the lease has noticed."""

    @abstractmethod
    def record_epoch(self, trial_id: int, *, epoch: int, value: float, history: Sequence[Mapping], base: int) -> int:
        """Store a finished epoch, and return the checksum that the trial now has.

        Args:
            history: records of all epochs up to this one.
            base: checksum of the configuration.
        """

    @abstractmethod
    def begin_waiting(self, trial_id: int, trial: FrozenTrial, *, before: FrozenTrial) -> None:
        """Store the configuration of a trial that was WAITING, and the state that it now has.

        Args:
            before: the trial as it waited, which is what the study holds of it.

        Raises:
            StudyLostError: another process has begun it.
        """

    @abstractmethod
    def newest_trial(self, study_id: int) -> int | None:
        """Identifier of the trial that was stored last."""

    @abstractmethod
    def exchange_lease(self, study_id: int, choose: Callable[[str | None], Entries]) -> None:
        """Write the entries that are chosen in view of the lease that is stored, before anybody else writes one.

        Args:
            choose: gets the entry of the lease as JSON, and returns what is to be written; nothing for nothing.
        """

    def keep_copy(self, path: Path) -> None:
        """Write the SQLite database that is open to a new file, also when its own file is gone."""
        source = self.engine.raw_connection()
        try:
            with closing(sqlite3.connect(path)) as target:
                source.driver_connection.backup(target)  # type: ignore[union-attr]
        finally:
            source.close()

    def _check_present(self) -> None:
        if self.presence is not None:
            self.presence.check()

    def _check_owner(self, holder: str | None) -> None:
        """No process but the holder of the lease writes: one that was suspended may have lost it."""
        if self.owner is not None and self.owner not in (holder or ""):
            raise StudyLostError(
                "another search took over this study; what this search stored is saved; wait for the other search, or "
                "stop it and resume"
            )


def is_begun(template: FrozenTrial | None) -> TypeGuard[FrozenTrial]:
    """Whether a trial that is to be stored is one that a search begins: with its number, and without any value."""
    return template is not None and template.values is None and not template.intermediate_values


def begun_by_another(number: int) -> StudyLostError:
    """What is said of a trial that waited and does so no longer."""
    return StudyLostError(f"trial {number} was started by another process; stop that process and resume")


def stored_by_another(number: int, *, held: int | None) -> StudyLostError:
    """What is said when a number is taken.

    Args:
        held: number of trials in the study before this one.
    """
    return StudyLostError(
        f"trial {number} cannot be stored, because the study has {held} trials: another process writes to it; stop "
        f"that process and resume"
    )
