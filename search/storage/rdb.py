"""Optuna's database storage, made faster: new trials and epochs are written directly to Optuna's tables."""

import json
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from functools import cache
from typing import Any

import sqlalchemy
from optuna.distributions import distribution_to_json
from optuna.storages._rdb import models
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import Connection

from search.storage.checksums import CHECKSUM, Written
from search.storage.durable import LEASE, Entries, StudyStorage, begun_by_another, stored_by_another


class WholeTrialStorage(StudyStorage):
    """Stores each decision in one transaction: a new trial with its parameters and attributes, an epoch, an end.

    Optuna queries the database twice for each parameter before it writes it; with twenty parameters that was a third of
    the time that a search spent on a trial. Here it takes one statement for all of them. The rows are the same.
    `kinds.py` checks whether the installed Optuna has these tables.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._written: dict[int, Written] = {}
        """Trial -> what this process has stored of its epochs."""

    def store_trial(self, study_id: int, trial: FrozenTrial, *, entries: Mapping[str, Any]) -> int:
        columns = {"datetime_start": trial.datetime_start, "datetime_complete": trial.datetime_complete}
        with self._holding(study_id) as connection:
            made = connection.execute(
                _insert(models.TrialModel.__table__), {"study_id": study_id, "state": trial.state, **columns}
            )
            trial_id = made.inserted_primary_key[0]  # type: ignore[index]
            number = connection.execute(_PAST_TRIALS, {"study": study_id, "trial": trial_id}).scalar_one()
            if trial.number != number:  # the error rolls the transaction back
                raise stored_by_another(trial.number, held=number)
            connection.execute(
                _update(models.TrialModel.__table__, ("trial_id",)), {"old_trial_id": trial_id, "number": number}
            )
            _insert_params(connection, trial_id, trial)
            for model, attrs in _attributes(trial):
                rows = [{"trial_id": trial_id, "key": key, "value_json": json.dumps(attrs[key])} for key in attrs]
                if rows:
                    connection.execute(_insert(model.__table__), rows)
            _put_entries(connection, study_id, entries)
        return trial_id

    def record_epoch(
        self, trial_id: int, *, epoch: int, value: float, history: Sequence[Mapping[str, Any]], base: int
    ) -> int:
        """Store an epoch in one transaction. Its record is appended to the stored ones; to write all again would be
        half a million records for a thousand epochs."""
        before = self._written.pop(trial_id, None)
        stored, kind = models.TrialIntermediateValueModel.intermediate_value_to_stored_repr(value)
        with self._changing(trial_id) as connection:
            written = _append(connection, trial_id, history, before) or _rewrite(connection, trial_id, history, base)
            trial, systems = {"trial_id": trial_id}, models.TrialSystemAttributeModel.__table__
            _put(connection, systems, {**trial, "key": CHECKSUM}, {"value_json": str(written.checksum)})
            columns = {"intermediate_value": stored, "intermediate_value_type": kind}
            _put(connection, models.TrialIntermediateValueModel.__table__, {**trial, "step": epoch}, columns)
        self._written[trial_id] = written
        return written.checksum

    def finish_trial(
        self,
        trial_id: int,
        state: TrialState,
        *,
        value: float | None,
        attrs: Mapping[str, Any],
        checksum: int,
    ) -> None:
        trial = {"trial_id": trial_id}
        with self._changing(trial_id) as connection:
            _put_all(connection, models.TrialUserAttributeModel, trial_id, attrs)
            _put_all(connection, models.TrialSystemAttributeModel, trial_id, {CHECKSUM: checksum})
            if value is not None:
                stored, kind = models.TrialValueModel.value_to_stored_repr(value)
                columns = {"value": stored, "value_type": kind}
                _put(connection, models.TrialValueModel.__table__, {**trial, "objective": 0}, columns)
            _put(connection, models.TrialModel.__table__, trial, {"state": state, "datetime_complete": datetime.now()})

    def begin_waiting(
        self, study_id: int, trial_id: int, trial: FrozenTrial, *, before: FrozenTrial, entries: Mapping[str, Any]
    ) -> None:
        columns = {"state": trial.state, "datetime_start": trial.datetime_start}
        if trial.state.is_finished():
            columns["datetime_complete"] = trial.datetime_complete
        with self._changing(trial_id) as connection:
            begun = connection.execute(
                _update(models.TrialModel.__table__, ("trial_id", "state")),
                {"old_trial_id": trial_id, "old_state": TrialState.WAITING, **columns},
            )
            if begun.rowcount == 0:
                raise begun_by_another(trial.number)
            _insert_params(connection, trial_id, trial, known=before.params)
            for (model, attrs), (_, known) in zip(_attributes(trial), _attributes(before), strict=True):
                _put_all(connection, model, trial_id, {k: v for k, v in attrs.items() if known.get(k, _NONE) != v})
            _put_entries(connection, study_id, entries)

    def newest_trial(self, study_id: int) -> int | None:
        with self.engine.connect() as connection:
            return connection.execute(_NEWEST, {"study": study_id}).scalar()

    def exchange_lease(self, study_id: int, choose: Callable[[str | None], Entries]) -> None:
        """Read the lease and write entries in one transaction."""
        with self.engine.begin() as connection:
            connection.execute(_LOCK_STUDY, {"study": study_id})
            stored = connection.execute(_HOLDER, {"study": study_id}).scalar()
            attributes = models.StudySystemAttributeModel.__table__
            for key, text in choose(stored).items():
                row = {"study_id": study_id, "key": key}
                if text is None:
                    connection.execute(sqlalchemy.delete(attributes).filter_by(**row))
                else:
                    _put(connection, attributes, row, {"value_json": text})

    @contextmanager
    def _holding(self, study_id: int) -> Iterator[Connection]:
        """A transaction in which no other process takes the lease, which this one must have."""
        self._before_write()
        with self.engine.begin() as connection:
            connection.execute(_LOCK_STUDY, {"study": study_id})
            if self.owner is not None:
                self._check_owner(connection.execute(_HOLDER, {"study": study_id}).scalar())
            yield connection

    @contextmanager
    def _changing(self, trial_id: int) -> Iterator[Connection]:
        """The same, in which a trial that has not ended is changed."""
        with self._holding(self.study_id) as connection:
            state = connection.execute(_STATE, {"wanted": trial_id}).scalar()
            if state is None:
                raise KeyError(models.NOT_FOUND_MSG)
            self.check_trial_is_updatable(trial_id, state)
            yield connection


_NONE = object()
_TRIALS = models.TrialModel.__table__.c
_PAST_TRIALS = sqlalchemy.select(sqlalchemy.func.count()).where(
    _TRIALS.study_id == sqlalchemy.bindparam("study"), _TRIALS.trial_id < sqlalchemy.bindparam("trial")
)
_STATE = sqlalchemy.select(_TRIALS.state).where(_TRIALS.trial_id == sqlalchemy.bindparam("wanted"))
_ATTRS = models.StudySystemAttributeModel.__table__.c
_HOLDER = sqlalchemy.select(_ATTRS.value_json).where(
    _ATTRS.study_id == sqlalchemy.bindparam("study"), _ATTRS.key == LEASE
)
_STUDIES = models.StudyModel.__table__.c
_LOCK_STUDY = (
    sqlalchemy.update(models.StudyModel.__table__)
    .where(_STUDIES.study_id == sqlalchemy.bindparam("study"))
    .values(study_name=_STUDIES.study_name)
)
"""The first statement of every transaction: it changes nothing, but other processes wait until the transaction ends.
SQLite needs it as well, because Python begins a transaction with the first write, and not with a query before it."""
_USERS = models.TrialUserAttributeModel.__table__.c
_UNCLOSED = sqlalchemy.func.substr(_USERS.value_json, 1, sqlalchemy.bindparam("length") - 1, type_=sqlalchemy.Text)
_APPEND = (
    sqlalchemy.update(models.TrialUserAttributeModel.__table__)
    .where(
        _USERS.trial_id == sqlalchemy.bindparam("trial"),
        _USERS.key == "history",
        sqlalchemy.func.length(_USERS.value_json) == sqlalchemy.bindparam("length"),
    )
    .values(value_json=_UNCLOSED.concat(sqlalchemy.bindparam("more")))
)
_NEWEST = (
    sqlalchemy.select(_TRIALS.trial_id)
    .where(_TRIALS.study_id == sqlalchemy.bindparam("study"))
    .order_by(_TRIALS.trial_id.desc())
    .limit(1)
)


@cache
def _update(table: Any, keys: tuple[str, ...]) -> sqlalchemy.Update:
    return sqlalchemy.update(table).where(*(table.c[key] == sqlalchemy.bindparam(f"old_{key}") for key in keys))


@cache
def _insert(table: Any) -> sqlalchemy.Insert:
    return sqlalchemy.insert(table)


def _put(connection: Connection, table: Any, keys: Mapping[str, Any], values: Mapping[str, Any]) -> None:
    """Set these values in the row with these keys; insert the row if there is none."""
    found = connection.execute(_update(table, tuple(keys)), {f"old_{k}": v for k, v in keys.items()} | {**values})
    if found.rowcount == 0:
        connection.execute(_insert(table), {**keys, **values})


def _put_all(connection: Connection, model: Any, trial_id: int, attrs: Mapping[str, Any]) -> None:
    """Set attributes of a trial."""
    for key, value in attrs.items():
        _put(connection, model.__table__, {"trial_id": trial_id, "key": key}, {"value_json": json.dumps(value)})


def _put_entries(connection: Connection, study_id: int, entries: Mapping[str, Any]) -> None:
    """Set system attributes of a study."""
    for key, value in entries.items():
        keys = {"study_id": study_id, "key": key}
        _put(connection, models.StudySystemAttributeModel.__table__, keys, {"value_json": json.dumps(value)})


def _append(
    connection: Connection, trial_id: int, history: Sequence[Mapping[str, Any]], before: Written | None
) -> Written | None:
    """Append the last record; None if the stored text is not the one that this process has written."""
    if before is None or before.num_records != len(history) - 1:
        return None
    more = f", {json.dumps(history[-1])}]"
    found = connection.execute(_APPEND, {"trial": trial_id, "length": before.length, "more": more})
    return before.with_more(more) if found.rowcount == 1 else None


def _rewrite(connection: Connection, trial_id: int, history: Sequence[Mapping[str, Any]], base: int) -> Written:
    """Write the records of all epochs."""
    text = json.dumps(history)
    users = models.TrialUserAttributeModel.__table__
    _put(connection, users, {"trial_id": trial_id, "key": "history"}, {"value_json": text})
    return Written.whole(base, text, num_records=len(history))


def _insert_params(connection: Connection, trial_id: int, trial: FrozenTrial, *, known: Container[str] = ()) -> None:
    """Store the parameters of a trial, except those that the study already has."""
    rows = [
        {
            "trial_id": trial_id,
            "param_name": name,
            "param_value": distribution.to_internal_repr(trial.params[name]),
            "distribution_json": distribution_to_json(distribution),
        }
        for name, distribution in trial.distributions.items()
        if name not in known
    ]
    if rows:
        connection.execute(_insert(models.TrialParamModel.__table__), rows)


def _attributes(trial: FrozenTrial) -> tuple[tuple[Any, Mapping[str, Any]], ...]:
    """The attributes of a trial, each kind with its table."""
    return (
        (models.TrialUserAttributeModel, trial.user_attrs),
        (models.TrialSystemAttributeModel, trial.system_attrs),
    )
