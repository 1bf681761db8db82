"""Opens the database of a study, a SQLite file or a server; every error in it becomes one line."""

import shutil
import sqlite3
import warnings
import weakref
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import optuna
import sqlalchemy.exc
from optuna.exceptions import StorageInternalError
from sqlalchemy.pool import QueuePool

from search.process.scratch import make_scratch, remove_scratch
from search.process.secrets import redact_text, redact_url
from search.storage.documented import DocumentedStorage
from search.storage.durable import StudyStorage
from search.storage.kinds import knows_tables

AWAY = (sqlalchemy.exc.SQLAlchemyError, StorageInternalError)
"""Errors of a database that does not answer now."""
_UNDECODABLE = (
    ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RuntimeError, AssertionError, ImportError,
    sqlite3.Error, sqlalchemy.exc.SQLAlchemyError, StorageInternalError,
)  # fmt: skip
"""Exceptions that SQLite, SQLAlchemy, Optuna and JSON raise on damaged rows."""
_LOCKED = ("database is locked", "database table is locked")
_NO_ACCESS = ("unable to open", "readonly database", "disk I/O error", "database or disk is full")


class StudyError(ValueError):
    """A study cannot be read; the message is one line with the reason and the remedy."""


class Damage(ValueError):
    """What is wrong with a study, in a few words."""


@contextmanager
def reading(where: str | Path) -> Iterator[None]:
    """Turn every error that is raised inside, while a study is opened and decoded, into one line.

    Args:
        where: the file, or the URL of the server.

    Raises:
        StudyError: what is wrong, and the remedy.
    """
    try:
        yield
    except StudyError:
        raise
    except _UNDECODABLE as error:
        raise StudyError(_explain(error, where)) from None


def _explain(error: BaseException, where: str | Path) -> str:
    cause = _cause(error)
    reason = redact_text(" ".join(f"{cause}".split()))[:300] or type(cause).__name__
    if isinstance(where, str) and isinstance(cause, ImportError):
        return f"the study cannot be read from {redact_url(where)}: {reason}"
    if isinstance(where, str) and _is_unreachable(error):
        return (
            f"the study cannot be read from {redact_url(where)}: {reason}; check that the server is running, and that "
            f"PGPASSWORD or ~/.pgpass has your password"
        )
    name = redact_url(where) if isinstance(where, str) else str(where)
    if isinstance(cause, sqlite3.Error) and any(text in reason for text in _LOCKED):
        return f"{name} is locked by another program; end that program and try again"
    if isinstance(cause, sqlite3.Error) and any(text in reason for text in _NO_ACCESS):
        return f"{name} cannot be read ({reason}); check the permissions and the disk of its folder"
    if isinstance(error, RuntimeError) and "optuna" in reason:
        return f"{name} was written by another version of Optuna ({reason}); install that version"
    if not isinstance(cause, sqlite3.Error | sqlalchemy.exc.SQLAlchemyError | StudyError | Damage):
        reason = f"{type(cause).__name__}: {reason}"
    return f"{name} is damaged ({reason}); restore it from a copy, or give another --name"


def _cause(error: BaseException) -> BaseException:
    """The error of the database driver, if it was the cause; else the error itself."""
    while True:
        inner = error.orig if isinstance(error, sqlalchemy.exc.DBAPIError) else None
        if inner is None and isinstance(error, StorageInternalError):
            inner = error.__cause__
        if inner is None:
            return error
        error = inner


def _is_unreachable(error: BaseException) -> bool:
    if isinstance(error, StorageInternalError) and error.__cause__ is not None:
        error = error.__cause__
    return isinstance(error, sqlalchemy.exc.OperationalError | sqlalchemy.exc.InterfaceError)


def check_database(path: Path) -> None:
    """Raise ValueError with the reason unless `path` is a sound SQLite database."""
    if not path.is_file():
        raise ValueError(f"{path} is missing, so the study is lost; restore it from a copy, or give another --name")
    if path.stat().st_size == 0:
        raise ValueError(f"{path} is empty, so the study is lost; restore it from a copy, or give another --name")
    with reading(path), closing(connect(path)) as connection:
        answer = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
        if answer != "ok":
            raise Damage(answer)


def connect(path: Path, *, mode: str = "rw") -> sqlite3.Connection:
    """A connection to a SQLite file; its path may contain any characters.

    Args:
        mode: ro, rw, or rwc, which creates a missing file.
    """
    return sqlite3.connect(f"{path.absolute().as_uri()}?mode={mode}", uri=True, timeout=60, check_same_thread=False)


def file_storage(path: Path, *, new: bool = False) -> StudyStorage:
    """The storage in a SQLite file, in WAL mode.

    synchronous=NORMAL keeps every commit through a kill of the process; a power cut may take the last few.

    Args:
        new: create the file.
    """
    path = path.absolute()

    def opened() -> sqlite3.Connection:
        if made and made[0].presence is not None:
            made[0].presence.check()
        connection = connect(path, mode="rwc" if new else "rw")
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=NORMAL")
        return connection

    # a path in a URL would be decoded, and cut at a question mark
    made: list[StudyStorage] = []
    made.append(_storage("sqlite://", creator=opened, poolclass=QueuePool))
    return made[0]


def server_storage(url: str, **engine: Any) -> StudyStorage:
    """The storage on a database server, whose connections are closed with it."""
    url = url.replace("{", "{{").replace("}", "}}")  # Optuna formats the URL, which would replace braces
    storage = _storage(url, **engine)
    weakref.finalize(storage, storage.engine.dispose)
    return storage


def _storage(url: str, **engine: Any) -> StudyStorage:
    if not knows_tables():
        return DocumentedStorage(url, engine_kwargs=engine)
    from search.storage.rdb import WholeTrialStorage

    return WholeTrialStorage(url, engine_kwargs=engine)


def snapshot(path: Path) -> sqlite3.Connection:
    """A copy of the database in memory, as it is now; nothing is locked or written."""
    memory = sqlite3.connect(":memory:", check_same_thread=False)
    try:
        with closing(connect(path, mode="ro")) as source:
            source.backup(memory)
        return memory
    except sqlite3.OperationalError:
        # a WAL database in a folder that cannot be written: SQLite wants its -shm file, so read a private copy
        scratch = make_scratch()
        try:
            for suffix in ("", "-wal"):
                with suppress(FileNotFoundError):
                    shutil.copyfile(f"{path}{suffix}", scratch / f"study.db{suffix}")
            with closing(sqlite3.connect(scratch / "study.db")) as source:
                source.backup(memory)
        finally:
            remove_scratch(scratch)
        return memory


def name_metric(study: optuna.Study, metric: str) -> None:
    """Let Optuna's own tools call the objective by its name."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        study.set_metric_names([metric])
