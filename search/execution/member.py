"""A training on a worker with its records and checkpoints, and the others of its stack that are trained along."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from search.execution.failures import StorageError
from search.execution.job import Job
from search.process.disk import free_space
from trainables.files import checkpoint
from trainables.files.stores import Folder, Store
from trainables.trainable import Diverged, Joint, Trainable, close


class Member:
    """A training, the records of its finished epochs, and the store of its checkpoints."""

    def __init__(self, build: Callable[[], Trainable], store: Store, *, job: Job) -> None:
        """Restore the training from its newest checkpoint if there is one.

        Args:
            build: gives the training as it begins.
            store: of the checkpoints of this trial.
            job: decides which records can be used.
        """
        self.store = store
        self.records: list[dict[str, Any]] = []
        new = [build()]  # before any state is read, so that an error here is not taken for a damaged checkpoint
        restored: list[Trainable] = []

        def use(state: dict[str, Any]) -> None:
            training, (stored, records) = new.pop() if new else build(), checkpoint.parted(state)
            try:
                training.restore(stored)
                _check_records(records, training.epoch, of=job)
            except Exception:
                close(training)
                raise
            restored.append(training)
            self.records = records

        loaded = checkpoint.load_newest(store, use=use)
        self.problems = None if loaded is None else loaded.problems
        """A line about each damaged checkpoint; None if there is no checkpoint. The state does not stay in memory."""
        self.training = next(iter([*restored, *new]), None) or build()

    def as_bytes(self) -> memoryview:
        """The state and the records after the last epoch, as `write` takes them."""
        return checkpoint.as_bytes(checkpoint.with_records(self.training.state(), self.records))

    def write(self, data: memoryview, *, epoch: int) -> None:
        """Write a checkpoint.

        Raises:
            StorageError, UnreachableError: it could not be written.
        """
        try:
            checkpoint.write(self.store, data, epoch=epoch)
        except OSError as error:
            reason = f"a checkpoint could not be written: {error.strerror or error}"
            if isinstance(self.store, Folder):
                reason += f"; {free_space(self.store.path)}"
            raise StorageError(reason) from error


class Mates:
    """The other trainings of a stack. Each has the checkpoints that it would have if it were trained alone."""

    def __init__(self, members: Sequence[Member], stack: Callable[[Sequence[Trainable]], Joint]) -> None:
        """
        Args:
            members: any number of them.
            stack: gives one training of several that are at the same epoch.
        """
        self._members, self._stack = list(members), stack
        self._together: list[Member] = []
        self._joint: Joint | None = None

    def run_epoch(self, lead: Trainable) -> tuple[Mapping[str, Any], list[tuple[Member, dict[str, Any]]]]:
        """Train one more epoch of the lead, and of the members at the same epoch.

        A member that is ahead waits: its checkpoint was written before that of the lead, just before a crash. One that
        is behind, or diverges, is left to a leg of its own.

        Returns:
            The record of the lead, and the members that were trained as well, with their records.

        Raises:
            Diverged: the lead has diverged.
        """
        self._members = [member for member in self._members if member.training.epoch >= lead.epoch]
        together = [member for member in self._members if member.training.epoch == lead.epoch]
        if not together:
            return lead.run_epoch(), []
        if self._joint is None or self._together != together:
            self._together = together
            self._joint = self._stack([lead, *(member.training for member in together)])
        record, *records = self._joint.run_epoch()
        if isinstance(record, Diverged):
            raise record
        pairs = zip(together, records, strict=True)
        return record, [(member, dict(found)) for member, found in pairs if not isinstance(found, Diverged)]


def _check_records(records: list[dict[str, Any]], epoch: int, *, of: Job) -> None:
    """Raise ValueError unless a restored training has a record for each of its epochs, as it would report them."""
    if not 0 < epoch <= of.epochs or len(records) != epoch:
        raise ValueError(f"{len(records)} records for {epoch} epochs, at most {of.epochs} are allowed")
    for number, record in enumerate(records, start=1):
        plain = all(value is None or isinstance(value, str | int | float) for value in record.values())
        value = record.get(of.metric)
        if not plain or record["epoch"] != number or not isinstance(value, int | float) or not math.isfinite(value):
            raise ValueError(f"the record of epoch {number} cannot be used")
