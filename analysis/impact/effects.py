"""What each hyperparameter does at equal budget: an adjusted contrast, a curve with its band, and a plain sentence.

`full_effects` compares the trials that were trained to the end, so it speaks of the configurations that a search
found worth training. `early_effects` compares all trials at the first rung, so it speaks of early learning speed. Both
use measured values alone: with values projected to later rungs, intervals held the truth too rarely
(`benchmarks/coverage.py`).

The estimate is a ridge regression in which the columns of the hyperparameter itself are not shrunk. With own columns
X, the columns Z of all other hyperparameters, and the objective y, all centred,

    theta, gamma = argmin |y - X theta - Z gamma|^2 + penalty * |gamma|^2

so that theta is adjusted for the others without their noise. A partial dependence of a forest would shrink effects, and
its band would miss them. The covariance of theta comes from a Bayesian bootstrap over the trials.
"""

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits

from analysis.impact.effect import Effect, Fit
from analysis.impact.sentences import opposed, sentence, shown
from analysis.statistics.design import Design, Group, make_design
from analysis.statistics.projection import choose_penalty
from analysis.statistics.resampling import Resample, resample
from analysis.studies.parameters import Parameter, children, label
from analysis.studies.trials import Trials, params_of
from search.process.text import counted

MIN_TRIALS = 20
"""Trials that an effect needs: at the full budget they are trained to the end."""
MIN_PER_LEVEL = 5
"""Trials that it needs with each level, or in each part of the range that was tried."""
PARTS, MANY_TRIALS, PARTS_OF_MANY = 3, 100, 5
"""Parts of a range: thirds, from 100 trials on fifths."""
BOOTSTRAPS = 200


def full_effects(trials: Trials, *, bootstraps: int = BOOTSTRAPS, seed: int = 0) -> list[Effect]:
    """The effect of every hyperparameter at the full budget, among the trials that were trained to the end."""
    done = trials.complete
    return _effects(trials, done[done["value"].notna()], budget=trials.full_epochs, bootstraps=bootstraps, seed=seed)


def early_effects(trials: Trials, *, bootstraps: int = BOOTSTRAPS, seed: int = 0) -> list[Effect]:
    """The effect of every hyperparameter at the first rung, among all trials; none in a search without rungs."""
    if len(trials.rungs) < 2:
        return []
    return _effects(trials, trials.measured, budget=trials.rungs[0], bootstraps=bootstraps, seed=seed)


def _effects(trials: Trials, rows: pd.DataFrame, *, budget: int, bootstraps: int, seed: int) -> list[Effect]:
    """The effects among these rows of `Trials.trials` on the objective after `budget` epochs, the clearest first."""
    rows = rows[rows[f"rung_{budget}"].notna()]
    if len(rows) < MIN_TRIALS:
        return [_too_few(p.name, len(rows)) for p in trials.parameters]
    kids = children(trials.parameters, params_of(rows))
    whole = make_design(trials.parameters, params_of(rows))
    shared = resample(whole.matrix, count=bootstraps, seed=seed)

    def estimate(parameter: Parameter) -> Effect:
        active = rows[f"params_{parameter.name}"].notna().to_numpy()
        if active.sum() < MIN_TRIALS:
            return _too_few(parameter.name, int(active.sum()))
        if active.all():
            design, samples = whole, shared
        else:
            design = make_design(trials.parameters, params_of(rows[active]))
            samples = resample(design.matrix, count=bootstraps, seed=seed)
        kin = kids[parameter.name]
        return _effect(parameter, trials, rows[active], design, kids=kin, samples=samples, budget=budget)

    with threadpool_limits(1, user_api="blas"), ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
        found = list(pool.map(estimate, trials.parameters))
    return sorted(found, key=lambda effect: (-effect.found, -effect.strength))


def _too_few(name: str, count: int) -> Effect:
    return _unjudged(name, count, f"{counted(count, 'trial')}, at least {MIN_TRIALS} are needed")


def _unjudged(name: str, count: int, lacking: str) -> Effect:
    said = f"{name}: not enough data ({lacking})"
    return Effect(parameter=name, found=False, num_trials=count, lacking=lacking, sentence=said)


def _effect(
    parameter: Parameter,
    trials: Trials,
    rows: pd.DataFrame,
    design: Design,
    *,
    kids: frozenset[str],
    samples: list[Resample],
    budget: int,
) -> Effect:
    group = design.groups.get(parameter.name)
    if group is None:
        return _unjudged(parameter.name, len(rows), "it never varied")
    own = rows[f"params_{parameter.name}"]
    support = _support(group, own)
    if lacking := _lacking(group, support, own):
        return _unjudged(parameter.name, len(rows), lacking)
    values = rows[f"rung_{budget}"].to_numpy(dtype=float)
    fit = _fit(group, design, values, samples, kids=kids, rarest=int(support.min()))
    effect = replace(_describe(group, fit, own, sign=trials.sign), num_trials=len(rows), budget=budget)
    effect = replace(effect, opposed=opposed(effect, parameter, trials))
    return replace(effect, sentence=sentence(effect, trials))


def _lacking(group: Group, support: np.ndarray, values: pd.Series) -> str:
    """Why these trials cannot tell what a hyperparameter does; empty if they can."""
    if support.min() < MIN_PER_LEVEL and group.levels:
        rare = [
            (group.parameter.text(level), int(n))
            for level, n in zip(group.levels, support, strict=True)
            if n < MIN_PER_LEVEL
        ]
        return "only " + ", ".join(f"{counted(n, 'trial')} used {level}" for level, n in rare)
    if support.min() < MIN_PER_LEVEL:
        often = values.value_counts()
        return f"{often.iloc[0]} of {len(values)} trials used {shown(group.parameter, often.index[0])}"
    if len(values) < (needed := MIN_TRIALS // 2 * len(group.means)):
        what = f"its {len(group.levels)} values" if group.levels else "its curve"
        return f"{counted(len(values), 'trial')}, at least {needed} are needed for {what}"
    return ""


def _support(group: Group, values: pd.Series) -> np.ndarray:
    """How many trials have each level, or lie in each part of the range that was tried."""
    at = group.parameter.scale(values)
    if group.levels:
        levels = group.parameter.scale(np.array(group.levels, dtype=object))
        return np.array([(at == level).sum() for level in levels])
    parts = PARTS if len(at) < MANY_TRIALS else PARTS_OF_MANY
    return np.bincount(np.searchsorted(np.quantile(at, np.arange(1, parts) / parts), at), minlength=parts)


def _fit(
    group: Group, design: Design, y: np.ndarray, samples: list[Resample], *, kids: frozenset[str], rarest: int
) -> Fit:
    """The regression of the module's docstring, on the objective y (N,), and again on each bootstrap sample.

    Args:
        kids: hyperparameters that exist only for some values of this one; their columns are left out.
        rarest: trials with the rarest level, which limit the degrees of freedom.
    """
    keep = ~np.isin(design.owner, list(kids))
    is_own = design.owner[keep] == group.parameter.name
    x, others = design.raw[group.parameter.name], design.matrix[:, keep][:, ~is_own]
    penalty = choose_penalty(y, others, x)
    z, width = np.column_stack([x, others]), x.shape[1]
    columns = np.flatnonzero(keep)
    ordered = np.concatenate([columns[is_own], columns[~is_own]])
    scale = np.concatenate([x.std(axis=0), np.ones(others.shape[1])])  # of `z` above the design's columns
    found = []
    for sample in samples:
        share = sample.weights / sample.weights.sum()
        right = z.T @ (sample.weights * (y - share @ y))
        gram = sample.gram(ordered) * np.outer(scale, scale)
        found.append(_ridge(gram, right, width, penalty=penalty.value))
    share = np.full(len(y), 1 / len(y))
    centred = z - share @ z
    theta = _ridge(centred.T @ centred, centred.T @ (y - share @ y), width, penalty=penalty.value)
    inflation = penalty.rows / penalty.left  # residuals are smaller than the noise they stand for
    covariance = np.atleast_2d(np.cov(np.array(found), rowvar=False)) * inflation
    return Fit(group=group, theta=theta, covariance=covariance, freedom=min(rarest - 1, penalty.left))


def _ridge(gram: np.ndarray, right: np.ndarray, own: int, *, penalty: float) -> np.ndarray:
    """(gram + diag(ridge))^-1 right, its first `own` coefficients, which get next to no ridge."""
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
        better=shown(parameter, grid[best]),
        worse=shown(parameter, grid[worst]),
        curve=curve,
        fit=fit,
        strength=float(np.sqrt(max(variance, 0.0))),
    )


def _grid(group: Group, values: pd.Series) -> pd.Series:
    """Each level; of a grid the values that were tried, else 25 values, over the middle 90 % of the trials."""
    if group.levels:
        return pd.Series(list(group.levels), dtype=object)
    parameter = group.parameter
    if parameter.grid:
        tried = np.array([float(f"{value:.12g}") for value in values])  # 0.15 is drawn as 0.15000000000000002 too
        low, high = np.quantile(tried, 0.05, method="lower"), np.quantile(tried, 0.95, method="higher")
        return pd.Series(np.unique(tried[(tried >= low) & (tried <= high)]))
    low, high = np.quantile(parameter.scale(values), [0.05, 0.95])
    at = np.linspace(low, high, 25)
    x = 10**at if parameter.log else at
    return pd.Series(np.unique(np.round(x)) if parameter.kind == "integer" else x)
