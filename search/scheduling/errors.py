"""Errors that end a search as a whole."""


class HopelessSearchError(RuntimeError):
    """Every trial fails for the same reason, so continuing would waste the budget."""


class StorageError(RuntimeError):
    """The run folder or the store of checkpoints cannot be written; every trial can be resumed."""
