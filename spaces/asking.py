"""Runs a space's `suggest` on values of our own choosing, through the public methods of an Optuna trial alone."""

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
from optuna.trial import FixedTrial

Suggest = Callable[[Any], Any]
"""The `suggest` of a space: asks an Optuna trial for values, and returns the configuration that they describe."""
_STEP_TOLERANCE = 1e-8
"""Of a step: Optuna's own tolerance for a float that must lie on a grid."""


class AskedTrial(FixedTrial):
    """A trial that answers each `suggest_*` by `answer`, which a subclass defines, and remembers what was asked.

    `suggest_uniform` and its deprecated kin end in `suggest_float` and are answered as well.
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
        """What was answered, in the order of the questions."""
        return self._answers

    @property
    def distributions(self) -> dict[str, BaseDistribution]:
        """What was asked, in order."""
        return self._asked

    def _ask(self, name: str, distribution: BaseDistribution) -> Any:
        value = self.answer(name, distribution)
        if name in self._asked:
            check_distribution_compatibility(self._asked[name], distribution)
        self._answers[name], self._asked[name] = value, distribution
        return value


def contains(distribution: BaseDistribution, value: object) -> bool:
    """Whether the value lies in the range, on its grid, and is of its type: True is no 1, and 1 is no "1"."""
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
