"""What each hyperparameter does at equal budget: an adjusted contrast, a curve with its band, and a plain sentence.

`full_effects` compares the trials that were trained to the end, so it speaks of the configurations that a search
found worth training. `early_effects` compares all trials at the first rung, so it speaks of early learning speed. Both
use measured values alone: with values projected to later rungs, intervals held the truth too rarely
(`benchmarks/coverage.py`).

The estimate is a ridge regression in which the columns of the hyperparameter itself are not shrunk. With own columns
X, the columns Z of all other hyperparameters, and the objective y, all centred,

    theta, gamma = argmin |y - X theta - Z gamma|^2 + penalty * |gamma|^2

so that theta is adjusted for the others without their noise. A partial dependence of a forest would shrink effects, and
its band would miss them. Given several rungs, `effects` counts trials that were stopped with their projected value (see
`analysis.statistics.projection`). The Bayesian bootstrap over trials repeats that projection, so the interval includes
its error.
"""

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd
from scipy import stats
from threadpoolctl import threadpool_limits

from analysis.impact.sentences import opposed, sentence
from analysis.statistics.design import Design, Group, make_design
from analysis.statistics.projection import choose_penalty, make_projector
from analysis.statistics.resampling import Resample, resample
from analysis.studies.parameters import Parameter, children, label
from analysis.studies.trials import Trials, params_of

MIN_TRIALS = 20
"""An early effect is told at the highest rung that at least this many trials have reached."""
MIN_COMPLETE = 20
"""An effect at the full budget needs so many trials that were trained to the end."""
MIN_PER_LEVEL = 5
"""And at least this many with each of its levels, or in each part (third, from 100 trials fifth) of its range."""
BOOTSTRAPS = 200
_THIN = "not enough data (some values were tried only once or twice)"


@dataclass(frozen=True, kw_only=True)
class Effect:
    """One hyperparameter's effect on the objective, the other hyperparameters being as they were drawn."""

    parameter: str
    found: bool
    """False when the interval holds zero."""
    estimate: float = np.nan
    low: float = np.nan
    high: float = np.nan
    better: str = ""
    """The contrast is `better` against `worse`; for an on/off parameter always True against False."""
    worse: str = ""
    num_trials: int = 0
    num_measured: int = 0
    """Of these, trials that were really trained to `budget`; the others are projected."""
    budget: int = 0
    curve: pd.DataFrame | None = None
    """x (as drawn), at (position on the axis), effect, low, high: against the average trial, pointwise 95 % band."""
    strength: float = 0.0
    """Spread of the curve over the trials, less what noise alone would give; the order in which effects are listed."""
    opposed: str = ""
    """Where most of the best trials use the value that this effect calls worse: how many do."""
    sentence: str = ""
    fit: "Fit | None" = field(default=None, repr=False, compare=False)

    def against(self, better: object, worse: object, *, simultaneous: bool = False) -> tuple[float, float, float]:
        """The effect of `better` against `worse`: estimate, low and high of its 95 % interval.

        Args:
            better: a level, or a number within what was tried; `worse` likewise.
            simultaneous: the two values were chosen after looking at the curve.
        """
        assert self.fit is not None
        first, second = self.fit.group.raw(pd.Series([better, worse], dtype=object))
        estimate, half = self.fit.contrast((first - second)[None], simultaneous=simultaneous)
        return float(estimate[0]), float(estimate[0] - half[0]), float(estimate[0] + half[0])


@dataclass(frozen=True, kw_only=True)
class Fit:
    """Coefficients of one hyperparameter's columns, with their bootstrap covariance."""

    group: Group
    theta: np.ndarray
    covariance: np.ndarray
    freedom: float

    def contrast(self, direction: np.ndarray, *, simultaneous: bool = False) -> tuple[np.ndarray, np.ndarray]:
        """Estimates and half-widths (95 %) for each row of `direction` (M, K); Scheffe's if simultaneous."""
        spread = np.sqrt(np.maximum(np.einsum("mk,kl,ml->m", direction, self.covariance, direction), 0))
        count = len(self.theta)
        if simultaneous:
            factor = np.sqrt(count * stats.f.ppf(0.95, count, self.freedom))
        else:
            factor = stats.t.ppf(0.975, self.freedom)
        return direction @ self.theta, factor * spread


def full_effects(trials: Trials, *, bootstraps: int = BOOTSTRAPS, seed: int = 0) -> list[Effect]:
    """The effect of every hyperparameter at the full budget, among the trials that were trained to the end."""
    done = trials.complete[trials.complete["value"].notna()]
    last = replace(trials, trials=done, rungs=(trials.full_epochs,))
    return effects(last, bootstraps=bootstraps, seed=seed, least=MIN_COMPLETE)


def early_effects(trials: Trials, *, bootstraps: int = BOOTSTRAPS, seed: int = 0) -> list[Effect]:
    """The effect of every hyperparameter at the first rung, among all trials; none in a search without rungs."""
    if len(trials.rungs) < 2:
        return []
    return effects(replace(trials, rungs=trials.rungs[:1]), bootstraps=bootstraps, seed=seed)


def effects(trials: Trials, *, bootstraps: int = BOOTSTRAPS, seed: int = 0, least: int = MIN_TRIALS) -> list[Effect]:
    """The effect of every hyperparameter at the highest rung that enough trials have reached, strongest first."""
    rows = trials.measured
    rows = rows[rows[f"rung_{trials.rungs[0]}"].notna()]
    if len(rows) < least:
        return [_too_few(p.name, len(rows), least) for p in trials.parameters]
    kids = children(trials.parameters, params_of(rows))
    whole = make_design(trials.parameters, params_of(rows))
    values = rows[[f"rung_{rung}" for rung in trials.rungs]].to_numpy(dtype=float)
    shared = resample(values, whole.matrix, count=bootstraps, seed=seed)

    def estimate(parameter: Parameter) -> Effect:
        kin = kids[parameter.name]
        return _effect(
            parameter, trials, rows, whole, kin, shared=shared, bootstraps=bootstraps, seed=seed, least=least
        )

    with threadpool_limits(1, user_api="blas"), ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
        found = list(pool.map(estimate, trials.parameters))
    return sorted(found, key=lambda effect: (-effect.found, -effect.strength))


def _too_few(name: str, count: int, least: int) -> Effect:
    return Effect(
        parameter=name,
        found=False,
        num_trials=count,
        sentence=f"{name}: not enough data ({count} trials, at least {least} are needed)",
    )


def _effect(
    parameter: Parameter,
    trials: Trials,
    rows: pd.DataFrame,
    whole: Design,
    kids: frozenset[str],
    *,
    shared: list[Resample],
    bootstraps: int,
    seed: int,
    least: int,
) -> Effect:
    active = rows[f"params_{parameter.name}"].notna()
    rows = rows[active]
    params = params_of(rows)
    design = whole if active.all() else make_design(trials.parameters, params)
    group = design.groups.get(parameter.name)
    few = _too_few(parameter.name, len(rows), least)
    if len(rows) < least:
        return few
    if group is None:
        return replace(few, sentence=f"{parameter.name}: never varied")
    rungs = _usable(group, trials, rows, least=least)
    if not rungs:
        return replace(few, sentence=f"{parameter.name}: {_THIN}")
    values = rows[[f"rung_{r}" for r in rungs]].to_numpy(dtype=float)
    own, there = params[parameter.name], ~np.isnan(values[:, -1])
    rarest = int(_support(group, own, there).min())
    samples = shared if active.all() else resample(values, design.matrix, count=bootstraps, seed=seed)
    fit = _fit(group, design, values, samples, kids=kids, rarest=rarest)
    effect = _describe(group, fit, own, sign=trials.sign)
    effect = replace(effect, num_trials=len(rows), num_measured=int(there.sum()), budget=rungs[-1])
    effect = replace(effect, opposed=opposed(effect, parameter, trials))
    return replace(effect, sentence=sentence(effect, trials))


def _usable(group: Group, trials: Trials, rows: pd.DataFrame, *, least: int) -> list[int]:
    """Rungs up to the highest that enough trials, and enough of each level or part of the range, have reached."""
    usable, needed = [], max(least, least // 2 * len(group.means))
    for rung in trials.rungs:
        counts = _support(group, rows[f"params_{group.parameter.name}"], rows[f"rung_{rung}"].notna().to_numpy())
        if counts.min() < MIN_PER_LEVEL or counts.sum() < needed:
            break
        usable.append(rung)
    return usable


def _support(group: Group, values: pd.Series, there: np.ndarray) -> np.ndarray:
    """How many of the trials that got `there` have each level, or lie in each part of what was tried."""
    at = group.parameter.scale(values)
    if group.levels:
        levels = group.parameter.scale(np.array(group.levels, dtype=object))
        return np.array([(at[there] == level).sum() for level in levels])
    parts = 3 if len(at) < 100 else 5
    return np.bincount(np.searchsorted(np.quantile(at, np.arange(1, parts) / parts), at[there]), minlength=parts)


def _fit(
    group: Group, design: Design, values: np.ndarray, samples: list[Resample], *, kids: frozenset[str], rarest: int
) -> Fit:
    keep = ~np.isin(design.owner, list(kids))
    matrix, free = design.matrix[:, keep], design.owner[keep] == group.parameter.name
    projector = make_projector(values, matrix, free)
    own, others = design.raw[group.parameter.name], matrix[:, ~free]
    final = projector.project(free=free)
    penalty = choose_penalty(final, others, own)
    z, width = np.column_stack([own, others]), own.shape[1]
    theta = _solve(z, width, final, penalty=penalty.value, weights=np.ones(len(own)))
    columns = np.flatnonzero(keep)
    ordered = np.concatenate([columns[free], columns[~free]])
    scale = np.concatenate([own.std(axis=0), np.ones(others.shape[1])])  # of `z` above the design's columns
    found = []
    for sample in samples:
        steps = [sample.step(k, columns) for k in range(len(projector.penalties))]
        final = projector.project(free=free, steps=steps)
        share = sample.weights / sample.weights.sum()
        right = z.T @ (sample.weights * (final - share @ final))
        gram = sample.gram(ordered) * np.outer(scale, scale)
        found.append(_ridge(gram, right, width, penalty=penalty.value))
    stages = (penalty, *projector.penalties)
    inflation = max(stage.rows / stage.left for stage in stages)  # residuals are smaller than the noise they stand for
    covariance = np.atleast_2d(np.cov(np.array(found), rowvar=False)) * inflation
    freedom = min(rarest - 1, *(stage.left for stage in stages))
    return Fit(group=group, theta=theta, covariance=covariance, freedom=freedom)


def _solve(z: np.ndarray, own: int, y: np.ndarray, *, penalty: float, weights: np.ndarray) -> np.ndarray:
    """Coefficients of `own`, the first columns of `z`, in a weighted regression that shrinks those of the others."""
    root, share = np.sqrt(weights), weights / weights.sum()
    z = (z - share @ z) * root[:, None]
    return _ridge(z.T @ z, z.T @ (root * (y - share @ y)), own, penalty=penalty)


def _ridge(gram: np.ndarray, right: np.ndarray, own: int, *, penalty: float) -> np.ndarray:
    ridge = np.full(len(gram), penalty)
    ridge[:own] = 1e-9 * np.diag(gram)[:own].max()
    return np.linalg.solve(gram + np.diag(ridge), right)[:own]


def _describe(group: Group, fit: Fit, values: pd.Series, *, sign: float) -> Effect:
    """The curve over the values that were tried, and the contrast of its best against its worst value."""
    parameter = group.parameter
    grid = _grid(group, values)
    columns = group.raw(grid) - group.means
    effect, half = fit.contrast(columns)
    curve = pd.DataFrame({"x": grid, "at": parameter.scale(grid), "effect": effect})
    curve = curve.assign(low=effect - half, high=effect + half)
    order = np.argsort(effect * sign)
    worst, best = int(order[0]), int(order[-1])
    if {label(v) for v in grid} == {"True", "False"}:
        best, worst = (int(label(grid[1]) == "True"), int(label(grid[1]) != "True"))
    estimate, half = fit.contrast(columns[[best]] - columns[[worst]], simultaneous=True)
    spread = np.atleast_2d(np.cov(group.columns(values), rowvar=False))
    variance = fit.theta @ spread @ fit.theta - np.trace(spread @ fit.covariance)
    return Effect(
        parameter=parameter.name,
        found=bool(abs(estimate[0]) > half[0]),
        estimate=float(estimate[0]),
        low=float(estimate[0] - half[0]),
        high=float(estimate[0] + half[0]),
        better=_short(grid[best]),
        worse=_short(grid[worst]),
        curve=curve,
        fit=fit,
        strength=float(np.sqrt(max(variance, 0.0))),
    )


def _short(value: object) -> str:
    """A value as a sentence tells it: two digits of a real number are enough."""
    return f"{value:.2g}" if isinstance(value, float) and not value.is_integer() else label(value)


def _grid(group: Group, values: pd.Series) -> pd.Series:
    """Each level, or 25 values over the middle 90 % of what was tried."""
    if group.levels:
        return pd.Series(list(group.levels), dtype=object)
    parameter = group.parameter
    low, high = np.quantile(parameter.scale(values), [0.05, 0.95])
    at = np.linspace(low, high, 25)
    x = 10**at if parameter.log else at
    return pd.Series(np.unique(np.round(x)) if parameter.kind == "integer" else x)
