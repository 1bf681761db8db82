"""Configurations that nobody has tried, drawn from the space itself."""

import math
import random
from collections.abc import Callable, Container, Mapping, Sequence
from typing import Any

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import RandomSampler
from optuna.study import Study
from optuna.trial import FrozenTrial

from spaces.asking import AskedTrial, contains

NUM_ANYWHERE = 50
"""New configurations from the whole space."""
NUM_PARENTS, NUM_NEAR = 5, 10
"""Trials that promise most, and new configurations that differ from each of them in one or two parameters."""
NUM_STRATA = 10
Identity = frozenset[tuple[str, Any]]


def identity(params: Mapping[str, Any]) -> Identity:
    """Equal for equal configurations."""
    return frozenset(params.items())


class Candidates:
    """New configurations, drawn from the space itself; asked again with the same parents, they are the same."""

    def __init__(self, suggest: Callable[[Any], Any], *, seed: int) -> None:
        """
        Args:
            suggest: of the space.
            seed: drives the draws.
        """
        self._suggest, self._seed = suggest, seed
        self._drawn: dict[int, list[dict[str, Any]]] = {}

    def new(self, parents: Sequence[FrozenTrial], *, tried: Container[Identity]) -> list[dict[str, Any]]:
        """Parameters from anywhere and near the parents; none where a space has nothing new, or fails.

        Args:
            tried: what is not new.
        """
        drawn = [*self._draw(-1, {}, NUM_ANYWHERE)]
        for parent in parents:
            drawn += self._draw(parent.number, parent.params, NUM_NEAR)
        return [params for key, params in {identity(params): params for params in drawn}.items() if key not in tried]

    def _draw(self, parent: int, near: Mapping[str, Any], count: int) -> list[dict[str, Any]]:
        if parent not in self._drawn:
            generator = random.Random(f"{self._seed}/{parent}")
            varied = [_vary(self._suggest, near, generator) for _ in range(count)]
            self._drawn[parent] = [params for params in varied if params]
        return self._drawn[parent]


def spread(suggest: Callable[[Any], Any], *, number: int, seed: int, trial_seed: int) -> dict[str, Any]:
    """The parameters of the first, second, ... of some trials that lie anywhere; none where the space fails.

    Each of ten in a row takes another tenth of every parameter's range: a Latin hypercube, which a conditional space
    may have as well.
    """
    round_number, turn = divmod(number, NUM_STRATA)

    def fraction(name: str) -> float:
        strata = list(range(NUM_STRATA))
        random.Random(f"{seed}/{round_number}/{name}").shuffle(strata)
        return (strata[turn] + random.Random(f"{trial_seed}/{name}").random()) / NUM_STRATA

    return _draw(suggest, {}, fraction)


class Chosen(RandomSampler):
    """Gives what was chosen already; whatever else a trial asks for is random."""

    def __init__(self, params: Mapping[str, Any], *, seed: int) -> None:
        super().__init__(seed=seed)
        self._params = params

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        if param_name in self._params:
            return self._params[param_name]
        return super().sample_independent(study, trial, param_name, param_distribution)


class _Draw(AskedTrial):
    """Answers with the parameters that it was given; draws those it lacks, or that do not fit."""

    def __init__(self, params: Mapping[str, Any], fraction: Callable[[str], float]) -> None:
        super().__init__()
        self._known = dict(params)
        self._fraction = fraction

    def answer(self, name: str, distribution: BaseDistribution) -> Any:
        if name not in self._known or not contains(distribution, self._known[name]):
            self._known[name] = _value_at(distribution, self._fraction(name))
        return self._known[name]


def _draw(suggest: Callable[[Any], Any], params: Mapping[str, Any], fraction: Callable[[str], float]) -> dict[str, Any]:
    trial = _Draw(params, fraction)
    try:
        suggest(trial)
    except Exception:  # whatever is wrong with the space is told when the trial itself is sampled
        return {}
    return dict(trial.params)


def _vary(suggest: Callable[[Any], Any], near: Mapping[str, Any], generator: random.Random) -> dict[str, Any]:
    """Parameters of which one or two are drawn anew; all of them where `near` has none."""
    redrawn = generator.sample(sorted(near), min(len(near), generator.randint(1, 2)))
    kept = {name: value for name, value in near.items() if name not in redrawn}
    return _draw(suggest, kept, lambda _: generator.random())


def _value_at(distribution: BaseDistribution, fraction: float) -> Any:
    """The value at this fraction, in [0, 1), of the range; on the logarithmic scale where the range has one.

    A step, and a whole number, owns the half step on either side of it, so that all are equally likely.
    """
    if isinstance(distribution, CategoricalDistribution):
        return distribution.choices[int(fraction * len(distribution.choices))]
    assert isinstance(distribution, FloatDistribution | IntDistribution)
    if distribution.single():
        return distribution.low
    low, high, step = float(distribution.low), float(distribution.high), distribution.step
    margin = 0.5 * step if step is not None else 0.0
    low, high = low - margin, high + margin
    if distribution.log:
        low, high = math.log(low), math.log(high)
    place = low + fraction * (high - low)
    value = math.exp(place) if distribution.log else place
    if isinstance(distribution, IntDistribution):
        nearest = round(value) if distribution.log else _on_grid(value, distribution)
        return min(max(int(nearest), distribution.low), distribution.high)
    if step is not None:
        value = round((value - distribution.low) / step) * step + distribution.low
        return min(max(value, distribution.low), distribution.high)
    below_high = math.nextafter(distribution.high, -math.inf)  # the upper end is exclusive, as in Optuna's samplers
    return min(max(value, distribution.low), below_high)


def _on_grid(value: float, distribution: IntDistribution) -> int:
    return math.floor((value - distribution.low) / distribution.step + 0.5) * distribution.step + distribution.low
