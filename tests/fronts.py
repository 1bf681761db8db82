"""Builds runs and trials with two objectives."""

from typing import Any

from optuna.distributions import FloatDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial

from search.storage.run import Run
from spaces.second import Second
from tests.ledgers import make_run

WEIGHTS = {"name": "weights", "direction": "minimize", "known": True}
"""Fields of a second objective."""


def make(number: int, values: dict[int, float], weights: float, **given: Any) -> FrozenTrial:
    trial = create_trial(
        state=given.pop("state", TrialState.RUNNING),
        value=values[max(values)] if given.pop("ended", False) else None,
        params={"x": 0.1 * number},
        distributions={"x": FloatDistribution(0, 10)},
        intermediate_values=values,
        user_attrs={"weights": weights, **given},
    )
    trial.number = number
    return trial


def finished(number: int, value: float, weights: float, **given: Any) -> FrozenTrial:
    return make(number, {1: 0.5, 9: value}, weights, state=TrialState.COMPLETE, ended=True, **given)


def run_of(**changes: Any) -> Run:
    return make_run(**{"second": Second(**WEIGHTS), **changes})


FRONT = [
    finished(0, 0.9, 900),
    finished(1, 0.8, 100),
    finished(2, 0.7, 300),
    finished(3, 0.8, 100),
    finished(4, 0.5, 50),
]
"""Finished trials, of which 0, 1 and 4 are the front."""
