"""A random forest that predicts the objective of any configuration at any budget, and how well it does so.

It learns from every value measured at a rung, so a stopped trial counts at the budgets it reached, and for the full
budget from its projected value (see `analysis.statistics.projection`): without that, the leaves of bad configurations
hold early epochs only and a forest exaggerates how bad they are. The trees come in bags, each bag grown on a bootstrap
sample of whole trials; the spread of a number over the bags gives its interval (Sexton and Laake 2009).
"""

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats
from sklearn.ensemble import RandomForestRegressor
from sklearn.model_selection import GroupKFold

from analysis.statistics.design import make_design
from analysis.statistics.projection import make_projector
from analysis.studies.parameters import Parameter, children
from analysis.studies.trials import Trials, params_of, rung_values

MIN_TRIALS = 20
"""Trials with a value at the first rung from which a forest is grown; half of them at a later rung, to use that."""
MIN_R2 = 0.2
MIN_RANK_CORRELATION = 0.3
"""Both must be reached in cross-validation before a figure of the forest is shown."""
_BAGS, _TREES = 25, 4
"""Bootstrap samples of trials, and trees grown on each."""
_MAX_DRAWN = 6000
"""Trials in a bootstrap sample at most, so that a study of many thousands takes seconds."""
_MAX_SHUFFLED = 500
"""Trials of a forest on shuffled values at most."""
_FOLDS = 5


@dataclass(frozen=True, kw_only=True)
class Quality:
    """How well trials that the forest has not seen are predicted, within each budget."""

    r2: float = np.nan
    rank_correlation: float = np.nan
    num_trials: int = 0

    @property
    def trusted(self) -> bool:
        """Whether figures of the forest are shown."""
        return bool(self.r2 >= MIN_R2 and self.rank_correlation >= MIN_RANK_CORRELATION)

    @property
    def verdict(self) -> str:
        """The quality in one sentence."""
        if np.isnan(self.r2):
            return f"There are too few trials for a surrogate ({self.num_trials}, at least {MIN_TRIALS} are needed)."
        numbers = f"cross-validated by trial: R2 {self.r2:.2f}, rank correlation {self.rank_correlation:.2f}"
        if self.trusted:
            return f"The surrogate predicts trials it has not seen ({numbers}, from {self.num_trials} trials)."
        return f"The surrogate does not predict trials it has not seen ({numbers}), so its figures are left out."


@dataclass(frozen=True, kw_only=True)
class Surrogate:
    """The forest, its budget and its quality."""

    parameters: tuple[Parameter, ...]
    bags: tuple[RandomForestRegressor, ...]
    budget: int
    """Epochs at which it is asked by default: the highest rung with enough trials."""
    quality: Quality
    configs: pd.DataFrame
    """The trials' configurations, over which averages are taken."""
    children: dict[str, frozenset[str]]
    """For each hyperparameter, those that exist only for some of its values."""

    def predict(self, configs: pd.DataFrame, *, epochs: int | None = None) -> np.ndarray:
        """The objective of each configuration by each tree, (bags, trees, N)."""
        return self._ask(_rows(self.parameters, configs, np.full(len(configs), epochs or self.budget)))

    def vary(self, name: str, values: list, *, background: int, seed: int = 0) -> np.ndarray:
        """Predictions (bags, trees, values, background) with one hyperparameter set to each value in turn.

        The other hyperparameters are those of random trials where it is active. What exists only for some of its
        values (the third stage's width, with the depth) comes along from a random trial that has the value.
        """
        random = np.random.default_rng(seed)
        active = self.configs[self.configs[name].notna()]
        encoded = _rows(self.parameters, active, np.full(len(active), self.budget))
        drawn = encoded[random.integers(0, len(active), size=background)]
        places = _places(self.parameters)
        kids = [column for kid in self.children[name] for column in places[kid]]
        tables = np.repeat(drawn[None], len(values), axis=0)
        parameter, wanted = self._parameter(name), pd.Series(values, dtype=object)
        tables[..., places[name]] = _encode(parameter, wanted)[:, None]
        there = parameter.scale(active[name]) if kids else np.array([])
        for table, value in zip(tables, parameter.scale(wanted), strict=True):
            donors = encoded[there == value] if kids else encoded[:0]
            if len(donors):
                table[:, kids] = donors[random.integers(0, len(donors), size=background)][:, kids]
        return self._ask(np.concatenate(tables)).reshape(_BAGS, _TREES, len(values), background)

    def _ask(self, rows: np.ndarray) -> np.ndarray:
        """The prediction of encoded rows (N, D) by each tree, (bags, trees, N)."""
        rows = rows.astype(np.float32)

        def ask(bag: RandomForestRegressor) -> np.ndarray:
            return np.stack([tree.predict(rows, check_input=False) for tree in bag.estimators_])

        with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
            return np.stack(list(pool.map(ask, self.bags)))

    def _parameter(self, name: str) -> Parameter:
        return next(p for p in self.parameters if p.name == name)


def bag_interval(by_tree: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Estimate, low and high (95 %) of numbers that each tree gives, (bags, trees, ...).

    What the bags differ by, less what the trees inside a bag differ by anyway (Athey, Tibshirani and Wager 2019, 4.1).
    """
    between = by_tree.mean(axis=1).var(axis=0, ddof=1)
    within = by_tree.var(axis=1, ddof=1).mean(axis=0) / by_tree.shape[1]
    half = stats.t.ppf(0.975, len(by_tree) - 1) * np.sqrt(np.maximum(between - within, 0.1 * between))
    estimate = by_tree.mean(axis=(0, 1))
    return estimate, estimate - half, estimate + half


def fit_surrogate(trials: Trials, *, seed: int = 0) -> Surrogate | None:
    """The surrogate of a study, or None when there are too few trials."""
    rows = trials.measured_at(trials.rungs[0])
    if len(rows) < MIN_TRIALS or len(trials.parameters) == 0:
        return None
    values = rung_values(rows, trials.rungs, at_least=MIN_TRIALS // 2)
    return _fit(trials, params_of(rows), values, seed=seed, checked=True)


def fit_shuffled(trials: Trials, *, seed: int = 0) -> Surrogate:
    """The surrogate of the same values in random order over the configurations: what it finds is noise."""
    rows, random = trials.measured_at(trials.rungs[0]), np.random.default_rng(seed)
    rows = rows.iloc[random.permutation(len(rows))[:_MAX_SHUFFLED]]
    params = params_of(rows).iloc[random.permutation(len(rows))]
    return _fit(trials, params, rung_values(rows, trials.rungs, at_least=MIN_TRIALS // 2), seed=seed, checked=False)


def _fit(trials: Trials, params: pd.DataFrame, values: pd.DataFrame, *, seed: int, checked: bool) -> Surrogate:
    rungs = [int(rung) for rung in values.columns]
    x, y, owner, measured = _table(trials.parameters, params, values.to_numpy(), rungs)
    return Surrogate(
        parameters=trials.parameters,
        bags=_grow(x, y, owner, seed=seed),
        budget=rungs[-1],
        quality=_cross_validate(x, y, owner, measured, seed=seed) if checked else Quality(),
        configs=params,
        children=children(trials.parameters, params),
    )


def _table(
    parameters: tuple[Parameter, ...], params: pd.DataFrame, values: np.ndarray, rungs: list[int]
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Rows (configuration, epoch) -> value, the trial of each row, and whether its value was measured."""
    final = make_projector(values, make_design(parameters, params).matrix).project()
    filled = np.column_stack([values[:, :-1], final])
    trial, rung = np.nonzero(~np.isnan(filled))
    x = _rows(parameters, params, np.full(len(params), 1))[trial]
    x[:, -1] = np.log2(np.array(rungs, dtype=float))[rung]
    return x, filled[trial, rung], trial, ~np.isnan(values[trial, rung])


def _rows(parameters: tuple[Parameter, ...], configs: pd.DataFrame, epochs: np.ndarray) -> np.ndarray:
    """(N, D): the columns of every hyperparameter in turn; log2 of the epoch last."""
    return np.column_stack([*(_encode(p, configs[p.name]) for p in parameters), np.log2(epochs)])


def _encode(parameter: Parameter, values: pd.Series) -> np.ndarray:
    """(N, columns): numbers on their own scale, one column per category, NaN where not active."""
    at = np.asarray(parameter.scale(values), dtype=float)
    if parameter.numeric:
        return at[:, None]
    first = len(parameter.choices) - len(_columns(parameter))
    return np.where(np.isnan(at)[:, None], np.nan, at[:, None] == np.arange(first, len(parameter.choices)))


def _columns(parameter: Parameter) -> tuple:
    """What the columns of a hyperparameter stand for: two categories need one column."""
    if parameter.numeric:
        return (parameter.name,)
    return parameter.choices[1:] if len(parameter.choices) == 2 else parameter.choices


def _places(parameters: tuple[Parameter, ...]) -> dict[str, list[int]]:
    """Hyperparameter -> its columns in the encoded rows."""
    ends = np.cumsum([len(_columns(p)) for p in parameters])
    return {p.name: list(range(end - len(_columns(p)), end)) for p, end in zip(parameters, ends, strict=True)}


def _grow(x: np.ndarray, y: np.ndarray, owner: np.ndarray, *, seed: int) -> tuple[RandomForestRegressor, ...]:
    """Bags of trees, each bag on all rows of a bootstrap sample of trials."""
    count = owner.max() + 1
    order = np.argsort(owner, kind="stable")
    starts = np.searchsorted(owner[order], np.arange(count + 1))

    def grow(bag: int) -> RandomForestRegressor:
        random = np.random.default_rng([seed, bag])
        drawn = random.integers(0, count, size=min(count, _MAX_DRAWN))
        rows = np.concatenate([order[starts[t] : starts[t + 1]] for t in drawn])
        forest = RandomForestRegressor(_TREES, min_samples_leaf=2, random_state=bag)
        return forest.fit(x[rows], y[rows])

    with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
        return tuple(pool.map(grow, range(_BAGS)))


def _cross_validate(x: np.ndarray, y: np.ndarray, owner: np.ndarray, measured: np.ndarray, *, seed: int) -> Quality:
    """The quality over trials of which the forest has seen no row, in five folds; only measured rows are scored."""
    predicted = np.empty(len(y))
    for train, test in GroupKFold(_FOLDS, shuffle=True, random_state=seed).split(x, y, owner):
        forest = RandomForestRegressor(25, min_samples_leaf=2, max_samples=0.6, random_state=seed)
        predicted[test] = forest.set_params(n_jobs=2).fit(x[train], y[train]).predict(x[test])
    y, predicted, epoch = y[measured], predicted[measured], x[measured, -1]
    error, total, ranks, counts = 0.0, 0.0, [], []
    for budget in np.unique(epoch):
        at = epoch == budget
        error += float(((y[at] - predicted[at]) ** 2).sum())
        total += float(((y[at] - y[at].mean()) ** 2).sum())
        if at.sum() >= 3 and np.ptp(y[at]) > 0 and np.ptp(predicted[at]) > 0:
            ranks.append(stats.spearmanr(y[at], predicted[at]).statistic)  # pyright: ignore[reportAttributeAccessIssue]
            counts.append(int(at.sum()))
    rank = float(np.average(ranks, weights=counts)) if ranks else 0.0
    r2 = 1 - error / total if total > 0 else 0.0
    return Quality(r2=r2, rank_correlation=rank, num_trials=int(owner.max() + 1))


def partial_dependence(surrogate: Surrogate, parameter: Parameter, *, background: int = 100) -> pd.DataFrame:
    """The forest's average prediction over values of one hyperparameter, against its own mean.

    Returns:
        x (as drawn), effect, low, high.
    """
    tried = surrogate.configs[parameter.name].dropna()
    if parameter.levels:
        every, present = parameter.scale(np.array(parameter.levels, dtype=object)), parameter.scale(tried)
        grid = [level for level, at in zip(parameter.levels, every, strict=True) if at in present]
    else:
        grid = list(np.unique(np.quantile(tried, np.linspace(0.05, 0.95, 15), method="nearest")))
    by_tree = surrogate.vary(parameter.name, grid, background=background).mean(axis=3)
    effect, low, high = bag_interval(by_tree - by_tree.mean(axis=2, keepdims=True))
    return pd.DataFrame({"x": pd.Series(grid, dtype=object), "effect": effect, "low": low, "high": high})
