"""What a search took: trials that failed and trainings again are in every number."""

from pathlib import Path

import optuna
import pytest
from optuna.distributions import BaseDistribution, FloatDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial

from analysis.compare import _run_of
from analysis.impact.stopping import audit
from analysis.pages.search import _saved
from analysis.prose.compare import cost_table
from analysis.studies.amounts import cost, effort
from analysis.studies.course import course, reached
from analysis.studies.sides import Side
from analysis.studies.trials import Trials, read_trials
from search.storage.trials import REPEATS

RANGE: dict[str, BaseDistribution] = {"lr": FloatDistribution(0.0, 1.0)}


def trained(lr: float, values: list[float], *, start: float, fails: bool = False, of: int | None = None) -> FrozenTrial:
    """A training whose epochs take 10 minutes each; `of` is the trial that it repeats."""
    history = [{"epoch": i, "seconds": 600.0, "started": start + 600 * (i - 1)} for i in range(1, len(values) + 1)]
    return create_trial(
        state=TrialState.FAIL if fails else TrialState.COMPLETE,
        value=None if fails else values[-1],
        params={"lr": lr},
        distributions=RANGE,
        intermediate_values=dict(enumerate(values, 1)),
        user_attrs={"history": history} | ({} if of is None else {REPEATS: of}),
    )


@pytest.fixture(scope="module")
def trials() -> Trials:
    """Two trials of two epochs, two repeats of the first, which was lucky, and one that failed: nine epochs."""
    study = optuna.create_study(direction="maximize")
    study.add_trial(trained(0.1, [0.8, 0.95], start=0))
    study.add_trial(trained(0.2, [0.8, 0.94], start=1200))
    study.add_trial(trained(0.1, [0.8, 0.90], start=2400, of=0))
    study.add_trial(trained(0.1, [0.8, 0.92], start=3600, of=0))
    study.add_trial(trained(0.5, [0.8], start=4800, fails=True))
    return read_trials(study)


def test_text_table_and_json_count_everything_that_was_trained(trials: Trials):
    found = effort(trials)
    assert (found.epochs, found.seconds, found.trials, found.repeats) == (9, 5400.0, 3, 2)
    assert cost(trials, None) == ("90 min of training", "9 epochs of 3 trials and 2 repeats")
    side = Side(name="a", folder=Path("a"), run=None, trials=trials)
    assert cost_table([side])["epochs"].tolist() == [9]
    assert (_run_of(side)["epochs"], _run_of(side)["hours"]) == (9, 1.5)
    assert "4 epochs were trained, and 5 by repeats and failed trials" in _saved(trials, audit(trials))


def test_a_lucky_value_that_later_trainings_take_back_was_never_reached(trials: Trials):
    table = course(trials)
    assert reached(table, 0.94, sign=1.0) == (4, 2400.0)  # by the second trial
    assert reached(table, 0.92, sign=1.0) == (2, 1200.0)  # the mean of the first is 0.923
    assert table["best"].dropna().tolist() == pytest.approx([2.77 / 3, 2.77 / 3, *[0.94] * 6])


def test_epochs_are_counted_where_only_some_are_reported():
    study = optuna.create_study(direction="maximize")
    values = {5: 0.8, 10: 0.9}
    study.add_trial(create_trial(params={"lr": 0.1}, distributions=RANGE, value=0.9, intermediate_values=values))
    assert effort(read_trials(study)).epochs == 10
