"""The parameters of a space: which of them every configuration has, parsing of their values, and levels to compare."""

import math
import random
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from spaces.asking import AskedTrial, Suggest, contains, describe

NUM_DRAWS = 64
"""Configurations that are drawn to find the parameters of a space."""
MAX_LISTED = 5
"""For a range of at most this many whole numbers, every value is a level."""
_TOO_LARGE = 1e300
_NOTHING = object()
_PLACES = (1 / 6, 1 / 2, 5 / 6)
"""Levels of a longer range, as fractions of it: the middle of each third."""


@dataclass(frozen=True, kw_only=True)
class Parameter:
    """One parameter of a space."""

    name: str
    ranges: tuple[BaseDistribution, ...]
    """All ranges that were asked for; a range may depend on other parameters."""
    always: bool
    """Whether every configuration has it."""

    def allows(self, value: Any) -> bool:
        """Whether every configuration that has the parameter may have this value."""
        return all(contains(one, value) for one in self.ranges)

    def parse(self, text: str) -> Any:
        """The value that a text describes.

        Raises:
            ValueError: the parameter cannot have it.
        """
        value = next(filter(self.allows, readings(text, self.ranges[0])), _NOTHING)
        if value is not _NOTHING:
            return value
        raise ValueError(f"{self.name} must lie in {describe(self.ranges[0])}, got {text[:80]}")

    @property
    def levels(self) -> tuple[Any, ...]:
        """The values that are compared when none are given."""
        first = self.ranges[0]
        if isinstance(first, CategoricalDistribution):
            found = list(first.choices)
        elif isinstance(first, IntDistribution) and not first.log and _length(first) <= MAX_LISTED:
            found = list(range(first.low, first.high + 1, first.step))
        else:
            found = [_at(first, place) for place in _PLACES]
            if not getattr(first, "log", False) and first.low == 0:  # type: ignore[attr-defined]
                found[0] = first.low  # type: ignore[attr-defined]
        return tuple(dict.fromkeys(value for value in found if self.allows(value)))


def parameters(suggest: Suggest, held: Mapping[str, Any] | None = None) -> dict[str, Parameter]:
    """The parameters of a space, by name.

    Args:
        suggest: that of the space.
        held: parameters whose value is given.

    Raises:
        ValueError: `suggest` fails, or a held value is out of its range.
    """
    generator = random.Random(0)
    seen: dict[str, list[BaseDistribution]] = {}
    counts: dict[str, int] = {}
    for _ in range(NUM_DRAWS):
        for name, distribution in _drawn(suggest, held or {}, generator.random).distributions.items():
            counts[name] = counts.get(name, 0) + 1
            if distribution not in seen.setdefault(name, []):
                seen[name].append(distribution)
    return {
        name: Parameter(name=name, ranges=tuple(ranges), always=counts[name] == NUM_DRAWS)
        for name, ranges in seen.items()
    }


def complete(suggest: Suggest, params: Mapping[str, Any]) -> dict[str, Any]:
    """These parameters, made a configuration: inactive ones are dropped, missing ones get the middle of their range.

    Raises:
        ValueError: `suggest` fails, or a value is out of its range.
    """
    return dict(_drawn(suggest, params, lambda: 0.5).params)


def readings(text: str, distribution: BaseDistribution) -> list[Any]:
    """The values that a text may mean, in the type of the parameter, the likeliest first; a number may be out of range.

    Of choices, these are the one with this text, then the number that is equal (`1e2` for 100), then one that differs
    in capitals (`TRUE`).
    """
    if not isinstance(distribution, CategoricalDistribution):
        kind = int if isinstance(distribution, IntDistribution) else float
        with suppress(ValueError):
            return [read_number(text, kind)]
        return []
    choices = distribution.choices
    found = [choice for choice in choices if str(choice) == text]
    with suppress(ValueError):
        number = read_number(text, float)
        numbers = (one for one in choices if isinstance(one, int | float) and not isinstance(one, bool))
        found += [choice for choice in numbers if choice == number]
    return found + [choice for choice in choices if str(choice).lower() == text.lower()]


def read_number(text: str, kind: type) -> Any:
    """The number in a text.

    Args:
        kind: int or float; a whole number may be written as `2.0` or `1e2`.

    Raises:
        ValueError: it is no number of this kind, or not finite.
    """
    if kind is int:
        with suppress(ValueError):
            return int(text)
    try:
        value = float(text)
    except ValueError:
        raise ValueError(f"a number is needed, got {text[:80]!r}") from None
    if not abs(value) < _TOO_LARGE:
        raise ValueError(f"a finite number is needed, got {text[:80]}")
    if kind is int and value != int(value):
        raise ValueError(f"a whole number is needed, got {text[:80]}")
    return kind(value)


def value_at(distribution: BaseDistribution, fraction: float) -> Any:
    """The value at this fraction, in [0, 1), of the range; on the logarithmic scale where the range has one.

    A value on a grid, or a whole number, covers half a step on either side, so that all are equally likely.
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


def place_of(distribution: FloatDistribution | IntDistribution, value: float) -> float:
    """The fraction, in [0, 1], of the range at which `value_at` gives this value; of a value beyond it, the end."""
    low, high, step = float(distribution.low), float(distribution.high), distribution.step
    margin = 0.5 * step if step is not None else 0.0
    low, high = low - margin, high + margin
    value = min(max(value, low), high)
    if distribution.log:
        low, high, value = math.log(low), math.log(high), math.log(value)
    return (value - low) / (high - low) if high > low else 0.5


def same(value: Any, other: Any) -> bool:
    """Whether two values of a parameter are equal; True and 1 are not."""
    return isinstance(value, bool) == isinstance(other, bool) and value == other


class _Drawn(AskedTrial):
    """Answers with the given values, which must fit their range, and with a fraction of the range otherwise."""

    def __init__(self, given: Mapping[str, Any], fraction: Callable[[], float]) -> None:
        super().__init__()
        self._given, self._fraction = given, fraction

    def answer(self, name: str, distribution: BaseDistribution) -> Any:
        if name not in self._given:
            return value_at(distribution, self._fraction())
        if not contains(distribution, self._given[name]):
            raise ValueError(f"{name} must lie in {describe(distribution)}, got {self._given[name]!r}")
        return self._given[name]


def _drawn(suggest: Suggest, given: Mapping[str, Any], fraction: Callable[[], float]) -> _Drawn:
    trial = _Drawn(given, fraction)
    suggest(trial)
    return trial


def _length(distribution: IntDistribution) -> int:
    return (distribution.high - distribution.low) // distribution.step + 1


def _at(distribution: BaseDistribution, place: float) -> Any:
    """The value at this fraction of the range, rounded to two digits if that is in the range."""
    value = value_at(distribution, place)
    rounded = type(value)(f"{value:.2g}") if isinstance(value, float) else value
    return rounded if contains(distribution, rounded) else value


def _on_grid(value: float, distribution: IntDistribution) -> int:
    return math.floor((value - distribution.low) / distribution.step + 0.5) * distribution.step + distribution.low
