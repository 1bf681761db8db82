"""Optuna's database storage, quicker at storing a new trial and an epoch."""

import json
from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

import sqlalchemy
from optuna.distributions import distribution_to_json
from optuna.storages import RDBStorage
from optuna.storages._rdb import models
from optuna.trial import FrozenTrial

if TYPE_CHECKING:
    from sqlalchemy.orm import Session


class WholeTrialStorage(RDBStorage):
    """Stores a new trial, its parameters and its attributes in four statements and one transaction.

    Optuna asks the database twice for each parameter before it writes it: at twenty parameters that was a third of
    what a search spent on a trial. An attribute or a value of an epoch is two plain statements, where Optuna makes an
    object of the trial and builds the statements anew. The rows are the same. An Optuna that calls these steps
    otherwise falls back to its own way.
    """

    def _get_prepared_new_trial(
        self, study_id: int, template_trial: FrozenTrial | None, session: "Session"
    ) -> models.TrialModel:
        stored = template_trial
        if stored is None or stored.values is not None or stored.intermediate_values:
            return super()._get_prepared_new_trial(study_id, template_trial, session)
        connection = session.connection()
        columns = {"datetime_start": stored.datetime_start, "datetime_complete": stored.datetime_complete}
        made = connection.execute(
            _insert(models.TrialModel.__table__), {"study_id": study_id, "state": stored.state, **columns}
        )
        trial_id = made.inserted_primary_key[0]  # type: ignore[index]
        number = connection.execute(_PAST_TRIALS, {"study": study_id, "trial": trial_id}).scalar()
        connection.execute(
            _update(models.TrialModel.__table__, ("trial_id",)), {"old_trial_id": trial_id, "number": number}
        )
        params = [
            {
                "param_name": name,
                "param_value": distribution.to_internal_repr(stored.params[name]),
                "distribution_json": distribution_to_json(distribution),
            }
            for name, distribution in stored.distributions.items()
        ]
        for model, rows in (
            (models.TrialParamModel, params),
            (models.TrialUserAttributeModel, _attributes(stored.user_attrs)),
            (models.TrialSystemAttributeModel, _attributes(stored.system_attrs)),
        ):
            if rows:
                connection.execute(_insert(model.__table__), [{"trial_id": trial_id, **row} for row in rows])
        return models.TrialModel(trial_id=trial_id, number=number, datetime_start=stored.datetime_start)

    def _set_trial_attr_without_commit(
        self, session: "Session", model_cls: Any, trial_id: int, key: str, value: object
    ) -> None:
        self._check_running(session, trial_id)
        _put(session, model_cls.__table__, {"trial_id": trial_id, "key": key}, {"value_json": json.dumps(value)})

    def _set_trial_intermediate_value_without_commit(
        self, session: "Session", trial_id: int, step: int, intermediate_value: float
    ) -> None:
        self._check_running(session, trial_id)
        model = models.TrialIntermediateValueModel
        value, kind = model.intermediate_value_to_stored_repr(intermediate_value)
        columns = {"intermediate_value": value, "intermediate_value_type": kind}
        _put(session, model.__table__, {"trial_id": trial_id, "step": step}, columns)

    def _check_running(self, session: "Session", trial_id: int) -> None:
        state = session.connection().execute(_STATE, {"wanted": trial_id}).scalar()
        if state is None:
            raise KeyError(models.NOT_FOUND_MSG)
        self.check_trial_is_updatable(trial_id, state)


_TRIALS = models.TrialModel.__table__.c
_PAST_TRIALS = sqlalchemy.select(sqlalchemy.func.count()).where(
    _TRIALS.study_id == sqlalchemy.bindparam("study"), _TRIALS.trial_id < sqlalchemy.bindparam("trial")
)
_STATE = sqlalchemy.select(_TRIALS.state).where(_TRIALS.trial_id == sqlalchemy.bindparam("wanted"))


@cache
def _update(table: Any, keys: tuple[str, ...]) -> sqlalchemy.Update:
    return sqlalchemy.update(table).where(*(table.c[key] == sqlalchemy.bindparam(f"old_{key}") for key in keys))


@cache
def _insert(table: Any) -> sqlalchemy.Insert:
    return sqlalchemy.insert(table)


def _put(session: "Session", table: Any, keys: Mapping[str, Any], values: Mapping[str, Any]) -> None:
    """Give the row with these keys these values; make it where there is none."""
    connection = session.connection()
    found = connection.execute(_update(table, tuple(keys)), {f"old_{k}": v for k, v in keys.items()} | {**values})
    if found.rowcount == 0:
        connection.execute(_insert(table), {**keys, **values})


def _attributes(attrs: dict[str, object]) -> list[dict[str, str]]:
    return [{"key": key, "value_json": json.dumps(value)} for key, value in attrs.items()]
