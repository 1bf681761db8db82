"""Where the checkpoints of a run are stored, and which are kept; `trainables.files.checkpoint` has their format."""

import os
from pathlib import Path

from optuna.trial import FrozenTrial

from search.storage.folder import trial_name
from search.storage.ledger import Ledger
from search.storage.run import Run
from search.storage.standings import Standings
from trainables.files.stores import Folder, Store, UnreachableError, join, open_store

_PROBE = f".probe-{os.getpid()}"


def open_storage(storage: str) -> Store:
    """The store that --storage names.

    Raises:
        ValueError: pyarrow knows no such URI, or there is no such folder.
    """
    import pyarrow

    try:
        store = open_store(storage)
    except pyarrow.ArrowInvalid as error:
        raise ValueError(f"--storage must be a URI that pyarrow supports, got {storage!r}: {error}") from None
    if isinstance(store, Folder) and not store.path.is_dir():
        raise ValueError(f"--storage must be a folder that exists, got {storage!r}; create or mount it first")
    return store


def check_storage(run: Run, *, new: bool) -> None:
    """Raise ValueError unless --storage can be written and, for a new run, has no checkpoint with its name."""
    if run.storage is None:
        return
    store = open_storage(run.storage)
    try:
        if new and open_store(join(run.storage, run.name)).entries():
            raise ValueError(f"--storage already has checkpoints of a run {run.name!r}; give another --name")
        store.write(_PROBE, {"probe": b""})
        store.remove(_PROBE)
    except (UnreachableError, OSError) as error:
        raise ValueError(f"--storage {run.storage} cannot be written: {error}") from None


def checkpoints_of(run: Run, run_dir: Path) -> str:
    """Folder or URI of the checkpoints, the same on every node."""
    return str(run_dir.resolve() / "checkpoints") if run.storage is None else join(run.storage, run.name)


class CheckpointKeeper:
    """Removes the checkpoints of trials that have ended, except those of the best finished ones.

    It begins with those that an earlier process left when it was killed.
    """

    def __init__(self, where: str | Path, ledger: Ledger, run: Run) -> None:
        self._store = open_store(where)
        self._keep_all = run.keep_checkpoints == "all"
        self._standings, self._count = Standings(run.objective, ledger.trials), run.keep_best
        self._kept = self._best
        self._sweep({trial.number for trial in ledger.trials if trial.state.is_finished()})

    def clean(self, trial: FrozenTrial) -> None:
        """Remove what is no longer needed; called with each trial that reached a final state."""
        if self._keep_all:
            return
        self._standings.add(trial)
        kept = self._best
        for ended in (self._kept | {trial.number}) - kept:
            self._store.remove(trial_name(ended))
        self._kept = kept

    @property
    def _best(self) -> set[int]:
        return {one.number for best in self._standings.first(self._count) for one in best.trials}

    def _sweep(self, ended: set[int]) -> None:
        """Remove those of the trials that ended, except the best."""
        if self._keep_all:
            return
        left = {trial_name(number) for number in ended - self._kept}
        for entry in left.intersection(self._store.entries()):
            self._store.remove(entry)
