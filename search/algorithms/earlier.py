"""What earlier searches say about configurations of this one: a Gaussian process of each, and its best configurations.

The process of this search has a linear term in what each of them predicts (`gaussian_process.py`).
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from optuna.distributions import CategoricalDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial

from search.algorithms.gaussian_process import Surrogate
from search.storage.earlier import Earlier, EarlierTrial
from spaces.levels import same
from spaces.ranges import distribution_of

NUM_STARTS = 5
"""The most promising earlier configurations, which are candidates, as are configurations near them."""


class EarlierModel:
    """The process of one earlier search, which is asked about configurations of this search."""

    def __init__(self, earlier: Earlier, *, maximize: bool, epochs: int) -> None:
        """
        Args:
            maximize: whether larger values are better, here and there.
            epochs: full budget of a trial here.
        """
        self._space = {one.parameter: distribution_of(one) for one in earlier.learnt}
        self._epochs, self._stretch = epochs, earlier.rungs[-1] / epochs
        self._trials = earlier.trials
        trials = [self._frozen(one, earlier.rungs) for one in earlier.trials]
        self._surrogate = Surrogate(trials, rungs=earlier.rungs, maximize=maximize)

    def _frozen(self, trial: EarlierTrial, rungs: Sequence[int]) -> FrozenTrial:
        params = self._known(trial.params)
        found = create_trial(
            state=TrialState.FAIL if trial.failure else TrialState.PRUNED,
            params=params,
            distributions={name: self._space[name] for name in params},
            intermediate_values=dict(zip(rungs, trial.values, strict=False)),
            user_attrs={"failure_kind": trial.failure} if trial.failure else {},
        )
        found.number = trial.number
        return found

    def _known(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """The parameters whose effect is learnt; a choice that the earlier search did not have counts as not active."""
        return {name: params[name] for name, one in self._space.items() if name in params and _fits(one, params[name])}

    def scores(self, params: Sequence[Mapping[str, Any]], epochs: np.ndarray | None = None) -> np.ndarray:
        """The expected scores of configurations, (N,), after so many epochs of this search, (N,), or at the end."""
        stated = np.full(len(params), self._epochs) if epochs is None else epochs
        return self._surrogate.scores([self._known(one) for one in params], self._stretch * stated)

    def best(self, count: int) -> list[EarlierTrial]:
        """Its trials with the best expected scores at the full budget, best first."""
        usable = [one for one in self._trials if not one.failure]
        order = np.argsort(-self.scores([one.params for one in usable]), kind="stable")
        return [usable[place] for place in order[:count]]


class EarlierModels:
    """What all earlier searches say."""

    def __init__(self, earlier: Sequence[Earlier], *, maximize: bool, epochs: int) -> None:
        """
        Args: as `EarlierModel`.
        """
        self._models = [EarlierModel(one, maximize=maximize, epochs=epochs) for one in earlier]
        ranked = [model.best(NUM_STARTS) for model in self._models]
        merged = [one.params for place in range(NUM_STARTS) for best in ranked for one in best[place : place + 1]]
        self.starts = merged[:NUM_STARTS]
        """The most promising configurations, those of all searches in turn."""

    def __call__(self, params: Sequence[Mapping[str, Any]], epochs: np.ndarray | None = None) -> np.ndarray:
        """What each search predicts, (N, searches); as `EarlierModel.scores`."""
        return np.stack([model.scores(params, epochs) for model in self._models], axis=1)


def _fits(distribution: Any, value: Any) -> bool:
    if isinstance(distribution, CategoricalDistribution):
        return any(same(value, choice) for choice in distribution.choices)
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and (value > 0 or not distribution.log)
