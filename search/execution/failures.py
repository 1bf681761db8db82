"""How the failure of a step is reported: its kind, its message, and a traceback for the log."""

import traceback

import torch

from search.process.environment import hint
from search.scheduling.messages import EpochResult
from search.storage.logs import KEPT_BYTES, shorten
from spaces.guarded import CodeError
from trainables.files.stores import UnreachableError
from trainables.trainable import Diverged, MisuseError, OutOfMemory, RestoreError, StateError


class StorageError(Exception):
    """The store of the checkpoints cannot be written, which is no failure of the trial."""


class WorkerFailure(Exception):
    """Another worker of the trial has failed, and has reported why."""

    def __init__(self, rank: int, result: EpochResult) -> None:
        super().__init__(f"worker {rank}: {result.failure}")
        self.result = result


_KINDS: dict[type[BaseException], str] = {
    StorageError: "storage",
    UnreachableError: "storage",
    Diverged: "diverged",
    RestoreError: "error",
    OutOfMemory: "out of memory",
    torch.OutOfMemoryError: "out of memory",
    MemoryError: "out of memory",
}


_PLAIN = (
    Diverged,
    OutOfMemory,
    StorageError,
    UnreachableError,
    MisuseError,
    StateError,
    RestoreError,
    WorkerFailure,
    CodeError,
)
"""Errors whose message is complete without the name of the class."""


def failure(error: BaseException, *, kind: str, notices: list[str]) -> EpochResult:
    """The result of a step that ended with this error.

    Args:
        kind: of an error that says nothing of its kind itself.

    Raises:
        SystemExit: Ray ends this process, as it does at SIGTERM; the trial has lost its worker and has not failed.
    """
    if isinstance(error, SystemExit) and hasattr(error, "ray_terminate_msg"):
        raise error
    message = _said(error)[:2000]
    if isinstance(error, WorkerFailure):
        return EpochResult(
            failure=message, failure_kind=error.result.failure_kind, notices=tuple(notices), log=error.result.log
        )
    kind = next((name for cause, name in _KINDS.items() if isinstance(error, cause)), kind)
    if not isinstance(error, _PLAIN):
        message = f"{type(error).__name__}: {message}".removesuffix(": ")
    message += hint(error)
    is_clear = isinstance(error, Diverged | StorageError | UnreachableError)  # a traceback would explain nothing
    log = "" if is_clear else "".join(traceback.format_exception(error))
    log = shorten(log.encode("utf-8", errors="backslashreplace"), each=KEPT_BYTES).decode("utf-8", errors="replace")
    return EpochResult(failure=message, failure_kind=kind, notices=tuple(notices), log=log)


def _said(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:
        return "its message cannot be displayed"
