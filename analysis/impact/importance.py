"""Which hyperparameters matter: conditional PED-ANOVA at each rung and at full budget, and fANOVA of the surrogate.

Every number has a bootstrap interval over trials and stands beside the level that pure noise reaches: importances sum
to one and are never negative, so a bar by itself proves nothing.
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import optuna
import pandas as pd
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.importance import PedAnovaImportanceEvaluator
from optuna.trial import FrozenTrial, TrialState

from analysis.impact.forest import Surrogate
from analysis.statistics.design import make_design
from analysis.statistics.projection import make_projector
from analysis.studies.parameters import Parameter, from_table
from analysis.studies.trials import Trials, params_of, rung_values
from trainables.plain import is_plain

PED_ANOVA = "conditional PED-ANOVA (Optuna)"
FANOVA = "fANOVA (surrogate forest)"
MIN_TRIALS = 20
"""Trials that an importance needs."""
_LEAST_SHARE = 0.001
"""By how much an importance must be larger than noise: a smaller difference is a tie."""
_MAX_RESAMPLED = 500
"""Trials in a bootstrap sample at most."""
_INACTIVE = object()
_GRID, _BACKGROUND = 12, 150
"""Values of each hyperparameter, and configurations with which each of them is predicted, for fANOVA."""


@dataclass(frozen=True, kw_only=True)
class Importance:
    """Shares of importance, one row per hyperparameter, strongest first."""

    evaluator: str
    budget: int
    projected: bool
    """True when stopped trials take part with their projected value."""
    num_trials: int
    table: pd.DataFrame
    """parameter, importance, low, high, noise (the 95th percentile of the same number on shuffled objectives)."""

    @property
    def title(self) -> str:
        """The measure, its budget and its trials, for a heading."""
        how = "stopped trials projected" if self.projected else "measured"
        return f"{self.evaluator}, epoch {self.budget}, {how}, {self.num_trials} trials"

    @property
    def above_noise(self) -> pd.DataFrame:
        """The rows of `table` whose importance is larger than that of shuffled objectives, by 0.1 % at least."""
        return self.table[self._above]

    @property
    def noise_names(self) -> list[str]:
        """The other hyperparameters, whose importance cannot be distinguished from noise."""
        return list(self.table["parameter"][~self._above])

    @property
    def _above(self) -> pd.Series:
        return self.table["importance"] - self.table["noise"] >= _LEAST_SHARE


class _Sample(optuna.Study):
    """A bootstrap sample of trials as the study that an importance evaluator expects; it is not stored."""

    def __init__(self, trials: list[FrozenTrial], direction: optuna.study.StudyDirection) -> None:
        self._sample, self._sample_directions = trials, [direction]

    @property
    def directions(self) -> list[optuna.study.StudyDirection]:
        return self._sample_directions

    def get_trials(self, deepcopy: bool = True, states: Any = None) -> list[FrozenTrial]:
        return self._sample

    def _is_multi_objective(self) -> bool:
        return False


def ped_anova(trials: Trials, *, bootstraps: int = 20, seed: int = 0) -> list[Importance]:
    """Importance at each rung from the trials measured there, and last at full budget from all trials, projected."""
    found = []
    for rung in trials.rungs:
        there = trials.measured_at(rung)
        if len(there) >= MIN_TRIALS:
            found.append(_importance(trials, there, there[f"rung_{rung}"], rung, bootstraps=bootstraps, seed=seed))
    rows = trials.measured_at(trials.rungs[0])
    values = rung_values(rows, trials.rungs, at_least=MIN_TRIALS // 2)
    if values.shape[1] > 1:
        matrix = make_design(trials.parameters, params_of(rows)).matrix
        final = pd.Series(make_projector(values.to_numpy(), matrix).project(), index=rows.index)
        rung, projected = int(values.columns[-1]), bool(values.iloc[:, -1].isna().any())
        found.append(_importance(trials, rows, final, rung, bootstraps=bootstraps, seed=seed, projected=projected))
    return found


def _importance(
    trials: Trials,
    rows: pd.DataFrame,
    values: pd.Series,
    rung: int,
    *,
    bootstraps: int,
    seed: int,
    projected: bool = False,
) -> Importance:
    random = np.random.default_rng([seed, rung, projected])
    configs = _frozen(trials.parameters, rows)
    loss = -trials.sign * values.to_numpy(dtype=float)
    names = [p.name for p in trials.parameters if rows[f"params_{p.name}"].notna().any()]
    full = _evaluate(configs, loss, names)
    whole, count = full.sum() or 1.0, len(loss)
    size = min(count, _MAX_RESAMPLED)
    samples, shuffled = [], []
    for _ in range(bootstraps):
        samples.append(_evaluate([configs[i] for i in random.integers(0, count, size=size)], loss, names))
        picked = [configs[i] for i in random.choice(count, size=size, replace=False)]
        shuffled.append(_evaluate(picked, random.permutation(loss), names))
    shares = np.array(samples) / np.maximum(np.sum(samples, axis=1, keepdims=True), 1e-12)
    spread = shares.std(axis=0, ddof=1) * np.sqrt(size / count)  # a smaller sample than the study varies more
    table = pd.DataFrame({"parameter": names, "importance": full / whole})
    table["low"] = np.clip(table["importance"] - 1.96 * spread, 0, 1)
    table["high"] = np.clip(table["importance"] + 1.96 * spread, 0, 1)
    table["noise"] = np.quantile(shuffled, 0.95, axis=0) / whole * size / count
    table = table.sort_values("importance", ascending=False, kind="stable").reset_index(drop=True)
    return Importance(evaluator=PED_ANOVA, budget=rung, projected=projected, num_trials=count, table=table)


def _frozen(parameters: tuple[Parameter, ...], rows: pd.DataFrame) -> list[FrozenTrial]:
    """The configurations as trials numbered from 0, sharing one distribution per hyperparameter."""
    ranges = {p.name: _distribution(p) for p in parameters}
    integers = {p.name for p in parameters if p.kind == "integer"}
    columns = {
        str(name): [
            _INACTIVE if missing else int(v) if name in integers else from_table(v)
            for v, missing in zip(values, values.isna(), strict=True)
        ]
        for name, values in params_of(rows).items()
    }
    configs = (dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True))
    return [
        _trial(number, {k: v for k, v in config.items() if v is not _INACTIVE}, ranges)
        for number, config in enumerate(configs)
    ]


def _evaluate(configs: list[FrozenTrial], loss: np.ndarray, names: list[str]) -> np.ndarray:
    """PED-ANOVA importance of each name for a low `loss` (by trial number), not normalised."""
    sample: optuna.Study = _Sample(configs, optuna.study.StudyDirection.MINIMIZE)
    if is_plain():
        sample, loss = _copied(configs), loss[[trial.number for trial in configs]]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about rare regimes; the interval tells the same
        found = PedAnovaImportanceEvaluator().evaluate(sample, target=lambda trial: float(loss[trial.number]))
    return np.array([found.get(name, 0.0) for name in names])


def _copied(trials: list[FrozenTrial]) -> optuna.Study:
    """A real study of these trials, which Optuna numbers again; creating it takes longer than its evaluation."""
    study = optuna.create_study()
    study.add_trials(trials)
    return study


def _distribution(parameter: Parameter) -> optuna.distributions.BaseDistribution:
    # the trials of a real study are copies, whose ranges must be known by their values
    ours = (_Categories, _Integers, _Reals)
    categories, integers, reals = (CategoricalDistribution, IntDistribution, FloatDistribution) if is_plain() else ours
    if not parameter.numeric:
        return categories(parameter.choices)
    if parameter.kind == "integer":
        return integers(int(parameter.low), int(parameter.high), log=parameter.log)
    return reals(parameter.low, parameter.high, log=parameter.log)


class _Categories(CategoricalDistribution):
    """Hashed by identity: the evaluator hashes a range millions of times, and Optuna's own hash reads all fields."""

    __hash__ = object.__hash__


class _Integers(IntDistribution):
    __hash__ = object.__hash__


class _Reals(FloatDistribution):
    __hash__ = object.__hash__


def _trial(
    number: int, params: dict[str, Any], ranges: dict[str, optuna.distributions.BaseDistribution]
) -> FrozenTrial:
    return FrozenTrial(
        number=number,
        trial_id=number,
        state=TrialState.COMPLETE,
        value=0.0,
        datetime_start=datetime.min,
        datetime_complete=datetime.min,
        params=params,
        distributions={name: ranges[name] for name in params},
        user_attrs={},
        system_attrs={},
        intermediate_values={},
    )


def fanova(surrogate: Surrogate, *, shuffled: Sequence[Surrogate] = (), seed: int = 0) -> Importance:
    """First-order shares of the surrogate's variance (Hutter et al. 2014), averaged over the trials' configurations.

    Conditional hyperparameters take part where they are active, weighted by how often they are.

    Args:
        shuffled: surrogates of the same configurations with shuffled values; the largest share that any of them gives a
            hyperparameter is its level of noise.
    """
    by_bag = _shares(surrogate, seed=seed)
    table = pd.DataFrame(
        {"parameter": [p.name for p in surrogate.parameters], "importance": np.minimum(by_bag.mean(axis=1), 1)}
    )
    table["low"], table["high"] = np.clip(np.quantile(by_bag, [0.025, 0.975], axis=1), 0, 1)
    table["noise"] = np.max([_shares(one, seed=seed).mean(axis=1) for one in shuffled], axis=0) if shuffled else 0.0
    table = table.sort_values("importance", ascending=False, kind="stable", ignore_index=True)
    count = len(surrogate.configs)
    return Importance(evaluator=FANOVA, budget=surrogate.budget, projected=True, num_trials=count, table=table)


def _shares(surrogate: Surrogate, *, seed: int) -> np.ndarray:
    """(D, bags): each hyperparameter's share of the variance."""
    random = np.random.default_rng(seed)
    configs = surrogate.configs
    total = surrogate.predict(configs.iloc[random.permutation(len(configs))[:1000]]).mean(axis=1).var(axis=1)
    shares = []
    for parameter in surrogate.parameters:
        active = configs[parameter.name].dropna()
        curves = np.zeros((len(surrogate.bags), 1))
        if len(active):
            grid = _grid(parameter, active)
            curves = surrogate.vary(parameter.name, grid, background=_BACKGROUND, seed=seed).mean(axis=(1, 3))
        shares.append(curves.var(axis=1) * len(active) / len(configs) / np.maximum(total, 1e-30))
    return np.array(shares)


def _grid(parameter: Parameter, values: pd.Series) -> list:
    """Values at equally filled quantiles; levels as often as they were drawn."""
    ordered = values.iloc[np.argsort(parameter.scale(values), kind="stable")]
    return list(ordered.iloc[((np.arange(_GRID) + 0.5) / _GRID * len(ordered)).astype(int)])
