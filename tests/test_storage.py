"""A new trial stored whole, against Optuna's own way of storing it."""

from pathlib import Path

import optuna
import pytest
import sqlalchemy.event
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial, TrialState, create_trial

from search.storage.rdb import WholeTrialStorage


def make_trial(state: TrialState) -> FrozenTrial:
    return create_trial(
        state=state,
        params={"lr": 0.1, "depth": 3, "pool": None},
        distributions={
            "lr": FloatDistribution(1e-3, 1, log=True),
            "depth": IntDistribution(1, 4),
            "pool": CategoricalDistribution(("max", None, True, 2)),
        },
        user_attrs={"seed": 7, "history": [{"epoch": 1}]},
        system_attrs={"constraints": {"weights": 1.5}},
        value=0.5 if state == TrialState.COMPLETE else None,
    )


def stored(kind: type[RDBStorage], path: Path, trials: list[FrozenTrial]) -> list[FrozenTrial]:
    storage = kind(f"sqlite:///{path}")
    study_id = storage.create_new_study([optuna.study.StudyDirection.MAXIMIZE], study_name="s")
    for trial in trials:
        storage.create_new_trial(study_id, template_trial=trial)
    storage.create_new_trial(study_id)  # without a template
    storage.engine.dispose()
    reader = RDBStorage(f"sqlite:///{path}")
    found = reader.get_all_trials(study_id)
    reader.engine.dispose()
    return found


def test_any_reader_of_optuna_finds_what_optuna_would_have_stored(tmp_path: Path):
    trials = [make_trial(state) for state in (TrialState.RUNNING, TrialState.PRUNED, TrialState.COMPLETE)]
    ours, optunas = (stored(kind, tmp_path / kind.__name__, trials) for kind in (WholeTrialStorage, RDBStorage))
    ours[-1].datetime_start = optunas[-1].datetime_start  # the moment of the call
    assert ours == optunas
    assert [t.number for t in ours] == [0, 1, 2, 3]
    assert ours[0].params == trials[0].params


@pytest.mark.parametrize("num_params", [1, 30])
def test_the_number_of_statements_does_not_grow_with_that_of_the_parameters(tmp_path: Path, num_params: int):
    storage = WholeTrialStorage(f"sqlite:///{tmp_path}/study.db")
    study_id = storage.create_new_study([optuna.study.StudyDirection.MAXIMIZE], study_name="s")
    names = [f"x{i}" for i in range(num_params)]
    distributions: dict[str, optuna.distributions.BaseDistribution] = {name: FloatDistribution(0, 1) for name in names}
    trial = create_trial(state=TrialState.RUNNING, params=dict.fromkeys(names, 0.5), distributions=distributions)
    statements: list[str] = []
    sqlalchemy.event.listen(storage.engine, "before_cursor_execute", lambda *args: statements.append(args[2]))
    storage.create_new_trial(study_id, template_trial=trial)
    storage.engine.dispose()
    assert len(statements) <= 8
