"""Runs the `suggest` of a space on chosen values, through the public methods of an Optuna trial."""

import math
from collections.abc import Callable, Sequence
from typing import Any

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
    check_distribution_compatibility,
)
from optuna.trial import BaseTrial, FixedTrial

from spaces.changes import describe_range

Suggest = Callable[[Any], Any]
"""The `suggest` of a space: asks an Optuna trial for values, and returns the configuration that they describe."""
_STEP_TOLERANCE = 1e-8
"""Tolerance for a float that must lie on a grid, as a share of the step; Optuna uses the same."""


class AskedTrial(FixedTrial):
    """A trial whose `suggest_*` methods return `answer(name, distribution)`, which a subclass defines.

    It remembers what was asked. `suggest_uniform` and the other deprecated methods call `suggest_float`, and work too.
    """

    def __init__(self, number: int = 0) -> None:
        super().__init__({}, number)
        self._answers: dict[str, Any] = {}
        self._asked: dict[str, BaseDistribution] = {}

    def answer(self, name: str, distribution: BaseDistribution) -> Any:
        """The value of this parameter; it must lie in the distribution."""
        raise LookupError(f"there is no value for parameter {name!r}")

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False
    ) -> float:
        return self._ask(name, FloatDistribution(low, high, log=log, step=step))

    def suggest_int(self, name: str, low: int, high: int, *, step: int = 1, log: bool = False) -> int:
        return int(self._ask(name, IntDistribution(low, high, log=log, step=step)))

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        return self._ask(name, CategoricalDistribution(choices))

    @property
    def params(self) -> dict[str, Any]:
        """Name -> value, in the order in which they were asked."""
        return self._answers

    @property
    def distributions(self) -> dict[str, BaseDistribution]:
        """Name -> range, in the order in which they were asked."""
        return self._asked

    def _ask(self, name: str, distribution: BaseDistribution) -> Any:
        value = self.answer(name, distribution)
        if name in self._asked:
            check_distribution_compatibility(self._asked[name], distribution)
        self._answers[name], self._asked[name] = value, distribution
        return value


def pass_on(trial: BaseTrial, name: str, distribution: BaseDistribution) -> Any:
    """The value that another trial gives to a parameter with this range."""
    if isinstance(distribution, CategoricalDistribution):
        return trial.suggest_categorical(name, distribution.choices)
    if isinstance(distribution, IntDistribution):
        return trial.suggest_int(
            name, distribution.low, distribution.high, step=distribution.step, log=distribution.log
        )
    assert isinstance(distribution, FloatDistribution)
    return trial.suggest_float(name, distribution.low, distribution.high, step=distribution.step, log=distribution.log)


def same_kind(one: BaseDistribution, other: BaseDistribution) -> bool:
    """Whether Optuna lets a parameter of a study have both: ranges may differ in their ends, choices not at all."""
    try:
        check_distribution_compatibility(one, other)
    except ValueError:
        return False
    return True


def contains(distribution: BaseDistribution, value: object) -> bool:
    """Whether the value lies in the range, on its grid, and has its type: True does not count as 1, nor 1 as "1"."""
    if isinstance(distribution, CategoricalDistribution):
        return any(
            value is choice or (type(value) is type(choice) and value == choice) for choice in distribution.choices
        )
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return False
    assert isinstance(distribution, FloatDistribution | IntDistribution)
    if not distribution.low <= value <= distribution.high:
        return False
    if isinstance(distribution, IntDistribution):
        return int(value) == value and (value - distribution.low) % distribution.step == 0
    if distribution.step is None:
        return True
    steps = (value - distribution.low) / distribution.step
    return abs(steps - round(steps)) < _STEP_TOLERANCE


def describe(distribution: BaseDistribution) -> str:
    """The range in words: `{plain, residual}`, or as `describe_range`."""
    if isinstance(distribution, CategoricalDistribution):
        return "{" + ", ".join(map(str, distribution.choices)) + "}"
    assert isinstance(distribution, FloatDistribution | IntDistribution)
    return describe_range(distribution.low, distribution.high, log=distribution.log, step=distribution.step)
