"""The review of ranges: where the best trials lie in them, and which parts were not tried."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

from analysis.prose.finding import Finding
from analysis.studies.amounts import difference_text
from analysis.studies.parameters import Parameter, label
from analysis.studies.rows import INFEASIBLE
from analysis.studies.trials import Trials
from search.process.text import counted

EDGE = 0.2
"""Share of a range that counts as its edge."""
_LEAST, _P_EDGE = 5, 0.01
_TRIED = 20
"""Fewest trials with a hyperparameter for which untried values are reported."""
_CHANCES = 10
"""Trials for each choice, or each value of a grid, from which every untried one is reported."""
_TRY = "If the best value may lie there, try it with --try, or narrow the range."


def edges(
    trials: Trials, parameters: Sequence[Parameter], *, plain: bool = False, bounds: Mapping[str, str] | None = None
) -> Iterator[Finding]:
    """Those of these hyperparameters that the best trials have at an end of the range.

    Args:
        plain: whether plain Optuna made the study, so that --set does not change its ranges.
        bounds: of the search, each cost with its option: {"macs": "--max-macs 11M"}.
    """
    top = trials.ranked.head(max(_LEAST, len(trials.complete) // 6))
    numeric = [p for p in parameters if p.numeric and p.high > p.low]
    for parameter in numeric:
        values = top[f"params_{parameter.name}"].dropna().to_numpy(dtype=float)
        if len(values) < _LEAST:
            continue
        for upper in (False, True):
            at = values[_at_edge(parameter, values, upper=upper)]
            chance = stats.binom.sf(len(at) - 1, len(values), _share_at_edge(parameter, upper=upper))
            if len(at) >= 0.6 * len(values) and chance < _P_EDGE / len(numeric):
                found = _Edge(parameter=parameter, values=at, count=len(values), upper=upper)
                yield found.finding(trials, plain=plain, bounds=bounds or {})


def _at_edge(parameter: Parameter, values: np.ndarray, *, upper: bool) -> np.ndarray:
    places = _places(parameter, values)
    return places >= 1 - EDGE - 1e-9 if upper else places <= EDGE + 1e-9


def _share_at_edge(parameter: Parameter, *, upper: bool) -> float:
    """Share of trials at one end of a range if the value does not matter: a third for `depth` from 2 to 4."""
    grid = np.array(parameter.grid)
    return max(EDGE, float(_at_edge(parameter, grid, upper=upper).mean())) if len(grid) else EDGE


def _places(parameter: Parameter, values: pd.Series | np.ndarray) -> np.ndarray:
    """Where the values lie in the range, 0 to 1 on the scale on which it was drawn."""
    low, high = parameter.scale(np.array([parameter.low, parameter.high], dtype=object))
    at = (parameter.scale(values) - low) / (high - low)
    return at[~np.isnan(at)]


@dataclass(frozen=True, kw_only=True)
class _Edge:
    """The best trials that have a hyperparameter at one end of its range."""

    parameter: Parameter
    values: np.ndarray
    """Of these trials."""
    count: int
    """The best trials with the hyperparameter, these included."""
    upper: bool

    @property
    def name(self) -> str:
        """The hyperparameter."""
        return self.parameter.name

    @property
    def bound(self) -> float:
        """The end of the range."""
        return float(self.parameter.high if self.upper else self.parameter.low)

    @property
    def inmost(self) -> float:
        """The value among these that is farthest from the end of the range."""
        return float(self.values.min() if self.upper else self.values.max())

    @property
    def where(self) -> str:
        """The values in words: `dropout <= 0.1`."""
        if math.isclose(self.inmost, self.bound, abs_tol=1e-12):
            return f"{self.name} = {label(self.bound)}"
        return f"{self.name} {'>=' if self.upper else '<='} {label(self.inmost)}"

    def finding(self, trials: Trials, *, plain: bool, bounds: Mapping[str, str]) -> Finding:
        """What these trials show, and what to do about it."""
        every = trials.measured[f"params_{self.name}"].dropna().to_numpy(dtype=float)
        usual = float(((every >= self.inmost) if self.upper else (every <= self.inmost)).mean())
        who = f"All {self.count}" if len(self.values) == self.count else f"{len(self.values)} of the {self.count}"
        end, low, high = "upper" if self.upper else "lower", label(self.parameter.low), label(self.parameter.high)
        looked = ", which shows mainly where the search looked" if usual > 0.5 else ""
        return Finding(
            kind="edge",
            sentence=f"{who} best trials have {self.where}, at the {end} end of the range {low} to {high}, as do "
            f"{100 * usual:.0f} % of all trials{looked}.",
            advice=self._advice(plain=plain) + self._refused(trials, bounds),
            parameter=self.name,
        )

    def _refused(self, trials: Trials, bounds: Mapping[str, str]) -> str:
        """That larger values need a higher bound, where larger values cost more; empty where no bound is in the way."""
        refused = trials.trials[trials.trials["state"] == INFEASIBLE]
        options = [option for cost, option in bounds.items() if _costs(self.parameter, trials, cost)]
        if not (self.upper and options and len(refused)):
            return ""
        many = counted(len(refused), "configuration was", plural="configurations were")
        return f" Larger values also need a higher bound than {' and '.join(options)}: {many} too large for it."

    def _advice(self, *, plain: bool) -> str:
        parameter, name = self.parameter, self.name
        if self.bound == 0 and not self.upper:
            return self._against_zero(plain=plain)
        low, high = _wider(parameter, upper=self.upper)
        if (low, high) == (parameter.low, parameter.high):
            return "The space allows no smaller value."
        if not plain:
            how = ":log" if parameter.log else f":step={parameter.step:g}" if parameter.step else ""
            return f"Search a wider range: --set {name}={label(low)}..{label(high)}{how}, also with --resume."
        kind = "int" if parameter.kind == "integer" else "float"
        scale = ", log=True" if parameter.log else ""
        line = f'trial.suggest_{kind}("{name}", {label(low)}, {label(high)}{scale})'
        return f"Extend the range in the space: {line}."

    def _against_zero(self, *, plain: bool) -> str:
        """Whether to leave it out: only where most of the best trials do; else how to test that."""
        zeros = int((self.values == 0).sum())
        if 2 * zeros > self.count:
            how = "from the space" if plain else f"with --fix {self.name}=0"
            return f"{zeros} of them use 0: leave it out {how}."
        said = f"This does not show that {self.name} is useless"
        if plain or self.parameter.conditional:  # a question needs a value in every trial
            return f"{said}; {zeros or 'none'} of them {'use' if zeros > 1 else 'uses'} 0."
        return f"{said}. To test it: --question {self.name}=0,{label(self.inmost)}."


def _costs(parameter: Parameter, trials: Trials, cost: str) -> bool:
    """Whether larger values of a hyperparameter come with a higher cost, by their rank correlation."""
    rows = trials.trials[[f"params_{parameter.name}", cost]].astype(float).dropna()
    if len(rows) < _LEAST or (rows.nunique() < 2).any():
        return False
    rank, p = stats.spearmanr(rows.iloc[:, 0], rows.iloc[:, 1])
    return bool(rank > 0 and p < _P_EDGE)  # pyright: ignore[reportOperatorIssue]


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
    values = trials.sign * trials.rivals["value"].to_numpy(dtype=float)
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


def unexplored(
    trials: Trials, parameters: Sequence[Parameter], *, bounds: Mapping[str, str] | None = None
) -> Iterator[Finding]:
    """Parts of the ranges, or values of the choices, of these hyperparameters that were not tried.

    Args:
        bounds: of the search, each cost with its option, as for `edges`.
    """
    rows = trials.measured
    for parameter in parameters:
        count = int(rows[f"params_{parameter.name}"].notna().sum())
        if count < _TRIED:
            continue
        if not parameter.numeric:
            at = set(parameter.scale(rows[f"params_{parameter.name}"]))
            said = {i: parameter.text(choice) for i, choice in enumerate(parameter.choices)}
            tried, missing = ([said[i] for i in said if (i in at) == there] for there in (True, False))
            if missing and count >= _CHANCES * len(parameter.choices):
                values = f"{parameter.name}={','.join([min(tried), *missing])}"
                yield Finding(
                    kind="unexplored",
                    sentence=f"{parameter.name} was never {' or '.join(missing)} in {count} trials.",
                    advice=f"To compare, ask: --question {values}.",
                    parameter=parameter.name,
                )
        elif parameter.grid:
            yield from _steps(trials, parameter, bounds or {})
        elif parameter.high > parameter.low and not parameter.levels:
            yield from _gap(trials, parameter, bounds or {})


def _steps(trials: Trials, parameter: Parameter, bounds: Mapping[str, str]) -> Iterator[Finding]:
    """Values of a grid that were not tried: all where each had ten chances, else a long run of neighbours."""
    column = f"params_{parameter.name}"
    values = trials.measured[column].dropna().to_numpy(dtype=float)
    grid, tried = np.array(parameter.grid), values
    missing = [at for at, value in enumerate(grid) if not np.isclose(value, tried, atol=1e-9, rtol=1e-9).any()]
    if len(values) < _CHANCES * len(grid):
        runs = np.split(missing, np.flatnonzero(np.diff(missing) > 1) + 1)
        missing = list(max(runs, key=len))
        if len(missing) / len(grid) <= _largest_gap(len(values)):
            return
    if missing:
        shown = [parameter.text(float(grid[at])) for at in missing]
        names = f"{', '.join(shown[:-1])} and {shown[-1]} were" if len(shown) > 1 else f"{shown[0]} was"
        said = f"{parameter.name} = {names} never tried in {len(values)} trials"
        refused = trials.trials.loc[trials.trials["state"] == INFEASIBLE, column].dropna().to_numpy(dtype=float)
        inside = int(np.isclose(refused[:, None], grid[missing], atol=1e-9, rtol=1e-9).any(axis=1).sum())
        yield _untried(parameter, said, inside, bounds)


def _untried(parameter: Parameter, said: str, refused: int, bounds: Mapping[str, str]) -> Finding:
    """The finding; `refused` configurations were drawn there and exceeded a bound."""
    advice = _TRY
    if refused and bounds:
        drawn = "the configuration" if refused == 1 else f"the {refused} configurations"
        said += f": {drawn} drawn there exceeded {' or '.join(bounds.values())}"
        advice = "Such values need a higher bound, or a configuration that is smaller elsewhere (--try)."
    return Finding(kind="unexplored", sentence=f"{said}.", advice=advice, parameter=parameter.name)


def _largest_gap(count: int) -> float:
    """The share of a range that this many even draws leave empty by chance, at least a quarter."""
    return max(0.25, 3 * math.log(count) / count)


def _gap(trials: Trials, parameter: Parameter, bounds: Mapping[str, str]) -> Iterator[Finding]:
    column = f"params_{parameter.name}"
    places = np.sort(_places(parameter, trials.measured[column]))
    ends = np.concatenate([[0.0], places, [1.0]])
    at = int(np.argmax(np.diff(ends)))
    width = float(ends[at + 1] - ends[at])
    if width <= _largest_gap(len(places)):
        return
    low, high = parameter.scale(np.array([parameter.low, parameter.high], dtype=object))
    edges = [low + place * (high - low) for place in ends[at : at + 2]]
    shown = [f"{10**edge if parameter.log else edge:.3g}" for edge in edges]
    said = f"No trial had {parameter.name} between {shown[0]} and {shown[1]}, {100 * width:.0f} % of its range"
    refused = _places(parameter, trials.trials.loc[trials.trials["state"] == INFEASIBLE, column])
    inside = int(((refused > ends[at]) & (refused < ends[at + 1] + 1e-9)).sum())
    yield _untried(parameter, said, inside, bounds)
