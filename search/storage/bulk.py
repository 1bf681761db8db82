"""Reads all trials of a large study at once, five times as fast as Optuna: as rows, without an object for each row."""

import json
from collections import defaultdict
from collections.abc import Container, Sequence
from functools import lru_cache
from itertools import pairwise
from typing import Any

import sqlalchemy
from optuna.distributions import BaseDistribution, json_to_distribution
from optuna.storages import RDBStorage
from optuna.storages._rdb import models
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.orm import Session

from search.storage.checksums import CHECKSUM
from search.storage.collector import collector_paused
from search.storage.database import Damage
from search.storage.soundness import check_stored

Rows = list[tuple[Any, ...]]


class BulkStorage(RDBStorage):
    """A storage of Optuna that reads all trials of a study with `read_trials`; they must not be changed."""

    def _get_trials(
        self,
        study_id: int,
        states: Container[TrialState] | None,
        included_trial_ids: set[int],
        trial_id_greater_than: int,
    ) -> list[FrozenTrial]:
        if trial_id_greater_than >= 0:  # only trials that are new since the last call
            return super()._get_trials(study_id, states, included_trial_ids, trial_id_greater_than)
        with collector_paused():
            trials = read_trials(self, study_id)
        return [trial for trial in trials if states is None or trial.state in states]


def read_trials(storage: RDBStorage, study_id: int) -> list[FrozenTrial]:
    """Every trial of a study in the order of the numbers, equal to `storage.get_all_trials(study_id)`."""
    value, step = models.TrialValueModel, models.TrialIntermediateValueModel
    param, user, system = models.TrialParamModel, models.TrialUserAttributeModel, models.TrialSystemAttributeModel
    with Session(storage.engine) as session:
        if storage.engine.dialect.name == "sqlite":  # servers never keep a row without the one that it refers to
            _check_whole(session)
        values = _rows(session, study_id, value, value.value, value.value_type)
        steps = _rows(session, study_id, step, step.step, step.intermediate_value, step.intermediate_value_type)
        params = _rows(session, study_id, param, param.param_name, param.param_value, param.distribution_json)
        users = _rows(session, study_id, user, user.key, user.value_json)
        systems = _rows(session, study_id, system, system.key, system.value_json)
        query = sqlalchemy.select(models.TrialModel).where(models.TrialModel.study_id == study_id)
        trials: Sequence[Any] = session.scalars(query.order_by(models.TrialModel.number)).all()
        for one, other in pairwise(trials):  # Optuna's cache would keep one of them
            if one.number == other.number:
                raise Damage(f"trial {one.number} occurs twice")
        if not trials:
            storage.get_study_name_from_id(study_id)  # raises KeyError where there is no such study
        tables = (values, steps, params, users, systems)
        return [_trial(trial, [rows[trial.trial_id] for rows in tables]) for trial in trials]


def _check_whole(session: Session) -> None:
    """Raise Damage if a trial is gone whose other rows are still there, or belongs to no study."""
    trial, attribute, study = models.TrialModel, models.TrialSystemAttributeModel, models.StudyModel
    known = sqlalchemy.exists().where(trial.trial_id == attribute.trial_id)
    lost = session.scalar(sqlalchemy.select(attribute.trial_id).where(~known).limit(1))
    if lost is not None:
        raise Damage(f"the row of the trial with the identifier {lost} is missing")
    known = sqlalchemy.exists().where(study.study_id == trial.study_id)
    number = session.scalar(sqlalchemy.select(trial.number).where(~known).limit(1))
    if number is not None:
        raise Damage(f"trial {number} belongs to no study")


def _trial(trial: Any, rows: Sequence[Rows]) -> FrozenTrial:
    values, steps, params, users, systems = rows
    distributions = {name: _distribution(text) for name, _, text in params}
    user_attrs = {name: json.loads(text) for name, text in users}
    system_attrs = {name: json.loads(text) for name, text in systems}
    if system_attrs.get(CHECKSUM) is not None:
        numbers = [(name, number, distributions[name]) for name, number, _ in params]
        history, checksum = dict(users).get("history"), system_attrs[CHECKSUM]
        stored: dict[str, Any] = {"state": trial.state, "attrs": user_attrs, "history": history}
        check_stored(trial.number, numbers, **stored, checksum=checksum)
    as_value = models.TrialValueModel.stored_repr_to_value
    as_step = models.TrialIntermediateValueModel.stored_repr_to_intermediate_value
    return FrozenTrial(
        trial_id=trial.trial_id,
        number=trial.number,
        state=trial.state,
        datetime_start=trial.datetime_start,
        datetime_complete=trial.datetime_complete,
        value=None,
        values=[as_value(*stored) for stored in values] or None,
        intermediate_values={epoch: as_step(*stored) for epoch, *stored in steps},
        params={name: distributions[name].to_external_repr(stored) for name, stored, _ in params},
        distributions=distributions,
        user_attrs=user_attrs,
        system_attrs=system_attrs,
    )


def _rows(session: Session, study_id: int, table: Any, *columns: Any) -> dict[int, Rows]:
    """Trial -> its rows of a table, in the order in which they were written."""
    key = next(iter(table.__table__.primary_key))
    query = sqlalchemy.select(table.trial_id, *columns).join(models.TrialModel).order_by(key)
    found: dict[int, Rows] = defaultdict(list)
    for trial_id, *row in session.execute(query.where(models.TrialModel.study_id == study_id)):
        found[trial_id].append(tuple(row))
    return found


@lru_cache(maxsize=10_000)
def _distribution(text: str) -> BaseDistribution:
    """Distributions are values: trials may share them."""
    return json_to_distribution(text)
