"""Effects in several runs: which hold in all of them, which contradict each other, which only one of them shows.

A contrast is chosen in the run that shows it most clearly, among values that all runs tried. Its interval there is
simultaneous over all contrasts, for it was chosen; if that interval holds zero, nothing is clear. The other runs are
asked about this one contrast, so theirs is an ordinary 95 % interval: they confirm it or they do not.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from analysis.impact.effect import Effect
from analysis.impact.sentences import shown
from analysis.statistics.bootstrap import Interval, unpaired
from analysis.studies.parameters import Parameter, label

_POINTS = 25


class Agreement(Enum):
    """What the runs say together about one contrast."""

    HOLDS = "holds in all"
    CONTRADICTS = "contradicts"
    PARTLY = "clear in some only"
    ALONE = "known in one only"
    NONE = "clear in none"
    UNKNOWN = "not known"


@dataclass(frozen=True, kw_only=True)
class Contrast:
    """One hyperparameter in all runs: `better` against `worse`, by the run that shows it most clearly."""

    parameter: str
    agreement: Agreement
    better: str = ""
    worse: str = ""
    found: tuple[Interval | None, ...] = ()
    """Effect in each run; None where there is not enough data."""
    differ: bool = False
    """Whether the effects of some pair of runs differ: the interval of their difference excludes zero."""
    why: str = ""
    """Why the runs cannot be compared; empty if they can."""

    @property
    def clear(self) -> tuple[bool, ...]:
        """For each run whether its interval excludes zero."""
        return tuple(one is not None and not one.low <= 0 <= one.high for one in self.found)


def contrasts(
    effects: Sequence[Sequence[Effect]], parameters: Sequence[Sequence[Parameter]], *, sign: float, same_unit: bool
) -> list[Contrast]:
    """Every hyperparameter that some run has, what most of them show first.

    Args:
        effects: of each run, all at the same kind of budget.
        parameters: of each run.
        sign: 1 when larger values of the metric are better, -1 when smaller ones are.
        same_unit: whether sizes of effects can be compared, and not only their signs.
    """
    names = dict.fromkeys(parameter.name for one in parameters for parameter in one)
    found = []
    for name in names:
        own = [next((e for e in one if e.parameter == name), None) for one in effects]
        kinds = [next((p for p in one if p.name == name), None) for one in parameters]
        found.append(_contrast(name, own, kinds, sign=sign, same_unit=same_unit))
    order = list(Agreement)
    return sorted(found, key=lambda one: (order.index(one.agreement), -_clearness(one)))


def _clearness(one: Contrast) -> float:
    known = [abs(i.value) / max(i.high - i.low, 1e-300) for i in one.found if i is not None]
    return max(known, default=0.0)


def _contrast(
    name: str, own: Sequence[Effect | None], kinds: Sequence[Parameter | None], *, sign: float, same_unit: bool
) -> Contrast:
    judged = [i for i, effect in enumerate(own) if effect is not None and effect.fit is not None]
    if not judged:
        lacking = "no run has enough trials with each of their values"
        return Contrast(parameter=name, agreement=Agreement.UNKNOWN, why=lacking, found=(None,) * len(own))
    values = _shared_values([_effect(own[i]) for i in judged], [kinds[i] for i in judged])
    if len(values) < 2:
        apart = "the runs tried different values"
        return Contrast(parameter=name, agreement=Agreement.UNKNOWN, why=apart, found=(None,) * len(own))
    best: tuple[bool, float, int, Any, Any] | None = None
    for i in judged:
        better, worse = _ends(_effect(own[i]), values, sign=sign)
        estimate, low, high = _effect(own[i]).against(better, worse, simultaneous=True)
        candidate = (not low <= 0 <= high, abs(estimate) / max(high - low, 1e-300), i, better, worse)
        best = candidate if best is None or candidate[:2] > best[:2] else best
    assert best is not None
    is_clear, _, leader, better, worse = best
    found = [
        _interval(_effect(own[i]).against(better, worse, simultaneous=i == leader)) if i in judged else None
        for i in range(len(own))
    ]
    return Contrast(
        parameter=name,
        agreement=_agreement(found) if is_clear else Agreement.NONE,
        better=_shown(kinds[leader], better),
        worse=_shown(kinds[leader], worse),
        found=tuple(found),
        differ=same_unit and _differ([one for one in found if one is not None]),
    )


def _effect(effect: Effect | None) -> Effect:
    assert effect is not None
    return effect


def _shown(parameter: Parameter | None, value: Any) -> str:
    return label(value) if parameter is None else shown(parameter, value)


def _interval(found: tuple[float, float, float]) -> Interval:
    return Interval(value=found[0], low=found[1], high=found[2])


def _shared_values(effects: Sequence[Effect], kinds: Sequence[Parameter | None]) -> list[Any]:
    """Values that all these runs tried: levels, or numbers over the range that they share."""
    fits = [effect.fit for effect in effects if effect.fit is not None]
    levels = [fit.group.levels for fit in fits if fit.group.levels]
    curves = [effect.curve for effect in effects if effect.curve is not None and not _has_levels(effect)]
    if levels:
        shared = [level for level in levels[0] if all(level in other for other in levels[1:])]
        return [level for level in shared if all(_lies_in(curve, level) for curve in curves)]
    if all(kind is not None and kind.grid for kind in kinds):
        tried = [set(curve["x"]) for curve in curves]
        return sorted(set.intersection(*tried))
    scales = {kind.log for kind in kinds if kind is not None}
    column = "at" if len(scales) == 1 else "x"  # one run drew it on a logarithmic scale, another did not
    low = max(float(curve[column].min()) for curve in curves)
    high = min(float(curve[column].max()) for curve in curves)
    if not low < high:
        return []
    at = np.linspace(low, high, _POINTS)
    x = 10**at if column == "at" and scales == {True} else at
    whole = all(kind is not None and kind.kind == "integer" for kind in kinds)
    return list(np.unique(np.round(x)) if whole else x)


def _has_levels(effect: Effect) -> bool:
    return effect.fit is not None and bool(effect.fit.group.levels)


def _lies_in(curve: pd.DataFrame, level: Any) -> bool:
    """Whether a number is in the range of a curve; a word never is."""
    number = isinstance(level, int | float) and not isinstance(level, bool)
    return number and float(curve["x"].min()) <= level <= float(curve["x"].max())


def _ends(effect: Effect, values: list[Any], *, sign: float) -> tuple[Any, Any]:
    """The best and the worst of these values by this run; of an on/off parameter always True and False."""
    by_text = {label(value): value for value in values}
    if set(by_text) == {"True", "False"}:
        return by_text["True"], by_text["False"]
    assert effect.fit is not None
    height = sign * (effect.fit.group.raw(pd.Series(values, dtype=object)) @ effect.fit.theta)
    return values[int(np.argmax(height))], values[int(np.argmin(height))]


def _agreement(found: Sequence[Interval | None]) -> Agreement:
    known = [one for one in found if one is not None]
    signs = {np.sign(one.value) for one in known if not one.low <= 0 <= one.high}
    num_clear = sum(not one.low <= 0 <= one.high for one in known)
    if len(signs) > 1:
        return Agreement.CONTRADICTS
    if len(known) == 1:
        return Agreement.ALONE if num_clear else Agreement.NONE
    if num_clear == len(known):
        return Agreement.HOLDS
    return Agreement.PARTLY if num_clear else Agreement.NONE


def _differ(known: Sequence[Interval]) -> bool:
    gaps = [unpaired(one, other) for one, other in combinations(known, 2)]
    return any(not gap.low <= 0 <= gap.high for gap in gaps)
