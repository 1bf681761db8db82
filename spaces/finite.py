"""All configurations of a space that has few of them."""

from collections.abc import Sequence
from typing import Any

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from spaces.asking import AskedTrial, Suggest

MAX_CONFIGURATIONS = 1000
"""Spaces with more configurations are not listed."""


def all_configurations(suggest: Suggest) -> list[dict[str, Any]] | None:
    """The parameters of every configuration of a space; None if there are too many, or `suggest` fails.

    A parameter may depend on those that were asked before it. The one that is asked first varies slowest.
    """
    found: list[dict[str, Any]] = []
    path: list[int] = []
    while True:
        trial = _Walk(path)
        try:
            suggest(trial)
        except Exception:  # _TooManyError, or an error of the space, which is reported when a trial is sampled
            return None
        found.append(dict(trial.params))
        path = _next(trial.taken, trial.lengths)
        if not path:
            return found
        if len(found) == MAX_CONFIGURATIONS:
            return None


def _next(taken: Sequence[int], lengths: Sequence[int]) -> list[int]:
    """The places of the next configuration, as far as they differ or lie before that; empty after the last one."""
    path = list(taken)
    while path and path[-1] + 1 == lengths[len(path) - 1]:
        path.pop()
    return [*path[:-1], path[-1] + 1] if path else []


class _TooManyError(Exception):
    """A range has too many values."""


class _Walk(AskedTrial):
    """Answers with the values at given places of their ranges, then with the first value of each range."""

    def __init__(self, path: Sequence[int]) -> None:
        super().__init__()
        self._path = path
        self.taken: list[int] = []
        """The place of each value in its range."""
        self.lengths: list[int] = []
        """Number of values of each range."""

    def answer(self, name: str, distribution: BaseDistribution) -> Any:
        if name in self.params:
            return self.params[name]
        length = _num_values(distribution)
        if length is None or length > MAX_CONFIGURATIONS:
            raise _TooManyError
        turn = len(self.taken)
        self.taken.append(self._path[turn] if turn < len(self._path) else 0)
        self.lengths.append(length)
        return _value(distribution, self.taken[turn])


def _num_values(distribution: BaseDistribution) -> int | None:
    """Number of values in a range; None if they cannot be counted."""
    if isinstance(distribution, CategoricalDistribution):
        return len(set(distribution.choices))  # Optuna stores True as 1 if both are choices
    assert isinstance(distribution, FloatDistribution | IntDistribution)
    if distribution.single():
        return 1
    return None if distribution.step is None else round((distribution.high - distribution.low) / distribution.step) + 1


def _value(distribution: BaseDistribution, place: int) -> Any:
    """The value at this place, counted from 0, of a range whose values can be counted; as `value_at` gives it."""
    if isinstance(distribution, CategoricalDistribution):
        return list(dict.fromkeys(distribution.choices))[place]
    assert isinstance(distribution, FloatDistribution | IntDistribution)
    return min(place * (distribution.step or 0) + distribution.low, distribution.high)
