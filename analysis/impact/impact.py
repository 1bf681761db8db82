"""All results about the hyperparameters of one study: effects, importances, interactions, the surrogate, the audit."""

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits

from analysis.impact.ablation import Ablation, ablation
from analysis.impact.effect import Effect
from analysis.impact.effects import early_effects, full_effects
from analysis.impact.forest import Surrogate, fit_shuffled, fit_surrogate
from analysis.impact.importance import Importance, fanova, ped_anova
from analysis.impact.interactions import interactions
from analysis.impact.stopping import Audit, audit
from analysis.statistics.bootstrap import wilson
from analysis.studies.present import in_present_ranges, is_present
from analysis.studies.trials import Trials, config_of

_SHUFFLES = 3
CAVEATS = (
    "The sampler concentrated on configurations with good results. Values that it rarely tried have wide intervals, "
    "and effects describe the configurations that were tried, not the whole space.",
    "Failed trials have no value and are left out; a setting that makes training fail therefore looks better here "
    "than it is.",
    "If a metric has no worst value (an RMSE, a loss), outliers are moved to the edge of the other trials, but not in "
    "effects at the full budget; a setting that makes training diverge therefore looks better than it is.",
    "Intervals hold for each hyperparameter separately: of twenty hyperparameters without any effect, about one will "
    "appear to have one. Intervals of pairs are corrected for the number of pairs.",
    "In importance and interactions, stopped trials count with a value projected from the trials that continued; a "
    "slow starter that would have caught up cannot be detected.",
)


@dataclass(frozen=True, kw_only=True)
class Impact:
    """What mattered in one study."""

    effects: list[Effect]
    """At the full budget, among the trials that were trained to the end."""
    early: list[Effect]
    """At the first rung, among all trials: on learning speed."""
    importances: list[Importance]
    """PED-ANOVA at each rung and, last, at full budget."""
    fanova: Importance | None
    surrogate: Surrogate | None
    interactions: pd.DataFrame
    ablation: Ablation | None
    audit: Audit

    @property
    def ranked(self) -> list[str]:
        """All hyperparameters, those with the clearest effects first: at the full budget, then at an early rung."""
        clear = [effect.parameter for effect in self.effects if effect.found]
        return list(dict.fromkeys([*clear, *(e.parameter for e in self.early), *(e.parameter for e in self.effects)]))

    @property
    def trusted(self) -> bool:
        """Whether what the surrogate draws may be read."""
        return self.surrogate is not None and self.surrogate.quality.trusted

    @property
    def verdict(self) -> str:
        """The surrogate's quality in one sentence."""
        if self.surrogate is None:
            return "There are too few trials for a surrogate (at least 20 with values are needed)."
        return self.surrogate.quality.verdict


def study_impact(trials: Trials, *, seed: int = 0) -> Impact:
    """All parts; those with too few trials are empty or None."""
    with threadpool_limits(1):  # thousands of small regressions: handing each to a pool of threads costs 20 times more
        return _study_impact(trials, seed=seed)


def fenced(trials: Trials) -> Trials:
    """The same, with values far worse than the others moved to Tukey's fence, where the metric has no bound.

    An RMSE or a loss has no worst value: a few trials that learnt nothing would decide every mean and hide all effects
    among the others. The fence is the worse quartile and one and a half times the distance between the quartiles.
    """
    if trials.points == 100:
        return trials
    table = trials.trials.copy()
    for column in (f"rung_{rung}" for rung in trials.rungs):
        values = trials.sign * table[column].astype(float)
        low, high = (float(values.quantile(share)) for share in (0.25, 0.75))
        table[column] = trials.sign * values.clip(lower=low - 1.5 * (high - low))
    return replace(trials, trials=table)


def _study_impact(trials: Trials, *, seed: int) -> Impact:
    stopping, unfenced = audit(trials, seed=seed), in_present_ranges(trials)
    trials = fenced(unfenced)
    surrogate = fit_surrogate(trials, seed=seed)
    best = trials.best
    path = None
    if surrogate is not None and best is not None and trials.baseline and is_present(trials.baseline, trials):
        path = ablation(surrogate, trials.baseline, config_of(best), sign=trials.sign)
    return Impact(
        effects=full_effects(unfenced, seed=seed),
        early=early_effects(trials, seed=seed),
        importances=ped_anova(trials, seed=seed),
        fanova=None if surrogate is None else _fanova(surrogate, trials, seed=seed),
        surrogate=surrogate,
        interactions=interactions(trials, seed=seed),
        ablation=path,
        audit=stopping,
    )


def _fanova(surrogate: Surrogate, trials: Trials, *, seed: int) -> Importance | None:
    """None where the surrogate must not be read."""
    if not surrogate.quality.trusted:
        return None
    shuffled = [fit_shuffled(trials, seed=seed + number) for number in range(_SHUFFLES)]
    return fanova(surrogate, shuffled=shuffled, seed=seed)


@dataclass(frozen=True, kw_only=True)
class Confidence:
    """The best trial's interval, and how many other trials lie in it."""

    value: float
    low: float
    high: float
    """95 % interval from the number of validation samples; NaN when that is not known or the metric is no share."""
    second: float
    """The value of the second best complete trial; NaN where that failed when it was trained again."""
    tied: int
    """Other such trials whose value lies inside the interval: they may as well be the best."""
    num_complete: int


def confidence(trials: Trials, *, num_validation: int | None) -> Confidence | None:
    """Wilson's interval for the best trial's share of correct answers, and who else lies in it.

    The interval says how much other validation samples of the same number would move the value. It does not hold the
    luck of being picked as the best of many: the final evaluation on fresh seeds measures that.
    """
    values = trials.rivals["value"].to_numpy(dtype=float)
    if not len(values):
        return None
    value = float(values[0])
    low = high = np.nan
    if trials.metric == "accuracy" and num_validation and 0 <= value <= 1:
        low, high = wilson(value * num_validation, num_validation)
    inside = (values[1:] >= low) & (values[1:] <= high)
    return Confidence(
        value=value,
        low=low,
        high=high,
        second=float(values[1]) if len(values) > 1 else np.nan,
        tied=int(inside.sum()),
        num_complete=len(trials.complete),
    )
