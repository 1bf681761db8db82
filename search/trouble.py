"""Says in one line what broke a search off."""

import re
import sqlite3
from pathlib import Path

from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from search.console import printable
from search.disk import free_space


def explain(error: BaseException, run_dir: Path) -> str:
    """What went wrong; of a file that could not be written also the room on its file system."""
    causes = [error]
    while causes[-1].__cause__ is not None:
        causes.append(causes[-1].__cause__)
    if any(isinstance(cause, BrokenPipeError) for cause in causes):
        return "nobody reads the output any more"
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
    return next((printable(line.strip()) for line in text.splitlines() if line.strip()), "")
