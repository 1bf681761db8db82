"""All trials of a study, read at once: what Optuna would have read."""

import math
from datetime import datetime
from pathlib import Path

import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial, TrialState, create_trial

from search.storage.bulk import BulkStorage, read_trials
from tests.stored import FORMATS, restored
from tests.synthetic import make_study


def strange_trials() -> list[FrozenTrial]:
    """Every kind of value that a study can hold, and trials that lack one or the other."""
    distributions = {
        "choice": CategoricalDistribution((None, True, 1.5, "größe")),
        "whole": IntDistribution(1, 64, log=True),
        "real": FloatDistribution(0.0, 1.0, step=0.25),
    }
    params = {"choice": None, "whole": 3, "real": 0.75}
    whole = create_trial(
        state=TrialState.COMPLETE, value=math.inf, params=params, distributions=distributions,
        user_attrs={"history": [{"epoch": 1}]}, system_attrs={"constraints": [0.5]},
        intermediate_values={1: math.inf, 2: -math.inf, 3: 0.1},
    )  # fmt: skip
    running = create_trial(
        state=TrialState.RUNNING, params={"whole": 7}, distributions={"whole": IntDistribution(1, 9, log=True)}
    )
    return [whole, create_trial(state=TrialState.FAIL), running, create_trial(state=TrialState.WAITING)]


@pytest.fixture(params=["synthetic", "strange", "old"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> RDBStorage:
    if request.param == "old":
        return RDBStorage(f"sqlite:///{restored(FORMATS[0], tmp_path / 'old')}/study.db")
    storage = RDBStorage(f"sqlite:///{tmp_path}/study.db")
    other = optuna.create_study(study_name="before", storage=storage, direction="maximize")
    study = optuna.create_study(study_name="it", storage=storage, direction="maximize")
    trials = strange_trials() if request.param == "strange" else make_study(30, failures=3, running=2).trials
    for trial in trials:
        other.add_trial(trials[0])
        study.add_trial(trial)
    return storage


def test_the_trials_are_those_that_optuna_reads_to_the_last_field(storage: RDBStorage):
    study_id = storage.get_all_studies()[-1]._study_id
    expected = storage.get_all_trials(study_id)
    found = read_trials(storage, study_id)
    assert len(found) >= 4
    assert [vars(trial) for trial in found] == [vars(trial) for trial in expected]
    assert [list(trial.params) for trial in found] == [list(trial.params) for trial in expected]
    assert all(isinstance(trial.datetime_start, datetime | None) for trial in found)
    storage.engine.dispose()


def test_a_study_on_rows_is_the_one_that_optuna_opens(storage: RDBStorage):
    name = storage.get_all_studies()[-1].study_name
    quick = BulkStorage(str(storage.engine.url))
    studies = [optuna.load_study(study_name=name, storage=one) for one in (storage, quick)]
    for _ in range(2):  # the second time Optuna asks for what is new alone
        expected, found = (study.get_trials(deepcopy=False) for study in studies)
        assert [vars(trial) for trial in found] == [vars(trial) for trial in expected]
    failed, same = (study.get_trials(states=(TrialState.FAIL,)) for study in studies)
    assert same == failed
    storage.engine.dispose()
    quick.engine.dispose()


def test_an_epoch_without_a_number_stays_one(tmp_path: Path):
    storage = RDBStorage(f"sqlite:///{tmp_path}/study.db")
    study = optuna.create_study(storage=storage)
    study.add_trial(create_trial(state=TrialState.FAIL, intermediate_values={1: math.nan}))
    (trial,) = read_trials(storage, study._study_id)
    assert math.isnan(trial.intermediate_values[1])
    storage.engine.dispose()
