"""Optuna's own test suites, over our storages and our TPE: whoever knows Optuna may rely on ours in the same way.

All of the suite of storages applies to the three that are databases. The study in memory (`Mirror`) is left out: it is
the mirror of one study that a database holds, so it knows neither a second study nor one without a database.

Of the suites of samplers those for one objective and for parameters that are sampled together apply to the quick TPE;
that for several objectives, since TPE takes them, too. "SingleOnly" is for samplers that refuse several objectives. The
suites of pruners and importances test algorithms of Optuna's that are used as they are. The default, the model of all
learning curves, is no sampler of Optuna's: it chooses between new and paused trials.
"""

import sqlite3
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.storages import RDBStorage
from optuna.study import Study
from optuna.testing.pytest_samplers import (
    BasicSamplerTestCase,
    MultiObjectiveSamplerTestCase,
    RelativeSamplerTestCase,
)
from optuna.testing.pytest_storages import StorageTestCase
from optuna.trial import FrozenTrial
from sqlalchemy.pool import QueuePool

from search.algorithms.tpe import Encodings, QuickTPESampler
from search.storage.bulk import BulkStorage
from search.storage.documented import DocumentedStorage
from search.storage.rdb import WholeTrialStorage


def connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, check_same_thread=False)
    connection.execute("PRAGMA synchronous=OFF")  # the disk is not what is tested
    return connection


@contextmanager
def opened(kind: type[RDBStorage], path: Path) -> Iterator[RDBStorage]:
    storage = kind("sqlite://", engine_kwargs={"creator": partial(connect, path), "poolclass": QueuePool})
    yield storage
    storage.remove_session()
    storage.engine.dispose()


class TestStorages(StorageTestCase):
    @pytest.fixture(params=[WholeTrialStorage, DocumentedStorage])
    def storage(self, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[RDBStorage]:
        with opened(request.param, tmp_path / "study.db") as storage:
            yield storage


class TestReading:
    """What is read in another way by the storage of a snapshot, which differs in nothing else."""

    @pytest.fixture
    def storage(self, tmp_path: Path) -> Iterator[RDBStorage]:
        with opened(BulkStorage, tmp_path / "study.db") as storage:
            yield storage

    test_get_all_trials = StorageTestCase.test_get_all_trials
    test_get_all_trials_params_order = StorageTestCase.test_get_all_trials_params_order
    test_get_all_trials_deepcopy_option = StorageTestCase.test_get_all_trials_deepcopy_option
    test_get_all_trials_state_option = StorageTestCase.test_get_all_trials_state_option
    test_get_all_trials_not_modified = StorageTestCase.test_get_all_trials_not_modified
    test_get_n_trials = StorageTestCase.test_get_n_trials
    test_get_n_trials_state_option = StorageTestCase.test_get_n_trials_state_option
    test_create_new_trial_with_template_trial = StorageTestCase.test_create_new_trial_with_template_trial


class FreshSampler(BaseSampler):
    """A sampler for each trial, as a search makes them."""

    def __init__(self, num_startup_trials: int) -> None:
        self._num_startup_trials, self._encodings = num_startup_trials, Encodings()
        self._samplers: dict[int, BaseSampler] = {}

    def _of(self, study: Study, trial: FrozenTrial) -> BaseSampler:
        if trial.number not in self._samplers:
            self._samplers[trial.number] = sampler = QuickTPESampler(
                self._encodings, num_startup_trials=self._num_startup_trials, seed=trial.number
            )
            sampler.infer_relative_search_space(study, trial)  # which Optuna asks of every trial first
        return self._samplers[trial.number]

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        return self._of(study, trial).infer_relative_search_space(study, trial)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        return self._of(study, trial).sample_relative(study, trial, search_space)

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        return self._of(study, trial).sample_independent(study, trial, param_name, param_distribution)

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        self._of(study, trial).before_trial(study, trial)

    def after_trial(self, study: Study, trial: FrozenTrial, state: Any, values: Any) -> None:
        self._of(study, trial).after_trial(study, trial, state, values)


class Quick:
    """Gives the suites their sampler."""

    @pytest.fixture
    def sampler(self) -> Iterator[Callable[[], BaseSampler]]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            yield lambda: FreshSampler(num_startup_trials=1)


class TestBasic(Quick, BasicSamplerTestCase): ...


class TestRelative(Quick, RelativeSamplerTestCase): ...


class TestMultiObjective(Quick, MultiObjectiveSamplerTestCase): ...
