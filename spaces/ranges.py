"""A space with other ranges than its file states, as `--set` asks: the one home of a space that the user changed."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import BaseTrial

from spaces.asking import AskedTrial, contains, describe, pass_on
from spaces.changes import Range, ReplacedRange
from spaces.levels import complete, parameters
from spaces.space import Choice, Space, StrictTrial


def change(space: Space, ranges: Sequence[Range], replaced: Sequence[ReplacedRange] = ()) -> Space:
    """The space with these ranges; its baseline has the nearest values in them.

    Args:
        replaced: ranges that parameters had earlier, oldest first. Stored values in them can still be decoded.

    Raises:
        ValueError: the space cannot be built with its baseline in these ranges.
    """
    if not ranges:
        return space
    suggest = Changed(space=space, ranges=tuple(ranges), replaced=tuple(replaced))
    return replace(space, suggest=suggest, baseline=_moved(space, suggest))


def as_stated(space: Space) -> Space:
    """The space as its file states it."""
    return space.suggest.space if isinstance(space.suggest, Changed) else space


@dataclass(frozen=True, kw_only=True)
class Changed:
    """The `suggest` of a space, with other ranges for some of its parameters."""

    space: Space
    ranges: tuple[Range, ...]
    replaced: tuple[ReplacedRange, ...] = ()
    """Ranges that parameters had earlier, in which stored values may lie."""

    def __call__(self, trial: BaseTrial) -> Any:
        ranges = {one.parameter: distribution_of(one) for one in self.ranges}
        return self.space.suggest(_Answered(trial, ranges, self.replaced))


class _Answered(AskedTrial):
    """Passes on what the space asks to another trial, with other ranges for some parameters."""

    def __init__(
        self, trial: BaseTrial, ranges: dict[str, BaseDistribution], replaced: Sequence[ReplacedRange]
    ) -> None:
        super().__init__(trial.number)
        self._trial, self._ranges, self._replaced = trial, ranges, replaced

    def answer(self, name: str, distribution: BaseDistribution) -> Any:
        found = self._ranges.get(name, distribution)
        if isinstance(self._trial, StrictTrial):
            found = self._as_drawn(name, self._trial.given.get(name), found, distribution)
        return pass_on(self._trial, name, found)

    def _as_drawn(self, name: str, value: Any, present: BaseDistribution, stated: BaseDistribution) -> BaseDistribution:
        """The range in which a stored value lies: the present one, else the latest earlier one."""
        replaced = [one.before for one in reversed(self._replaced) if one.parameter == name]
        earlier = (stated if one is None else distribution_of(one) for one in replaced)
        return next((one for one in (present, *earlier) if contains(one, value)), present)


def distribution_of(one: Range) -> BaseDistribution:
    """The range as Optuna has it.

    Raises:
        ValueError: low and high are the wrong way round, or do not go with the scale or the step.
    """
    if one.kind == "categorical":
        return CategoricalDistribution(one.choices)
    low, high = one.low or 0, one.high or 0
    if one.kind == "int":
        return IntDistribution(int(low), int(high), log=one.log, step=int(one.step or 1))
    return FloatDistribution(float(low), float(high), log=one.log, step=one.step)


def range_of(name: str, distribution: BaseDistribution) -> Range:
    """The range that `distribution_of` turns into this distribution."""
    if isinstance(distribution, CategoricalDistribution):
        return Range(parameter=name, kind="categorical", choices=tuple(distribution.choices))
    assert isinstance(distribution, FloatDistribution | IntDistribution)
    kind = "int" if isinstance(distribution, IntDistribution) else "float"
    step = None if kind == "int" and distribution.step == 1 else distribution.step
    return Range(
        parameter=name, kind=kind, low=distribution.low, high=distribution.high, log=distribution.log, step=step
    )


def is_wider(one: Range, other: Range) -> bool:
    """Whether a range has an end or a choice that the other one does not allow."""
    values = one.choices if one.kind == "categorical" else (one.low, one.high)
    return not all(contains(distribution_of(other), value) for value in values)


def current(ranges: Sequence[Range], replaced: Sequence[ReplacedRange]) -> dict[str, BaseDistribution]:
    """The present ranges of the parameters that had others earlier, by name; empty if none had."""
    changed = {one.parameter for one in replaced}
    return {one.parameter: distribution_of(one) for one in ranges if one.parameter in changed}


def nearest(distribution: BaseDistribution, value: Any) -> Any:
    """The value of the range that is nearest to another one; the first choice where values have no order."""
    if contains(distribution, value):
        return value
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if isinstance(distribution, CategoricalDistribution):
        numbers = [c for c in distribution.choices if isinstance(c, int | float) and not isinstance(c, bool)]
        if is_number and len(numbers) == len(distribution.choices):
            return min(numbers, key=lambda choice: abs(choice - value))
        return distribution.choices[0]
    assert isinstance(distribution, FloatDistribution | IntDistribution)
    if not is_number:
        return distribution.low
    inside = min(max(value, distribution.low), distribution.high)
    if distribution.step is None:
        return inside
    found = distribution.low + round((inside - distribution.low) / distribution.step) * distribution.step
    return min(type(distribution.low)(found), distribution.high)


def check_ends(space: Space, build: Callable[[Any], Any]) -> None:
    """Raise ValueError, with the parameter, if the space fails at an end of a range or with a choice that was set.

    Args:
        space: as `change` returns it.
        build: builds what is known of a configuration before it is trained; it raises an error if it cannot.
    """
    if not isinstance(space.suggest, Changed):
        return
    for one in space.suggest.ranges:
        values = one.choices if one.kind == "categorical" else (one.low, one.high)
        for value in values:
            try:
                held = {one.parameter: value}
                parameters(space.suggest, held)
                params = complete(space.suggest, {**space.baseline, **held})
                build(space.decode(params))
            except Exception as error:
                reason = str(error).splitlines()[0] if str(error) else type(error).__name__
                raise ValueError(
                    f"--set {one.option}: the space cannot be built with {one.parameter}={value}: {reason}"
                ) from error


def describe_changes(space: Space) -> list[str]:
    """A line for each range that was set, with that of the space, and one for the baseline if it had to move."""
    if not isinstance(space.suggest, Changed):
        return []
    stated = as_stated(space)
    before = parameters(stated.suggest)
    lines = []
    for one in space.suggest.ranges:
        found = before.get(one.parameter)
        beside = f", in the space {describe(found.ranges[0])}" if found else ""
        earlier = [f"; {o.text} before trial {o.until}" for o in space.suggest.replaced if o.parameter == one.parameter]
        lines.append(f"range of {one.parameter}: {one.text}{beside}{''.join(reversed(earlier))}")
    if space.suggest.replaced:  # the baseline was trained before, and stays what it was
        return lines
    moved = [
        f"{name} {value} instead of {stated.baseline[name]}" if name in stated.baseline else f"with {name} {value}"
        for name, value in space.baseline.items()
        if stated.baseline.get(name, math.nan) != value
    ]
    moved += [f"without {name}" for name in stated.baseline if name not in space.baseline]
    return [*lines, *([f"the baseline is moved into these ranges: {', '.join(moved)}"] if moved else [])]


def _moved(space: Space, suggest: Changed) -> dict[str, Choice]:
    ranges = {one.parameter: distribution_of(one) for one in suggest.ranges}
    baseline = {name: nearest(ranges[name], v) if name in ranges else v for name, v in space.baseline.items()}
    return complete(suggest, baseline)
