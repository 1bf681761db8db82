"""What breaks a search off as a whole."""


class HopelessSearchError(RuntimeError):
    """Every trial fails for the same reason: going on would only burn the budget."""


class StorageError(RuntimeError):
    """The run folder cannot be written: no trial is to blame, and every one can be resumed."""
