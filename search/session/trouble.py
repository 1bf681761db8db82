"""Explains in one line which error ended a search, an evaluation, a report or a publication."""

import errno
import re
import sqlite3
from pathlib import Path

from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from search.process.disk import free_space
from search.process.secrets import redact_text
from search.process.text import printable

_MACHINE = frozenset(
    (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.ESTALE, errno.ENOMEM, errno.EMFILE, errno.ENFILE)
)
"""Error numbers of the machine, which better input would not avoid."""


def is_machine_fault(error: BaseException) -> bool:
    """Whether the machine is the cause (a full disk, a quota, a failing device), and not bad input."""
    if isinstance(error, BrokenPipeError):
        return True
    if isinstance(error, sqlite3.Error):
        return str(getattr(error, "sqlite_errorname", "")).startswith(("SQLITE_FULL", "SQLITE_IOERR", "SQLITE_NOMEM"))
    return isinstance(error, OSError) and error.errno in _MACHINE


def explain(error: BaseException, run_dir: Path) -> str:
    """What went wrong; if a file could not be written, also the free space of its file system."""
    causes = [error]
    while causes[-1].__cause__ is not None:
        causes.append(causes[-1].__cause__)
    if any(isinstance(cause, BrokenPipeError) for cause in causes):
        return "nothing reads the output any more"
    for cause in causes:
        if isinstance(cause, OSError | sqlite3.Error):
            reason = cause.strerror if isinstance(cause, OSError) and cause.strerror else str(cause)
            if re.search("read-?only", reason, re.IGNORECASE) and not isinstance(cause, OSError):
                return f"the database of the study cannot be written ({first_line(reason)})"
            return f"the run cannot be written ({reason}); {free_space(run_dir)}"
    for cause in causes:
        if isinstance(cause, SQLAlchemyError):
            driver = cause.orig if isinstance(cause, DBAPIError) else cause
            return f"the study cannot be reached: {first_line(str(driver))}"
    return first_line(" ".join(printable(str(error)).split())) or type(error).__name__


def first_line(text: str) -> str:
    """The first line that says anything, printable."""
    return redact_text(next((printable(line.strip()) for line in text.splitlines() if line.strip()), ""))
