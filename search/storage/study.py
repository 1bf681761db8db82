"""Creates, resumes and opens the Optuna study of a run (study.db).

Does not import Ray, so that analysis can read a run anywhere, also while a search writes it.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import optuna
import sqlalchemy.exc
from optuna.storages import RDBStorage

from search.process.secrets import redact_url
from search.storage.database import (
    StudyError,
    check_database,
    file_storage,
    name_metric,
    reading,
    server_storage,
    snapshot,
)
from search.storage.durable import StudyStorage
from search.storage.folder import cannot_make, check_free
from search.storage.presence import Presence
from search.storage.reading import study_in, study_on
from search.storage.run import Run, read_run, stored_url, write_run
from trainables.files.whole import new_folder


def create_study(run_dir: Path, run: Run) -> None:
    """Create the empty study of a new run.

    Raises:
        ValueError: the database of --study-url has a study with this name, or cannot be reached.
    """
    try:
        if run.study_url is None:
            storage = file_storage(run_dir / "study.db", new=True)
        else:
            storage = server_storage(run.study_url, pool_pre_ping=True)
        study = optuna.create_study(study_name=run.name, storage=storage, direction=run.direction)
        name_metric(study, run.metric)
    except optuna.exceptions.DuplicatedStudyError:
        raise ValueError(f"the database already has a study {run.name!r}; give another --name") from None
    except (sqlalchemy.exc.SQLAlchemyError, optuna.exceptions.StorageInternalError, ImportError, ValueError) as error:
        reason = str(error.__cause__ or error).splitlines()[0]
        where = run_dir if run.study_url is None else redact_url(run.study_url)
        raise ValueError(f"the study cannot be created in {where}: {reason}") from None
    storage.engine.dispose()


def resume_study(run_dir: Path, run: Run) -> StudyStorage:
    """The storage of an existing run, ready to be continued.

    Raises:
        ValueError: the study is missing, damaged or not the one that run.json describes. It is never replaced silently.
    """
    path, url = run_dir / "study.db", stored_url(run_dir, run, "study_url")
    if url is None:
        check_database(path)
    with reading(path if url is None else url):
        storage = file_storage(path) if url is None else server_storage(url, pool_pre_ping=True)
        study_id = _study_id(storage, run.name, where=path if run.study_url is None else run.study_url)
        directions = [direction.name.lower() for direction in storage.get_study_directions(study_id)]
    if directions != [run.direction]:
        raise ValueError(
            f"the study's direction must be {run.direction!r}, got {', '.join(directions) or 'none'!r}; it is not the "
            f"study described by run.json"
        )
    storage.where = path if url is None else url
    storage.presence = Presence(run_dir, study=path if url is None else None, keep=storage.keep_copy)
    return storage


def _study_id(storage: RDBStorage, name: str, *, where: str | Path) -> int:
    try:
        return storage.get_study_id_from_name(name)
    except KeyError:
        raise StudyError(f"{where} has no study {name!r}; restore it from a copy, or give another --name") from None


@contextmanager
def open_for_requests(run_dir: Path, run: Run) -> Iterator[tuple[RDBStorage, int]]:
    """The storage of a run and the number of its study, to add a request to it while a search writes to it.

    Raises:
        ValueError: the study is missing or damaged.
    """
    path, url = run_dir / "study.db", stored_url(run_dir, run, "study_url")
    if url is None and not (path.is_file() and path.stat().st_size):
        raise ValueError(f"{path} is missing or empty, so there is no search to send a request to")
    with reading(path if url is None else url):
        storage = file_storage(path) if url is None else server_storage(url)
        study_id = _study_id(storage, run.name, where=path if run.study_url is None else run.study_url)
    storage.where = path if url is None else url
    try:
        yield storage, study_id
    finally:
        storage.engine.dispose()


def open_study(run_dir: str | Path) -> optuna.Study:
    """A consistent snapshot of the study in memory; nothing is locked or written.

    Works while a search writes, and on a read-only folder.

    Raises:
        ValueError: there is no study, or it is damaged.
    """
    run_dir = Path(run_dir)
    run = read_run(run_dir) if (run_dir / "run.json").exists() else None
    if run is not None and (url := stored_url(run_dir, run, "study_url")) is not None:
        with reading(url):
            return study_on(url, name=run.name, metric=run.metric)
    path = run_dir / "study.db"
    if not path.is_file() or path.stat().st_size == 0:
        raise ValueError(f"{path} is missing or empty, so there is no study to read")
    with reading(path):
        named = {} if run is None else {"name": run.name, "metric": run.metric}
        return study_in(snapshot(path), path, **named)


def new_run(run_dir: Path, run: Run) -> None:
    """Create the folder of a new run: it is prepared under another name and renamed, so that it is never incomplete.

    Raises:
        ValueError: something with that name exists, which stays as it is, or the folder cannot be written or hold the
            run.
    """
    check_free(run_dir)
    with ExitStack() as stack:
        try:
            run_dir.parent.mkdir(parents=True, exist_ok=True)
            partial = stack.enter_context(new_folder(run_dir))
        except OSError as error:
            raise cannot_make(run_dir.parent, error.strerror) from None
        write_run(partial, run)
        create_study(partial, run)
