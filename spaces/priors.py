"""Draws new configurations more often where the user expects good ones, as `--prior` says."""

import math
from collections.abc import Mapping, Sequence
from statistics import NormalDist
from typing import Any

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from spaces.asking import AskedTrial, Suggest, contains
from spaces.changes import Prior
from spaces.levels import place_of, value_at

SPREAD = 0.1
"""Standard deviation around an expected number, as a share of the parameter's range."""


class Priors:
    """All that the user expects: a configuration follows those priors that are surer than its coin."""

    def __init__(self, priors: Sequence[Prior] = ()) -> None:
        self._by_name = {prior.parameter: prior for prior in priors}

    def __bool__(self) -> bool:
        return bool(self._by_name)

    def value(self, name: str, distribution: BaseDistribution, fraction: float, coin: float) -> Any:
        """The value of a parameter of a new configuration.

        Args:
            fraction: in [0, 1), decides the value.
            coin: in [0, 1), the same for all parameters of the configuration.
        """
        prior = self._by_name.get(name)
        if prior is None or coin >= prior.sure:
            return value_at(distribution, fraction)
        return expected(prior, distribution, fraction)


def expected(prior: Prior, distribution: BaseDistribution, fraction: float) -> Any:
    """The value at this quantile, in [0, 1), of what is expected; of the whole range if it has no expected value."""
    listed = [value for value in prior.values if contains(distribution, value)]
    if isinstance(distribution, CategoricalDistribution) or len(listed) > 1:
        return listed[int(fraction * len(listed))] if listed else value_at(distribution, fraction)
    assert isinstance(distribution, FloatDistribution | IntDistribution)
    if prior.low is not None and prior.high is not None:
        low, high = place_of(distribution, prior.low), place_of(distribution, prior.high)
        place = low + fraction * (high - low)
    else:
        normal = NormalDist(place_of(distribution, float((listed or prior.values)[0])), SPREAD)  # type: ignore[arg-type]
        below, above = normal.cdf(0.0), normal.cdf(1.0)
        place = normal.inv_cdf(min(max(below + fraction * (above - below), 1e-12), 1 - 1e-12))
    return value_at(distribution, min(max(place, 0.0), math.nextafter(1.0, 0.0)))


def as_expected(suggest: Suggest, priors: Sequence[Prior], base: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration in the middle of what is expected; parameters without a prior have the value of `base`.

    Raises:
        Exception: `suggest` fails.
    """
    trial = _Expected({prior.parameter: prior for prior in priors}, base)
    suggest(trial)
    return dict(trial.params)


class _Expected(AskedTrial):
    def __init__(self, priors: Mapping[str, Prior], base: Mapping[str, Any]) -> None:
        super().__init__()
        self._priors, self._base = priors, base

    def answer(self, name: str, distribution: BaseDistribution) -> Any:
        if (prior := self._priors.get(name)) is not None:
            stated = [value for value in prior.values if contains(distribution, value)]
            return stated[0] if stated else expected(prior, distribution, 0.5)
        known = name in self._base and contains(distribution, self._base[name])
        return self._base[name] if known else value_at(distribution, 0.5)
