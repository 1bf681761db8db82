"""The review of ranges: where the best trials lie in them, and which parts were not tried."""

import math
from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd
from scipy import stats

from analysis.prose.finding import Finding
from analysis.studies.amounts import difference_text
from analysis.studies.parameters import Parameter, label
from analysis.studies.trials import Trials

EDGE = 0.2
"""Share of a range that counts as its edge."""
_LEAST, _P_EDGE = 5, 0.01
_TRIED = 20
"""Fewest trials with a hyperparameter for which untried values are reported."""


def edges(trials: Trials, parameters: Sequence[Parameter], *, plain: bool = False) -> Iterator[Finding]:
    """Those of these hyperparameters that the best trials have at an end of the range.

    Args:
        plain: whether plain Optuna made the study, so that --set does not change its ranges.
    """
    count = min(max(_LEAST, len(trials.complete) // 6), len(trials.complete))
    order = (trials.sign * trials.complete["value"].dropna()).sort_values(ascending=False, kind="stable").index[:count]
    numeric = [p for p in parameters if p.numeric and p.high > p.low]
    for parameter in numeric:
        every = _places(parameter, trials.measured)
        best = _places(parameter, trials.complete.loc[order])
        if len(best) < _LEAST or np.isnan(best).all():
            continue
        for upper in (False, True):
            at = (best >= 1 - EDGE).sum() if upper else (best <= EDGE).sum()
            usual = float(((every >= 1 - EDGE) if upper else (every <= EDGE)).mean())
            chance = stats.binom.sf(int(at) - 1, len(best), _share_at_edge(parameter))
            if at >= 0.6 * len(best) and chance < _P_EDGE / len(numeric):
                yield _edge(parameter, int(at), len(best), usual, upper=upper, plain=plain)


def _share_at_edge(parameter: Parameter) -> float:
    """Share of trials at one end of a range if the value does not matter: a third for `depth` from 2 to 4."""
    if parameter.kind != "integer" or parameter.log:
        return EDGE
    width = parameter.high - parameter.low
    return max(EDGE, (math.floor(EDGE * width) + 1) / (width + 1))


def _places(parameter: Parameter, rows: pd.DataFrame) -> np.ndarray:
    """Where the values lie in the range, 0 to 1 on the scale on which it was drawn."""
    low, high = parameter.scale(np.array([parameter.low, parameter.high], dtype=object))
    at = (parameter.scale(rows[f"params_{parameter.name}"]) - low) / (high - low)
    return at[~np.isnan(at)]


def _edge(parameter: Parameter, at: int, count: int, usual: float, *, upper: bool, plain: bool) -> Finding:
    name, bound = parameter.name, parameter.high if upper else parameter.low
    said = (
        f"{at} of the {count} best trials have {name} in the {'upper' if upper else 'lower'} fifth of its range (up to "
        f"the end, {label(bound)}); {100 * usual:.0f} % of all trials do."
    )
    if bound == 0 and not upper:
        return Finding(kind="edge", sentence=said, advice=f"They hardly use it. Leave it out: --fix {name}=0.")
    low, high = _wider(parameter, upper=upper)
    if (low, high) == (parameter.low, parameter.high):
        return Finding(kind="edge", sentence=said, advice="There is no smaller value to try.")
    if not plain:
        how = ":log" if parameter.log else f":step={parameter.step:g}" if parameter.step else ""
        advice = f"Search a wider range: --set {name}={label(low)}..{label(high)}{how}."
        return Finding(kind="edge", sentence=said, advice=advice)
    kind = "int" if parameter.kind == "integer" else "float"
    scale = ", log=True" if parameter.log else ""
    line = f'trial.suggest_{kind}("{name}", {label(low)}, {label(high)}{scale})'
    return Finding(kind="edge", sentence=said, advice=f"Extend the range in the space: {line}.")


def _wider(parameter: Parameter, *, upper: bool) -> tuple[float, float]:
    """The range, extended by half of its width on one side; on a logarithmic scale too."""
    low, high = float(parameter.low), float(parameter.high)
    factor = math.sqrt(high / low) if parameter.log else 1.0
    if upper:
        high = high * factor if parameter.log else high + 0.5 * (high - low)
    else:
        low = low / factor if parameter.log else low - 0.5 * (high - low)
        low = max(low, 0.0) if parameter.low >= 0 else low
    if parameter.step:
        steps = math.ceil(0.5 * (parameter.high - parameter.low) / parameter.step) * parameter.step
        high = float(f"{parameter.high + steps:.12g}")
        low = parameter.low - steps
        if parameter.low >= 0:  # a size has no other end than its first step
            low = max(low, parameter.step if parameter.low > 0 else 0.0)
        low = float(f"{low:.12g}")
        return (parameter.low, high) if upper else (low, parameter.high)
    rounded = [float(f"{edge:.2g}") for edge in (low, high)]
    low, high = (rounded[0], parameter.high) if not upper else (parameter.low, rounded[1])
    return (
        (max(1, round(low)) if parameter.low >= 1 else round(low), round(high))
        if (parameter.kind == "integer")
        else (low, high)
    )


def lonely(trials: Trials, *, noise: float, resume: str) -> Iterator[Finding]:
    """A best trial far ahead of all others: the region around it has hardly been searched."""
    values = (trials.sign * trials.complete["value"].dropna()).sort_values(ascending=False).to_numpy()
    if len(values) < _LEAST:
        return
    gap, others = values[0] - values[1], values[1] - values[_LEAST - 1]
    if gap > 2 * others and gap > 4 * noise and trials.best is not None:
        more = f" {resume} --trials {len(trials.trials) + 30}" if resume else ""
        yield Finding(
            kind="lonely",
            sentence=f"Trial {trials.best['number']} is ahead of all others by {difference_text(trials, float(gap))}, "
            f"so there are too few trials in the best region.",
            advice=f"Continue the search:{more}." if more else "Continue the search with more trials.",
        )


def unexplored(trials: Trials, parameters: Sequence[Parameter]) -> Iterator[Finding]:
    """Parts of the ranges, or values of the choices, of these hyperparameters that were not tried."""
    rows = trials.measured
    for parameter in parameters:
        count = int(rows[f"params_{parameter.name}"].notna().sum())
        if count < _TRIED:
            continue
        if not parameter.numeric:
            tried = {label(value) for value in rows[f"params_{parameter.name}"].dropna()}
            missing = [label(choice) for choice in parameter.choices if label(choice) not in tried]
            if missing and count >= 10 * len(parameter.choices):
                values = f"{parameter.name}={','.join([next(iter(sorted(tried))), *missing])}"
                yield Finding(
                    kind="unexplored",
                    sentence=f"{parameter.name} was never {' or '.join(missing)} in {count} trials.",
                    advice=f"To compare, ask: --question {values}.",
                )
        elif parameter.high > parameter.low and not parameter.levels:
            yield from _gap(parameter, np.sort(_places(parameter, rows)))


def _gap(parameter: Parameter, places: np.ndarray) -> Iterator[Finding]:
    ends = np.concatenate([[0.0], places, [1.0]])
    at = int(np.argmax(np.diff(ends)))
    width = float(ends[at + 1] - ends[at])
    if width <= max(0.25, 3 * math.log(len(places)) / len(places)):
        return
    low, high = parameter.scale(np.array([parameter.low, parameter.high], dtype=object))
    edges = [low + place * (high - low) for place in ends[at : at + 2]]
    shown = [f"{10**edge if parameter.log else edge:.3g}" for edge in edges]
    yield Finding(
        kind="unexplored",
        sentence=f"No trial had {parameter.name} between {shown[0]} and {shown[1]}, {100 * width:.0f} % of its range.",
        advice="If the best value may lie there, enqueue a trial with it, or narrow the range.",
    )
