"""A new trial stored whole, against Optuna's own way of storing it."""

import json
from pathlib import Path
from typing import Any

import optuna
import pytest
import sqlalchemy.event
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial, TrialState, create_trial

from search.storage.checksums import CHECKSUM, with_history
from search.storage.presence import StudyLostError
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
    for number, trial in enumerate(trials):
        trial.number = number
        if isinstance(storage, WholeTrialStorage):
            storage.store_trial(study_id, trial, entries={})
        else:
            storage.create_new_trial(study_id, template_trial=trial)
    storage.create_new_trial(study_id)  # without a template
    storage.engine.dispose()
    reader = RDBStorage(f"sqlite:///{path}")
    found = reader.get_all_trials(study_id)
    reader.engine.dispose()
    return found


def test_any_reader_of_optuna_finds_what_optuna_would_have_stored(tmp_path: Path):
    trials = [make_trial(state) for state in (TrialState.RUNNING, TrialState.PRUNED)]
    ours, optunas = (stored(kind, tmp_path / kind.__name__, trials) for kind in (WholeTrialStorage, RDBStorage))
    ours[-1].datetime_start = optunas[-1].datetime_start  # the moment of the call
    assert ours == optunas
    assert [t.number for t in ours] == [0, 1, 2]
    assert ours[0].params == trials[0].params


@pytest.mark.parametrize("num_params", [1, 30])
def test_the_number_of_statements_does_not_grow_with_that_of_the_parameters(tmp_path: Path, num_params: int):
    storage = WholeTrialStorage(f"sqlite:///{tmp_path}/study.db")
    study_id = storage.create_new_study([optuna.study.StudyDirection.MAXIMIZE], study_name="s")
    names = [f"x{i}" for i in range(num_params)]
    distributions: dict[str, optuna.distributions.BaseDistribution] = {name: FloatDistribution(0, 1) for name in names}
    trial = create_trial(state=TrialState.RUNNING, params=dict.fromkeys(names, 0.5), distributions=distributions)
    trial.number = 0
    statements: list[str] = []
    sqlalchemy.event.listen(storage.engine, "before_cursor_execute", lambda *args: statements.append(args[2]))
    storage.store_trial(study_id, trial, entries={})
    storage.engine.dispose()
    assert len(statements) <= 8


def rows(storage: RDBStorage, trial_id: int) -> tuple[str, str]:
    """The records of the epochs and the checksum, as they are stored."""
    query = "SELECT value_json FROM trial_{}_attributes WHERE trial_id = {} AND key = '{}'"
    with storage.engine.connect() as connection:
        texts = [
            connection.exec_driver_sql(query.format(table, trial_id, key)).scalar_one()
            for table, key in (("user", "history"), ("system", CHECKSUM))
        ]
    return texts[0], texts[1]


class Epochs:
    """A trial whose epochs are stored one by one."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.storage = WholeTrialStorage(f"sqlite:///{path}")
        study_id = self.storage.create_new_study([optuna.study.StudyDirection.MAXIMIZE], study_name="s")
        trial = make_trial(TrialState.RUNNING)
        trial.number = 0
        self.trial_id = self.storage.store_trial(study_id, trial, entries={})
        self.history: list[dict[str, object]] = []

    def store(self, **more: object) -> None:
        self.history = [*self.history, {"epoch": len(self.history) + 1, "loss": 0.1 * len(self.history), **more}]
        epoch = len(self.history)
        given = self.storage.record_epoch(self.trial_id, epoch=epoch, value=0.5, history=self.history, base=77)
        text = json.dumps(self.history)
        assert rows(self.storage, self.trial_id) == (text, str(with_history(77, text)))
        assert given == with_history(77, text)

    def statements(self) -> list[str]:
        """Filled with what is written from now on."""
        written: list[str] = []

        def note(*args: Any) -> None:
            written.append(str(args[3]))

        sqlalchemy.event.listen(self.storage.engine, "before_cursor_execute", note)
        return written


def test_an_epoch_is_written_behind_the_others_and_reads_as_if_all_were_written_anew(tmp_path: Path):
    epochs = Epochs(tmp_path / "study.db")
    epochs.store()
    written = epochs.statements()
    for value in ("größe", None, float("nan"), 1e-300, "a]", '", "', [1, {"x": "]"}]):
        epochs.store(value=value)
    assert max(len(text) for text in written) < 200, "the records before must not be sent again"
    epochs.storage.engine.dispose()


def test_an_epoch_that_was_trained_again_or_whose_write_failed_is_written_with_all_before_it(tmp_path: Path):
    epochs = Epochs(tmp_path / "study.db")
    for _ in range(4):
        epochs.store()
    epochs.history = epochs.history[:2]  # a worker went back to its checkpoint
    epochs.store(again=True)

    def fail() -> None:
        raise StudyLostError("away")

    epochs.storage._before_write = fail
    with pytest.raises(StudyLostError):
        epochs.store()
    del epochs.storage._before_write
    epochs.history = epochs.history[:3]
    epochs.store()
    epochs.storage.engine.dispose()


def test_records_that_another_program_has_changed_are_written_anew(tmp_path: Path):
    epochs = Epochs(tmp_path / "study.db")
    epochs.store()
    other = RDBStorage(f"sqlite:///{tmp_path}/study.db")
    other.set_trial_user_attr(epochs.trial_id, "history", [])
    other.engine.dispose()
    epochs.store()
    epochs.storage.engine.dispose()
