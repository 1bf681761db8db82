"""Reads the trials of a study, and opens it as a snapshot: from its tables, or through Optuna if they are unknown."""

import sqlite3
from pathlib import Path

import optuna
from optuna.storages import BaseStorage, RDBStorage
from optuna.trial import FrozenTrial
from sqlalchemy.pool import StaticPool

from search.process.secrets import redact_url
from search.storage.database import Damage, StudyError, name_metric, server_storage
from search.storage.expected import copy_expected
from search.storage.kinds import knows_tables
from search.storage.requests import copy_requests
from search.storage.soundness import check_sealed, check_trials, known_schema, num_kept


def stored_trials(storage: BaseStorage, study_id: int) -> list[FrozenTrial]:
    """Every trial of a study in any storage, checked against its checksum; do not change them."""
    if isinstance(storage, RDBStorage) and knows_tables():
        from search.storage.bulk import read_trials

        return read_trials(storage, study_id)
    trials = storage.get_all_trials(study_id, deepcopy=False)
    if isinstance(storage, RDBStorage):
        check_sealed(trials)
    return trials


def study_in(
    memory: sqlite3.Connection, path: Path, *, name: str | None = None, metric: str | None = None
) -> optuna.Study:
    """The study in a copy of a database, decoded and checked.

    Args:
        memory: the copy.
        path: path of the database, for messages.
        name: name of the study, if there are several.
        metric: metric of the run; None for a study that was made without Rungwise, of which less can be checked.
    """
    known_schema(memory)
    storage = _snapshot_storage(memory)
    names = optuna.get_all_study_names(storage)
    if not names:
        raise StudyError(f"{path} has no study yet; wait until the search has started")
    study = optuna.load_study(study_name=name if name in names else names[0], storage=storage)
    if len(study.directions) < 1:
        raise Damage("the study has no direction")
    trials = study.get_trials(deepcopy=False)  # decoded here, so that damage is reported; Optuna caches finished trials
    if not knows_tables():
        check_sealed(trials)
    if metric is not None:
        check_trials(trials, metric=metric, at_least=num_kept(storage.get_study_system_attrs(study._study_id)))
    return study


def _snapshot_storage(memory: sqlite3.Connection) -> RDBStorage:
    kind = RDBStorage
    if knows_tables():
        from search.storage.bulk import BulkStorage

        kind = BulkStorage
    return kind(
        "sqlite://",
        engine_kwargs={"creator": lambda: memory, "poolclass": StaticPool},
        skip_compatibility_check=True,
        skip_table_creation=True,
    )


def study_on(url: str, *, name: str, metric: str) -> optuna.Study:
    """The study as one transaction sees it, in memory.

    Raises:
        ValueError: the server has no such study.
    """
    isolation = {} if url.startswith("sqlite") else {"isolation_level": "REPEATABLE READ"}
    source = server_storage(url, **isolation)
    try:
        study_id = source.get_study_id_from_name(name)
    except KeyError:
        raise StudyError(f"{redact_url(url)} has no study {name!r}; restore it from a copy") from None
    memory = optuna.create_study(study_name=name, directions=source.get_study_directions(study_id))
    for key, value in source.get_study_user_attrs(study_id).items():
        memory.set_user_attr(key, value)
    attrs = source.get_study_system_attrs(study_id)
    copy_requests(attrs, memory)
    copy_expected(attrs, memory)
    if "study:metric_names" in attrs:
        name_metric(memory, metric)
    trials = stored_trials(source, study_id)
    check_trials(trials, metric=metric, at_least=num_kept(attrs))
    memory.add_trials(trials)
    return memory
