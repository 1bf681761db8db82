"""Optuna's database storage, made faster: new trials and epochs are written directly to Optuna's tables."""

import json
from collections.abc import Callable, Container, Mapping, Sequence
from functools import cache
from typing import Any

import sqlalchemy
from optuna.distributions import distribution_to_json
from optuna.storages._rdb import models
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.orm import Session

from search.storage.checksums import CHECKSUM, Written
from search.storage.durable import LEASE, Entries, StudyStorage, begun_by_another, is_begun, stored_by_another


class WholeTrialStorage(StudyStorage):
    """Stores a new trial, its parameters and its attributes in four statements and one transaction.

    Optuna queries the database twice for each parameter before it writes it; with twenty parameters that was a third of
    the time that a search spent on a trial. An attribute or a value of an epoch takes two plain statements, where
    Optuna creates an object of the trial and builds the statements again. The rows are the same. `kinds.py` checks
    whether the installed Optuna has these tables and methods.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._written: dict[int, Written] = {}
        """Trial -> what this process has stored of its epochs."""

    def _get_prepared_new_trial(
        self, study_id: int, template_trial: FrozenTrial | None, session: Session
    ) -> models.TrialModel:
        self._check_present()
        if self.owner is not None:
            self._check_owner(session.connection().execute(_HOLDER, {"study": study_id}).scalar())
        if not is_begun(stored := template_trial):
            return super()._get_prepared_new_trial(study_id, template_trial, session)
        connection = session.connection()
        columns = {"datetime_start": stored.datetime_start, "datetime_complete": stored.datetime_complete}
        made = connection.execute(
            _insert(models.TrialModel.__table__), {"study_id": study_id, "state": stored.state, **columns}
        )
        trial_id = made.inserted_primary_key[0]  # type: ignore[index]
        number = connection.execute(_PAST_TRIALS, {"study": study_id, "trial": trial_id}).scalar()
        if stored.number not in (-1, number):  # the error rolls the transaction back
            raise stored_by_another(stored.number, held=number)
        connection.execute(
            _update(models.TrialModel.__table__, ("trial_id",)), {"old_trial_id": trial_id, "number": number}
        )
        _insert_details(session, trial_id, stored)
        return models.TrialModel(trial_id=trial_id, number=number, datetime_start=stored.datetime_start)

    def _set_trial_attr_without_commit(
        self, session: Session, model_cls: Any, trial_id: int, key: str, value: object
    ) -> None:
        self._check_running(session, trial_id)
        _put(session, model_cls.__table__, {"trial_id": trial_id, "key": key}, {"value_json": json.dumps(value)})

    def _set_trial_intermediate_value_without_commit(
        self, session: Session, trial_id: int, step: int, intermediate_value: float
    ) -> None:
        self._check_running(session, trial_id)
        model = models.TrialIntermediateValueModel
        value, kind = model.intermediate_value_to_stored_repr(intermediate_value)
        columns = {"intermediate_value": value, "intermediate_value_type": kind}
        _put(session, model.__table__, {"trial_id": trial_id, "step": step}, columns)

    def set_trial_state_values(self, trial_id: int, state: TrialState, values: Sequence[float] | None = None) -> bool:
        """Like Optuna, after a check of the lease and the file."""
        if self.owner is not None:
            with Session(self.engine) as session, session.begin():
                self._check_running(session, trial_id)
        return super().set_trial_state_values(trial_id, state, values)

    def record_epoch(
        self, trial_id: int, *, epoch: int, value: float, history: Sequence[Mapping[str, Any]], base: int
    ) -> int:
        """Store an epoch in one transaction. Its record is appended to the stored ones; to write all again would be
        half a million records for a thousand epochs."""
        before = self._written.pop(trial_id, None)
        stored, kind = models.TrialIntermediateValueModel.intermediate_value_to_stored_repr(value)
        with Session(self.engine) as session, session.begin():
            self._check_running(session, trial_id)
            written = self._append(session, trial_id, history, before) or _rewrite(session, trial_id, history, base)
            trial, systems = {"trial_id": trial_id}, models.TrialSystemAttributeModel.__table__
            _put(session, systems, {**trial, "key": CHECKSUM}, {"value_json": str(written.checksum)})
            columns = {"intermediate_value": stored, "intermediate_value_type": kind}
            _put(session, models.TrialIntermediateValueModel.__table__, {**trial, "step": epoch}, columns)
        self._written[trial_id] = written
        return written.checksum

    def _append(
        self, session: Session, trial_id: int, history: Sequence[Mapping[str, Any]], before: Written | None
    ) -> Written | None:
        """Append the last record; None if the stored text is not the one that this process has written."""
        if before is None or before.num_records != len(history) - 1:
            return None
        more = f", {json.dumps(history[-1])}]"
        found = session.connection().execute(_APPEND, {"trial": trial_id, "length": before.length, "more": more})
        return before.with_more(more) if found.rowcount == 1 else None

    def begin_waiting(self, trial_id: int, trial: FrozenTrial, *, before: FrozenTrial) -> None:
        """Store a trial that was WAITING, in one transaction."""
        columns = {"state": trial.state, "datetime_start": trial.datetime_start}
        if trial.state.is_finished():
            columns["datetime_complete"] = trial.datetime_complete
        with Session(self.engine) as session, session.begin():
            self._check_running(session, trial_id)
            begun = session.connection().execute(
                _update(models.TrialModel.__table__, ("trial_id", "state")),
                {"old_trial_id": trial_id, "old_state": TrialState.WAITING, **columns},
            )
            if begun.rowcount == 0:
                raise begun_by_another(trial.number)
            _insert_details(session, trial_id, trial, but=before)

    def newest_trial(self, study_id: int) -> int | None:
        with self.engine.connect() as connection:
            return connection.execute(_NEWEST, {"study": study_id}).scalar()

    def exchange_lease(self, study_id: int, choose: Callable[[str | None], Entries]) -> None:
        """Read the lease and write entries in one transaction."""
        with Session(self.engine) as session, session.begin():
            # changes nothing, but locks the row of the study: two processes that start at the same moment take turns
            session.connection().execute(_LOCK_STUDY, {"study": study_id})
            stored = session.connection().execute(_HOLDER, {"study": study_id}).scalar()
            attributes = models.StudySystemAttributeModel.__table__
            for key, text in choose(stored).items():
                row = {"study_id": study_id, "key": key}
                if text is None:
                    session.connection().execute(sqlalchemy.delete(attributes).filter_by(**row))
                else:
                    _put(session, attributes, row, {"value_json": text})

    def _check_running(self, session: Session, trial_id: int) -> None:
        self._check_present()
        found = session.connection().execute(_STATE if self.owner is None else _STATE_AND_HOLDER, {"wanted": trial_id})
        row = found.first()
        if row is None:
            raise KeyError(models.NOT_FOUND_MSG)
        if self.owner is not None:
            self._check_owner(row[1])
        self.check_trial_is_updatable(trial_id, row[0])


_TRIALS = models.TrialModel.__table__.c
_PAST_TRIALS = sqlalchemy.select(sqlalchemy.func.count()).where(
    _TRIALS.study_id == sqlalchemy.bindparam("study"), _TRIALS.trial_id < sqlalchemy.bindparam("trial")
)
_STATE = sqlalchemy.select(_TRIALS.state).where(_TRIALS.trial_id == sqlalchemy.bindparam("wanted"))
_ATTRS = models.StudySystemAttributeModel.__table__.c
_HOLDER = sqlalchemy.select(_ATTRS.value_json).where(
    _ATTRS.study_id == sqlalchemy.bindparam("study"), _ATTRS.key == LEASE
)
_STATE_AND_HOLDER = sqlalchemy.select(
    _TRIALS.state,
    sqlalchemy.select(_ATTRS.value_json)
    .where(_ATTRS.study_id == _TRIALS.study_id, _ATTRS.key == LEASE)
    .scalar_subquery(),
).where(_TRIALS.trial_id == sqlalchemy.bindparam("wanted"))
_STUDIES = models.StudyModel.__table__.c
_LOCK_STUDY = (
    sqlalchemy.update(models.StudyModel.__table__)
    .where(_STUDIES.study_id == sqlalchemy.bindparam("study"))
    .values(study_name=_STUDIES.study_name)
)
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


def _put(session: Session, table: Any, keys: Mapping[str, Any], values: Mapping[str, Any]) -> None:
    """Set these values in the row with these keys; insert the row if there is none."""
    connection = session.connection()
    found = connection.execute(_update(table, tuple(keys)), {f"old_{k}": v for k, v in keys.items()} | {**values})
    if found.rowcount == 0:
        connection.execute(_insert(table), {**keys, **values})


def _rewrite(session: Session, trial_id: int, history: Sequence[Mapping[str, Any]], base: int) -> Written:
    """Write the records of all epochs."""
    text = json.dumps(history)
    users = models.TrialUserAttributeModel.__table__
    _put(session, users, {"trial_id": trial_id, "key": "history"}, {"value_json": text})
    return Written.whole(base, text, num_records=len(history))


def _insert_details(session: Session, trial_id: int, trial: FrozenTrial, *, but: FrozenTrial | None = None) -> None:
    """Store the parameters and the attributes of a trial, except those that the study already has."""
    known = ((), (), ()) if but is None else (but.params, but.user_attrs, but.system_attrs)
    params = [
        {
            "param_name": name,
            "param_value": distribution.to_internal_repr(trial.params[name]),
            "distribution_json": distribution_to_json(distribution),
        }
        for name, distribution in trial.distributions.items()
        if name not in known[0]
    ]
    for model, rows in (
        (models.TrialParamModel, params),
        (models.TrialUserAttributeModel, _attributes(trial.user_attrs, known[1])),
        (models.TrialSystemAttributeModel, _attributes(trial.system_attrs, known[2])),
    ):
        if rows:
            session.connection().execute(_insert(model.__table__), [{"trial_id": trial_id, **row} for row in rows])


def _attributes(attrs: Mapping[str, object], known: Container[str]) -> list[dict[str, str]]:
    return [{"key": key, "value_json": json.dumps(value)} for key, value in attrs.items() if key not in known]
