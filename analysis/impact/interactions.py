"""Interactions: pairs of hyperparameters whose effect together is not the sum of their effects."""

from dataclasses import dataclass
from itertools import combinations

import numpy as np
import pandas as pd
from scipy import stats

from analysis.statistics.design import Design, make_design
from analysis.statistics.projection import choose_penalty, make_projector
from analysis.studies.parameters import Parameter, children, label
from analysis.studies.trials import Trials, params_of, rung_values

MIN_TRIALS = 40
"""Trials with a value at the first rung that pairs need."""
_MIN_CORNER = 5
"""Trials that a pair needs in each combination of the lower and upper halves of its two hyperparameters."""
_BOOTSTRAPS = 100
_CARRIED = 4
"""Products that the projection to the full budget includes."""
_COLUMNS = ["first", "second", "first_change", "second_change", "estimate", "low", "high", "found", "num_trials"]


@dataclass(frozen=True, kw_only=True)
class _Change:
    """A step of one hyperparameter as a column: 0 to 1 for a level, 10th to 90th percentile for a number."""

    name: str
    text: str
    column: np.ndarray
    """(N,), NaN where the hyperparameter is not active."""


def interactions(trials: Trials, *, seed: int = 0) -> pd.DataFrame:
    """For each pair, how much more the first change brings when the second is made too (a difference of differences).

    The main effects of all hyperparameters are taken out first. Intervals are simultaneous over all pairs (Bonferroni),
    so that among a hundred pairs of nothing rarely one is found. Stopped trials count with their projected value; that
    projection is additive, so an interaction that appears only late in training is understated.

    Returns:
        first, second, first_change, second_change, estimate, low, high, found, num_trials: the strongest change for
        each pair, strongest pair first; empty below 40 trials.
    """
    rows = trials.measured_at(trials.rungs[0])
    if len(rows) < MIN_TRIALS:
        return pd.DataFrame(columns=pd.Index(_COLUMNS))
    params = params_of(rows)
    design = make_design(trials.parameters, params)
    pairs = _pairs(trials.parameters, params)
    if not pairs:
        return pd.DataFrame(columns=pd.Index(_COLUMNS))
    values = rung_values(rows, trials.rungs, at_least=MIN_TRIALS // 2).to_numpy()
    estimate, half = _estimate(pairs, design, values, seed=seed)
    table = pd.DataFrame(
        [{"first": a.name, "second": b.name, "first_change": a.text, "second_change": b.text} for a, b in pairs]
    )
    table = table.assign(estimate=estimate, low=estimate - half, high=estimate + half, found=np.abs(estimate) > half)
    table["num_trials"] = [int((~np.isnan(a.column * b.column)).sum()) for a, b in pairs]
    evidence = (np.abs(estimate) / half).argsort()[::-1]
    table = table.iloc[evidence].drop_duplicates(["first", "second"])
    return table.sort_values(["found", "estimate"], key=np.abs, ascending=False, ignore_index=True)


def _estimate(
    pairs: list[tuple[_Change, _Change]], design: Design, values: np.ndarray, *, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """The estimates (P,) of the pairs and their simultaneous half-widths (P,).

    A projection without products carries an interaction only as far as the first rung shows it, so the most likely
    products are found in a first pass and are free columns of the projection in the second.
    """
    products = np.column_stack([_product(a.column, b.column) for a, b in pairs])
    width = design.matrix.shape[1]
    estimate, spread, _ = _pass(products, design.matrix, values, np.zeros(width, dtype=bool), bootstraps=20, seed=seed)
    likely = products[:, np.argsort(-np.abs(estimate) / spread)[:_CARRIED]]
    matrix = np.column_stack([design.matrix, likely / likely.std(axis=0)])
    free = np.arange(matrix.shape[1]) >= width
    estimate, spread, left = _pass(products, matrix, values, free, bootstraps=_BOOTSTRAPS, seed=seed)
    return estimate, stats.t.ppf(1 - 0.025 / len(pairs), left) * spread


def _pass(
    products: np.ndarray, matrix: np.ndarray, values: np.ndarray, free: np.ndarray, *, bootstraps: int, seed: int
) -> tuple[np.ndarray, np.ndarray, float]:
    """Coefficients of the products, their standard errors and the degrees of freedom left.

    The Bayesian bootstrap repeats both the projection and the adjustment for main effects.
    """
    projector = make_projector(values, matrix, free)
    final = projector.project(free=free)
    mains = matrix[:, ~free]
    penalty = choose_penalty(final, mains, np.zeros((len(final), 0)))
    active = products != 0

    def fit(final: np.ndarray, weights: np.ndarray) -> np.ndarray:
        rest = _adjust(np.column_stack([final, products]), mains, penalty.value, weights)
        v = rest[:, 1:] * active
        return (weights * rest[:, 0]) @ v / np.maximum(weights @ v**2, 1e-12)

    random = np.random.default_rng(seed)
    samples = []
    for _ in range(bootstraps):
        weights = random.standard_exponential(len(final))
        samples.append(fit(projector.project(weights=weights, free=free), weights))
    stages = (penalty, *projector.penalties)
    inflation = max(stage.rows / stage.left for stage in stages)
    spread = np.maximum(np.std(samples, axis=0, ddof=1) * np.sqrt(inflation), 1e-12)
    return fit(final, np.ones(len(final))), spread, min(stage.left for stage in stages)


def _adjust(y: np.ndarray, matrix: np.ndarray, penalty: float, weights: np.ndarray) -> np.ndarray:
    """What a weighted ridge regression on `matrix` leaves of each column of y."""
    share = weights / weights.sum()
    matrix, y = matrix - share @ matrix, y - share @ y
    weighted = matrix * weights[:, None]
    gram = weighted.T @ matrix + penalty * np.eye(matrix.shape[1])
    return y - matrix @ np.linalg.solve(gram, weighted.T @ y)


def _product(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The centred product of two changes; 0 where one of the two is not active."""
    both = ~np.isnan(a) & ~np.isnan(b)
    return np.where(both, (a - a[both].mean()) * (b - b[both].mean()), 0.0)


def _pairs(parameters: tuple[Parameter, ...], params: pd.DataFrame) -> list[tuple[_Change, _Change]]:
    """Pairs of changes of two hyperparameters that are neither parent nor child, tried in all four corners."""
    kids = children(parameters, params)
    changes = {parameter.name: _changes(parameter, params[parameter.name]) for parameter in parameters}
    found = []
    for first, second in combinations(parameters, 2):
        if second.name in kids[first.name] or first.name in kids[second.name]:
            continue
        for a in changes[first.name]:
            found += [(a, b) for b in changes[second.name] if _corners(a.column, b.column)]
    return found


def _corners(a: np.ndarray, b: np.ndarray) -> bool:
    """Whether enough trials lie in each combination of the lower and upper halves."""
    both = ~np.isnan(a) & ~np.isnan(b)
    quarter = 2 * (a[both] > 0.5) + (b[both] > 0.5)
    return bool(np.bincount(quarter, minlength=4).min() >= _MIN_CORNER)


def _changes(parameter: Parameter, values: pd.Series) -> list[_Change]:
    x = parameter.scale(values)
    known = x[~np.isnan(x)]
    if parameter.numeric:
        if len(known) == 0 or np.ptp(known) == 0:
            return []
        method = "nearest" if parameter.grid else "linear"  # of a grid, values that exist
        low, high = np.quantile(known, [0.1, 0.9], method=method)
        if parameter.levels or low == high:
            low, high = known.min(), known.max()
        named = [parameter.text(10**v if parameter.log else v) for v in (low, high)]
        return [_Change(name=parameter.name, text=f"{named[0]} to {named[1]}", column=(x - low) / ((high - low) or 1))]
    tried = [choice for i, choice in enumerate(parameter.choices) if (known == i).any()]
    if len(tried) < 2:
        return []
    if len(tried) == 2:
        tried = [choice for choice in tried if label(choice) == "True"] or tried[1:]
    places = [parameter.choices.index(choice) for choice in tried]
    return [
        _Change(
            name=parameter.name,
            text=parameter.text(choice),
            column=np.where(np.isnan(x), np.nan, (x == place).astype(float)),
        )
        for choice, place in zip(tried, places, strict=True)
    ]


def matrix(table: pd.DataFrame, names: list[str]) -> pd.DataFrame:
    """The estimates as a symmetric table, NaN where a pair has none."""
    grid = np.full((len(names), len(names)), np.nan)
    for first, second, estimate in zip(table["first"], table["second"], table["estimate"], strict=True):
        i, j = names.index(first), names.index(second)
        grid[i, j] = grid[j, i] = estimate
    return pd.DataFrame(grid, index=pd.Index(names), columns=pd.Index(names))
