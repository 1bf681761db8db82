"""What the hyperparameters of a study are: their kinds, ranges and conditions, and numbers that stand for them."""

import math
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from functools import cached_property, lru_cache, partial
from typing import Any

import numpy as np
import pandas as pd
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial

from analysis.wording import one_line
from search.process.text import short
from spaces.ranges import current


class _Choice(Enum):
    NONE = "None"

    def __str__(self) -> str:
        return self.value


NONE = _Choice.NONE
"""Stands in tables for the choice None, since a missing value there means that a hyperparameter is not active."""
MAX_LEVELS = 5
"""An integer with at most this many values is treated level by level, not as a scale."""
MAX_GRID = 50
"""A range of at most this many steps is a grid, whose values can be listed; a finer one is a scale."""


@dataclass(frozen=True, kw_only=True)
class Parameter:
    """One hyperparameter over the whole study."""

    name: str
    kind: str
    """categorical, integer or real."""
    choices: tuple = ()
    low: float = math.nan
    high: float = math.nan
    log: bool = False
    step: float | None = None
    """Distance of the values of a grid; None for whole numbers and for numbers between the ends."""
    conditional: bool = False
    """Active in some trials only."""

    @property
    def numeric(self) -> bool:
        """True for integers and reals."""
        return self.kind != "categorical"

    @property
    def levels(self) -> tuple:
        """The values one by one for a categorical or a short integer range, else empty."""
        if not self.numeric:
            return self.choices
        short = self.kind == "integer" and self.high - self.low < MAX_LEVELS
        return tuple(range(int(self.low), int(self.high) + 1)) if short else ()

    @property
    def grid(self) -> tuple[float, ...]:
        """The values of a range in steps, both ends included; empty for choices, and for numbers between the ends."""
        step = self.step or (1 if self.kind == "integer" and not self.log else None)
        count = math.floor((self.high - self.low) / step + 1e-9) + 1 if self.numeric and step else 0
        return tuple(float(f"{self.low + k * (step or 0):.12g}") for k in range(count)) if count <= MAX_GRID else ()

    def scale(self, values: pd.Series | np.ndarray) -> np.ndarray:
        """Values as floats on the axis they were drawn on: log10 for log parameters, positions for categories.

        NaN where a value is missing, or no choice; both None and `NONE` are the choice None.
        """
        if not self.numeric:
            position = {in_table(choice): i for i, choice in enumerate(self.choices)}
            return np.array([position.get(in_table(v), np.nan) for v in values], dtype=float)
        numbers = pd.to_numeric(pd.Series(values), errors="coerce").to_numpy(dtype=float)
        return np.log10(numbers) if self.log else numbers

    def text(self, value: Hashable) -> str:
        """A value as text, with as many digits as tell the choices, or the values of a grid, apart."""
        return self._text(value)

    def same(self, one: Any, other: Any) -> bool:
        """Whether two values are the same choice, or the same number as far as it is shown."""
        return self.text(one) == self.text(other) if self.numeric else one == other

    @cached_property
    def _text(self) -> Callable[[Hashable], str]:
        return texts(self.choices or self.grid)


def in_table(value: Any) -> Any:
    """A value of a configuration as a table has it: `NONE` for None."""
    return NONE if value is None else value


def from_table(value: Any) -> Any:
    """The reverse of `in_table`."""
    return None if value is NONE else value


@lru_cache(maxsize=100_000, typed=True)
def label(value: Hashable, digits: int = 4) -> str:
    """A value as text, the same for numpy and Python types.

    Args:
        digits: significant ones of a number that is not whole.
    """
    if isinstance(value, (bool, np.bool_)):
        return str(bool(value))
    if isinstance(value, (float, np.floating)):
        return f"{value:.0f}" if abs(value) < 1e7 and float(value).is_integer() else short(float(value), digits)
    return one_line(str(value))


def texts(values: Sequence[Hashable]) -> Callable[[Hashable], str]:
    """`label` with as many digits as tell these values apart, and fractions from whole numbers; at least four.

    >>> [*map(texts([0.99, 0.99999, 0.999999]), [0.99, 0.99999, 0.999999])]
    ['0.99', '0.99999', '0.999999']
    """
    fractions = {float(value) for value in values if isinstance(value, float) and not value.is_integer()}

    def enough(digits: int) -> bool:
        apart = len({label(value, digits) for value in values}) == len(set(values))
        return apart and not any(float(label(value, digits)).is_integer() for value in fractions)

    return partial(label, digits=next(filter(enough, range(4, 17)), 4))


def from_distributions(stored: list[FrozenTrial]) -> tuple[Parameter, ...]:
    """Every hyperparameter that some trial drew, in the order of first use; ranges are the widest ever asked."""
    found: dict[str, Parameter] = {}
    drawn = [trial for trial in stored if trial.distributions]
    counts: dict[str, int] = {}
    last: dict[str, BaseDistribution] = {}
    for trial in drawn:
        for stored_name, distribution in trial.distributions.items():
            name = one_line(stored_name)
            counts[name] = counts.get(name, 0) + 1
            if last.get(name) == distribution:
                continue
            last[name], new = distribution, parameter_of(name, distribution)
            found[name] = _widest(found[name], new) if name in found else new
    return tuple(replace(p, conditional=counts[p.name] < len(drawn)) for p in found.values())


def present_ranges(run: Any, parameters: tuple[Parameter, ...]) -> tuple[Parameter, ...]:
    """Those of these hyperparameters that had other ranges in earlier trials of the run, with the present ones.

    Args:
        run: search.storage.run.Run, or None.
    """
    ranges = current(getattr(run, "ranges", ()), getattr(run, "replaced", ()))
    drawn = {one_line(name): one for name, one in ranges.items()}
    return tuple(
        replace(parameter_of(p.name, drawn[p.name]), conditional=p.conditional) for p in parameters if p.name in drawn
    )


def parameter_of(name: str, distribution: BaseDistribution) -> Parameter:
    """The hyperparameter that is drawn from this distribution."""
    if isinstance(distribution, CategoricalDistribution):
        return Parameter(name=name, kind="categorical", choices=tuple(distribution.choices))
    assert isinstance(distribution, IntDistribution | FloatDistribution)
    kind = "integer" if isinstance(distribution, IntDistribution) else "real"
    step = None if kind == "integer" and distribution.step == 1 else distribution.step
    low, high = distribution.low, distribution.high
    return Parameter(name=name, kind=kind, low=low, high=high, log=distribution.log, step=step)


def _widest(old: Parameter, new: Parameter) -> Parameter:
    if old.numeric != new.numeric and (widened := _with_listed(*(old, new) if old.numeric else (new, old))):
        return widened
    if old.kind != new.kind:
        return replace(old, kind="categorical", choices=tuple(dict.fromkeys([*old.choices, *new.choices])))
    if not old.numeric:
        return replace(old, choices=tuple(dict.fromkeys([*old.choices, *new.choices])))
    step = old.step if old.step == new.step else None
    return replace(old, low=min(old.low, new.low), high=max(old.high, new.high), log=old.log and new.log, step=step)


def _with_listed(range_: Parameter, listed: Parameter) -> Parameter | None:
    """A range with the numbers that some trials drew from a list; None if the list has other values."""
    numbers = [one for one in listed.choices if isinstance(one, int | float) and not isinstance(one, bool)]
    if len(numbers) != len(listed.choices):
        return None
    low, high = min(range_.low, *numbers), max(range_.high, *numbers)
    return replace(range_, low=low, high=high, log=range_.log and low > 0, step=None)


def children(parameters: tuple[Parameter, ...], params: pd.DataFrame) -> dict[str, frozenset[str]]:
    """For each hyperparameter, those that exist only for some of its values.

    Read off the trials: a child is conditional and never active in a level of its parent that at least five trials
    have, while another level has it.
    """
    active = {p.name: params[p.name].notna().to_numpy() for p in parameters if p.conditional}
    found: dict[str, frozenset[str]] = {}
    for parent in parameters:
        scaled = parent.scale(params[parent.name])
        masks = [m for m in (scaled == v for v in np.unique(scaled[~np.isnan(scaled)])) if m.sum() >= 5]
        many = not parent.levels and parent.numeric
        found[parent.name] = frozenset(
            name
            for name, on in active.items()
            if name != parent.name
            and not many
            and any(not on[m].any() for m in masks)
            and any(on[m].any() for m in masks)
        )
    return {name: kids - _above(name, found, active) for name, kids in found.items()}


def _above(name: str, found: dict[str, frozenset[str]], active: dict[str, np.ndarray]) -> set[str]:
    """Parameters of which `name` is itself a child and that are active at least as often: its parents, not children."""
    if name not in active:
        return set()
    return {other for other in found[name] if name in found[other] and active[other].sum() >= active[name].sum()}
